//! GetWorkflowExecutionHistoryReverse.

use api::temporal::api::history::v1::History;
use api::temporal::api::workflowservice::v1::{
    GetWorkflowExecutionHistoryReverseRequest, GetWorkflowExecutionHistoryReverseResponse,
};
use calls::token::HistoryPageToken;
use calls::{CallContext, ServiceError, ServiceResult};
use prost::Message;

use super::get_history::open_token;
use crate::HistoryService;
use crate::pages::read_backward;
use crate::service::named;

pub(super) async fn get_history_reverse(
    service: &HistoryService,
    ctx: &CallContext,
    request: GetWorkflowExecutionHistoryReverseRequest,
) -> ServiceResult<GetWorkflowExecutionHistoryReverseResponse> {
    let execution = named(request.execution);
    let (workflow_id, run_id, from) = if request.next_page_token.is_empty() {
        (execution.workflow_id, execution.run_id, i64::MAX)
    } else {
        let place = open_token(&request.next_page_token)?;
        if !execution.workflow_id.is_empty() && execution.workflow_id != place.workflow_id {
            return Err(ServiceError::InvalidArgument("next_page_token belongs to another workflow".to_owned()));
        }
        (place.workflow_id, place.run_id, place.next_event_id)
    };
    let key = service.key(ctx, &workflow_id);
    let run = service.read(&key, &run_id).await?;
    let most = service.page_size(request.maximum_page_size);
    let page = read_backward(&*service.store.table, &key, &run, from, most).await?;
    let next_event_id = page.events.last().map_or(0, |event| event.event_id - 1);
    let next_page_token = if next_event_id >= 1 {
        let token = HistoryPageToken {
            namespace_id: key.namespace.to_string(),
            workflow_id,
            run_id: run.core.run_id.clone(),
            next_event_id,
            ..HistoryPageToken::default()
        };
        token.encode_to_vec().into()
    } else {
        bytes::Bytes::new()
    };
    Ok(GetWorkflowExecutionHistoryReverseResponse { history: Some(History { events: page.events }), next_page_token })
}
