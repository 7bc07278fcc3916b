//! Queries: with a task when one is on its way, by a task of their own otherwise.

use std::time::Duration;

use api::temporal::api::common::v1::Payloads;
use api::temporal::api::enums::v1::{QueryRejectCondition, QueryResultType, TaskQueueKind, WorkflowExecutionStatus};
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::query::v1::{WorkflowQuery, WorkflowQueryResult};
use api::temporal::api::taskqueue::v1::{StickyExecutionAttributes, TaskQueue};
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::QueryTaskToken;
use calls::{History, Matching, Opened, ServiceError, ServiceResult, UnwrittenEvents};
use prost::Message;

use super::commands;
use super::rig::{QUEUE, Rig, execution, normal, payloads, seconds, start_request, types};

async fn query(
    rig: &Rig,
    workflow_id: &str,
    condition: QueryRejectCondition,
) -> ServiceResult<wire::QueryWorkflowResponse> {
    let request = wire::QueryWorkflowRequest {
        execution: execution(workflow_id, ""),
        query: Some(WorkflowQuery { query_type: "state".to_owned(), ..Default::default() }),
        query_reject_condition: condition as i32,
        ..Default::default()
    };
    rig.history.query_workflow(&rig.ctx.clone().until(rig.deadline(10)), request).await
}

async fn ask(rig: &Rig, workflow_id: &str) -> ServiceResult<Option<Payloads>> {
    query(rig, workflow_id, QueryRejectCondition::None).await.map(|answer| answer.query_result)
}

async fn answer(rig: &Rig, task: &wire::PollWorkflowTaskQueueResponse, text: &str) {
    let token = QueryTaskToken::decode(task.task_token.clone()).unwrap();
    let request = wire::RespondQueryTaskCompletedRequest {
        completed_type: QueryResultType::Answered as i32,
        query_result: payloads(text),
        ..Default::default()
    };
    rig.matching.respond_query_task_completed(&rig.ctx, Opened { token, request }).await.unwrap();
}

