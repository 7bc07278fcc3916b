//! QueryWorkflow: with the next workflow task when one is on its way, else by a task of its own.

use std::time::Duration;

use api::temporal::api::common::v1::Payloads;
use api::temporal::api::enums::v1::{QueryRejectCondition, QueryResultType, WorkflowExecutionStatus};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::query::v1::{QueryRejected, WorkflowQuery, WorkflowQueryResult};
use api::temporal::api::workflowservice::v1::{QueryWorkflowRequest, QueryWorkflowResponse};
use calls::{
    CallContext, OfferedQuery, QueryOutcome, QueueName, Relayed, ResourceExhaustedCause, ServiceError, ServiceResult,
    TaskQueueKind,
};
use entities::EntityKey;
use execution::Run;
use ids::Timestamp;

use super::get_history::watch;
use crate::HistoryService;
use crate::links;
use crate::queries::{Buffered, RunName};
use crate::service::named;
use crate::task_response::{Shipped, query_task};
use crate::watch::Watcher;

/// A workflow task at this attempt keeps failing: queries are refused instead of waiting for it.
const MAX_TASK_ATTEMPTS_FOR_QUERY: i32 = 3;
/// How long a query waits for the sticky worker before another gets it.
const STICKY_QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// How a query reaches a worker, as the run stands.
enum QueryRoute {
    /// Through matching, at once.
    Direct,
    /// With the workflow task that is pending.
    Buffered,
}

pub(super) async fn query_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    request: QueryWorkflowRequest,
) -> ServiceResult<QueryWorkflowResponse> {
    let deadline = ctx.waits_until(service.runtime.now());
    let execution = named(request.execution);
    let key = service.key(ctx, &execution.workflow_id);
    let query = request.query.unwrap_or_default();
    let mut run_id = execution.run_id;
    loop {
        let mut watcher = watch(service, &key)?;
        let run = service.read(&key, &run_id).await?;
        run_id.clone_from(&run.core.run_id);
        if let Some(rejected) = rejected(&run, request.query_reject_condition) {
            return Ok(QueryWorkflowResponse { query_rejected: Some(rejected), ..QueryWorkflowResponse::default() });
        }
        match route_of(&run)? {
            QueryRoute::Direct => return Ok(linked(query_worker(service, ctx, &key, &run, query).await?, ctx, &run)),
            QueryRoute::Buffered => {
                let name = RunName { key: key.clone(), run_id: run_id.clone() };
                let waiting = service.queries.wait(name, service.runtime.uuid(), query.clone());
                let mut waiting = waiting.ok_or_else(too_many)?;
                if let Some(result) =
                    answer_with_task(service, &key, &run_id, &mut waiting, &mut watcher, deadline).await?
                {
                    return Ok(linked(answered(result)?, ctx, &run));
                }
            }
        }
    }
}

fn rejected(run: &Run, condition: i32) -> Option<QueryRejected> {
    let status = run.status();
    let forbidden = match QueryRejectCondition::try_from(condition) {
        Ok(QueryRejectCondition::NotOpen) => !run.is_open(),
        Ok(QueryRejectCondition::NotCompletedCleanly) => !run.is_open() && status != WorkflowExecutionStatus::Completed,
        _ => false,
    };
    forbidden.then_some(QueryRejected { status: status as i32 })
}

fn route_of(run: &Run) -> ServiceResult<QueryRoute> {
    let not_ready = |why: &str| Err(ServiceError::WorkflowNotReady(why.to_owned()));
    let has_run = run.core.previous_started_event_id != 0;
    match &run.task {
        Some(task) if task.attempt >= MAX_TASK_ATTEMPTS_FOR_QUERY => {
            not_ready("Unable to query workflow due to Workflow Task in failed state.")
        }
        Some(_) => Ok(QueryRoute::Buffered),
        None if has_run => Ok(QueryRoute::Direct),
        // A start delay, a cron schedule or a backoff delays the first task.
        None if run.is_open() => not_ready("Workflow task is not scheduled yet."),
        None => not_ready("Workflow execution closed before WorkflowTaskStarted event"),
    }
}

fn too_many() -> ServiceError {
    ServiceError::ResourceExhausted {
        cause: ResourceExhaustedCause::BusyWorkflow,
        message: "consistent query buffer is full, this may be caused by too many queries and workflow not able to \
                  process query fast enough"
            .to_owned(),
        // A place comes free when a worker answers, and nothing here knows when.
        retry_after: None,
    }
}

