//! Queues that move between nodes: calls to the wrong node are refused, waiting ones go on, and nothing is lost.

use std::time::Duration;

use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::QueryTaskToken;
use calls::{
    Matching, OfferOutcome, OfferedQuery, OfferedTask, Opened, Relayed, ServiceError, ServiceResult, TaskQueueKind,
};
use matching::InMemory;

use crate::history::Answer;
use crate::nodes::Cluster;
use crate::world::{World, poll_activity, poll_workflow, tenant};

/// Too soon to be noticed.
const AT_ONCE: Duration = Duration::from_millis(5);

/// A node that serves no queue has its upkeep, and nothing else.
const NOTHING: InMemory = InMemory { queues: 0, polls: 0, offers: 0, queries: 0, jobs: 1 };

fn is_not_owner<T: std::fmt::Debug>(answer: &ServiceResult<T>) -> bool {
    matches!(answer, Err(ServiceError::NotOwner(_)))
}

fn sticky(world: &World, number: i64) -> OfferedTask {
    OfferedTask { normal_name: "q".to_owned(), ..world.task(TaskQueueKind::StickyWorkflow, "mine", number) }
}

fn query(world: &World, kind: TaskQueueKind, queue: &str) -> OfferedQuery {
    OfferedQuery {
        queue: world.task(kind, queue, 1).queue,
        workflow_id: "w".into(),
        run_id: "r".into(),
        query: WorkflowQuery::default(),
        response: Relayed::default(),
    }
}

