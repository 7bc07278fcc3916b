//! From the match to the poller: answers of history that are late, lost or no, and pollers that go.

use std::time::Duration;

use calls::{OfferOutcome, ReceiptSlot};

use crate::history::Answer;
use crate::world::{World, poll_activity};

#[tokio::test(start_paused = true)]
async fn a_poll_dropped_while_the_start_is_recorded_leaves_the_task_to_the_next_under_the_same_request() {
    let world = World::new().await;
    world.history.delay(Duration::from_millis(100));
    let task = world.activity(1);
    let poll = world.poll_later("first");
    world.settle().await;
    let offer = world.offer_later(&task);
    world.runtime.sleep(Duration::from_millis(60)).await;
    assert!(world.history.start_of(&task.key).is_some(), "recorded, and the answer is on its way");
    poll.abort();
    world.runtime.sleep(Duration::from_millis(60)).await;
    assert!(!offer.is_finished(), "no poller has it yet");
    assert_eq!(world.next().await, 1);
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_started_for_a_poller_that_went_is_kept_with_its_request_and_survives_a_restart() {
    let mut world = World::new().await;
    world.history.delay(Duration::from_millis(100));
    let task = world.activity(1);
    let poll = world.poll_later("first");
    world.settle().await;
    let offer = world.offer_later(&task);
    world.runtime.sleep(Duration::from_millis(60)).await;
    poll.abort();
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Persisted));
    world.crash().await;
    assert_eq!(world.next().await, 1);
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_task_started_for_a_poller_that_went_keeps_its_request_across_a_crash() {
    let mut world = World::new().await;
    let task = world.activity(1);
    world.keep(&task).await;
    world.history.delay(Duration::from_millis(100));
    let poll = world.poll_later("first");
    world.runtime.sleep(Duration::from_millis(60)).await;
    assert!(world.history.start_of(&task.key).is_some());
    poll.abort();
    world.runtime.sleep(Duration::from_millis(60)).await;
    world.crash().await;
    assert_eq!(world.next().await, 1);
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_task_whose_request_is_kept_with_it_is_given_once_though_a_crash_follows_at_once() {
    let mut world = World::new().await;
    let task = world.activity(1);
    world.keep(&task).await;
    world.history.delay(Duration::from_millis(100));
    let poll = world.poll_later("first");
    world.runtime.sleep(Duration::from_millis(60)).await;
    poll.abort();
    world.runtime.sleep(Duration::from_millis(60)).await;
    // Another node could be given it under the same request, which history has recorded.
    assert_eq!(world.next().await, 1);
    world.crash().await;
    assert_eq!(world.next().await, 0);
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_asked_for_again() {
    let world = World::new().await;
    world.history.delay(Duration::from_secs(25));
    let task = world.activity(1);
    let poll = world.poll_later("worker");
    let offer = world.offer_later(&task);
    world.runtime.sleep(Duration::from_secs(15)).await;
    world.history.delay(Duration::ZERO);
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "1");
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_poll_gets_the_task_whose_start_is_being_recorded_for_it_though_the_service_closes() {
    let world = World::new().await;
    world.history.delay(Duration::from_millis(100));
    let poll = world.poll_later("worker");
    let idle = world.poll_workflow_later("other", "worker", false);
    world.settle().await;
    let task = world.activity(1);
    let offer = world.offer_later(&task);
    world.settle().await;
    let before = world.runtime.now();
    world.service.close().await;
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "1");
    assert_eq!(idle.await.expect("a poll"), Ok(Default::default()));
    assert!(offer.await.expect("an offer").is_err(), "history finds out by itself");
    assert!(world.runtime.now().since(before) < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_history_that_moves_is_asked_under_the_same_request_for_poller_after_poller() {
    let world = World::new().await;
    let task = world.activity(1);
    world.history.arrange(std::iter::once(Answer::LostAfter).chain([Answer::NotOwner; 12]));
    let first = world.poll_for(Duration::from_secs(1));
    let (first, offer) = tokio::join!(first, world.offer(&task));
    assert_eq!((first.activity_id.as_str(), offer), ("", OfferOutcome::Persisted));
    assert_eq!(world.poll_for(Duration::from_secs(1)).await.activity_id, "");
    assert_eq!(world.poll().await.activity_id, "1");
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_under_the_same_request() {
    let world = World::new().await;
    world.history.arrange([Answer::LostAfter, Answer::LostBefore]);
    let task = world.activity(1);
    let poll = world.poll_later("worker");
    world.settle().await;
    assert_eq!(world.offer(&task).await, OfferOutcome::Taken);
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "1");
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_history_has_no_answer_for_one_task_its_poller_gets_another() {
    let world = World::new().await;
    let (sick, sound) = (world.activity(1), world.activity(2));
    world.history.arrange([Answer::LostAfter, Answer::LostBefore, Answer::LostBefore]);
    let poll = world.poll_later("worker");
    world.settle().await;
    let first = world.offer_later(&sick);
    world.settle().await;
    let second = world.offer_later(&sound);
    let before = world.runtime.now();
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "2");
    assert!(world.runtime.now().since(before) < Duration::from_millis(500), "without waiting for the other to rest");
    assert_eq!(second.await.expect("an offer").map(|outcome| outcome != OfferOutcome::Refused), Ok(true));
    assert_eq!(world.poll().await.activity_id, "1");
    assert_eq!(world.history.request_ids(&sick.key).len(), 1);
    assert!(first.await.expect("an offer").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stale_task_is_dropped_and_its_poller_gets_the_next() {
    let world = World::new().await;
    let (stale, wanted) = (world.activity(1), world.activity(2));
    world.history.forget(&stale.key);
    let poll = world.poll_later("worker");
    world.settle().await;
    assert_eq!(world.offer(&stale).await, OfferOutcome::Taken);
    world.settle().await;
    assert!(!poll.is_finished());
    assert_eq!(world.offer(&wanted).await, OfferOutcome::Taken);
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "2");
}

#[tokio::test(start_paused = true)]
async fn a_stale_task_in_the_backlog_is_acknowledged() {
    let mut world = World::new().await;
    let stale = world.activity(1);
    world.keep(&stale).await;
    world.history.forget(&stale.key);
    assert_eq!(world.next().await, 0);
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
    world.crash().await;
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_poll_leaves_at_once() {
    let world = World::new().await;
    let poll = world.poll_later("worker");
    world.settle().await;
    poll.abort();
    world.settle().await;
    let task = world.activity(1);
    world.keep(&task).await;
    assert!(world.history.request_ids(&task.key).is_empty(), "there was no poller to start it for");
}

#[tokio::test(start_paused = true)]
async fn the_start_is_recorded_for_the_poller_that_gets_the_task() {
    let world = World::new().await;
    let task = world.activity(1);
    let poll = world.poll_later("this very worker");
    world.settle().await;
    world.offer(&task).await;
    poll.await.expect("a poll").expect("an answer");
    let start = world.history.start_of(&task.key).expect("it was started");
    assert_eq!(start.identity, "this very worker");
    assert_eq!(start.worker_instance_key, "this very worker");
    assert_eq!(start.polled_queue, "q");
}

#[tokio::test(start_paused = true)]
async fn a_task_in_an_answer_that_was_not_written_goes_to_the_next_poll_under_the_same_request() {
    let mut world = World::new().await;
    for is_kept in [false, true] {
        let task = world.activity(1 + i64::from(is_kept));
        if is_kept {
            world.keep(&task).await;
        }
        let receipts = ReceiptSlot::default();
        let (deadline, request) = (world.in_a(Duration::from_secs(9)), world.activity_poll("first", None));
        let ctx = world.ctx.clone().receipts_to(&receipts);
        let mut first = Box::pin(poll_activity(&world.service, &ctx, request, deadline));
        assert!(futures::poll!(&mut first).is_pending());
        let offer = (!is_kept).then(|| world.offer_later(&task));
        let answer = first.await.expect("an answer");
        assert_eq!(answer.activity_id, task.key.task.scheduled_event_id.to_string());
        let before = world.runtime.now();
        let receipt = receipts.take().expect("a receipt");
        world.settle().await;
        assert!(offer.as_ref().is_none_or(|offer| !offer.is_finished()), "no poller has it yet");
        drop(receipt);
        let request = world.activity_poll("second", None);
        let answer = poll_activity(&world.service, &ctx, request, deadline).await.expect("an answer");
        assert_eq!(answer.activity_id, task.key.task.scheduled_event_id.to_string());
        receipts.take().expect("a receipt").written();
        assert!(world.runtime.now().since(before) < Duration::from_millis(200));
        if let Some(offer) = offer {
            assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
        }
        assert_eq!(world.history.request_ids(&task.key).len(), 1);
        world.settle().await;
        world.restart().await;
        assert_eq!(world.next().await, 0, "it was given once");
    }
}
