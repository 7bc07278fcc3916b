//! The one workflow task that a run may have.

use std::time::Duration;

use api::temporal::api::common::v1::WorkerVersionStamp;
use ids::Timestamp;

/// A workflow task that is scheduled or started. Times in nanoseconds since the epoch, 0 for none.
///
/// The first attempt is in the history from its scheduling on. Later attempts are *transient*: their scheduled and
/// started events get the ids that follow the history's end, are shown to the worker, and are written only when the
/// attempt completes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WorkflowTask {
    /// Its WorkflowTaskScheduled event (for a transient task: the id that it would have).
    #[prost(int64, tag = "1")]
    pub scheduled_event_id: i64,
    /// Its WorkflowTaskStarted event; 0 until started.
    #[prost(int64, tag = "2")]
    pub started_event_id: i64,
    /// From 1.
    #[prost(int32, tag = "3")]
    pub attempt: i32,
    /// When it was scheduled.
    #[prost(int64, tag = "4")]
    pub scheduled_at: i64,
    /// When the first task of a chain of task heartbeats was scheduled.
    #[prost(int64, tag = "5")]
    pub first_scheduled_at: i64,
    /// When it was started.
    #[prost(int64, tag = "6")]
    pub started_at: i64,
    /// Start to close.
    #[prost(int64, tag = "7")]
    pub timeout_nanos: i64,
    /// The start's request id.
    #[prost(string, tag = "8")]
    pub request_id: String,
    /// The poller that started it.
    #[prost(string, tag = "9")]
    pub identity: String,
    /// Names the dispatch: no two dispatches of a run have the same.
    #[prost(int64, tag = "10")]
    pub stamp: i64,
    /// Whether it is to be offered on the sticky queue.
    #[prost(bool, tag = "11")]
    pub sticky: bool,
    /// Sticky only: when to give up waiting for its worker.
    #[prost(int64, tag = "12")]
    pub sticky_deadline: i64,
    /// Whether matching keeps it durably.
    #[prost(bool, tag = "13")]
    pub kept: bool,
    /// A retry that is put off until then; 0 when it may be offered.
    #[prost(int64, tag = "14")]
    pub not_before: i64,
    /// As its started event says.
    #[prost(bool, tag = "15")]
    pub suggest_continue_as_new: bool,
    /// As its started event says.
    #[prost(int64, tag = "16")]
    pub history_size_bytes: i64,
    /// As its started event says.
    #[prost(int32, repeated, tag = "17")]
    pub suggest_reasons: Vec<i32>,
    /// The task before it wanted to close the run and was refused for news: while this one is started, signals wait
    /// outside, or a workflow that gets them faster than it decides could never close.
    #[prost(bool, tag = "18")]
    pub keeps_signals_out: bool,
    /// As its started event says.
    #[prost(message, optional, tag = "19")]
    pub worker_version: Option<WorkerVersionStamp>,
}

impl WorkflowTask {
    /// Whether a worker has it.
    pub fn is_started(&self) -> bool {
        self.started_event_id != 0
    }

    /// Whether its events are not in the history yet.
    pub fn is_transient(&self) -> bool {
        self.attempt > 1
    }

    /// When the worker's time is up; `None` unless started.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.is_started().then(|| Timestamp::from_nanos(self.started_at.saturating_add(self.timeout_nanos)))
    }
}

/// The start-to-close timeout of an attempt: from the fourth on it grows, since workers do not report repeated failures
/// but let the task time out, and a task that always fails should not be retried at full pace.
pub fn timeout_of_attempt(base: Duration, attempt: i32, longest_backoff: Duration) -> Duration {
    base + match attempt {
        ..=3 => Duration::ZERO,
        _ => doubled(Duration::from_secs(5), attempt - 4).min(longest_backoff),
    }
}

/// How long the next attempt waits after a failure that a worker reported: the first retry follows at once.
pub fn delay_of_attempt(attempt: i32, longest_backoff: Duration) -> Duration {
    match attempt {
        ..=2 => Duration::ZERO,
        _ => doubled(Duration::from_millis(500), attempt - 3).min(longest_backoff),
    }
}

fn doubled(first: Duration, times: i32) -> Duration {
    first.saturating_mul(1u32.checked_shl(times.clamp(0, 31) as u32).unwrap_or(u32::MAX))
}
