//! What a run waits for: activities, timers, children, signals and cancel requests on their way to other workflows; and
//! which requests to start it came later.

use std::sync::Arc;

use api::temporal::api::common::v1::{Payloads, WorkflowExecution};
use api::temporal::api::enums::v1::ParentClosePolicy;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::{
    ActivityTaskScheduledEventAttributes, RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes, StartChildWorkflowExecutionInitiatedEventAttributes,
};
use api::temporal::api::sdk::v1::UserMetadata;
use ids::Timestamp;

use crate::duration::from_wire;
use crate::retry::ResolvedRetry;

/// An activity that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Its ActivityTaskScheduled event.
    pub scheduled_event_id: i64,
    /// When that was.
    pub first_scheduled_at: i64,
    /// What that event says; never changes.
    pub schedule: Arc<ActivityTaskScheduledEventAttributes>,
    /// What has happened since.
    pub progress: ActivityProgress,
}

/// What has happened to an activity since it was scheduled. Times in nanoseconds since the epoch, 0 for none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ActivityProgress {
    /// From 1.
    #[prost(int32, tag = "1")]
    pub attempt: i32,
    /// When this attempt was, or is to be, scheduled: later than now while a retry backs off.
    #[prost(int64, tag = "2")]
    pub scheduled_at: i64,
    /// When this attempt started.
    #[prost(int64, tag = "3")]
    pub started_at: i64,
    /// The start's request id.
    #[prost(string, tag = "4")]
    pub request_id: String,
    /// The worker that runs this attempt, or ran the last one.
    #[prost(string, tag = "5")]
    pub identity: String,
    /// When this attempt last reported.
    #[prost(int64, tag = "6")]
    pub heartbeat_at: i64,
    /// What was last reported, by any attempt.
    #[prost(message, optional, tag = "7")]
    pub heartbeat_details: Option<Payloads>,
    /// How the last attempt failed.
    #[prost(message, optional, tag = "8")]
    pub last_failure: Option<Failure>,
    /// When the last attempt ended.
    #[prost(int64, tag = "9")]
    pub last_attempt_ended_at: i64,
    /// The ActivityTaskCancelRequested event; 0 for none.
    #[prost(int64, tag = "10")]
    pub cancel_requested_event_id: i64,
    /// Whether matching has persisted this attempt's task.
    #[prost(bool, tag = "11")]
    pub persisted: bool,
    /// Whether this attempt's backoff is over, so that its task may be offered.
    #[prost(bool, tag = "12")]
    pub due: bool,
}

/// Where an activity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityState {
    /// A retry waits for its time.
    BackingOff,
    /// No poller has taken the task yet.
    Waiting,
    /// A worker runs it.
    Started,
}

impl ActivityState {
    /// Whether its task is to be offered.
    pub fn is_waiting_for_poller(self) -> bool {
        self == Self::Waiting
    }
}

/// Where an activity stands.
pub fn activity_state(activity: &Activity) -> ActivityState {
    match &activity.progress {
        progress if progress.started_at != 0 => ActivityState::Started,
        progress if progress.due => ActivityState::Waiting,
        _ => ActivityState::BackingOff,
    }
}

impl Activity {
    /// The author's id for it.
    pub fn id(&self) -> &str {
        &self.schedule.activity_id
    }

    /// Its task queue.
    pub fn task_queue_name(&self) -> &str {
        self.schedule.task_queue.as_ref().map_or("", |queue| &queue.name)
    }

    /// Whether cancellation has been asked for.
    pub fn cancel_requested(&self) -> bool {
        self.progress.cancel_requested_event_id != 0
    }

    /// Its retry policy, with defaults filled in.
    pub fn retry(&self) -> Option<ResolvedRetry> {
        self.schedule.retry_policy.as_ref().map(ResolvedRetry::of)
    }

