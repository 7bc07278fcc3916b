//! QueryWorkflow.

use api::temporal::api::enums::v1::QueryRejectCondition;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{ServiceError, ServiceResult};
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, invalid, payloads};

pub(crate) fn check(request: &mut wire::QueryWorkflowRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::execution("execution", request.execution.as_ref(), limits)?;
    fields::known::<QueryRejectCondition>("query_reject_condition", request.query_reject_condition)?;
    let Some(query) = &request.query else { return invalid("query is not set".to_owned()) };
    fields::required_id("query.query_type", &query.query_type, limits)?;
    payloads::blob("query.query_args", query.query_args.as_ref(), limits)?;
    payloads::header(query.header.as_ref(), limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    request: wire::QueryWorkflowRequest,
) -> ServiceResult<wire::QueryWorkflowResponse> {
    let long_polls = &frontend.settings().long_polls;
    let ctx = ctx.until(call.deadline(call.timeout.unwrap_or(long_polls.query), long_polls.margin));
    // Its worker's polls end with the server, so no worker would answer.
    tokio::select! {
        response = frontend.history().query_workflow(&ctx, request) => response,
        () = frontend.stopping().cancelled() => {
            Err(ServiceError::Unavailable("the server is stopping, try another".to_owned()))
        }
    }
}
