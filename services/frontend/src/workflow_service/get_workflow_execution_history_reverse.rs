//! GetWorkflowExecutionHistoryReverse: events from the last on.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::history_page;
use crate::Frontend;
use crate::methods::Tenant;
use crate::tokens::{self, Kind};
use crate::validation::fields;

pub(crate) fn check(
    request: &mut wire::GetWorkflowExecutionHistoryReverseRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::execution("execution", request.execution.as_ref(), limits)?;
    fields::page_size("maximum_page_size", request.maximum_page_size)
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    mut request: wire::GetWorkflowExecutionHistoryReverseRequest,
) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
    let kind = Kind::ReverseHistoryPage;
    let execution = request.execution.as_ref();
    request.next_page_token = history_page::open(&frontend, &ctx, kind, execution, &request.next_page_token).await?;
    let mut response = frontend.history().get_history_reverse(&ctx, request).await?;
    response.next_page_token = tokens::seal(&frontend.keys(), kind, &response.next_page_token);
    Ok(response)
}
