//! TerminateWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, labels, payloads};

/// What a termination without reason or identity is recorded with, as by the public server.
const DEFAULT_REASON: &str = "terminated by user via frontend";
const DEFAULT_IDENTITY: &str = "frontend-service";

pub(crate) fn check(
    request: &mut wire::TerminateWorkflowExecutionRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    if request.reason.is_empty() {
        DEFAULT_REASON.clone_into(&mut request.reason);
    }
    if request.identity.is_empty() {
        DEFAULT_IDENTITY.clone_into(&mut request.identity);
    }
    fields::execution("workflow_execution", request.workflow_execution.as_ref(), limits)?;
    fields::run_id("first_execution_run_id", &request.first_execution_run_id)?;
    fields::optional_id("identity", &request.identity, limits)?;
    payloads::text("reason", &request.reason, limits)?;
    payloads::blob("details", request.details.as_ref(), limits)?;
    labels::links(&request.links, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::TerminateWorkflowExecutionRequest,
) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
    frontend.history().terminate_workflow(&ctx, request).await
}
