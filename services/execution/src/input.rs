//! What can be asked of a workflow ID.

use api::temporal::api::common::v1::{Header, Link, Payloads, WorkerVersionStamp, WorkflowExecution};
use api::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause,
};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::workflowservice::v1::{
    RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskFailedRequest, StartWorkflowExecutionRequest,
};

use crate::requests::RequestKind;

/// One request, answer or wake-up. A `run_id` that is empty means the current run.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start a run, by the id policies.
    Start(Box<Start>),
    /// Signal a run.
    Signal(Box<Signal>),
    /// Ask a run to cancel itself.
    RequestCancel(Box<RequestCancel>),
    /// End a run at once.
    Terminate(Box<Terminate>),
    /// Forget the sticky queue.
    ResetSticky {
        /// The run.
        run_id: String,
    },
    /// Look at a run.
    Read {
        /// The run.
        run_id: String,
    },

    /// A poller is about to be given the workflow task.
    StartWorkflowTask(Box<StartTask>),
    /// A worker's decisions.
    CompleteWorkflowTask(Box<CompleteWorkflowTask>),
    /// A worker's inability to decide.
    FailWorkflowTask(Box<FailWorkflowTask>),
    /// A poller is about to be given the activity attempt.
    StartActivity(Box<StartTask>),
    /// A result.
    CompleteActivity(Box<ActivityResult<Option<Payloads>>>),
    /// A failure.
    FailActivity(Box<ActivityResult<ActivityFailure>>),
    /// The activity accepted its cancellation.
    CancelActivity(Box<ActivityResult<Option<Payloads>>>),
    /// The activity is alive.
    Heartbeat(Box<ActivityResult<Option<Payloads>>>),

    /// Look at all deadlines.
    WakeUp,
    /// How the offer of a workflow task to matching ended.
    WorkflowTaskOffered(TaskOffered),
    /// How the offer of an activity task to matching ended.
    ActivityOffered(TaskOffered),
    /// How starting a child ended: its run id, or why not.
    ChildStarted {
        /// The parent's run.
        run_id: String,
        /// The event that initiated the child.
        initiated_event_id: i64,
        /// The child's first run, or the cause of the failure.
        result: Result<String, StartChildWorkflowExecutionFailedCause>,
    },
    /// A child has closed.
    ChildClosed(Box<ChildClosed>),
    /// The parent close policy has been carried out on this child (or it was gone already).
    ChildReleased {
        /// The parent's run.
        run_id: String,
        /// The event that initiated the child.
        initiated_event_id: i64,
    },
    /// The parent knows that this run's chain has closed (or is gone itself).
    ParentNotified {
        /// The child's last run.
        run_id: String,
    },
    /// How signalling another workflow ended.
    ExternalSignalled {
        /// The signalling run.
        run_id: String,
        /// The event that initiated it.
        initiated_event_id: i64,
        /// The cause of a failure.
        result: Result<(), SignalExternalWorkflowExecutionFailedCause>,
    },
    /// How asking another workflow to cancel ended.
    ExternalCancelRequested {
        /// The asking run.
        run_id: String,
        /// The event that initiated it.
        initiated_event_id: i64,
        /// The cause of a failure.
        result: Result<(), CancelExternalWorkflowExecutionFailedCause>,
    },
}

/// Who started a child, and on whose behalf.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// The parent's namespace by name and id.
    pub namespace: String,
    /// The parent's namespace id.
    pub namespace_id: String,
    /// The parent's run.
    pub execution: WorkflowExecution,
    /// The event in the parent's history.
    pub initiated_event_id: i64,
    /// The root of the tree of parents.
    pub root: WorkflowExecution,
}

/// Start a run. Defaults not given in the request are filled in here.
#[derive(Clone, Debug)]
pub struct Start {
    /// As the caller sent it.
    pub request: StartWorkflowExecutionRequest,
    /// For a child.
    pub parent: Option<Parent>,
    /// For signal-with-start: the signal that becomes the first event, or goes to the open run.
    pub signal: Option<Signal>,
}

impl Start {
    /// As what its request is remembered.
    pub(crate) fn kind(&self) -> RequestKind {
        if self.parent.is_some() { RequestKind::Child } else { RequestKind::Start }
    }
}

/// Signal a run.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    /// Which run; empty for the current one.
    pub run_id: String,
    /// For dedupe; empty for none.
    pub request_id: String,
    /// The signal's name.
    pub name: String,
    /// Its input.
    pub input: Option<Payloads>,
    /// Its header.
    pub header: Option<Header>,
    /// Who sends it.
    pub identity: String,
    /// Where it comes from.
    pub links: Vec<Link>,
    /// The workflow that sends it, if one does.
    pub sender: Option<WorkflowExecution>,
    /// Only if the target is a child of the sender.
    pub child_only: bool,
}

