//! RecordActivityTaskHeartbeat: an activity is alive.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::deadline::Call;
use crate::validation::{fields};

pub(crate) fn check(request: &mut wire::RecordActivityTaskHeartbeatRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: &Frontend,
    call: Call,
    request: wire::RecordActivityTaskHeartbeatRequest,
) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
    let (ctx, activity) = activity::by_token(frontend, &call, &request.namespace, &request.task_token).await?;
    activity::heartbeat(frontend, &ctx, activity, request).await
}
