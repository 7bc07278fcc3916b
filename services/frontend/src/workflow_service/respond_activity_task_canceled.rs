//! RespondActivityTaskCanceled: an activity accepted its cancellation.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::deadline::Call;
use crate::validation::{fields, versioning};

pub(crate) fn check(request: &mut wire::RespondActivityTaskCanceledRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)?;
    versioning::stamp("worker_version", request.worker_version.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)
}

pub(crate) async fn serve(
    frontend: &Frontend,
    call: Call,
    request: wire::RespondActivityTaskCanceledRequest,
) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
    let (ctx, activity) = activity::by_token(frontend, &call, &request.namespace, &request.task_token).await?;
    activity::cancel(frontend, &ctx, activity, request).await?;
    Ok(wire::RespondActivityTaskCanceledResponse {})
}