/// Completes every query of a task, and the task.
async fn answer_with_task(rig: &Rig, task: &wire::PollWorkflowTaskQueueResponse, text: &str) {
    assert!(!task.queries.is_empty());
    let result = WorkflowQueryResult {
        result_type: QueryResultType::Answered as i32,
        answer: payloads(text),
        ..Default::default()
    };
    let query_results = task.queries.keys().map(|id| (id.clone(), result.clone())).collect();
    let request = wire::RespondWorkflowTaskCompletedRequest { query_results, ..Default::default() };
    rig.complete_with(task, request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_query_before_the_first_task_rides_on_it() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    let worker = async {
        rig.runtime.sleep(Duration::from_secs(1)).await;
        let task = rig.poll().await.unwrap();
        answer_with_task(&rig, &task, "first").await;
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert_eq!(answered.unwrap(), payloads("first"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_or_closed_workflow_is_asked_directly_with_its_whole_history() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    rig.complete(&rig.poll().await.unwrap(), vec![]).await;
    let worker = async {
        let task = rig.poll().await.unwrap();
        assert_eq!(task.query.as_ref().unwrap().query_type, "state");
        assert_eq!(task.history.as_ref().unwrap().events.len(), 4);
        answer(&rig, &task, "idle").await;
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert_eq!(answered.unwrap(), payloads("idle"));

    rig.signal("w", "go", "").await.unwrap();
    rig.complete(&rig.poll().await.unwrap(), vec![commands::complete("")]).await;
    // The run is read from its row.
    let rig = rig.restart().await;
    let worker = async {
        let task = rig.poll().await.unwrap();
        assert_eq!(task.history.as_ref().unwrap().events.len(), 9);
        answer(&rig, &task, "closed").await;
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert_eq!(answered.unwrap(), payloads("closed"));
}

#[tokio::test(start_paused = true)]
async fn the_sticky_worker_is_asked_first_without_history_and_another_when_it_is_gone() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    let sticky =
        TaskQueue { name: "sticky".to_owned(), kind: TaskQueueKind::Sticky as i32, normal_name: QUEUE.to_owned() };
    let task = rig.poll().await.unwrap();
    let request = wire::RespondWorkflowTaskCompletedRequest {
        sticky_attributes: Some(StickyExecutionAttributes {
            worker_task_queue: Some(sticky.clone()),
            schedule_to_start_timeout: seconds(5),
        }),
        ..Default::default()
    };
    rig.complete_with(&task, request).await.unwrap();
    let worker = async {
        let task = rig.poll_on(sticky.clone(), 60).await.unwrap();
        assert!(task.history.as_ref().unwrap().events.is_empty());
        answer(&rig, &task, "sticky").await;
    };
    let (answered, ()) = tokio::join!(
        async {
            rig.runtime.sleep(Duration::from_millis(10)).await;
            ask(&rig, "w").await
        },
        worker
    );
    assert_eq!(answered.unwrap(), payloads("sticky"));

    // Only what is new goes to the sticky worker.
    rig.signal("w", "go", "").await.unwrap();
    let task = rig.poll_on(sticky.clone(), 60).await.unwrap();
    let events = task.history.as_ref().unwrap().events.clone();
    assert_eq!(events[0].event_id, task.previous_started_event_id + 1);
    assert_eq!(events.last().unwrap().event_id, task.started_event_id);
    rig.complete_with(
        &task,
        wire::RespondWorkflowTaskCompletedRequest {
            sticky_attributes: Some(StickyExecutionAttributes {
                worker_task_queue: Some(sticky),
                schedule_to_start_timeout: seconds(5),
            }),
            ..Default::default()
        },
    )
    .await
    .unwrap();

    rig.runtime.sleep(Duration::from_secs(60)).await;
    let worker = async {
        let task = rig.poll_on(normal(QUEUE), 60).await.unwrap();
        assert!(!task.history.as_ref().unwrap().events.is_empty());
        answer(&rig, &task, "another").await;
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert_eq!(answered.unwrap(), payloads("another"));
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_task_ends_without_an_answer_is_asked_directly() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    let worker = async {
        rig.runtime.sleep(Duration::from_millis(100)).await;
        let task = rig.poll().await.unwrap();
        assert_eq!(task.queries.len(), 1);
        rig.complete(&task, vec![]).await;
        let task = rig.poll().await.unwrap();
        answer(&rig, &task, "directly").await;
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert_eq!(answered.unwrap(), payloads("directly"));
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_task_fails_rides_on_the_next_attempt() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    let worker = async {
        rig.runtime.sleep(Duration::from_millis(100)).await;
        let task = rig.poll().await.unwrap();
        assert_eq!(task.queries.len(), 1);
        rig.fail(&task).await;
        let task = rig.poll().await.unwrap();
        assert_eq!(task.attempt, 2);
        answer_with_task(&rig, &task, "second").await;
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert_eq!(answered.unwrap(), payloads("second"));
}

#[tokio::test(start_paused = true)]
async fn more_queries_than_may_wait_are_refused() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    let (first, second) = tokio::join!(ask(&rig, "w"), ask(&rig, "w"));
    let refused =
        [&first, &second].into_iter().filter(|answer| matches!(answer, Err(ServiceError::ResourceExhausted { .. })));
    assert_eq!(refused.count(), 1, "{first:?} {second:?}");
    let waited =
        [&first, &second].into_iter().filter(|answer| matches!(answer, Err(ServiceError::DeadlineExceeded(_))));
    assert_eq!(waited.count(), 1, "{first:?} {second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_workers_failure_to_answer_is_the_callers_failure() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    rig.complete(&rig.poll().await.unwrap(), vec![]).await;
    let worker = async {
        let task = rig.poll().await.unwrap();
        let token = QueryTaskToken::decode(task.task_token.clone()).unwrap();
        let request = wire::RespondQueryTaskCompletedRequest {
            completed_type: QueryResultType::Failed as i32,
            error_message: "no such query".to_owned(),
            ..Default::default()
        };
        rig.matching.respond_query_task_completed(&rig.ctx, Opened { token, request }).await.unwrap();
    };
    let (answered, ()) = tokio::join!(ask(&rig, "w"), worker);
    assert!(matches!(answered, Err(ServiceError::QueryFailed { message, .. }) if message == "no such query"));
}

#[tokio::test(start_paused = true)]
async fn conditions_reject_queries_of_closed_workflows() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    rig.complete(&rig.poll().await.unwrap(), vec![commands::complete("")]).await;
    let rejected = query(&rig, "w", QueryRejectCondition::NotOpen).await.unwrap().query_rejected.unwrap();
    assert_eq!(rejected.status(), WorkflowExecutionStatus::Completed);
    let worker = async { answer(&rig, &rig.poll().await.unwrap(), "clean").await };
    let (answered, ()) = tokio::join!(query(&rig, "w", QueryRejectCondition::NotCompletedCleanly), worker);
    assert_eq!(answered.unwrap().query_result, payloads("clean"));
}

#[tokio::test(start_paused = true)]
async fn a_query_before_the_first_task_is_due_is_refused_at_once() {
    let rig = Rig::new().await;
    let put_off = wire::StartWorkflowExecutionRequest { workflow_start_delay: seconds(60), ..start_request("w", "q") };
    let cron =
        wire::StartWorkflowExecutionRequest { cron_schedule: "0 0 1 1 *".to_owned(), ..start_request("cron", "q") };
    for request in [put_off, cron] {
        let workflow_id = request.workflow_id.clone();
        rig.start_with(request).await.unwrap();
        let before = rig.runtime.now();
        let refused = ask(&rig, &workflow_id).await;
        assert_eq!(refused, Err(ServiceError::WorkflowNotReady("Workflow task is not scheduled yet.".to_owned())));
        assert_eq!(rig.runtime.now(), before, "{workflow_id}");
        rig.terminate(&workflow_id).await;
        let refused = ask(&rig, &workflow_id).await;
        let why = "Workflow execution closed before WorkflowTaskStarted event".to_owned();
        assert_eq!(refused, Err(ServiceError::WorkflowNotReady(why)));
    }
}

/// An SDK that has nothing cached replays up to the previous started event, and fails the query unless that task is there
/// and completed.
fn assert_replayable(task: &wire::PollWorkflowTaskQueueResponse, events: &[HistoryEvent]) {
    let started_event_id = task.previous_started_event_id;
    let at = usize::try_from(started_event_id).unwrap();
    assert_eq!(
        types(&events[at - 1..=at]),
        ["WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"],
        "{:?}",
        types(events)
    );
    match &events[at].attributes {
        Some(Attributes::WorkflowTaskCompletedEventAttributes(completed)) => {
            assert_eq!(completed.started_event_id, started_event_id);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_is_replayed_up_to_the_last_task_that_completed_whatever_came_after_it() {
    let rig = Rig::new().await;
    for after in ["nothing", "started", "failed", "failed twice", "timed out", "completed", "closed"] {
        rig.start(after, "q").await;
        rig.complete(&rig.poll().await.unwrap(), vec![]).await;
        if after != "nothing" {
            rig.signal(after, "go", "").await.unwrap();
            let task = rig.poll().await.unwrap();
            match after {
                "failed" => rig.fail(&task).await,
                "failed twice" => {
                    rig.fail(&task).await;
                    rig.fail(&rig.poll().await.unwrap()).await;
                }
                "timed out" => rig.runtime.sleep(Duration::from_secs(11)).await,
                "completed" => rig.complete(&task, vec![]).await,
                "closed" => rig.complete(&task, vec![commands::complete("")]).await,
                _ => {}
            }
        }
        if after != "closed" {
            rig.terminate(after).await;
        }
        let worker = async {
            let task = rig.poll().await.unwrap();
            let expected = if ["completed", "closed"].contains(&after) { 7 } else { 3 };
            assert_eq!(task.previous_started_event_id, expected, "{after}");
            let events = rig.events(after, "").await;
            assert_eq!(task.history.as_ref().unwrap().events, events, "{after}");
            assert_replayable(&task, &events);
            answer(&rig, &task, after).await;
        };
        let (answered, ()) = tokio::join!(ask(&rig, after), worker);
        assert_eq!(answered.unwrap(), payloads(after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_lost_its_cache_finds_the_queried_task_in_a_history_that_has_gone_on() {
    let rig = Rig::new().await;
    rig.start("w", "q").await;
    let sticky =
        TaskQueue { name: "sticky".to_owned(), kind: TaskQueueKind::Sticky as i32, normal_name: QUEUE.to_owned() };
    let request = wire::RespondWorkflowTaskCompletedRequest {
        sticky_attributes: Some(StickyExecutionAttributes {
            worker_task_queue: Some(sticky.clone()),
            schedule_to_start_timeout: seconds(5),
        }),
        ..Default::default()
    };
    rig.complete_with(&rig.poll().await.unwrap(), request).await.unwrap();
    let worker = async {
        let task = rig.poll_on(sticky.clone(), 60).await.unwrap();
        assert!(task.history.as_ref().unwrap().events.is_empty());
        rig.signal("w", "go", "").await.unwrap();
        rig.fail(&rig.poll_on(sticky.clone(), 60).await.unwrap()).await;
        let request = wire::GetWorkflowExecutionHistoryRequest { execution: execution("w", ""), ..Default::default() };
        let page = rig.get_history(UnwrittenEvents::Shown, request, 1).await.unwrap();
        let events = page.history.unwrap().events;
        assert_eq!(types(&events)[4..].len(), 5, "signal, scheduled, started, failed, scheduled again");
        assert_replayable(&task, &events);
        answer(&rig, &task, "found").await;
    };
    let asking = async {
        rig.runtime.sleep(Duration::from_millis(10)).await;
        ask(&rig, "w").await
    };
    let (answered, ()) = tokio::join!(asking, worker);
    assert_eq!(answered.unwrap(), payloads("found"));
}
