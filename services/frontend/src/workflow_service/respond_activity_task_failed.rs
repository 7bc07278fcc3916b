//! RespondActivityTaskFailed: an activity's failure.

use api::temporal::api::workflowservice::v1 as wire;
use calls::token::ActivityTaskToken;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::OfTask;
use crate::validation::{failures, fields, versioning};

pub(crate) fn check(request: &mut wire::RespondActivityTaskFailedRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)?;
    failures::fit(request.failure.as_mut(), limits);
    versioning::stamp("worker_version", request.worker_version.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    OfTask { ctx, token }: OfTask<ActivityTaskToken>,
    request: wire::RespondActivityTaskFailedRequest,
) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
    let activity = ActivityRef::Token(token);
    activity::fail(&frontend, &ctx, activity, request).await
}
