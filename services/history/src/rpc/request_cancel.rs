//! RequestCancelWorkflowExecution.

use api::temporal::api::workflowservice::v1::{
    RequestCancelWorkflowExecutionRequest, RequestCancelWorkflowExecutionResponse,
};
use calls::{CallContext, ServiceResult};
use execution::RequestCancel;

use crate::HistoryService;
use crate::service::named;

pub(super) async fn request_cancel(
    service: &HistoryService,
    ctx: &CallContext,
    request: RequestCancelWorkflowExecutionRequest,
) -> ServiceResult<RequestCancelWorkflowExecutionResponse> {
    let execution = named(request.workflow_execution);
    let key = service.key(ctx, &execution.workflow_id);
    let cancel = RequestCancel {
        request_id: service.request_id(request.request_id),
        first_execution_run_id: request.first_execution_run_id,
        reason: request.reason,
        identity: request.identity,
        links: request.links,
        ..RequestCancel::default()
    };
    service.call(&key, execution.run_id, cancel).await?;
    Ok(RequestCancelWorkflowExecutionResponse::default())
}
