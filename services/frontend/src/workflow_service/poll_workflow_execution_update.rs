//! PollWorkflowExecutionUpdate.

use api::temporal::api::workflowservice::v1 as wire;
use calls::{ServiceError, ServiceResult};
use settings::RequestLimits;

use super::update_workflow_execution::{update_id, wait_policy};
use crate::Frontend;
use crate::methods::Tenant;
use crate::quotas::Poll;
use crate::validation::{fields, invalid};

pub(crate) fn check(
    request: &mut wire::PollWorkflowExecutionUpdateRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    let Some(update) = &request.update_ref else { return invalid("update_ref is not set".to_owned()) };
    fields::execution("update_ref.workflow_execution", update.workflow_execution.as_ref(), limits)?;
    if update.update_id.is_empty() {
        return invalid("update_ref.update_id is not set".to_owned());
    }
    update_id("update_ref.update_id", &update.update_id, limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    wait_policy(request.wait_policy.as_ref())
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    request: wire::PollWorkflowExecutionUpdateRequest,
) -> ServiceResult<wire::PollWorkflowExecutionUpdateResponse> {
    let long_polls = &frontend.settings().long_polls;
    let ctx = ctx.until(call.deadline(long_polls.update, long_polls.margin));
    let _place = frontend.wait(&ctx, Poll::Update)?;
    tokio::select! {
        response = frontend.history().poll_update(&ctx, request) => response,
        () = frontend.stopping().cancelled() => {
            Err(ServiceError::Unavailable("the server is stopping, try another".to_owned()))
        }
    }
}
