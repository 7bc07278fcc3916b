//! RespondQueryTaskCompleted: a worker's answer to a query task.

use api::temporal::api::enums::v1::QueryResultType;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::QueryTaskToken;
use calls::{Opened, ServiceResult};
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::OfTask;
use crate::validation::{failures, fields, payloads};

pub(crate) fn check(request: &mut wire::RespondQueryTaskCompletedRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::known::<QueryResultType>("completed_type", request.completed_type)?;
    failures::fit(request.failure.as_mut(), limits);
    // The query's caller waits: it gets the error, not the worker.
    if !payloads::fit(request.query_result.as_ref(), limits) {
        request.completed_type = QueryResultType::Failed as i32;
        request.error_message = payloads::excess("query_result", request.query_result.take().as_ref(), limits);
        request.failure = Some(failures::server_failure(request.error_message.clone()));
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    OfTask { ctx, token }: OfTask<QueryTaskToken>,
    request: wire::RespondQueryTaskCompletedRequest,
) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
    frontend.matching().respond_query_task_completed(&ctx, Opened { token, request }).await
}
