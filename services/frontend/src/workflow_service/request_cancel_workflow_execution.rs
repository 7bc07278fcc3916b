//! RequestCancelWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, labels, payloads};

pub(crate) fn check(
    request: &mut wire::RequestCancelWorkflowExecutionRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::execution("workflow_execution", request.workflow_execution.as_ref(), limits)?;
    fields::run_id("first_execution_run_id", &request.first_execution_run_id)?;
    fields::optional_id("request_id", &request.request_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    payloads::text("reason", &request.reason, limits)?;
    labels::links(&request.links, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    mut request: wire::RequestCancelWorkflowExecutionRequest,
) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
    if request.request_id.is_empty() {
        request.request_id = frontend.runtime().uuid();
    }
    frontend.history().request_cancel(&ctx, request).await
}
