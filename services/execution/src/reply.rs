//! What an input is answered with.

use std::sync::Arc;

use crate::{Activity, Change, Run, Workflow};

/// What was decided: `next` is the state with `changes` applied.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The durable facts, in order; empty when nothing changed.
    pub changes: Vec<Change>,
    /// Whether `next` differs in what only memory has.
    pub is_volatile: bool,
    /// The state after them.
    pub next: Workflow,
    /// The answer. Beside a rejection changes were made and must be durable (a completion whose commands were bad).
    pub reply: Result<Reply, Rejection>,
}

/// Makes the enum of all replies, and the way from each to it and back.
macro_rules! replies {
    ($($(#[$doc:meta])* $variant:ident($reply:ty),)*) => {
        /// The answer to an input: which, follows from what was asked (see [`crate::Asked`]). Runs are snapshots after the
        /// transition.
        #[derive(Clone, Debug)]
        pub enum Reply {
            $($(#[$doc])* $variant($reply),)*
        }

        $(
            impl From<$reply> for Reply {
                fn from(reply: $reply) -> Self {
                    Self::$variant(reply)
                }
            }

            impl TryFrom<Reply> for $reply {
                type Error = Reply;

                fn try_from(reply: Reply) -> Result<Self, Reply> {
                    match reply {
                        Reply::$variant(reply) => Ok(reply),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

replies! {
    /// Nothing to say.
    Done(()),
    /// To a start.
    Started(Started),
    /// To a signal.
    Signalled(Signalled),
    /// To a reset.
    ResetDone(ResetDone),
    /// The run.
    Run(Arc<Run>),
    /// To a start of the workflow task.
    TaskTaken(TaskTaken),
    /// To a start of an activity.
    ActivityTaken(ActivityTaken),
    /// To a worker's decisions.
    TaskCompleted(TaskCompleted),
    /// To a heartbeat.
    HeartbeatNoted(HeartbeatNoted),
}

/// How a start went.
#[derive(Clone, Debug)]
pub struct Started {
    /// The run that was started, found by request id, or used instead.
    pub run: Arc<Run>,
    /// Whether this request started it.
    pub started: bool,
    /// Whether its first task was started for the caller (eager start).
    pub eager: bool,
    /// Whether the signal of a signal-with-start is in it.
    pub signalled: bool,
}

/// Where a signal went.
#[derive(Clone, Debug)]
pub struct Signalled {
    /// The run that the signal is in, now or since it was sent the first time.
    pub run_id: String,
}

/// What a reset has made.
#[derive(Clone, Debug)]
pub struct ResetDone {
    /// The new run, made now or when the request came the first time.
    pub run_id: String,
}

/// Whether the workflow task may be given out.
#[derive(Clone, Debug)]
pub enum TaskTaken {
    /// The run, whose workflow task is started.
    Started(Arc<Run>),
    /// The task is no longer wanted.
    Stale,
}

/// Whether an activity attempt may be given out.
#[derive(Clone, Debug)]
pub enum ActivityTaken {
    /// It is started.
    Started {
        /// The run.
        run: Arc<Run>,
        /// The activity.
        activity: Arc<Activity>,
    },
    /// The attempt is no longer wanted.
    Stale,
}

/// What a worker gets for its decisions.
#[derive(Clone, Debug)]
pub struct TaskCompleted {
    /// The run.
    pub run: Arc<Run>,
    /// Whether a new workflow task was started for the worker.
    pub new_task: bool,
    /// Activities started for the worker.
    pub eager_activities: Vec<Arc<Activity>>,
    /// The last event that the worker is to go on from, if the task that it completed left no trace.
    pub reset_to: Option<i64>,
}

/// The answer to a worker that reports on an activity.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatNoted {
    /// The workflow wants it cancelled.
    pub cancel_requested: bool,
}

/// Why an input was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No such workflow, run, task, activity. NOT_FOUND.
    #[error("{0}")]
    NotFound(String),
    /// The run is closed. NOT_FOUND.
    #[error("{}", api::texts::ALREADY_COMPLETED)]
    AlreadyCompleted,
    /// The id policies forbid a new run.
    #[error("{message}")]
    AlreadyStarted {
        /// What is said.
        message: String,
        /// The request that started the run in the way.
        start_request_id: String,
        /// The run in the way.
        run_id: String,
        /// The first run of its chain.
        first_execution_run_id: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// A limit of the run is reached: it takes no more signals. INVALID_ARGUMENT, since trying again does not help.
    #[error("{0}")]
    LimitExceeded(String),
    /// The run's workflow tasks fail, or it has taken all that it can take: nothing changes by itself. FAILED_PRECONDITION.
    #[error("{0}")]
    NotReady(String),
    /// So many are under way. RESOURCE_EXHAUSTED, with that limit as the cause.
    #[error("{0}")]
    TooManyInFlight(String),
    /// Not now; the same input may succeed in a moment. RESOURCE_EXHAUSTED, with the workflow's being busy as the cause.
    #[error("{0}")]
    NotYet(String),
}
