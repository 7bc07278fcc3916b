//! GetWorkflowExecutionHistory: events from the first on, page by page, perhaps waiting for new ones.

use api::temporal::api::enums::v1::HistoryEventFilterType;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{GetHistory, ServiceError, ServiceResult};
use settings::RequestLimits;

use super::history_page;
use crate::Frontend;
use crate::methods::Tenant;
use crate::quotas::Poll;
use crate::tokens::{self, Kind};
use crate::validation::fields;

pub(crate) fn check(
    request: &mut wire::GetWorkflowExecutionHistoryRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::execution("execution", request.execution.as_ref(), limits)?;
    fields::page_size("maximum_page_size", request.maximum_page_size)?;
    fields::known::<HistoryEventFilterType>("history_event_filter_type", request.history_event_filter_type)?;
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    mut request: wire::GetWorkflowExecutionHistoryRequest,
) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
    let kind = Kind::HistoryPage;
    let execution = request.execution.as_ref();
    request.next_page_token = history_page::open(&frontend, &ctx, kind, execution, &request.next_page_token).await?;

    let long_polls = &frontend.settings().long_polls;
    let ctx = ctx.until(call.deadline(long_polls.history, long_polls.margin));
    let waits = request.wait_new_event;
    let get = GetHistory { unwritten: call.unwritten, request };
    let mut response = if waits {
        let _place = frontend.wait(&ctx, Poll::History)?;
        tokio::select! {
            response = frontend.history().get_history(&ctx, get) => response?,
            () = frontend.stopping().cancelled() => {
                return Err(ServiceError::Unavailable("the server is stopping, try another".to_owned()));
            }
        }
    } else {
        frontend.history().get_history(&ctx, get).await?
    };
    response.next_page_token = tokens::seal(&frontend.keys(), kind, &response.next_page_token);
    Ok(response)
}
