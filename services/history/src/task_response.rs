//! What a worker is given: workflow tasks with their history, activity tasks with their input, query tasks.

use std::collections::BTreeMap;

use api::temporal::api::common::v1::WorkflowType;
use api::temporal::api::history::v1::{History, HistoryEvent};
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1::{PollActivityTaskQueueResponse, PollWorkflowTaskQueueResponse};
use api::texts;
use calls::token::{ActivityTaskToken, HistoryPageToken, WorkflowTaskToken};
use calls::{ServiceError, ServiceResult};
use entities::EntityKey;
use execution::{Activity, Run, WorkflowTask, transient_events, update_messages, wire_time};
use ids::{TaskRef, Timestamp};
use prost::Message;

use crate::HistoryService;
use crate::pages::read_forward;
use crate::queries::RunName;

/// How much of the history goes with a workflow task, which follows from who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shipped {
    /// To any worker: all, from the first event.
    Whole,
    /// To the worker that has the run cached, and to the one that completed the task before just now: what it has not
    /// seen, all after the previous started event.
    New,
}

/// An instant for the wire; nothing for 0.
pub(crate) fn wire_nanos(nanos: i64) -> Option<prost_types::Timestamp> {
    (nanos != 0).then(|| wire_time(Timestamp::from_nanos(nanos)))
}

/// The started workflow task of `run`, with the queries that wait for it.
pub(crate) async fn workflow_task(
    service: &HistoryService,
    key: &EntityKey,
    run: &Run,
    shipped: Shipped,
) -> ServiceResult<PollWorkflowTaskQueueResponse> {
    let started = run.task.as_ref().and_then(|task| Some((task, task.start()?, task.started_event_id()?)));
    let not_started = || ServiceError::Internal("a task that is given out is not started".to_owned());
    let (task, start, started_event_id) = started.ok_or_else(not_started)?;
    let token = token_of(key, run, task, started_event_id);
    let from = match shipped {
        Shipped::Whole => 1,
        Shipped::New => run.core.previous_started_event_id + 1,
    };
    let end = started_event_id + 1;
    let (events, next) = task_history(service, key, run, from, &token).await?;
    let next_page_token = match next {
        Some(next_event_id) => page_token(key, run, next_event_id, end, Some(token.clone())),
        None => Vec::new(),
    };
    let name = RunName { key: key.clone(), run_id: run.core.run_id.clone() };
    Ok(PollWorkflowTaskQueueResponse {
        task_token: token.encode_to_vec().into(),
        started_event_id,
        attempt: task.attempt,
        history: Some(History { events }),
        next_page_token: next_page_token.into(),
        scheduled_time: wire_nanos(task.scheduled_at),
        started_time: wire_nanos(start.at),
        queries: service.queries.attach(&name, task.stamp),
        messages: update_messages(run),
        ..about(run)
    })
}

/// A task that only asks a query; matching adds token and query.
pub(crate) async fn query_task(
    service: &HistoryService,
    key: &EntityKey,
    run: &Run,
    shipped: Shipped,
) -> ServiceResult<PollWorkflowTaskQueueResponse> {
    let mut response = PollWorkflowTaskQueueResponse {
        attempt: 1,
        history: Some(History::default()),
        queries: BTreeMap::<String, WorkflowQuery>::new(),
        ..about(run)
    };
    if shipped == Shipped::Whole {
        let end = run.core.next_event_id;
        let page = read_forward(&*service.store.table, key, run, 1, end, service.page_events()).await?;
        let next = page.events.last().map_or(1, |event| event.event_id + 1);
        if next < end {
            response.next_page_token = page_token(key, run, next, end, None).into();
        }
        response.history = Some(History { events: page.events });
    }
    Ok(response)
}

/// What every workflow task says of its run.
fn about(run: &Run) -> PollWorkflowTaskQueueResponse {
    PollWorkflowTaskQueueResponse {
        workflow_execution: Some(run.execution()),
        workflow_type: Some(WorkflowType { name: run.type_name().to_owned() }),
        previous_started_event_id: run.core.previous_started_event_id,
        workflow_execution_task_queue: Some(run.normal_task_queue()),
        ..PollWorkflowTaskQueueResponse::default()
    }
}

