//! ResetWorkflowExecution.

use api::temporal::api::enums::v1::{ResetReapplyExcludeType, ResetReapplyType};
use api::temporal::api::workflow::v1::PostResetOperation;
use api::temporal::api::workflow::v1::post_reset_operation::Variant;
use api::temporal::api::workflowservice::v1 as wire;
use api::texts;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, invalid, payloads};

pub(crate) fn check(request: &mut wire::ResetWorkflowExecutionRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::execution("workflow_execution", request.workflow_execution.as_ref(), limits)?;
    if request.request_id.is_empty() {
        return invalid(texts::REQUEST_ID_NOT_SET.to_owned());
    }
    fields::optional_id("request_id", &request.request_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    payloads::text("reason", &request.reason, limits)?;
    fields::known::<ResetReapplyType>("reset_reapply_type", request.reset_reapply_type)?;
    for excluded in &request.reset_reapply_exclude_types {
        fields::known::<ResetReapplyExcludeType>("reset_reapply_exclude_types", *excluded)?;
    }
    request.post_reset_operations.iter().try_for_each(operation)
}

fn operation(operation: &PostResetOperation) -> ServiceResult<()> {
    let name = match &operation.variant {
        Some(Variant::SignalWorkflow(_)) => "*workflow.PostResetOperation_SignalWorkflow_",
        Some(Variant::UpdateWorkflowOptions(_)) => "*workflow.PostResetOperation_UpdateWorkflowOptions_",
        None => "<nil>",
    };
    invalid(format!("unsupported post reset operation: {name}"))
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::ResetWorkflowExecutionRequest,
) -> ServiceResult<wire::ResetWorkflowExecutionResponse> {
    frontend.history().reset_workflow(&ctx, request).await
}
