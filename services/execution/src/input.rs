//! What can be asked of a workflow ID.

use ids::TaskRef;
use std::sync::Arc;

use api::temporal::api::common::v1::{Header, Link, Payloads, WorkerVersionStamp, WorkflowExecution};
use api::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause,
};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::update::v1 as update;
use api::temporal::api::workflowservice::v1::{
    RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskFailedRequest, StartWorkflowExecutionRequest,
};

use crate::chain::Chain;
use crate::refs::RunRef;
use crate::replay::{Replay, Successor};
use crate::reply::{ActivityTaken, HeartbeatNoted, Reply, ResetDone, Signalled, Started, TaskCompleted, TaskTaken};
use crate::requests::RequestKind;
use crate::run::Run;

/// Something that is said to a workflow ID, or asked of it.
#[derive(Clone, Debug)]
pub struct Input {
    /// The run that is meant.
    pub run: RunRef,
    /// What is said.
    pub ask: Ask,
}

impl Input {
    /// About a run.
    pub fn new(run: impl Into<RunRef>, ask: impl Into<Ask>) -> Self {
        Self { run: run.into(), ask: ask.into() }
    }

    /// About the workflow ID.
    pub fn of_chain(ask: impl Into<Ask>) -> Self {
        Self::new(RunRef::Chain, ask)
    }
}

/// What can be asked, and the reply that it has: a wrong pair does not compile, neither where it is decided nor where it is
/// asked.
pub trait Asked: Into<Ask> {
    /// The reply.
    type Reply: Into<Reply> + TryFrom<Reply>;
}

/// Makes the enum of all that can be asked, and the reply of each.
macro_rules! asks {
    ($($(#[$doc:meta])* $ask:ident -> $reply:ty;)*) => {
        /// One request, answer or wake-up.
        #[derive(Clone, Debug)]
        pub enum Ask {
            $($(#[$doc])* $ask(Box<$ask>),)*
        }

        $(
            impl From<$ask> for Ask {
                fn from(ask: $ask) -> Self {
                    Self::$ask(Box::new(ask))
                }
            }

            impl Asked for $ask {
                type Reply = $reply;
            }
        )*
    };
}

asks! {
    /// Start a run, by the id policies.
    Start -> Started;
    /// Signal a run.
    Signal -> Signalled;
    /// Ask a run to cancel itself.
    RequestCancel -> Arc<Run>;
    /// Ask a run to take an update.
    Update -> Arc<Run>;
    /// End a run at once.
    Terminate -> Arc<Run>;
    /// Go on from an earlier point of a run, as a new one.
    Reset -> ResetDone;
    /// Forget the sticky queue.
    ResetSticky -> ();
    /// Look at a run.
    Read -> Arc<Run>;

    /// A poller is about to be given the workflow task.
    StartWorkflowTask -> TaskTaken;
    /// A worker's decisions.
    CompleteWorkflowTask -> TaskCompleted;
    /// A worker's inability to decide.
    FailWorkflowTask -> ();
    /// A poller is about to be given the activity attempt.
    StartActivity -> ActivityTaken;
    /// A result.
    CompleteActivity -> ();
    /// A failure.
    FailActivity -> ();
    /// The activity accepted its cancellation.
    CancelActivity -> ();
    /// The activity is alive.
    Heartbeat -> HeartbeatNoted;

    /// Look at all deadlines.
    WakeUp -> ();
    /// How the offer of a workflow task to matching ended.
    WorkflowTaskOffered -> ();
    /// How the offer of an activity task to matching ended.
    ActivityOffered -> ();
    /// How starting a child ended.
    ChildStarted -> ();
    /// A child has closed.
    ChildClosed -> ();
    /// The parent close policy has been carried out on a child (or it was gone already).
    ChildReleased -> ();
    /// The parent has been notified that this run's chain has closed (or is gone itself).
    ParentNotified -> ();
    /// How signalling another workflow ended.
    ExternalSignalled -> ();
    /// How asking another workflow to cancel ended.
    ExternalCancelRequested -> ();
}

/// Forget the sticky queue.
#[derive(Clone, Copy, Debug)]
pub struct ResetSticky;

/// Look at a run.
#[derive(Clone, Copy, Debug)]
pub struct Read;

/// Look at all deadlines.
#[derive(Clone, Copy, Debug)]
pub struct WakeUp;

/// The parent knows of the close.
#[derive(Clone, Copy, Debug)]
pub struct ParentNotified;

/// The parent close policy has been carried out.
#[derive(Clone, Copy, Debug)]
pub struct ChildReleased {
    /// The event that initiated the child.
    pub initiated_event_id: i64,
}

/// How starting a child ended.
#[derive(Clone, Debug)]
pub struct ChildStarted {
    /// The event that initiated the child.
    pub initiated_event_id: i64,
    /// The child's first run, or the cause of the failure.
    pub result: Result<String, StartChildWorkflowExecutionFailedCause>,
}

/// How signalling another workflow ended.
#[derive(Clone, Debug)]
pub struct ExternalSignalled {
    /// The event that initiated it.
    pub initiated_event_id: i64,
    /// The cause of a failure.
    pub result: Result<(), SignalExternalWorkflowExecutionFailedCause>,
}

/// How asking another workflow to cancel ended.
#[derive(Clone, Debug)]
pub struct ExternalCancelRequested {
    /// The event that initiated it.
    pub initiated_event_id: i64,
    /// The cause of a failure.
    pub result: Result<(), CancelExternalWorkflowExecutionFailedCause>,
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
    /// For update-with-start: the update that the first workflow task carries, or that goes to the open run.
    pub update: Option<Update>,
}

impl Start {
    /// The run that it led to, if it was carried out before.
    pub(crate) fn seen_in<'c>(&self, chain: &'c Chain) -> Option<&'c str> {
        chain.requests.get(self.kind(), &self.request.request_id)
    }

    /// As what its request is remembered.
    pub(crate) fn kind(&self) -> RequestKind {
        if self.parent.is_some() { RequestKind::Child } else { RequestKind::Start }
    }
}

/// Signal a run.
#[derive(Clone, Debug, Default)]
pub struct Signal {
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
    /// The run that it went to, if it was carried out before.
    pub(crate) fn seen_in<'c>(&self, chain: &'c Chain) -> Option<&'c str> {
        chain.requests.get(self.kind(), &self.request_id)
    }

    /// As what its request is remembered.
    pub(crate) fn kind(&self) -> RequestKind {
        if self.sender.is_some() { RequestKind::Sent } else { RequestKind::Signal }
    }
}

