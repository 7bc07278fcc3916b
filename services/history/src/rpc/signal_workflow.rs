//! SignalWorkflowExecution.

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::workflowservice::v1::{SignalWorkflowExecutionRequest, SignalWorkflowExecutionResponse};
use calls::{CallContext, ServiceResult};
use execution::{Signal, Signalled};

use crate::HistoryService;
use crate::links;
use crate::service::named;

pub(super) async fn signal_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    request: SignalWorkflowExecutionRequest,
) -> ServiceResult<SignalWorkflowExecutionResponse> {
    let execution = named(request.workflow_execution);
    let key = service.key(ctx, &execution.workflow_id);
    let request_id = service.request_id(request.request_id);
    let signal = Signal {
        request_id: request_id.clone(),
        name: request.signal_name,
        input: request.input,
        header: request.header,
        identity: request.identity,
        links: request.links,
        ..Signal::default()
    };
    let Signalled { run_id } = service.call(&key, execution.run_id, signal).await?;
    let signalled = WorkflowExecution { workflow_id: execution.workflow_id, run_id };
    Ok(SignalWorkflowExecutionResponse { link: Some(links::to_signal(ctx, signalled, &request_id)) })
}
