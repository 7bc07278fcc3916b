//! What an input is answered with.

use std::sync::Arc;

use crate::{Activity, Change, Run, Workflow};

/// What was decided: `next` is the state with `changes` applied.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The durable facts, in order; empty when nothing changed.
    pub changes: Vec<Change>,
    /// The state after them.
    pub next: Workflow,
    /// The answer.
    pub reply: Reply,
}

/// The answer to an input. Runs are snapshots after the transition.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// To `Start`.
    Started {
        /// The run that was started, found by request id, or used instead.
        run: Arc<Run>,
        /// Whether this request started it.
        started: bool,
        /// Whether its first task was started for the caller (eager start).
        eager: bool,
        /// Whether the signal of a signal-with-start is in it.
        signalled: bool,
    },
    /// To `Signal`.
    Signalled {
        /// The run that the signal is in, now or since it was sent the first time.
        run_id: String,
    },
    /// To `RequestCancel`, `Terminate`, `Read`: the run.
    Run(Arc<Run>),
    /// To `StartWorkflowTask`: the run, whose workflow task is started.
    TaskStarted(Arc<Run>),
    /// To `StartActivity`.
    ActivityStarted {
        /// The run.
        run: Arc<Run>,
        /// The activity, whose attempt is started.
        activity: Arc<Activity>,
    },
    /// The task that was to be started is no longer wanted.
    Stale,
    /// To `CompleteWorkflowTask`.
    TaskCompleted {
        /// The run.
        run: Arc<Run>,
        /// Whether a new workflow task was started for the worker.
        new_task: bool,
        /// Activities started for the worker.
        eager_activities: Vec<Arc<Activity>>,
    },
    /// To `Heartbeat`.
    Heartbeat {
        /// The workflow wants it cancelled.
        cancel_requested: bool,
    },
    /// Changes were made and must be durable, but the caller is told no (a completion whose commands were bad).
    Refused(Rejection),
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
    /// Not now; the same input may succeed in a moment. RESOURCE_EXHAUSTED, with the workflow's being busy as the cause.
    #[error("{0}")]
    NotYet(String),
}
