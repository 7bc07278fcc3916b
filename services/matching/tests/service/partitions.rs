//! Many partitions, and many queues.

use std::collections::BTreeSet;
use std::time::Duration;

use calls::{Matching, OfferOutcome, TaskQueueKind};
use settings::MatchingSettings;

use crate::world::World;

async fn four() -> World {
    World::with(MatchingSettings { partitions: 4, ..Default::default() }).await
}

#[tokio::test(start_paused = true)]
async fn a_poll_in_one_partition_gets_a_task_of_any_other() {
    // Polls and offers take turns among partitions, each by itself: a skipped turn lets them meet in all pairs.
    let world = four().await;
    for number in 1..=16 {
        if number % 4 == 0 {
            world.poll_for(Duration::from_millis(1)).await;
        }
        let poll = world.poll_later("worker");
        world.settle().await;
        assert_eq!(world.offer(&world.activity(number)).await, OfferOutcome::Taken);
        assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, number.to_string());
    }
    assert_eq!(world.log_appends().await, 0);
}

#[tokio::test(start_paused = true)]
async fn one_poller_empties_all_partitions_and_each_keeps_its_order() {
    let mut world = four().await;
    for number in 1..=40 {
        world.keep(&world.activity(number)).await;
    }
    world.restart().await;
    let mut order = Vec::new();
    for _ in 0..40 {
        order.push(world.next().await);
    }
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), (1..=40).collect());
    for partition in 0..4 {
        let of_partition: Vec<_> = order.iter().filter(|number| *number % 4 == partition).collect();
        assert!(of_partition.is_sorted(), "{of_partition:?}");
    }
    world.settle().await;
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
}

#[tokio::test(start_paused = true)]
async fn backlogs_of_partitions_that_are_no_longer_used_are_delivered() {
    let mut world = four().await;
    for number in 1..=8 {
        world.keep(&world.activity(number)).await;
    }
    world.settings.partitions = 1;
    world.crash().await;
    world.settle().await;
    let mut all = BTreeSet::new();
    for _ in 0..8 {
        all.insert(world.next().await);
    }
    assert_eq!(all, (1..=8).collect());
}

#[tokio::test(start_paused = true)]
async fn idle_queues_leave_memory_and_their_backlogs_do_not() {
    let world = World::new().await;
    for number in 0..3_000 {
        let queue = format!("queue-{number}");
        let poll = world.poll_workflow_later(&queue, "worker", false);
        world.settle().await;
        assert_eq!(world.offer(&world.task(TaskQueueKind::Workflow, &queue, number)).await, OfferOutcome::Taken);
        poll.await.expect("a poll").expect("an answer");
    }
    world.keep(&world.activity(10_001)).await;
    assert!(world.service.in_memory().queues > 1_000);
    world.runtime.sleep(Duration::from_secs(420)).await;
    assert_eq!(world.service.in_memory().queues, 1, "the one with a backlog");
    assert_eq!(world.next().await, 10_001);
    world.runtime.sleep(Duration::from_secs(420)).await;
    assert_eq!(world.service.in_memory().queues, 0);
    world.keep(&world.activity(10_002)).await;
    assert_eq!(world.next().await, 10_002);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_polls_and_offers() {
    let world = World::new().await;
    let poll = world.poll_later("worker");
    let sticky = world.poll_workflow_later("mine", "me", true);
    world.settle().await;
    world.service.close().await;
    assert_eq!(poll.await.expect("a poll"), Ok(Default::default()));
    assert_eq!(sticky.await.expect("a poll"), Ok(Default::default()));
    let offer = world.service.offer(&world.ctx, world.activity(1)).await;
    assert!(matches!(offer, Err(calls::ServiceError::Unavailable(_))), "{offer:?}");
}
