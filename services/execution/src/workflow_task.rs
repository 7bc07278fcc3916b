//! The one workflow task that a run may have.

use std::time::Duration;

use api::temporal::api::common::v1::WorkerVersionStamp;
use ids::{TaskRef, Timestamp};

/// A workflow task that is scheduled or started. Times in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowTask {
    /// Its WorkflowTaskScheduled event (for a transient task: the id that it would have).
    pub scheduled_event_id: i64,
    /// From 1.
    pub attempt: i32,
    /// Names the dispatch: no two dispatches of a run have the same.
    pub stamp: i64,
    /// When it was scheduled.
    pub scheduled_at: i64,
    /// When the first task of a chain of task heartbeats was scheduled.
    pub first_scheduled_at: i64,
    /// Start to close.
    pub timeout_nanos: i64,
    /// The task before it wanted to close the run and was refused for new events: while this one is started, signals wait
    /// outside, or a workflow that gets them faster than it decides could never close.
    pub keeps_signals_out: bool,
    /// Where its events are, and where it stands.
    pub kind: TaskKind,
}

/// How a workflow task comes into the history, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskKind {
    /// It is in the history from its scheduling on: every first attempt.
    Written(WrittenStage),
    /// A later attempt: its scheduled and started events get the ids that follow the history's end, are shown to the
    /// worker, and are written only when the attempt completes.
    Transient(TransientStage),
    /// It is there only to carry updates: its scheduled and started events get the ids that follow the history's end, and
    /// are written as soon as anything else is (see `RunDraft::write_speculative`). When the worker rejects all, it leaves
    /// no trace. Only memory has it.
    Speculative(SpeculativeStage),
}

/// Where a speculative task stands.
#[derive(Clone, Debug, PartialEq)]
pub enum SpeculativeStage {
    /// It is to be offered on the sticky queue, and to wait for that worker until then.
    Sticky {
        /// The deadline.
        until: i64,
    },
    /// It is to be offered on the normal queue.
    Offerable,
    /// Matching keeps it durably.
    Backlogged,
    /// A worker has it.
    Started(TaskStart),
}

/// Where a task stands whose events are written.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenStage {
    /// It is to be offered on the sticky queue, and to wait for that worker until then.
    Sticky {
        /// The deadline.
        until: i64,
    },
    /// It is to be offered on the normal queue.
    Offerable,
    /// Matching keeps it durably.
    Backlogged,
    /// A worker has it.
    Started {
        /// Its WorkflowTaskStarted event.
        started_event_id: i64,
        /// How it was started.
        start: TaskStart,
    },
}

/// Where a transient attempt stands. It is never sticky: a failure makes the server forget the worker's cache.
#[derive(Clone, Debug, PartialEq)]
pub enum TransientStage {
    /// It is to be offered from then on.
    Backoff {
        /// The end.
        until: i64,
    },
    /// It is to be offered on the normal queue.
    Offerable,
    /// Matching keeps it durably.
    Backlogged,
    /// A worker has it.
    Started(TaskStart),
}

/// The start of a workflow task: what its started event says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskStart {
    /// When.
    #[prost(int64, tag = "1")]
    pub at: i64,
    /// The poller's request.
    #[prost(string, tag = "2")]
    pub request_id: String,
    /// The poller.
    #[prost(string, tag = "3")]
    pub identity: String,
    /// Why the worker should continue as new; empty where it need not.
    #[prost(int32, repeated, tag = "4")]
    pub suggest_reasons: Vec<i32>,
    /// Bytes of history.
    #[prost(int64, tag = "5")]
    pub history_size_bytes: i64,
    /// The poller's build, as it said.
    #[prost(message, optional, tag = "6")]
    pub worker_version: Option<WorkerVersionStamp>,
}

impl WorkflowTask {
    /// Names it within its run.
    pub fn id(&self) -> TaskRef {
        TaskRef { scheduled_event_id: self.scheduled_event_id, attempt: self.attempt, stamp: self.stamp }
    }

