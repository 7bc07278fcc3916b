//! TerminateWorkflowExecution.

use api::temporal::api::workflowservice::v1::{TerminateWorkflowExecutionRequest, TerminateWorkflowExecutionResponse};
use calls::{CallContext, ServiceResult};
use execution::Terminate;

use crate::HistoryService;
use crate::service::named;

pub(super) async fn terminate_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    request: TerminateWorkflowExecutionRequest,
) -> ServiceResult<TerminateWorkflowExecutionResponse> {
    let execution = named(request.workflow_execution);
    let key = service.key(ctx, &execution.workflow_id);
    let terminate = Terminate {
        first_execution_run_id: request.first_execution_run_id,
        reason: request.reason,
        details: request.details,
        identity: request.identity,
        links: request.links,
        parent: None,
    };
    service.call(&key, execution.run_id, terminate).await?;
    Ok(TerminateWorkflowExecutionResponse::default())
}
