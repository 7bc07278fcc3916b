//! RespondActivityTaskFailedById: an activity's failure, reported by its id.

use api::temporal::api::workflowservice::v1 as wire;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{failures, fields};

pub(crate) fn check(
    request: &mut wire::RespondActivityTaskFailedByIdRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    activity::check_ids(&request.workflow_id, &request.run_id, &request.activity_id, limits)?;
    failures::fit(request.failure.as_mut(), limits);
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::RespondActivityTaskFailedByIdRequest,
) -> ServiceResult<wire::RespondActivityTaskFailedByIdResponse> {
    let (workflow_id, run_id) = (request.workflow_id, request.run_id);
    let activity = ActivityRef::Id { workflow_id, run_id, activity_id: request.activity_id };
    let by_token = wire::RespondActivityTaskFailedRequest {
        failure: request.failure,
        last_heartbeat_details: request.last_heartbeat_details,
        cause: request.cause,
        identity: request.identity,
        namespace: request.namespace,
        resource_id: request.resource_id,
        ..wire::RespondActivityTaskFailedRequest::default()
    };
    let response = activity::fail(&frontend, &ctx, activity, by_token).await?;
    Ok(wire::RespondActivityTaskFailedByIdResponse { failures: response.failures })
}
