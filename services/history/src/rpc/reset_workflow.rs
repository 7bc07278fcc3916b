//! ResetWorkflowExecution.

use std::sync::Arc;

use api::temporal::api::enums::v1::{ResetReapplyExcludeType, ResetReapplyType};
use api::temporal::api::workflowservice::v1::{ResetWorkflowExecutionRequest, ResetWorkflowExecutionResponse};
use calls::{CallContext, ResourceExhaustedCause, ServiceError, ServiceResult};
use entities::EntityKey;
use execution::{Reapply, Replay, Reset, Run, Successor, check_reset_point};

use crate::HistoryService;
use crate::errors::rejected;
use crate::pages::{read_forward, row_of};
use crate::service::named;

/// How often the history is read again because the workflow went on meanwhile.
const ATTEMPTS: u32 = 5;

pub(super) async fn reset_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    request: ResetWorkflowExecutionRequest,
) -> ServiceResult<ResetWorkflowExecutionResponse> {
    let execution = named(request.workflow_execution.clone());
    let key = service.key(ctx, &execution.workflow_id);
    let mut attempt = 1;
    loop {
        match try_reset(service, &key, &execution.run_id, &request).await {
            Err(ServiceError::ResourceExhausted { cause: ResourceExhaustedCause::BusyWorkflow, .. })
                if attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

async fn try_reset(
    service: &HistoryService,
    key: &EntityKey,
    run_id: &str,
    request: &ResetWorkflowExecutionRequest,
) -> ServiceResult<ResetWorkflowExecutionResponse> {
    let base = service.read(key, run_id).await?;
    let reapply = reapply_of(request);
    let reset = Reset {
        request_id: request.request_id.clone(),
        reason: request.reason.clone(),
        reapply,
        past: read_past(service, key, &base, request.workflow_task_finish_event_id).await?,
        successors: read_successors(service, key, &base, reapply).await?,
    };
    let done = service.call(key, base.core.run_id.clone(), reset).await?;
    Ok(ResetWorkflowExecutionResponse { run_id: done.run_id })
}

/// The newer of the two ways to say it takes away from the older.
fn reapply_of(request: &ResetWorkflowExecutionRequest) -> Reapply {
    let excludes = |kind: ResetReapplyExcludeType| request.reset_reapply_exclude_types.contains(&(kind as i32));
    let (signals, updates) = match request.reset_reapply_type() {
        ResetReapplyType::None => (false, false),
        ResetReapplyType::Signal => (true, false),
        ResetReapplyType::Unspecified | ResetReapplyType::AllEligible => (true, true),
    };
    Reapply {
        signals: signals && !excludes(ResetReapplyExcludeType::Signal),
        updates: updates && !excludes(ResetReapplyExcludeType::Update),
    }
}

/// Reads a run's history. What is stored of it before the point stays where it is.
async fn read_past(service: &HistoryService, key: &EntityKey, run: &Run, finish: i64) -> ServiceResult<Replay> {
    check_reset_point(run, finish).map_err(rejected)?;
    let table = &*service.store.table;
    let in_memory = run.first_event_in_memory();
    let last = finish - 1;
    let shared_end = if last >= in_memory { in_memory } else { row_of(table, key, run, last).await? };
    let mut past = Replay::new(finish, shared_end);
    while past.next_event_id() < run.core.next_event_id {
        let end = run.core.next_event_id;
        let page = read_forward(table, key, run, past.next_event_id(), end, service.page_events()).await?;
        for event in page.events {
            past.read(event).map_err(|error| unusable(run, &error))?;
        }
    }
    Ok(past)
}

/// Reads the runs that one has continued as: signals and updates came to them that would have come to it.
async fn read_successors(
    service: &HistoryService,
    key: &EntityKey,
    base: &Arc<Run>,
    reapply: Reapply,
) -> ServiceResult<Vec<Successor>> {
    let mut successors = Vec::new();
    let mut next = Successor::of(base).continued_as;
    let is_wanted = reapply.signals || reapply.updates;
    while is_wanted && !next.is_empty() {
        let run = service.read(key, &next).await?;
        let mut successor = Successor::of(&run);
        next.clone_from(&successor.continued_as);
        while successor.next_event_id() < run.core.next_event_id {
            let (from, end) = (successor.next_event_id(), run.core.next_event_id);
            let page = read_forward(&*service.store.table, key, &run, from, end, service.page_events()).await?;
            page.events.into_iter().for_each(|event| successor.read(event));
        }
        successors.push(successor);
    }
    Ok(successors)
}

fn unusable(run: &Run, error: &str) -> ServiceError {
    ServiceError::DataLoss(format!("the history of run {} cannot be replayed: {error}", run.core.run_id))
}
