//! GetWorkflowExecutionHistory: pages, long polls, the closing event alone, and the further pages of a polled task.

use std::time::Duration;

use api::temporal::api::enums::v1::HistoryEventFilterType;
use api::temporal::api::history::v1::{History, HistoryEvent};
use api::temporal::api::workflowservice::v1::{
    GetWorkflowExecutionHistoryRequest, GetWorkflowExecutionHistoryResponse,
};
use calls::token::HistoryPageToken;
use calls::{CallContext, GetHistory, ResourceExhaustedCause, ServiceError, ServiceResult, UnwrittenEvents};
use entities::EntityKey;
use execution::{Run, transient_events};
use prost::Message;

use crate::HistoryService;
use crate::pages::read_forward;
use crate::service::named;
use crate::task_response::task_history;
use crate::watch::Watcher;

/// Long polls of histories and queries that may wait at a time, in the whole process.
const MOST_WAITING: usize = 20_000;

/// What a long poll beyond that is to wait. Each ends within a minute, so of as many some end each second.
const PLACE_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn get_history(
    service: &HistoryService,
    ctx: &CallContext,
    GetHistory { unwritten, request }: GetHistory,
) -> ServiceResult<GetWorkflowExecutionHistoryResponse> {
    let deadline = ctx.waits_until(service.runtime.now());
    let mut place = place_of(ctx, &request)?;
    let key = service.key(ctx, &place.workflow_id);
    if let Some(task) = place.task.clone() {
        let run = service.read(&key, &place.run_id).await?;
        let (events, next) = task_history(service, &key, &run, place.next_event_id, &task).await?;
        let next = next.map(|next_event_id| HistoryPageToken { next_event_id, ..place });
        return Ok(page(events, next));
    }
    let closing_only = request.history_event_filter_type == HistoryEventFilterType::CloseEvent as i32;
    let mut watcher = if request.wait_new_event { Some(watch(service, &key)?) } else { None };
    loop {
        let run = service.read(&key, &place.run_id).await?;
        place.run_id.clone_from(&run.core.run_id);
        if let Some(closing) = run.closing.as_deref().filter(|_| closing_only) {
            return Ok(page(vec![closing.clone()], None));
        }
        let Some(watcher) = &mut watcher else {
            let events_wanted = !closing_only;
            return if events_wanted {
                next_page(service, &key, &run, unwritten, place, &request).await
            } else {
                Ok(page(vec![], None))
            };
        };
        let has_new_events = !run.is_open() || place.next_event_id < run.core.next_event_id;
        if has_new_events && !closing_only {
            return next_page(service, &key, &run, unwritten, place, &request).await;
        }
        let left = deadline.since(service.runtime.now());
        if service.runtime.timeout(left, watcher.changed()).await.is_none() {
            return Ok(page(vec![], Some(place)));
        }
    }
}

/// Where the listing stands: at the beginning, or where its token says.
fn place_of(ctx: &CallContext, request: &GetWorkflowExecutionHistoryRequest) -> ServiceResult<HistoryPageToken> {
    let execution = named(request.execution.clone());
    if request.next_page_token.is_empty() {
        return Ok(HistoryPageToken {
            namespace_id: ctx.namespace.id.to_string(),
            workflow_id: execution.workflow_id,
            run_id: execution.run_id,
            next_event_id: 1,
            wait: request.wait_new_event,
            ..HistoryPageToken::default()
        });
    }
    let place = open_token(&request.next_page_token)?;
    let same_workflow = execution.workflow_id.is_empty() || execution.workflow_id == place.workflow_id;
    let same_run = execution.run_id.is_empty() || execution.run_id == place.run_id;
    if same_workflow && same_run {
        return Ok(place);
    }
    Err(ServiceError::InvalidArgument("next_page_token belongs to another workflow execution".to_owned()))
}

/// Reads a page token, which the frontend has found authentic.
pub(super) fn open_token(bytes: &[u8]) -> ServiceResult<HistoryPageToken> {
    HistoryPageToken::decode(bytes)
        .map_err(|error| ServiceError::InvalidArgument(format!("next_page_token cannot be read: {error}")))
}

/// Waits for changes of a workflow, unless too many do.
pub(super) fn watch(service: &HistoryService, key: &EntityKey) -> ServiceResult<Watcher> {
    service.watchers.watch(key, MOST_WAITING).ok_or_else(|| ServiceError::ResourceExhausted {
        cause: ResourceExhaustedCause::ConcurrentLimit,
        message: format!("{MOST_WAITING} long polls wait already"),
        retry_after: Some(PLACE_WITHIN),
    })
}

async fn next_page(
    service: &HistoryService,
    key: &EntityKey,
    run: &Run,
    unwritten: UnwrittenEvents,
    place: HistoryPageToken,
    request: &GetWorkflowExecutionHistoryRequest,
) -> ServiceResult<GetWorkflowExecutionHistoryResponse> {
    // Without waiting, a listing shows the history as its first page found it.
    let end = if place.end_event_id == 0 { run.core.next_event_id } else { place.end_event_id };
    let most = service.page_size(request.maximum_page_size);
    let mut events = read_forward(&*service.store.table, key, run, place.next_event_id, end, most).await?.events;
    let next_event_id = events.last().map_or(place.next_event_id, |event| event.event_id + 1);
    // A listing that waits goes on behind the last event that is written, and so shows them again once they are.
    if unwritten == UnwrittenEvents::Shown && next_event_id == run.core.next_event_id {
        events.extend(transient_events(run));
    }
    let following = request.wait_new_event && run.is_open();
    let more = next_event_id < end || following;
    let next = more.then_some(HistoryPageToken {
        next_event_id,
        end_event_id: if request.wait_new_event { 0 } else { end },
        ..place
    });
    Ok(page(events, next))
}

fn page(events: Vec<HistoryEvent>, next: Option<HistoryPageToken>) -> GetWorkflowExecutionHistoryResponse {
    GetWorkflowExecutionHistoryResponse {
        history: Some(History { events }),
        next_page_token: next.map(|token| token.encode_to_vec().into()).unwrap_or_default(),
        ..GetWorkflowExecutionHistoryResponse::default()
    }
}
