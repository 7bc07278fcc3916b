//! DescribeWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::fields;

pub(crate) fn check(request: &mut wire::DescribeWorkflowExecutionRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::execution("execution", request.execution.as_ref(), limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::DescribeWorkflowExecutionRequest,
) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
    frontend.history().describe_workflow(&ctx, request).await
}
