//! RespondWorkflowTaskFailed.

use api::temporal::api::workflowservice::v1::{RespondWorkflowTaskFailedRequest, RespondWorkflowTaskFailedResponse};
use calls::token::WorkflowTaskToken;
use calls::{CallContext, Opened, ServiceResult};
use execution::{FailWorkflowTask, Input};

use super::task_id;
use crate::HistoryService;

pub(super) async fn fail_workflow_task(
    service: &HistoryService,
    ctx: &CallContext,
    Opened { token, request }: Opened<WorkflowTaskToken, RespondWorkflowTaskFailedRequest>,
) -> ServiceResult<RespondWorkflowTaskFailedResponse> {
    let key = service.key(ctx, &token.workflow_id);
    let fail = FailWorkflowTask { task: task_id(&token), request };
    service.give(&key, Input::FailWorkflowTask(Box::new(fail))).await?;
    Ok(RespondWorkflowTaskFailedResponse::default())
}