/// Ask a run to take an update.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Only if the run belongs to the chain that began with this one; empty for any.
    pub first_execution_run_id: String,
    /// What is asked. Its meta has the caller's id for the update, by which repeated requests are recognised.
    pub request: Arc<update::Request>,
}

impl Update {
    /// The caller's id for it.
    pub fn id(&self) -> &str {
        self.request.meta.as_ref().map_or("", |meta| &meta.update_id)
    }
}

/// Ask a run to cancel itself.
#[derive(Clone, Debug, Default)]
pub struct RequestCancel {
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

/// Go on from an earlier point of a run, as a new one, which becomes the current run. The one that is current ends.
#[derive(Clone, Debug, Default)]
pub struct Reset {
    /// For dedupe; empty for none.
    pub request_id: String,
    /// Why.
    pub reason: String,
    /// What came after that point and is to come to the new run too.
    pub reapply: Reapply,
    /// The run's history as it was lately, with the point that is meant.
    pub past: Replay,
    /// The runs that it has continued as, in order; not looked at where nothing is to be applied again.
    pub successors: Vec<Successor>,
}

/// What a reset applies again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reapply {
    /// Signals.
    pub signals: bool,
    /// Updates that the workflow had accepted.
    pub updates: bool,
}

impl Default for Reapply {
    fn default() -> Self {
        Self { signals: true, updates: true }
    }
}

/// A poller is about to be given the workflow task.
#[derive(Clone, Debug, Default)]
pub struct StartWorkflowTask(pub StartTask);

/// A poller is about to be given the activity attempt.
#[derive(Clone, Debug, Default)]
pub struct StartActivity(pub StartTask);

/// A poller is about to be given a task.
#[derive(Clone, Debug, Default)]
pub struct StartTask {
    /// The task.
    pub task: TaskRef,
    /// The poller's request: repeated starts with the same id get the same answer.
    pub request_id: String,
    /// The poller.
    pub identity: String,
    /// The poller's build, as it said.
    pub worker_version: Option<WorkerVersionStamp>,
}

/// A worker's decisions.
#[derive(Clone, Debug)]
pub struct CompleteWorkflowTask {
    /// The task, as its token says.
    pub task: TaskRef,
    /// The request.
    pub request: RespondWorkflowTaskCompletedRequest,
    /// Whether buffered queries are waiting, which wants another task when this one could not carry them.
    pub more_wanted: bool,
}

/// A worker's inability to decide.
#[derive(Clone, Debug)]
pub struct FailWorkflowTask {
    /// The task, as its token says.
    pub task: TaskRef,
    /// The request.
    pub request: RespondWorkflowTaskFailedRequest,
}

/// An activity's result.
#[derive(Clone, Debug)]
pub struct CompleteActivity(pub ActivityResult<Option<Payloads>>);

/// An activity's failure.
#[derive(Clone, Debug)]
pub struct FailActivity(pub ActivityResult<ActivityFailure>);

/// An activity accepted its cancellation, with these details.
#[derive(Clone, Debug)]
pub struct CancelActivity(pub ActivityResult<Option<Payloads>>);

/// An activity is alive, with these details.
#[derive(Clone, Debug)]
pub struct Heartbeat(pub ActivityResult<Option<Payloads>>);

/// Which activity, and what happened to it.
#[derive(Clone, Debug)]
pub struct ActivityResult<T> {
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

/// How the offer of a workflow task to matching ended.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowTaskOffered(pub TaskOffered);

/// How the offer of an activity task to matching ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityOffered(pub TaskOffered);

/// How an offer to matching ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOffered {
    /// The task.
    pub task: TaskRef,
    /// The end.
    pub outcome: Offered,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// A poller took it, or it was found stale.
    Taken,
    /// It is persisted in matching.
    Persisted,
    /// Sticky only: no worker polls the queue.
    Refused,
}

/// A child has closed.
#[derive(Clone, Debug)]
pub struct ChildClosed {
    /// The event that initiated the child.
    pub initiated_event_id: i64,
    /// The child, by its first run.
    pub child: WorkflowExecution,
    /// The child's closing event's attributes.
    pub outcome: Attributes,
}
