//! RecordActivityTaskHeartbeatById: an activity is alive, told by somebody who knows its id.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::deadline::Call;
use crate::validation::{fields};

pub(crate) fn check(request: &mut wire::RecordActivityTaskHeartbeatByIdRequest, limits: &RequestLimits) -> ServiceResult<()> {
    activity::check_ids(&request.workflow_id, &request.run_id, &request.activity_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: &Frontend,
    call: Call,
    request: wire::RecordActivityTaskHeartbeatByIdRequest,
) -> ServiceResult<wire::RecordActivityTaskHeartbeatByIdResponse> {
    let (workflow_id, run_id) = (request.workflow_id, request.run_id);
    let (ctx, activity) =
        activity::by_id(frontend, &call, &request.namespace, workflow_id, run_id, request.activity_id).await?;
    let by_token = wire::RecordActivityTaskHeartbeatRequest {
        details: request.details,
        identity: request.identity,
        namespace: request.namespace,
        resource_id: request.resource_id,
        ..wire::RecordActivityTaskHeartbeatRequest::default()
    };
    let response = activity::heartbeat(frontend, &ctx, activity, by_token).await?;
    Ok(wire::RecordActivityTaskHeartbeatByIdResponse {
        cancel_requested: response.cancel_requested,
        activity_paused: response.activity_paused,
        activity_reset: response.activity_reset,
    })
}
