//! RespondWorkflowTaskFailed.

use api::temporal::api::workflowservice::v1::{RespondWorkflowTaskFailedRequest, RespondWorkflowTaskFailedResponse};
use cluster::token::WorkflowTaskToken;
use cluster::{ServiceResult, TenantCtx};
use execution::FailWorkflowTask;

use crate::HistoryService;
use crate::task_response::task_id;

pub(super) async fn fail_workflow_task(
    service: &HistoryService,
    ctx: &TenantCtx,
    token: WorkflowTaskToken,
    request: RespondWorkflowTaskFailedRequest,
) -> ServiceResult<RespondWorkflowTaskFailedResponse> {
    let key = service.key(ctx, &token.workflow_id);
    let fail = FailWorkflowTask { task: task_id(&token), request };
    service.give(&key, token.run_id, fail).await?;
    Ok(RespondWorkflowTaskFailedResponse::default())
}
