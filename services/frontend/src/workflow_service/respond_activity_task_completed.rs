//! RespondActivityTaskCompleted: an activity's result.

use api::temporal::api::workflowservice::v1 as wire;
use calls::token::ActivityTaskToken;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::OfTask;
use crate::validation::{fields, versioning};

pub(crate) fn check(
    request: &mut wire::RespondActivityTaskCompletedRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)?;
    versioning::stamp("worker_version", request.worker_version.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    OfTask { ctx, token }: OfTask<ActivityTaskToken>,
    request: wire::RespondActivityTaskCompletedRequest,
) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
    let activity = ActivityRef::Token(token);
    activity::complete(&frontend, &ctx, activity, request).await?;
    Ok(wire::RespondActivityTaskCompletedResponse {})
}
