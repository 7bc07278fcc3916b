//! Sticky queues: taken or refused, never kept.

use std::time::Duration;

use calls::{OfferOutcome, OfferedTask, TaskQueueKind};

use crate::world::{World, poll_workflow};

fn sticky(world: &World, number: i64) -> OfferedTask {
    OfferedTask { normal_name: "q".to_owned(), ..world.task(TaskQueueKind::StickyWorkflow, "mine", number) }
}

/// A poll that ends by itself.
async fn poll_in_vain(world: &World) {
    let request = world.workflow_poll("mine", "me", true);
    let deadline = world.in_a(Duration::from_millis(200));
    let answer = poll_workflow(&world.service, &world.ctx, request, deadline).await;
    assert_eq!(answer, Ok(Default::default()));
}

#[tokio::test(start_paused = true)]
async fn without_its_worker_a_sticky_queue_refuses_at_once() {
    let world = World::new().await;
    let before = world.runtime.now();
    assert_eq!(world.offer(&sticky(&world, 1)).await, OfferOutcome::Refused);
    assert_eq!(world.runtime.now(), before);
    assert_eq!(world.service.in_memory().queues, 0, "and is not even created");
}

#[tokio::test(start_paused = true)]
async fn the_worker_takes_what_is_offered_to_it_alone() {
    let world = World::new().await;
    let other = world.poll_workflow_later("q", "other", false);
    let mine = world.poll_workflow_later("mine", "me", true);
    world.settle().await;
    assert_eq!(world.offer(&sticky(&world, 1)).await, OfferOutcome::Taken);
    let response = mine.await.expect("a poll").expect("an answer");
    assert_eq!(response.workflow_execution.expect("an execution").workflow_id, "w-1");
    assert!(!other.is_finished());
    assert_eq!(world.history.start_of(&sticky(&world, 1).key).map(|start| start.polled_queue).as_deref(), Some("mine"));
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_busy_has_ten_seconds_to_come_back() {
    let world = World::new().await;
    poll_in_vain(&world).await;
    let offer = world.offer_later(&sticky(&world, 1));
    world.runtime.sleep(Duration::from_secs(9)).await;
    assert!(!offer.is_finished());
    let poll = world.poll_workflow_later("mine", "me", true);
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    poll.await.expect("a poll").expect("an answer");

    let before = world.runtime.now();
    assert_eq!(world.offer(&sticky(&world, 2)).await, OfferOutcome::Refused);
    let waited = world.runtime.now().since(before);
    assert!((9_900..10_200).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(world.log_appends().await, 0, "nothing sticky is ever kept");
}

#[tokio::test(start_paused = true)]
async fn an_offer_whose_time_is_over_is_refused() {
    let world = World::new().await;
    poll_in_vain(&world).await;
    let expires_at = Some(world.in_a(Duration::from_secs(3)));
    let before = world.runtime.now();
    assert_eq!(world.offer(&OfferedTask { expires_at, ..sticky(&world, 1) }).await, OfferOutcome::Refused);
    assert_eq!(world.runtime.now().since(before).as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_poll_broke_off_is_waited_for_a_second() {
    let world = World::new().await;
    poll_in_vain(&world).await;
    let dying = world.poll_workflow_later("mine", "me", true);
    world.settle().await;
    dying.abort();
    world.settle().await;
    let before = world.runtime.now();
    assert_eq!(world.offer(&sticky(&world, 1)).await, OfferOutcome::Refused);
    assert!(world.runtime.now().since(before) <= Duration::from_secs(1));
    // It was only the connection.
    let poll = world.poll_workflow_later("mine", "me", true);
    world.settle().await;
    assert_eq!(world.offer(&sticky(&world, 2)).await, OfferOutcome::Taken);
    poll.await.expect("a poll").expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn a_task_on_its_way_to_a_worker_that_dies_is_refused_within_a_second() {
    let world = World::new().await;
    world.history.delay(Duration::from_millis(100));
    let dying = world.poll_workflow_later("mine", "me", true);
    world.settle().await;
    let offer = world.offer_later(&sticky(&world, 1));
    world.runtime.sleep(Duration::from_millis(30)).await;
    dying.abort();
    let before = world.runtime.now();
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Refused));
    assert!(world.runtime.now().since(before) <= Duration::from_millis(2_100));
}
