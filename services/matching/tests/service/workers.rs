//! Workers that leave, and what is shown of workers.

use std::time::Duration;

use api::temporal::api::enums::v1::TaskQueueType;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{Matching, OfferOutcome, OfferedTask, ServiceError, TaskQueueKind};
use settings::MatchingSettings;

use crate::world::{PollTask, World, poll_activity, poll_nexus};

async fn shut_down(world: &World, worker: &str, sticky: &str) {
    let request = wire::ShutdownWorkerRequest {
        worker_instance_key: worker.to_owned(),
        sticky_task_queue: sticky.to_owned(),
        ..Default::default()
    };
    world.service.shutdown_worker(&world.ctx, request).await.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn all_polls_of_a_worker_that_leaves_end_at_once_in_every_partition() {
    let world = World::with(MatchingSettings { partitions: 4, ..Default::default() }).await;
    let mut leaving: Vec<_> = (0..8).map(|_| world.poll_later("leaving")).collect();
    let staying = world.poll_later("staying");
    world.settle().await;
    let before = world.runtime.now();
    shut_down(&world, "leaving", "").await;
    for poll in leaving.drain(..) {
        assert_eq!(poll.await.expect("a poll"), Ok(Default::default()));
    }
    assert_eq!(world.runtime.now(), before, "without waiting for anything");
    let later = world.poll_later("leaving");
    assert_eq!(later.await.expect("a poll"), Ok(Default::default()));
    assert_eq!(world.runtime.now().since(before), Duration::from_secs(1), "so that it does not poll as fast as it can");
    for number in 1..=4 {
        let offer = world.offer_later(&world.activity(number));
        world.settle().await;
        if number == 1 {
            assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
        }
    }
    assert_eq!(staying.await.expect("a poll").expect("an answer").activity_id, "1");
}

#[tokio::test(start_paused = true)]
async fn a_leaving_worker_gets_the_task_whose_start_is_being_recorded_for_it() {
    let world = World::new().await;
    world.history.delay(Duration::from_millis(100));
    let leaving = world.poll_later("leaving");
    world.settle().await;
    let task = world.activity(1);
    let offer = world.offer_later(&task);
    world.runtime.sleep(Duration::from_millis(60)).await;
    shut_down(&world, "leaving", "").await;
    assert_eq!(leaving.await.expect("a poll").expect("an answer").activity_id, "1");
    assert_eq!(offer.await.expect("an offer"), Ok(OfferOutcome::Taken));
    assert_eq!(world.history.request_ids(&task.key).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_sticky_queue_of_a_leaving_worker_refuses_what_waits_and_what_comes() {
    let world = World::new().await;
    let sticky = |number| OfferedTask {
        normal_name: "q".to_owned(),
        ..world.task(TaskQueueKind::StickyWorkflow, "mine", number)
    };
    let poll = world.poll_workflow_later("mine", "leaving", true);
    world.settle().await;
    assert_eq!(world.offer(&sticky(1)).await, OfferOutcome::Taken);
    poll.await.expect("a poll").expect("an answer");
    let waiting = world.offer_later(&sticky(2));
    world.settle().await;
    let before = world.runtime.now();
    shut_down(&world, "leaving", "mine").await;
    assert_eq!(waiting.await.expect("an offer"), Ok(OfferOutcome::Refused));
    assert_eq!(world.offer(&sticky(3)).await, OfferOutcome::Refused);
    let late = world.poll_workflow_later("mine", "leaving", true);
    assert_eq!(world.offer(&sticky(4)).await, OfferOutcome::Refused);
    assert_eq!(world.runtime.now(), before);
    assert_eq!(late.await.expect("a poll"), Ok(Default::default()));
}

fn nexus_poll(world: &World, queue: &str) -> PollTask<wire::PollNexusTaskQueueResponse> {
    let request = wire::PollNexusTaskQueueRequest {
        task_queue: Some(TaskQueue { name: queue.to_owned(), ..Default::default() }),
        identity: "worker".to_owned(),
        worker_instance_key: "worker".to_owned(),
        ..Default::default()
    };
    let (world, deadline) = (world.clone(), world.in_a(Duration::from_secs(30)));
    world.runtime.clone().spawn(async move { poll_nexus(&world.service, &world.ctx, request, deadline).await })
}

#[tokio::test(start_paused = true)]
async fn polls_for_nexus_tasks_wait_in_vain_and_are_shown_meanwhile() {
    let world = World::new().await;
    let began = world.runtime.now();
    let poll = nexus_poll(&world, "q");
    world.settle().await;
    let describe = |types: &[i32], mode| wire::DescribeTaskQueueRequest {
        task_queue: Some(TaskQueue { name: "q".to_owned(), ..Default::default() }),
        task_queue_type: TaskQueueType::Nexus as i32,
        task_queue_types: types.to_vec(),
        api_mode: mode,
        report_pollers: true,
        report_stats: true,
        ..Default::default()
    };
    let shown = world.service.describe_task_queue(&world.ctx, describe(&[], 0)).await.expect("a description");
    assert_eq!(shown.pollers.len(), 1);
    assert_eq!(shown.pollers[0].identity, "worker");
    assert_eq!(shown.stats.expect("stats").approximate_backlog_count, 0);
    // Asked for by version, only if it is named.
    for (types, expected) in [(&[][..], &[1, 2][..]), (&[3], &[3]), (&[2, 3], &[2, 3])] {
        let shown = world.service.describe_task_queue(&world.ctx, describe(types, 1)).await.expect("a description");
        assert_eq!(shown.versions_info[""].types_info.keys().copied().collect::<Vec<_>>(), expected);
    }
    assert_eq!(poll.await.expect("a poll"), Ok(Default::default()));
    assert_eq!(world.runtime.now().since(began), Duration::from_millis(29_900));
    let task = world.task(TaskQueueKind::Nexus, "q", 1);
    assert_eq!(
        world.service.offer(&world.ctx, task).await,
        Err(ServiceError::Unimplemented("Nexus tasks are not served".to_owned()))
    );
}

/// A worker in Python with a Nexus handler waits for this poll before it is down.
#[tokio::test(start_paused = true)]
async fn a_workers_polls_for_nexus_tasks_end_when_it_shuts_down() {
    let world = World::new().await;
    for types in [vec![], vec![TaskQueueType::Nexus as i32]] {
        let request = wire::ShutdownWorkerRequest {
            worker_instance_key: "worker".to_owned(),
            task_queue: if types.is_empty() { String::new() } else { "q".to_owned() },
            task_queue_types: types,
            ..Default::default()
        };
        let (poll, before) = (nexus_poll(&world, "q"), world.runtime.now());
        world.runtime.sleep(Duration::from_secs(1)).await;
        world.service.shutdown_worker(&world.ctx, request).await.expect("an answer");
        assert_eq!(poll.await.expect("a poll"), Ok(Default::default()));
        assert_eq!(world.runtime.now().since(before), Duration::from_secs(1));
        // Until it is forgotten that it has left.
        world.runtime.sleep(Duration::from_secs(700)).await;
    }
}

/// The TypeScript SDK 1.18 has a part that polls a queue of its own for Nexus tasks, under the worker's key, and shuts it
/// down when the server has no use for it.
#[tokio::test(start_paused = true)]
async fn a_shutdown_for_nexus_tasks_leaves_the_workers_other_polls_alone() {
    let world = World::new().await;
    let poll = world.poll_later("worker");
    world.settle().await;
    let request = wire::ShutdownWorkerRequest {
        worker_instance_key: "worker".to_owned(),
        task_queue: "commands".to_owned(),
        task_queue_types: vec![TaskQueueType::Nexus as i32],
        ..Default::default()
    };
    world.service.shutdown_worker(&world.ctx, request).await.expect("an answer");
    world.settle().await;
    assert!(!poll.is_finished());
    assert_eq!(world.offer_later(&world.activity(1)).await.expect("an offer"), Ok(OfferOutcome::Taken));
    assert_eq!(poll.await.expect("a poll").expect("an answer").activity_id, "1");
}

#[tokio::test(start_paused = true)]
async fn workers_of_different_namespaces_are_different() {
    let world = World::new().await;
    let poll = world.poll_later("worker");
    world.settle().await;
    let mut elsewhere = world.clone();
    let mut namespace = (*world.ctx.namespace).clone();
    namespace.id = "elsewhere".into();
    elsewhere.ctx.namespace = std::sync::Arc::new(namespace);
    shut_down(&elsewhere, "worker", "").await;
    world.settle().await;
    assert!(!poll.is_finished());
    poll.abort();
}

#[tokio::test(start_paused = true)]
async fn describe_shows_recent_pollers_and_what_waits() {
    let world = World::new().await;
    for number in 1..=3 {
        world.keep(&world.at_level(number, 2)).await;
    }
    world.runtime.sleep(Duration::from_secs(10)).await;
    let request = world.activity_poll("limited", Some(0.0));
    let deadline = world.in_a(Duration::from_secs(2));
    poll_activity(&world.service, &world.ctx, request, deadline).await.expect("an answer");
    let describe = |queue_type| wire::DescribeTaskQueueRequest {
        task_queue: Some(TaskQueue { name: "q".to_owned(), ..Default::default() }),
        task_queue_type: queue_type,
        report_stats: true,
        ..Default::default()
    };
    let shown = world.service.describe_task_queue(&world.ctx, describe(2)).await.expect("a description");
    assert_eq!(shown.pollers.len(), 1);
    assert_eq!(shown.pollers[0].identity, "limited");
    assert_eq!(shown.pollers[0].last_access_time.map(|at| at.seconds), Some(1_700_000_010));
    let stats = shown.stats.expect("stats");
    assert_eq!(stats.approximate_backlog_count, 3);
    assert_eq!(stats.approximate_backlog_age.map(|age| age.seconds), Some(12));
    assert_eq!(shown.stats_by_priority_key.keys().collect::<Vec<_>>(), [&2]);
    assert_eq!(shown.effective_rate_limit.map(|limit| limit.requests_per_second), Some(0.0));

    let workflow = world.service.describe_task_queue(&world.ctx, describe(1)).await.expect("a description");
    assert_eq!((workflow.pollers.len(), workflow.stats.expect("stats").approximate_backlog_count), (0, 0));
    world.runtime.sleep(Duration::from_secs(301)).await;
    let shown = world.service.describe_task_queue(&world.ctx, describe(2)).await.expect("a description");
    assert_eq!(shown.pollers.len(), 0, "not seen for five minutes");
    assert_eq!(shown.stats.expect("stats").approximate_backlog_count, 3);
}