impl Signal {
    /// As what its request is remembered.
    pub(crate) fn kind(&self) -> RequestKind {
        if self.sender.is_some() { RequestKind::Sent } else { RequestKind::Signal }
    }
}

/// Ask a run to cancel itself.
#[derive(Clone, Debug, Default)]
pub struct RequestCancel {
    /// Which run; empty for the current one.
    pub run_id: String,
    /// For dedupe; empty for none.
    pub request_id: String,
    /// Only if the run belongs to the chain that began with this one; empty for any.
    pub first_execution_run_id: String,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub identity: String,
    /// Where it comes from.
    pub links: Vec<Link>,
    /// The workflow that asks, if one does, and the event in its history.
    pub sender: Option<(WorkflowExecution, i64)>,
    /// Only if the target is a child of the sender.
    pub child_only: bool,
}

/// End a run at once.
#[derive(Clone, Debug, Default)]
pub struct Terminate {
    /// Which run; empty for the current one.
    pub run_id: String,
    /// Only if the run belongs to the chain that began with this one; empty for any.
    pub first_execution_run_id: String,
    /// Why.
    pub reason: String,
    /// More on why.
    pub details: Option<Payloads>,
    /// Who ends it.
    pub identity: String,
    /// Where it comes from.
    pub links: Vec<Link>,
    /// Only if the target is a child of this workflow.
    pub parent: Option<WorkflowExecution>,
}

/// A poller is about to be given a task.
#[derive(Clone, Debug, Default)]
pub struct StartTask {
    /// The run.
    pub run_id: String,
    /// The task.
    pub scheduled_event_id: i64,
    /// Its attempt.
    pub attempt: i32,
    /// Its stamp; for an activity, 0.
    pub stamp: i64,
    /// The poller's request: repeated starts with the same id get the same answer.
    pub request_id: String,
    /// The poller.
    pub identity: String,
    /// Names the worker process.
    pub worker_instance_key: String,
    /// The poller's build, as it said.
    pub worker_version: Option<WorkerVersionStamp>,
}

/// A worker's decisions.
#[derive(Clone, Debug)]
pub struct CompleteWorkflowTask {
    /// The task, as its token says.
    pub task: TaskId,
    /// The request.
    pub request: RespondWorkflowTaskCompletedRequest,
    /// Whether buffered queries are waiting, which wants another task when this one could not carry them.
    pub more_wanted: bool,
}

/// A worker's inability to decide.
#[derive(Clone, Debug)]
pub struct FailWorkflowTask {
    /// The task, as its token says.
    pub task: TaskId,
    /// The request.
    pub request: RespondWorkflowTaskFailedRequest,
}

/// A dispatched workflow task, as its token says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskId {
    /// The run.
    pub run_id: String,
    /// The WorkflowTaskScheduled event.
    pub scheduled_event_id: i64,
    /// The attempt.
    pub attempt: i32,
    /// The dispatch.
    pub stamp: i64,
}

/// Which activity, and what happened to it.
#[derive(Clone, Debug)]
pub struct ActivityResult<T> {
    /// The run; empty for the current one (by id only).
    pub run_id: String,
    /// Which of its activities.
    pub activity: ActivitySelector,
    /// Who says so.
    pub identity: String,
    /// That worker's build, as it said.
    pub worker_version: Option<WorkerVersionStamp>,
    /// What.
    pub outcome: T,
}

/// How an attempt failed.
#[derive(Clone, Debug, Default)]
pub struct ActivityFailure {
    /// As the worker says.
    pub failure: Option<Failure>,
    /// The kind of failure: an `ActivityTaskFailedCause`, perhaps of a newer API.
    pub cause: i32,
    /// Details of the last heartbeat that had not been sent.
    pub heartbeat_details: Option<Payloads>,
}

/// How a worker names an activity.
#[derive(Clone, Debug, PartialEq)]
pub enum ActivitySelector {
    /// By its task token.
    Attempt {
        /// The ActivityTaskScheduled event.
        scheduled_event_id: i64,
        /// The attempt.
        attempt: i32,
    },
    /// By the workflow author's id for it.
    Id(String),
}

/// How an offer to matching ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOffered {
    /// The run.
    pub run_id: String,
    /// The task.
    pub scheduled_event_id: i64,
    /// Its attempt.
    pub attempt: i32,
    /// Its stamp; for an activity, 0.
    pub stamp: i64,
    /// The end.
    pub outcome: Offered,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// A poller took it, or it was found stale.
    Taken,
    /// It waits durably in matching.
    Kept,
    /// Sticky only: nobody is there.
    Refused,
}

/// A child has closed.
#[derive(Clone, Debug)]
pub struct ChildClosed {
    /// The parent's run.
    pub run_id: String,
    /// The event that initiated the child.
    pub initiated_event_id: i64,
    /// The child, by its first run.
    pub child: WorkflowExecution,
    /// The child's closing event's attributes.
    pub outcome: Attributes,
}
