//! RecordActivityTaskHeartbeat: an activity is alive.

use api::temporal::api::workflowservice::v1 as wire;
use calls::token::ActivityTaskToken;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::OfTask;
use crate::validation::fields;

pub(crate) fn check(
    request: &mut wire::RecordActivityTaskHeartbeatRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    OfTask { ctx, token }: OfTask<ActivityTaskToken>,
    request: wire::RecordActivityTaskHeartbeatRequest,
) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
    let activity = ActivityRef::Token(token);
    activity::heartbeat(&frontend, &ctx, activity, request).await
}