fn description() -> wire::DescribeTaskQueueRequest {
    let task_queue = Some(api::temporal::api::taskqueue::v1::TaskQueue { name: "q".to_owned(), ..Default::default() });
    wire::DescribeTaskQueueRequest { task_queue, report_stats: true, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_the_owner_refuses_calls_at_once_and_keeps_nothing_of_them() {
    let cluster = Cluster::new(2, &[0]).await;
    let other = cluster.at(1);
    let (before, deadline) = (cluster.runtime.now(), other.in_a(Duration::from_secs(9)));
    let poll = other.activity_poll("worker", None);
    assert!(is_not_owner(&poll_activity(&other.service, &other.ctx, poll, deadline).await));
    for is_sticky in [false, true] {
        let poll = other.workflow_poll("q", "worker", is_sticky);
        assert!(is_not_owner(&poll_workflow(&other.service, &other.ctx, poll, deadline).await));
        let kind = if is_sticky { TaskQueueKind::StickyWorkflow } else { TaskQueueKind::Workflow };
        assert!(is_not_owner(&other.service.offer(&other.ctx, other.task(kind, "q", 1)).await));
        assert!(is_not_owner(&other.service.query(&other.ctx.clone().until(deadline), query(&other, kind, "q")).await));
    }
    assert!(is_not_owner(&other.service.offer(&other.ctx, other.activity(1)).await));
    assert!(is_not_owner(&other.service.describe_task_queue(&other.ctx, description()).await));
    let token = QueryTaskToken { task_queue: "q".to_owned(), ..Default::default() };
    let answer =
        other.service.respond_query_task_completed(&other.ctx, Opened { token, request: Default::default() }).await;
    assert!(is_not_owner(&answer));
    assert_eq!(cluster.runtime.now(), before);
    assert_eq!(other.service.in_memory(), NOTHING);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_when_a_queue_moves_end_at_once_as_not_owner_and_leave_nothing() {
    let cluster = Cluster::new(2, &[0, 0, 0, 0]).await;
    let former = cluster.at(0);
    let polls: Vec<_> = (0..50).map(|_| former.poll_later("worker")).collect();
    let workflow_poll = former.poll_workflow_later("other", "worker", false);
    // The worker is away for a moment: what is meant for it alone waits, as does a query on a queue without pollers.
    let sticky_poll = former.workflow_poll("mine", "me", true);
    let soon = former.in_a(Duration::from_millis(200));
    poll_workflow(&former.service, &former.ctx, sticky_poll, soon).await.expect("an empty answer");
    let sticky_offer = former.offer_later(&sticky(&former, 1));
    let offer = former.offer_later(&former.task(TaskQueueKind::Workflow, "unpolled", 1));
    let (service, asked) = (former.service.clone(), query(&former, TaskQueueKind::Workflow, "unpolled"));
    let deadline = former.in_a(Duration::from_secs(30));
    let query = cluster.runtime.spawn(async move { service.query(&tenant().until(deadline), asked).await });
    former.settle().await;
    let waiting = former.service.in_memory();
    assert_eq!((waiting.queues, waiting.polls, waiting.offers, waiting.queries), (4, 51, 2, 1));

    cluster.give(&[1, 1, 1, 1]);
    let before = cluster.runtime.now();
    for poll in polls {
        assert!(is_not_owner(&poll.await.expect("a poll")));
    }
    assert!(is_not_owner(&workflow_poll.await.expect("a poll")));
    assert!(is_not_owner(&sticky_offer.await.expect("an offer")));
    assert!(is_not_owner(&offer.await.expect("an offer")));
    assert!(is_not_owner(&query.await.expect("a query")));
    assert!(cluster.runtime.now().since(before) <= AT_ONCE);
    cluster.settled().await;
    former.settle().await;
    assert_eq!(former.service.in_memory(), NOTHING);

    // There they meet.
    let owner = cluster.at(1);
    let poll = owner.poll_later("worker");
    owner.settle().await;
    assert_eq!(owner.offer(&owner.activity(7)).await, OfferOutcome::Taken);
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "7");
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_start_is_being_recorded_reaches_its_poller_though_the_queue_moves() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    let kept = former.activity(1);
    former.keep(&kept).await;
    cluster.history.delay(Duration::from_millis(100));
    let first = former.poll_later("first");
    former.settle().await;
    let second = former.poll_later("second");
    former.settle().await;
    let offered = former.activity(2);
    let offer = former.offer_later(&offered);
    former.settle().await;
    cluster.give(&[1]);
    cluster.settled().await;
    assert!(!first.is_finished() && !second.is_finished() && !offer.is_finished());
    assert_eq!(first.await.expect("a poll").expect("an answer").activity_id, "1");
    assert_eq!(second.await.expect("a poll").expect("an answer").activity_id, "2");
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    former.settle().await;
    assert_eq!(former.service.in_memory(), NOTHING);
    // The new owner still has the one that was kept, and history does not want it any more.
    let owner = cluster.at(1);
    assert_eq!(owner.next().await, 0);
    assert_eq!(owner.stats().await.approximate_backlog_count, 0);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn answers_of_history_that_are_lost_while_a_queue_moves_are_asked_for_again_for_the_same_poller() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    let task = former.activity(1);
    let lost = [Answer::LostAfter, Answer::NotOwner, Answer::LostBefore, Answer::NotOwner, Answer::LostAfter];
    cluster.history.arrange(lost);
    let poll = former.poll_later("worker");
    former.settle().await;
    let offer = former.offer_later(&task);
    former.settle().await;
    cluster.give(&[1]);
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "1");
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    assert_eq!(cluster.history.request_ids(&task.key).len(), 1);
    former.settle().await;
    assert_eq!(former.service.in_memory(), NOTHING);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_kept_task_that_was_started_for_a_poller_who_went_is_given_once_by_its_next_owner() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    let task = former.activity(1);
    former.keep(&task).await;
    cluster.history.delay(Duration::from_millis(100));
    let gone = former.poll_later("gone");
    cluster.runtime.sleep(Duration::from_millis(60)).await;
    gone.abort();
    cluster.runtime.sleep(Duration::from_millis(60)).await;
    let poll = former.poll_later("late");
    cluster.runtime.sleep(Duration::from_millis(60)).await;
    cluster.give(&[1]);
    cluster.settled().await;
    assert!(is_not_owner(&poll.await.expect("a poll")), "the new owner has the request, and gives the task");
    let owner = cluster.at(1);
    assert_eq!((owner.next().await, owner.next().await), (1, 0));
    assert_eq!(cluster.history.request_ids(&task.key).len(), 1);
    assert_eq!(former.service.in_memory(), NOTHING);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_poller_has_gone_ends_with_the_queue() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    cluster.history.delay(Duration::from_millis(100));
    let poll = former.poll_later("worker");
    former.settle().await;
    let offer = former.offer_later(&former.activity(1));
    former.settle().await;
    poll.abort();
    former.settle().await;
    cluster.give(&[1]);
    assert!(is_not_owner(&offer.await.expect("an offer")));
    former.settle().await;
    assert_eq!(former.service.in_memory(), NOTHING);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_delivered_by_its_owner_polled_or_not() {
    let cluster = Cluster::new(3, &[0]).await;
    for number in 1..=500 {
        cluster.at(0).keep(&cluster.at(0).activity(number)).await;
    }
    let mut expected = 1;
    for (turn, owner) in [1, 2, 0, 2, 1].into_iter().enumerate() {
        let former = cluster.owner(&cluster.at(0).activity(1).queue);
        if turn % 2 == 0 {
            cluster.give(&[owner]);
        } else {
            // Dies before the ring knows.
            cluster.crash(former).await;
            cluster.give(&[owner]);
        }
        cluster.settled().await;
        let owner = cluster.at(owner);
        owner.settle().await;
        assert_eq!(owner.service.in_memory().queues, 1, "without a poll");
        assert_eq!(cluster.at(former).service.in_memory(), NOTHING);
        let before = cluster.runtime.now();
        for _ in 0..100 {
            assert_eq!(owner.next().await, expected);
            expected += 1;
        }
        assert!(cluster.runtime.now().since(before) < Duration::from_millis(100));
    }
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_thousands_that_were_just_delivered_is_found_by_the_next_owner() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    for number in 1..=5_000 {
        former.keep(&former.activity(number)).await;
    }
    // Its rows are written; what happens from now on is only in the log.
    cluster.runtime.sleep(Duration::from_secs(60)).await;
    for number in 1..=4_990 {
        assert_eq!(former.next().await, number);
    }
    former.settle().await;
    cluster.crash(0).await;
    cluster.give(&[1]);
    cluster.settled().await;
    let (owner, before) = (cluster.at(1), cluster.runtime.now());
    for number in 4_991..=5_000 {
        assert_eq!(owner.poll().await.activity_id, number.to_string());
    }
    assert!(cluster.runtime.now().since(before) < Duration::from_secs(1));
    owner.settle().await;
    assert_eq!(owner.stats().await.approximate_backlog_count, 0);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn at_its_new_owner_a_sticky_queue_is_deserted_until_its_worker_polls_there() {
    let cluster = Cluster::new(2, &[0]).await;
    let poll = cluster.at(0).poll_workflow_later("mine", "me", true);
    cluster.at(0).settle().await;
    cluster.give(&[1]);
    cluster.settled().await;
    assert!(is_not_owner(&poll.await.expect("a poll")));
    let owner = cluster.at(1);
    let before = cluster.runtime.now();
    assert_eq!(owner.offer(&sticky(&owner, 1)).await, OfferOutcome::Refused);
    assert_eq!(cluster.runtime.now(), before);
    let poll = owner.poll_workflow_later("mine", "me", true);
    owner.settle().await;
    assert_eq!(owner.offer(&sticky(&owner, 2)).await, OfferOutcome::Taken);
    poll.await.expect("a poll").expect("an answer");
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_is_cut_off_from_the_ring_finds_out_by_itself_while_a_call_waits() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    // Nothing is written, from which it would learn.
    let poll = former.poll_later("worker");
    former.settle().await;
    cluster.give_unless(&[1], Some(0));
    cluster.settled_at(1).await;
    let before = cluster.runtime.now();
    assert!(is_not_owner(&poll.await.expect("a poll")));
    assert!(cluster.runtime.now().since(before) < Duration::from_secs(4));
    // It has asked the leader, and leaves the shard to its owner.
    cluster.runtime.sleep(Duration::from_secs(60)).await;
    assert!(is_not_owner(&former.service.offer(&former.ctx, former.activity(2)).await));
    assert_eq!(former.service.in_memory(), NOTHING);
    let owner = cluster.at(1);
    owner.keep(&owner.activity(2)).await;
    assert_eq!(owner.next().await, 2);
    assert_eq!(owner.next().await, 0);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_by_a_former_owner_that_does_not_know_that_it_is_one() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    former.keep(&former.activity(1)).await;
    cluster.give_unless(&[1], Some(0));
    cluster.settled_at(1).await;
    assert!(is_not_owner(&former.service.offer(&former.ctx, former.activity(2)).await));
    let owner = cluster.at(1);
    assert_eq!(owner.next().await, 1);
    assert_eq!(owner.next().await, 0);
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_is_known_to_have_left_at_every_node() {
    let cluster = Cluster::new(2, &[0]).await;
    let poll = cluster.at(0).poll_workflow_later("mine", "me", true);
    cluster.at(0).settle().await;
    let before = cluster.runtime.now();
    for _ in 0..2 {
        for node in [0, 1] {
            let request = wire::ShutdownWorkerRequest {
                worker_instance_key: "me".to_owned(),
                sticky_task_queue: "mine".to_owned(),
                ..Default::default()
            };
            let world = cluster.at(node);
            world.service.shutdown_worker(&world.ctx, request).await.expect("an answer");
        }
    }
    assert_eq!(poll.await.expect("a poll"), Ok(Default::default()));
    assert_eq!(cluster.at(1).service.in_memory(), NOTHING);
    cluster.give(&[1]);
    cluster.settled().await;
    let owner = cluster.at(1);
    let late = owner.poll_workflow_later("mine", "me", true);
    assert_eq!(owner.offer(&sticky(&owner, 1)).await, OfferOutcome::Refused);
    assert!(cluster.runtime.now().since(before) <= AT_ONCE * 2);
    assert_eq!(late.await.expect("a poll"), Ok(Default::default()));
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_a_worker_has_when_its_queue_moves_is_asked_again_at_the_new_owner() {
    let cluster = Cluster::new(2, &[0]).await;
    let former = cluster.at(0);
    let (service, asked) = (former.service.clone(), query(&former, TaskQueueKind::Workflow, "q"));
    let deadline = former.in_a(Duration::from_secs(30));
    let waits = cluster.runtime.spawn(async move { service.query(&tenant().until(deadline), asked).await });
    let given = former.poll_workflow_later("q", "worker", false).await.expect("a poll").expect("an answer");
    assert!(given.query.is_some());
    cluster.give(&[1]);
    cluster.settled().await;
    assert!(is_not_owner(&waits.await.expect("a query")));
    let token: QueryTaskToken = prost::Message::decode(&*given.task_token).expect("a query token");
    let owner = cluster.at(1);
    let late = owner
        .service
        .respond_query_task_completed(&owner.ctx, Opened { token: token.clone(), request: Default::default() })
        .await;
    assert!(matches!(late, Err(ServiceError::NotFound(_))), "{late:?}");
    let late =
        former.service.respond_query_task_completed(&former.ctx, Opened { token, request: Default::default() }).await;
    assert!(is_not_owner(&late));
    assert_eq!(former.service.in_memory(), NOTHING);
    cluster.close().await;
}
