//! RespondWorkflowTaskFailed: a worker could not make decisions.

use api::temporal::api::workflowservice::v1 as wire;
use calls::token::WorkflowTaskToken;
use calls::{Opened, ServiceResult};
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::OfTask;
use crate::validation::{failures, fields, versioning};

pub(crate) fn check(request: &mut wire::RespondWorkflowTaskFailedRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)?;
    fields::optional_id("binary_checksum", &request.binary_checksum, limits)?;
    versioning::stamp("worker_version", request.worker_version.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)?;
    failures::fit(request.failure.as_mut(), limits);
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    OfTask { ctx, token }: OfTask<WorkflowTaskToken>,
    request: wire::RespondWorkflowTaskFailedRequest,
) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
    frontend.history().fail_workflow_task(&ctx, Opened { token, request }).await
}