fn token_of(key: &EntityKey, run: &Run, task: &WorkflowTask, started_event_id: i64) -> WorkflowTaskToken {
    WorkflowTaskToken {
        namespace_id: key.namespace.to_string(),
        workflow_id: key.id.to_string(),
        run_id: run.core.run_id.clone(),
        scheduled_event_id: task.scheduled_event_id,
        started_event_id,
        attempt: task.attempt,
        stamp: task.stamp,
    }
}

fn page_token(
    key: &EntityKey,
    run: &Run,
    next_event_id: i64,
    end_event_id: i64,
    task: Option<WorkflowTaskToken>,
) -> Vec<u8> {
    let token = HistoryPageToken {
        namespace_id: key.namespace.to_string(),
        workflow_id: key.id.to_string(),
        run_id: run.core.run_id.clone(),
        next_event_id,
        end_event_id,
        task,
        wait: false,
    };
    token.encode_to_vec()
}

/// A page of a task's history from `from` on: it ends in the task's WorkflowTaskStarted, which for a transient attempt is
/// shown before it is written. The second value is where the next page begins, if one is needed.
pub(crate) async fn task_history(
    service: &HistoryService,
    key: &EntityKey,
    run: &Run,
    from: i64,
    token: &WorkflowTaskToken,
) -> ServiceResult<(Vec<HistoryEvent>, Option<i64>)> {
    let end = token.started_event_id + 1;
    let stored_end = end.min(run.core.next_event_id);
    let most = service.page_events();
    let mut events = if from < stored_end {
        read_forward(&*service.store.table, key, run, from, stored_end, most).await?.events
    } else {
        Vec::new()
    };
    let next = events.last().map_or(from, |event| event.event_id + 1);
    if next < stored_end {
        return Ok((events, Some(next)));
    }
    if stored_end < end {
        if !run.task.as_ref().is_some_and(|task| is_named(task, token)) {
            return Err(ServiceError::NotFound(texts::WORKFLOW_TASK_NOT_FOUND.to_owned()));
        }
        events.extend(transient_events(run));
    }
    Ok((events, None))
}

/// The workflow task that a token names, within its run.
pub(crate) fn task_id(token: &WorkflowTaskToken) -> TaskRef {
    TaskRef { scheduled_event_id: token.scheduled_event_id, attempt: token.attempt, stamp: token.stamp }
}

fn is_named(task: &WorkflowTask, token: &WorkflowTaskToken) -> bool {
    task.id() == task_id(token) && task.started_event_id() == Some(token.started_event_id)
}

/// A started activity attempt.
pub(crate) fn activity_task(
    service: &HistoryService,
    key: &EntityKey,
    run: &Run,
    activity: &Activity,
) -> PollActivityTaskQueueResponse {
    let token = ActivityTaskToken {
        namespace_id: key.namespace.to_string(),
        workflow_id: key.id.to_string(),
        run_id: run.core.run_id.clone(),
        scheduled_event_id: activity.scheduled_event_id,
        attempt: activity.progress.attempt,
        activity_id: activity.id().to_owned(),
    };
    let schedule = &activity.schedule;
    PollActivityTaskQueueResponse {
        task_token: token.encode_to_vec().into(),
        workflow_namespace: service.name_of(&key.namespace),
        workflow_type: Some(WorkflowType { name: run.type_name().to_owned() }),
        workflow_execution: Some(run.execution()),
        activity_type: schedule.activity_type.clone(),
        activity_id: schedule.activity_id.clone(),
        header: schedule.header.clone(),
        input: schedule.input.clone(),
        heartbeat_details: activity.progress.heartbeat_details.clone(),
        scheduled_time: wire_nanos(activity.first_scheduled_at),
        current_attempt_scheduled_time: wire_nanos(activity.progress.scheduled_at),
        started_time: wire_nanos(activity.progress.started_at),
        attempt: activity.progress.attempt,
        schedule_to_close_timeout: schedule.schedule_to_close_timeout,
        start_to_close_timeout: schedule.start_to_close_timeout,
        heartbeat_timeout: schedule.heartbeat_timeout,
        retry_policy: activity.retry().map(|retry| retry.to_policy()),
        priority: schedule.priority.clone().or_else(|| run.start.priority.clone()),
        ..PollActivityTaskQueueResponse::default()
    }
}
