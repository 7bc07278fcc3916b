//! Tasks on their way to a worker: their tokens are sealed here, wherever they leave.

use api::temporal::api::workflowservice::v1 as wire;

use crate::tokens::{self, Keys, Kind};

/// Seals a workflow task's tokens. A task that is a query carries a token of its own kind.
pub(crate) fn seal_workflow_task(keys: &Keys, task: &mut wire::PollWorkflowTaskQueueResponse) {
    let kind = if task.query.is_some() { Kind::QueryTask } else { Kind::WorkflowTask };
    task.task_token = tokens::seal(keys, kind, &task.task_token);
    task.next_page_token = tokens::seal(keys, Kind::HistoryPage, &task.next_page_token);
}

/// Seals an activity task's token.
pub(crate) fn seal_activity_task(keys: &Keys, task: &mut wire::PollActivityTaskQueueResponse) {
    task.task_token = tokens::seal(keys, Kind::ActivityTask, &task.task_token);
}
