//! RespondWorkflowTaskCompleted.

use api::temporal::api::workflowservice::v1::{
    RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskCompletedResponse,
};
use calls::token::WorkflowTaskToken;
use calls::{CallContext, Opened, ServiceResult};
use execution::{CompleteWorkflowTask, TaskCompleted};

use crate::HistoryService;
use crate::queries::RunName;
use crate::task_response::{Shipped, activity_task, task_id, workflow_task};

pub(super) async fn complete_workflow_task(
    service: &HistoryService,
    ctx: &CallContext,
    Opened { token, mut request }: Opened<WorkflowTaskToken, RespondWorkflowTaskCompletedRequest>,
) -> ServiceResult<RespondWorkflowTaskCompletedResponse> {
    let key = service.key(ctx, &token.workflow_id);
    let name = RunName { key: key.clone(), run_id: token.run_id.clone() };
    // A completion that is refused leaves them without an answer: their callers then take another route.
    let carried = service.queries.take_carried(&name, token.stamp);
    // Commands are held against the workflow's own namespace, which a worker need not name.
    request.namespace.clone_from(&ctx.namespace.name);
    let results = std::mem::take(&mut request.query_results);
    // Queries that came too late for this task are asked directly once it is complete.
    let complete = CompleteWorkflowTask { task: task_id(&token), request, more_wanted: false };
    let completed = service.call_unshed(&key, token.run_id, complete).await?;
    let TaskCompleted { run, new_task, eager_activities, reset_to } = completed;
    carried.answer(results);
    // A worker that completes a task has run the workflow up to it, whether or not it keeps a cache.
    let workflow_task = if new_task { Some(workflow_task(service, &key, &run, Shipped::New).await?) } else { None };
    let activity_tasks = eager_activities.iter().map(|activity| activity_task(service, &key, &run, activity)).collect();
    let reset_history_event_id = reset_to.unwrap_or(0);
    Ok(RespondWorkflowTaskCompletedResponse { workflow_task, activity_tasks, reset_history_event_id })
}
