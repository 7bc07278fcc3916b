//! Meeting at once, waiting a moment, being kept, order and rates.

use std::time::Duration;

use api::temporal::api::workflowservice::v1 as wire;
use calls::{Matching, OfferOutcome, OfferedTask};

use crate::world::{World, poll_activity};

#[tokio::test(start_paused = true)]
async fn a_task_that_finds_a_poller_is_taken_at_once_and_nothing_is_written() {
    let world = World::new().await;
    for number in 1..=20 {
        let poll = world.poll_later("worker");
        world.settle().await;
        let before = world.runtime.now();
        assert_eq!(world.offer(&world.activity(number)).await, OfferOutcome::Taken);
        let response = poll.await.expect("a poll").expect("an answer");
        assert_eq!(response.activity_id, number.to_string());
        assert!(world.runtime.now().since(before) < Duration::from_millis(5));
    }
    assert_eq!(world.log_appends().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_offer_waits_a_moment_for_a_poller() {
    let world = World::new().await;
    let offer = world.offer_later(&world.activity(1));
    world.runtime.sleep(Duration::from_millis(150)).await;
    assert_eq!(world.next().await, 1);
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    assert_eq!(world.log_appends().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_poller_is_persisted_and_delivered_and_then_gone() {
    let mut world = World::new().await;
    let before = world.runtime.now();
    world.keep(&world.activity(1)).await;
    let waited = world.runtime.now().since(before);
    assert!((200..300).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(world.stats().await.approximate_backlog_count, 1);
    assert_eq!(world.next().await, 1);
    world.settle().await;
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
    world.restart().await;
    assert_eq!(world.next().await, 0);
}

#[tokio::test(start_paused = true)]
async fn kept_tasks_come_by_level_and_within_a_level_in_order() {
    let world = World::new().await;
    for (number, level) in [(1, 5), (2, 3), (3, 1), (4, 0), (5, 1), (6, 3), (7, 2)] {
        world.keep(&world.at_level(number, level)).await;
    }
    let mut order = Vec::new();
    for _ in 0..7 {
        order.push(world.next().await);
    }
    assert_eq!(order, [3, 5, 7, 2, 4, 6, 1]);
    assert_eq!(world.next().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_backlog_is_delivered_in_order_through_its_window() {
    let mut world = World::new().await;
    for number in 1..=2_000 {
        world.keep(&world.activity(number)).await;
    }
    // Long enough for the shard to write rows and leave most of them there.
    world.runtime.sleep(Duration::from_secs(60)).await;
    for number in 1..=1_000 {
        assert_eq!(world.next().await, number);
    }
    world.crash().await;
    // What was delivered just before the crash may be asked about again; history does not want it any more.
    for number in 1_001..=2_000 {
        assert_eq!(world.next().await, number);
    }
    world.settle().await;
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_time_is_over_is_not_delivered_and_does_not_stay() {
    let world = World::new().await;
    let expires_at = Some(world.in_a(Duration::from_secs(5)));
    world.keep(&OfferedTask { expires_at, ..world.activity(1) }).await;
    world.keep(&world.activity(2)).await;
    assert_eq!(world.stats().await.approximate_backlog_count, 2);
    world.runtime.sleep(Duration::from_secs(6)).await;
    assert_eq!(world.stats().await.approximate_backlog_count, 1);
    assert_eq!(world.next().await, 2);
    let late = OfferedTask { expires_at, ..world.activity(3) };
    assert_eq!(world.offer(&late).await, OfferOutcome::Taken, "it is expired");
    assert_eq!(world.history.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_workers_rate_limit_holds_and_stale_tasks_do_not_use_it_up() {
    let world = World::new().await;
    for number in 1..=40 {
        let task = world.activity(number);
        if number % 2 == 0 {
            world.history.forget(&task.key);
        }
        world.keep(&task).await;
    }
    let begin = world.runtime.now();
    for expected in (1..40).step_by(2) {
        let request = world.activity_poll("worker", Some(4.0));
        let deadline = world.in_a(Duration::from_secs(60));
        let response = poll_activity(&world.service, &world.ctx, request, deadline).await;
        assert_eq!(response.expect("an answer").activity_id, expected.to_string());
    }
    let took = world.runtime.now().since(begin);
    // 20 tasks at 4 a second, the first 4 of them at once.
    assert!((3_900..4_500).contains(&took.as_millis()), "{took:?}");
    assert!(world.stats().await.rate_limiting_active);
}

#[tokio::test(start_paused = true)]
async fn the_last_worker_to_set_a_rate_wins() {
    let world = World::new().await;
    world.keep(&world.activity(1)).await;
    let poll = |rate| {
        let request = world.activity_poll("worker", rate);
        poll_activity(&world.service, &world.ctx, request, world.in_a(Duration::from_secs(2)))
    };
    assert_eq!(poll(Some(0.0)).await.expect("an answer").activity_id, "");
    assert_eq!(poll(None).await.expect("an answer").activity_id, "");
    assert_eq!(poll(Some(10.0)).await.expect("an answer").activity_id, "1");
}

#[tokio::test(start_paused = true)]
async fn a_poll_answers_empty_a_little_before_its_deadline() {
    let world = World::new().await;
    let begin = world.runtime.now();
    assert_eq!(world.poll_for(Duration::from_secs(5)).await, Default::default());
    let took = world.runtime.now().since(begin);
    assert!((4_800..5_000).contains(&took.as_millis()), "{took:?}");
    let begin = world.runtime.now();
    assert_eq!(world.poll_for(Duration::from_secs(3_600)).await, Default::default());
    assert_eq!(world.runtime.now().since(begin).as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_forgotten_with_the_worker_that_asked_for_it() {
    for leaves in [true, false] {
        let world = World::new().await;
        let limited = world.activity_poll("limited", Some(0.0));
        let deadline = world.in_a(Duration::from_secs(2));
        poll_activity(&world.service, &world.ctx, limited.clone(), deadline).await.expect("an answer");
        for number in 1..=2 {
            world.keep(&world.activity(number)).await;
        }
        let deadline = world.in_a(Duration::from_secs(5));
        let request = world.activity_poll("another", None);
        let throttled = poll_activity(&world.service, &world.ctx, request.clone(), deadline).await;
        assert_eq!(throttled.expect("an answer").activity_id, "", "the rate still holds");
        if leaves {
            let (service, ctx, deadline) =
                (world.service.clone(), world.ctx.clone(), world.in_a(Duration::from_secs(60)));
            let waits = world.runtime.spawn(async move { poll_activity(&service, &ctx, limited, deadline).await });
            world.settle().await;
            let request =
                wire::ShutdownWorkerRequest { worker_instance_key: "limited".to_owned(), ..Default::default() };
            world.service.shutdown_worker(&world.ctx, request).await.expect("an answer");
            waits.await.expect("a poll").expect("an answer");
        } else {
            world.runtime.sleep(Duration::from_secs(70)).await;
        }
        let deadline = world.in_a(Duration::from_secs(5));
        let served = poll_activity(&world.service, &world.ctx, request, deadline).await;
        assert_ne!(served.expect("an answer").activity_id, "", "worker leaves: {leaves}");
    }
}
