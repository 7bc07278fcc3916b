//! RecordActivityTaskHeartbeatById: an activity is alive, reported by its id.

use api::temporal::api::workflowservice::v1 as wire;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::fields;

pub(crate) fn check(
    request: &mut wire::RecordActivityTaskHeartbeatByIdRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    activity::check_ids(&request.workflow_id, &request.run_id, &request.activity_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::RecordActivityTaskHeartbeatByIdRequest,
) -> ServiceResult<wire::RecordActivityTaskHeartbeatByIdResponse> {
    let (workflow_id, run_id) = (request.workflow_id, request.run_id);
    let activity = ActivityRef::Id { workflow_id, run_id, activity_id: request.activity_id };
    let by_token = wire::RecordActivityTaskHeartbeatRequest {
        details: request.details,
        identity: request.identity,
        namespace: request.namespace,
        resource_id: request.resource_id,
        ..wire::RecordActivityTaskHeartbeatRequest::default()
    };
    let response = activity::heartbeat(&frontend, &ctx, activity, by_token).await?;
    Ok(wire::RecordActivityTaskHeartbeatByIdResponse {
        cancel_requested: response.cancel_requested,
        activity_paused: response.activity_paused,
        activity_reset: response.activity_reset,
    })
}
