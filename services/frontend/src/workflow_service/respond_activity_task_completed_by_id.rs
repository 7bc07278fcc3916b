//! RespondActivityTaskCompletedById: an activity's result, reported by its id.

use api::temporal::api::workflowservice::v1 as wire;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::fields;

pub(crate) fn check(
    request: &mut wire::RespondActivityTaskCompletedByIdRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    activity::check_ids(&request.workflow_id, &request.run_id, &request.activity_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::RespondActivityTaskCompletedByIdRequest,
) -> ServiceResult<wire::RespondActivityTaskCompletedByIdResponse> {
    let (workflow_id, run_id) = (request.workflow_id, request.run_id);
    let activity = ActivityRef::Id { workflow_id, run_id, activity_id: request.activity_id };
    let by_token = wire::RespondActivityTaskCompletedRequest {
        result: request.result,
        identity: request.identity,
        namespace: request.namespace,
        resource_id: request.resource_id,
        ..wire::RespondActivityTaskCompletedRequest::default()
    };
    activity::complete(&frontend, &ctx, activity, by_token).await?;
    Ok(wire::RespondActivityTaskCompletedByIdResponse {})
}
