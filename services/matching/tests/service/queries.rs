//! Queries given to pollers.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::QueryTaskToken;
use calls::{
    Matching, OfferOutcome, OfferedQuery, Opened, QueryOutcome, QueueName, ReceiptSlot, Relayed, ServiceError,
    ServiceResult, TaskQueueKind,
};
use prost::Message;
use tokio::task::JoinHandle;

use crate::world::{World, poll_workflow, tenant};

fn query(world: &World, kind: TaskQueueKind, queue: &str) -> OfferedQuery {
    OfferedQuery {
        queue: QueueName { namespace: world.ctx.namespace.id.clone(), name: queue.to_owned(), kind },
        workflow_id: "w".into(),
        run_id: "r".into(),
        query: WorkflowQuery { query_type: "state".to_owned(), ..Default::default() },
        response: Relayed::new(wire::PollWorkflowTaskQueueResponse {
            previous_started_event_id: 7,
            ..Default::default()
        }),
    }
}

fn ask(world: &World, query: OfferedQuery) -> JoinHandle<ServiceResult<QueryOutcome>> {
    let (service, deadline) = (Arc::clone(&world.service), world.in_a(Duration::from_secs(30)));
    world.runtime.spawn(async move { service.query(&tenant().until(deadline), query).await })
}

fn answer_to(
    response: &wire::PollWorkflowTaskQueueResponse,
) -> (QueryTaskToken, wire::RespondQueryTaskCompletedRequest) {
    let token = QueryTaskToken::decode(&*response.task_token).expect("a query token");
    let request =
        wire::RespondQueryTaskCompletedRequest { error_message: "an answer".to_owned(), ..Default::default() };
    (token, request)
}

#[tokio::test(start_paused = true)]
async fn a_query_goes_before_tasks_and_its_answer_comes_back() {
    let world = World::new().await;
    let asked = ask(&world, query(&world, TaskQueueKind::Workflow, "q"));
    let offer = world.offer_later(&world.task(TaskQueueKind::Workflow, "q", 1));
    world.settle().await;
    let response = world.poll_workflow_later("q", "worker", false).await.expect("a poll").expect("an answer");
    assert_eq!(response.query.as_ref().map(|query| query.query_type.as_str()), Some("state"));
    assert_eq!(response.previous_started_event_id, 7);
    assert_eq!(response.backlog_count_hint, 1, "the task behind it");
    let (token, request) = answer_to(&response);
    world
        .service
        .respond_query_task_completed(&world.ctx, Opened { token: token.clone(), request: request.clone() })
        .await
        .expect("taken");
    let outcome = asked.await.expect("a query").expect("an outcome");
    assert!(matches!(outcome, QueryOutcome::Answered(answer) if answer.error_message == "an answer"));
    let again = world.service.respond_query_task_completed(&world.ctx, Opened { token, request }).await;
    assert!(matches!(again, Err(ServiceError::NotFound(_))), "{again:?}");
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Persisted));
}

#[tokio::test(start_paused = true)]
async fn a_query_given_to_a_poll_that_is_dropped_goes_to_the_next() {
    let world = World::new().await;
    let request = world.workflow_poll("q", "first", false);
    let deadline = world.in_a(Duration::from_secs(9));
    let mut first = Box::pin(poll_workflow(&world.service, &world.ctx, request, deadline));
    assert!(futures::poll!(&mut first).is_pending());
    let asked = ask(&world, query(&world, TaskQueueKind::Workflow, "q"));
    world.settle().await;
    // It has been given the query and has not looked.
    drop(first);
    let poll = world.poll_workflow_later("q", "second", false);
    world.settle().await;
    let offered = poll.await.expect("a poll").expect("an answer");
    let (token, request) = answer_to(&offered);
    world.service.respond_query_task_completed(&world.ctx, Opened { token, request }).await.expect("taken");
    assert!(matches!(asked.await.expect("a query"), Ok(QueryOutcome::Answered(_))));
}

#[tokio::test(start_paused = true)]
async fn a_query_in_an_answer_that_was_not_written_goes_to_the_next_poll() {
    let world = World::new().await;
    let asked = ask(&world, query(&world, TaskQueueKind::Workflow, "q"));
    world.settle().await;
    let receipts = ReceiptSlot::default();
    let (request, deadline) = (world.workflow_poll("q", "first", false), world.in_a(Duration::from_secs(9)));
    let ctx = world.ctx.clone().receipts_to(&receipts);
    let lost = poll_workflow(&world.service, &ctx, request, deadline).await;
    assert!(lost.expect("an answer").query.is_some());
    drop((ctx, receipts));
    let offered = world.poll_workflow_later("q", "second", false).await.expect("a poll").expect("an answer");
    assert_eq!(offered.previous_started_event_id, 7);
    let (token, request) = answer_to(&offered);
    world.service.respond_query_task_completed(&world.ctx, Opened { token, request }).await.expect("taken");
    assert!(matches!(asked.await.expect("a query"), Ok(QueryOutcome::Answered(_))));
}

#[tokio::test(start_paused = true)]
async fn a_query_cannot_be_answered_from_another_namespace() {
    let world = World::new().await;
    let asked = ask(&world, query(&world, TaskQueueKind::Workflow, "q"));
    let response = world.poll_workflow_later("q", "worker", false).await.expect("a poll").expect("an answer");
    let (token, request) = answer_to(&response);
    let mut elsewhere = world.ctx.clone();
    let mut namespace = (*elsewhere.namespace).clone();
    namespace.id = "elsewhere".into();
    elsewhere.namespace = Arc::new(namespace);
    let stolen = world
        .service
        .respond_query_task_completed(&elsewhere, Opened { token: token.clone(), request: request.clone() })
        .await;
    assert!(matches!(stolen, Err(ServiceError::NotFound(_))), "{stolen:?}");
    world.service.respond_query_task_completed(&world.ctx, Opened { token, request }).await.expect("taken");
    assert!(asked.await.expect("a query").is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_a_worker_a_sticky_query_is_refused_and_a_normal_one_runs_out_of_time() {
    let world = World::new().await;
    let before = world.runtime.now();
    let sticky = ask(&world, query(&world, TaskQueueKind::StickyWorkflow, "mine")).await.expect("a query");
    assert_eq!(sticky, Ok(QueryOutcome::Refused));
    assert_eq!(world.runtime.now(), before);
    let normal = ask(&world, query(&world, TaskQueueKind::Workflow, "q")).await.expect("a query");
    assert!(matches!(normal, Err(ServiceError::DeadlineExceeded(_))), "{normal:?}");
    assert_eq!(world.runtime.now().since(before).as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_sticky_query_is_refused_when_its_worker_leaves_or_stays_away() {
    let world = World::new().await;
    for leaves in [false, true] {
        let poll = world.poll_workflow_later("mine", "me", true);
        world.settle().await;
        poll.abort();
        world.settle().await;
        let asked = ask(&world, query(&world, TaskQueueKind::StickyWorkflow, "mine"));
        world.settle().await;
        let before = world.runtime.now();
        if leaves {
            let request = wire::ShutdownWorkerRequest { sticky_task_queue: "mine".to_owned(), ..Default::default() };
            world.service.shutdown_worker(&world.ctx, request).await.expect("an answer");
        }
        assert_eq!(asked.await.expect("a query"), Ok(QueryOutcome::Refused));
        assert_eq!(world.runtime.now().since(before) < Duration::from_millis(500), leaves);
    }
}
