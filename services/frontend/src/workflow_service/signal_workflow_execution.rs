//! SignalWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, labels, payloads};

pub(crate) fn check(request: &mut wire::SignalWorkflowExecutionRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::execution("workflow_execution", request.workflow_execution.as_ref(), limits)?;
    fields::required_id("signal_name", &request.signal_name, limits)?;
    fields::optional_id("request_id", &request.request_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    payloads::blob("input", request.input.as_ref(), limits)?;
    payloads::header(request.header.as_ref(), limits)?;
    labels::links(&request.links, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    mut request: wire::SignalWorkflowExecutionRequest,
) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
    if request.request_id.is_empty() {
        request.request_id = frontend.runtime().uuid();
    }
    frontend.history().signal_workflow(&ctx, request).await
}
