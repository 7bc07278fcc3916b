//! RespondWorkflowTaskFailed.

use api::temporal::api::workflowservice::v1::{RespondWorkflowTaskFailedRequest, RespondWorkflowTaskFailedResponse};
use calls::token::WorkflowTaskToken;
use calls::{CallContext, Opened, ServiceResult};
use execution::FailWorkflowTask;

use crate::HistoryService;
use crate::task_response::task_id;

pub(super) async fn fail_workflow_task(
    service: &HistoryService,
    ctx: &CallContext,
    Opened { token, request }: Opened<WorkflowTaskToken, RespondWorkflowTaskFailedRequest>,
) -> ServiceResult<RespondWorkflowTaskFailedResponse> {
    let key = service.key(ctx, &token.workflow_id);
    let fail = FailWorkflowTask { task: task_id(&token), request };
    service.call_unshed(&key, token.run_id, fail).await?;
    Ok(RespondWorkflowTaskFailedResponse::default())
}
