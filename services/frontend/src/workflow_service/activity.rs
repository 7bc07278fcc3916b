//! Which activity a request speaks of, and what happens to answers that are too large to keep. Failing the call would
//! only make the worker try again with the same bytes, so the activity itself fails, and says why.

use api::temporal::api::common::v1::Payloads;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{ActivityRef, ActivityReport, CallContext, ServiceResult};
use settings::RequestLimits;

use crate::Frontend;
use crate::validation::{failures, fields, payloads};

/// Checks the three ids that name an activity.
pub(super) fn check_ids(
    workflow_id: &str,
    run_id: &str,
    activity_id: &str,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::required_id("workflow_id", workflow_id, limits)?;
    fields::run_id("run_id", run_id)?;
    fields::required_id("activity_id", activity_id, limits)
}

/// Records a heartbeat.
pub(super) async fn heartbeat(
    frontend: &Frontend,
    ctx: &CallContext,
    activity: ActivityRef,
    request: wire::RecordActivityTaskHeartbeatRequest,
) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
    let limits = &frontend.settings().limits;
    if payloads::fit(request.details.as_ref(), limits) {
        return frontend.history().heartbeat_activity(ctx, ActivityReport { activity, request }).await;
    }
    let failure = too_large("heartbeat details", request.details.as_ref(), limits);
    fail_instead(frontend, ctx, activity, failure, request.identity).await?;
    // Ends the work: its result is not waited for any more.
    Ok(wire::RecordActivityTaskHeartbeatResponse { cancel_requested: true, ..Default::default() })
}

/// Records a result.
pub(super) async fn complete(
    frontend: &Frontend,
    ctx: &CallContext,
    activity: ActivityRef,
    request: wire::RespondActivityTaskCompletedRequest,
) -> ServiceResult<()> {
    let limits = &frontend.settings().limits;
    if payloads::fit(request.result.as_ref(), limits) {
        return frontend.history().complete_activity(ctx, ActivityReport { activity, request }).await.map(drop);
    }
    let failure = too_large("activity result", request.result.as_ref(), limits);
    fail_instead(frontend, ctx, activity, failure, request.identity).await
}

/// Records that a cancellation was accepted.
pub(super) async fn cancel(
    frontend: &Frontend,
    ctx: &CallContext,
    activity: ActivityRef,
    request: wire::RespondActivityTaskCanceledRequest,
) -> ServiceResult<()> {
    let limits = &frontend.settings().limits;
    if payloads::fit(request.details.as_ref(), limits) {
        return frontend.history().cancel_activity(ctx, ActivityReport { activity, request }).await.map(drop);
    }
    let failure = too_large("cancellation details", request.details.as_ref(), limits);
    fail_instead(frontend, ctx, activity, failure, request.identity).await
}

/// Records a failure; what is too large of it is left out.
pub(super) async fn fail(
    frontend: &Frontend,
    ctx: &CallContext,
    activity: ActivityRef,
    mut request: wire::RespondActivityTaskFailedRequest,
) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
    let limits = &frontend.settings().limits;
    let mut failures = Vec::new();
    if !payloads::fit(request.last_heartbeat_details.as_ref(), limits) {
        failures.push(too_large("last_heartbeat_details", request.last_heartbeat_details.as_ref(), limits));
        request.last_heartbeat_details = None;
    }
    let mut response = frontend.history().fail_activity(ctx, ActivityReport { activity, request }).await?;
    response.failures.extend(failures);
    Ok(response)
}

fn too_large(what: &str, details: Option<&Payloads>, limits: &RequestLimits) -> Failure {
    failures::server_failure(payloads::excess(what, details, limits))
}

async fn fail_instead(
    frontend: &Frontend,
    ctx: &CallContext,
    activity: ActivityRef,
    failure: Failure,
    identity: String,
) -> ServiceResult<()> {
    let request = wire::RespondActivityTaskFailedRequest {
        failure: Some(failure),
        identity,
        namespace: ctx.namespace.name.clone(),
        ..wire::RespondActivityTaskFailedRequest::default()
    };
    frontend.history().fail_activity(ctx, ActivityReport { activity, request }).await.map(drop)
}