    /// When all attempts together must have ended.
    pub fn close_deadline(&self) -> Option<Timestamp> {
        let timeout = from_wire(self.schedule.schedule_to_close_timeout.as_ref())?;
        Some(Timestamp::from_nanos(self.first_scheduled_at) + timeout)
    }

    /// When the attempt that waits for a poller is given up: by its schedule-to-start or schedule-to-close timeout.
    pub fn next_schedule_deadline(&self) -> Option<Timestamp> {
        let start = from_wire(self.schedule.schedule_to_start_timeout.as_ref())
            .map(|timeout| Timestamp::from_nanos(self.progress.scheduled_at) + timeout);
        [start, self.close_deadline()].into_iter().flatten().min()
    }
}

/// A timer that has not fired.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Timer {
    /// The author's id for it.
    #[prost(string, tag = "1")]
    pub timer_id: String,
    /// Its TimerStarted event.
    #[prost(int64, tag = "2")]
    pub started_event_id: i64,
    /// Nanoseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub fires_at: i64,
    /// When it was set: the time of that event. 0 where an earlier release has set it.
    #[prost(int64, tag = "4")]
    pub set_at: i64,
}

/// A request to start a workflow that was open already, and is known to its run from then on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttachedRequest {
    /// The request.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// Its WorkflowExecutionOptionsUpdated event; 0 while that is buffered.
    #[prost(int64, tag = "2")]
    pub event_id: i64,
}

/// A child workflow that has not closed, as its parent sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its StartChildWorkflowExecutionInitiated event.
    pub initiated_event_id: i64,
    /// What that event says; never changes.
    pub initiated: Arc<StartChildWorkflowExecutionInitiatedEventAttributes>,
    /// What the author says of it to people; goes over to the child.
    pub user_metadata: Option<UserMetadata>,
    /// Its first run; empty until started.
    pub run_id: String,
    /// The ChildWorkflowExecutionStarted event; 0 until that is in the history.
    pub started_event_id: i64,
}

impl Child {
    /// Its workflow ID.
    pub fn workflow_id(&self) -> &str {
        &self.initiated.workflow_id
    }

    /// Whether it is known to have been started.
    pub fn is_started(&self) -> bool {
        !self.run_id.is_empty()
    }

    /// The child by its first run.
    pub fn execution(&self) -> WorkflowExecution {
        WorkflowExecution { workflow_id: self.initiated.workflow_id.clone(), run_id: self.run_id.clone() }
    }

    /// What becomes of it when the parent closes; unset means terminate.
    pub fn close_policy(&self) -> ParentClosePolicy {
        match ParentClosePolicy::try_from(self.initiated.parent_close_policy) {
            Ok(ParentClosePolicy::Unspecified) | Err(_) => ParentClosePolicy::Terminate,
            Ok(policy) => policy,
        }
    }
}

/// A signal on its way to another workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalSignal {
    /// Its SignalExternalWorkflowExecutionInitiated event.
    pub initiated_event_id: i64,
    /// What that event says.
    pub initiated: Arc<SignalExternalWorkflowExecutionInitiatedEventAttributes>,
}

/// A cancel request on its way to another workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalCancel {
    /// Its RequestCancelExternalWorkflowExecutionInitiated event.
    pub initiated_event_id: i64,
    /// What that event says.
    pub initiated: Arc<RequestCancelExternalWorkflowExecutionInitiatedEventAttributes>,
}

impl ExternalSignal {
    /// The workflow ID that it is for.
    pub fn target(&self) -> &str {
        self.initiated.workflow_execution.as_ref().map_or("", |execution| &execution.workflow_id)
    }
}

impl ExternalCancel {
    /// The workflow ID that it is for.
    pub fn target(&self) -> &str {
        self.initiated.workflow_execution.as_ref().map_or("", |execution| &execution.workflow_id)
    }
}

impl Child {
    /// Whether the close of its parent concerns it.
    pub(crate) fn must_be_released(&self) -> bool {
        self.close_policy() != ParentClosePolicy::Abandon
    }
}
