//! RespondActivityTaskCanceledById: an activity accepted its cancellation, reported by its id.

use api::temporal::api::workflowservice::v1 as wire;
use calls::{ActivityRef, ServiceResult};
use settings::RequestLimits;

use super::activity;
use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, versioning};

pub(crate) fn check(
    request: &mut wire::RespondActivityTaskCanceledByIdRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    activity::check_ids(&request.workflow_id, &request.run_id, &request.activity_id, limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)?;
    fields::optional_id("identity", &request.identity, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::RespondActivityTaskCanceledByIdRequest,
) -> ServiceResult<wire::RespondActivityTaskCanceledByIdResponse> {
    let (workflow_id, run_id) = (request.workflow_id, request.run_id);
    let activity = ActivityRef::Id { workflow_id, run_id, activity_id: request.activity_id };
    let by_token = wire::RespondActivityTaskCanceledRequest {
        details: request.details,
        deployment_options: request.deployment_options,
        identity: request.identity,
        namespace: request.namespace,
        resource_id: request.resource_id,
        ..wire::RespondActivityTaskCanceledRequest::default()
    };
    activity::cancel(&frontend, &ctx, activity, by_token).await?;
    Ok(wire::RespondActivityTaskCanceledByIdResponse {})
}
