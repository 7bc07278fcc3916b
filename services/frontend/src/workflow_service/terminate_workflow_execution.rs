//! TerminateWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use cluster::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::deadline::Call;
use crate::validation::{fields, labels, payloads};

pub(crate) fn check(
    request: &mut wire::TerminateWorkflowExecutionRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::execution("workflow_execution", request.workflow_execution.as_ref(), limits)?;
    fields::run_id("first_execution_run_id", &request.first_execution_run_id)?;
    fields::optional_id("identity", &request.identity, limits)?;
    payloads::text("reason", &request.reason, limits)?;
    payloads::blob("details", request.details.as_ref(), limits)?;
    labels::links(&request.links, limits)
}

pub(crate) async fn serve(
    frontend: &Frontend,
    _: Call,
    request: wire::TerminateWorkflowExecutionRequest,
) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
    let ctx = frontend.tenant(&request.namespace).await?;
    frontend.history().terminate_workflow(&ctx, request).await
}
