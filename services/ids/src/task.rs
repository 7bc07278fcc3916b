//! Which task is meant, within its run and within its namespace.

use crate::{RunId, WorkflowId};

/// A dispatched task of a run. An answer that names another dispatch is stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskRef {
    /// The event that scheduled it.
    pub scheduled_event_id: i64,
    /// The attempt, from 1.
    pub attempt: i32,
    /// Rises with each dispatch of a workflow task; for an activity, 0.
    pub stamp: i64,
}

/// A task of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The run.
    pub run_id: RunId,
    /// The task in it.
    pub task: TaskRef,
}
