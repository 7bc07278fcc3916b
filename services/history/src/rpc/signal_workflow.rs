//! SignalWorkflowExecution.

use api::temporal::api::workflowservice::v1::{SignalWorkflowExecutionRequest, SignalWorkflowExecutionResponse};
use cluster::{ServiceResult, TenantCtx};
use execution::{Input, Signal};

use crate::HistoryService;
use crate::service::named;

pub(super) async fn signal_workflow(
    service: &HistoryService,
    ctx: &TenantCtx,
    request: SignalWorkflowExecutionRequest,
) -> ServiceResult<SignalWorkflowExecutionResponse> {
    let execution = named(request.workflow_execution);
    let key = service.key(ctx, &execution.workflow_id);
    let signal = Signal {
        run_id: execution.run_id,
        request_id: service.request_id(request.request_id),
        name: request.signal_name,
        input: request.input,
        header: request.header,
        identity: request.identity,
        links: request.links,
        ..Signal::default()
    };
    service.ask(&key, Input::Signal(Box::new(signal))).await?;
    Ok(SignalWorkflowExecutionResponse::default())
}