    /// Whether it is a later attempt, whose events are not in the history yet.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, TaskKind::Transient(_))
    }

    /// Whether it is there only to carry updates.
    pub fn is_speculative(&self) -> bool {
        matches!(self.kind, TaskKind::Speculative(_))
    }

    /// Whether its events are in the history.
    pub fn is_written(&self) -> bool {
        matches!(self.kind, TaskKind::Written(_))
    }

    /// How it was started, if a worker has it.
    pub fn start(&self) -> Option<&TaskStart> {
        match &self.kind {
            TaskKind::Written(WrittenStage::Started { start, .. })
            | TaskKind::Transient(TransientStage::Started(start))
            | TaskKind::Speculative(SpeculativeStage::Started(start)) => Some(start),
            _ => None,
        }
    }

    /// Whether a worker has it.
    pub fn is_started(&self) -> bool {
        self.start().is_some()
    }

    /// Its WorkflowTaskStarted event (of a task that is not written: the id that it would have), if a worker has it.
    pub fn started_event_id(&self) -> Option<i64> {
        match &self.kind {
            TaskKind::Written(WrittenStage::Started { started_event_id, .. }) => Some(*started_event_id),
            TaskKind::Transient(TransientStage::Started(_)) | TaskKind::Speculative(SpeculativeStage::Started(_)) => {
                Some(self.scheduled_event_id + 1)
            }
            _ => None,
        }
    }

    /// Until when it waits for the sticky worker, if it does.
    pub fn sticky_until(&self) -> Option<Timestamp> {
        match self.kind {
            TaskKind::Written(WrittenStage::Sticky { until })
            | TaskKind::Speculative(SpeculativeStage::Sticky { until }) => Some(Timestamp::from_nanos(until)),
            _ => None,
        }
    }

    /// Until when it backs off, if it does.
    pub fn backoff_until(&self) -> Option<Timestamp> {
        match self.kind {
            TaskKind::Transient(TransientStage::Backoff { until }) => Some(Timestamp::from_nanos(until)),
            _ => None,
        }
    }

    /// Whether matching keeps it durably.
    pub fn is_backlogged(&self) -> bool {
        matches!(
            self.kind,
            TaskKind::Written(WrittenStage::Backlogged)
                | TaskKind::Transient(TransientStage::Backlogged)
                | TaskKind::Speculative(SpeculativeStage::Backlogged)
        )
    }

    /// Whether matching is to be offered it.
    pub fn is_offerable(&self) -> bool {
        matches!(
            self.kind,
            TaskKind::Written(WrittenStage::Sticky { .. } | WrittenStage::Offerable)
                | TaskKind::Transient(TransientStage::Offerable)
                | TaskKind::Speculative(SpeculativeStage::Sticky { .. } | SpeculativeStage::Offerable)
        )
    }

    /// Whether a poller may be given it.
    pub fn is_waiting_for_poller(&self) -> bool {
        self.is_offerable() || self.is_backlogged()
    }

    /// When the worker's time is up; `None` unless started.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.start().map(|start| Timestamp::from_nanos(start.at.saturating_add(self.timeout_nanos)))
    }

    /// When something happens to it without anything from outside.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadline().or(self.backoff_until()).or(self.sticky_until())
    }

    /// A worker has it now. The id is that of the started event, and of no use for a task that is not written.
    pub(crate) fn begin(&mut self, started_event_id: i64, start: TaskStart) {
        self.kind = match self.kind {
            TaskKind::Written(_) => TaskKind::Written(WrittenStage::Started { started_event_id, start }),
            TaskKind::Transient(_) => TaskKind::Transient(TransientStage::Started(start)),
            TaskKind::Speculative(_) => TaskKind::Speculative(SpeculativeStage::Started(start)),
        };
    }

    /// It waits for no sticky worker any more: this is another dispatch.
    pub(crate) fn leave_sticky(&mut self, last_stamp: &mut i64) {
        if self.is_speculative() {
            // Its stamp is its own: what only memory has does not move what is stored.
            self.stamp += 1;
            self.kind = TaskKind::Speculative(SpeculativeStage::Offerable);
        } else {
            *last_stamp += 1;
            self.stamp = *last_stamp;
            self.kind = TaskKind::Written(WrittenStage::Offerable);
        }
    }

    /// Matching keeps it durably, if it is not sticky: sticky queues live in memory only.
    pub(crate) fn backlog(&mut self) {
        match &mut self.kind {
            TaskKind::Written(stage @ WrittenStage::Offerable) => *stage = WrittenStage::Backlogged,
            TaskKind::Transient(stage @ TransientStage::Offerable) => *stage = TransientStage::Backlogged,
            TaskKind::Speculative(stage @ SpeculativeStage::Offerable) => *stage = SpeculativeStage::Backlogged,
            _ => {}
        }
    }

    /// Its backoff is over.
    pub(crate) fn end_backoff(&mut self) {
        if self.backoff_until().is_some() {
            self.kind = TaskKind::Transient(TransientStage::Offerable);
        }
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