/// Waits for the workflow task that carries the query; nothing when it ended without an answer.
async fn answer_with_task(
    service: &HistoryService,
    key: &EntityKey,
    run_id: &str,
    waiting: &mut Buffered<'_>,
    watcher: &mut Watcher,
    deadline: Timestamp,
) -> ServiceResult<Option<WorkflowQueryResult>> {
    loop {
        tokio::select! {
            biased;
            answer = &mut waiting.answer => return Ok(answer.ok()),
            () = watcher.changed() => {
                let run = service.read(key, run_id).await?;
                let over = !matches!(route_of(&run), Ok(QueryRoute::Buffered));
                // While a completion is being decided, it may yet bring the answer.
                if over && waiting.is_waiting() {
                    return Ok(None);
                }
            }
            () = service.runtime.sleep_until(deadline) => {
                return Err(ServiceError::DeadlineExceeded("query timed out before a worker answered".to_owned()));
            }
        }
    }
}

/// Sends the query to the worker that has the run cached, then to any worker.
async fn query_worker(
    service: &HistoryService,
    ctx: &CallContext,
    key: &EntityKey,
    run: &Run,
    query: WorkflowQuery,
) -> ServiceResult<QueryWorkflowResponse> {
    let deadline = ctx.waits_until(service.runtime.now());
    if !run.core.sticky_queue.is_empty() {
        let soon = deadline.min(service.runtime.now() + STICKY_QUERY_TIMEOUT);
        let ctx = ctx.clone().until(soon);
        let asked = query_on(service, &ctx, key, run, &query, TaskQueueKind::StickyWorkflow).await;
        match asked {
            Ok(QueryOutcome::Refused) => {}
            Err(ServiceError::DeadlineExceeded(_)) if soon < deadline => {}
            other => return settled(other?),
        }
    }
    settled(query_on(service, ctx, key, run, &query, TaskQueueKind::Workflow).await?)
}

async fn query_on(
    service: &HistoryService,
    ctx: &CallContext,
    key: &EntityKey,
    run: &Run,
    query: &WorkflowQuery,
    kind: TaskQueueKind,
) -> ServiceResult<QueryOutcome> {
    let (name, shipped) = match kind {
        TaskQueueKind::StickyWorkflow => (run.core.sticky_queue.clone(), Shipped::New),
        TaskQueueKind::Workflow | TaskQueueKind::Activity | TaskQueueKind::Nexus => {
            (run.task_queue_name().to_owned(), Shipped::Whole)
        }
    };
    let offered = OfferedQuery {
        queue: QueueName { namespace: key.namespace.clone(), name, kind },
        workflow_id: (&*key.id).into(),
        run_id: run.core.run_id.as_str().into(),
        query: query.clone(),
        response: Relayed::new(query_task(service, key, run, shipped).await?),
    };
    service.matching.query(ctx, offered).await
}

fn settled(outcome: QueryOutcome) -> ServiceResult<QueryWorkflowResponse> {
    match outcome {
        QueryOutcome::Answered(answer) => {
            let answer = *answer;
            result_of(answer.completed_type, answer.query_result, answer.error_message, answer.failure)
        }
        QueryOutcome::Rejected(rejected) => {
            Ok(QueryWorkflowResponse { query_rejected: Some(rejected), ..QueryWorkflowResponse::default() })
        }
        QueryOutcome::Refused => Err(ServiceError::Unavailable("no worker answers queries at the moment".to_owned())),
    }
}

/// An answer says which run gave it.
fn linked(response: QueryWorkflowResponse, ctx: &CallContext, run: &Run) -> QueryWorkflowResponse {
    let link = response.query_rejected.is_none().then(|| links::to_run(ctx, run));
    QueryWorkflowResponse { link, ..response }
}

fn answered(result: WorkflowQueryResult) -> ServiceResult<QueryWorkflowResponse> {
    result_of(result.result_type, result.answer, result.error_message, result.failure)
}

fn result_of(
    kind: i32,
    result: Option<Payloads>,
    message: String,
    failure: Option<Failure>,
) -> ServiceResult<QueryWorkflowResponse> {
    match QueryResultType::try_from(kind) {
        Ok(QueryResultType::Answered) => {
            Ok(QueryWorkflowResponse { query_result: result, ..QueryWorkflowResponse::default() })
        }
        Ok(QueryResultType::Failed) => Err(ServiceError::QueryFailed { message, failure: failure.map(Box::new) }),
        _ => Err(ServiceError::InvalidArgument(format!("the worker's answer to the query has type {kind}"))),
    }
}
