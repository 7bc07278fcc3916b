//! Nothing is lost and nothing is given twice, whichever component fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use calls::{Matching, OfferedTask};
use settings::MatchingSettings;
use storage::fault::{FaultPlan, Faults, FaultyStore, Method};
use storage::memory::MemoryStore;

use crate::dice::Dice;
use crate::world::{World, poll_activity};

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_backlog_is_in_memory_within_seconds_without_any_poll() {
    let mut world = World::new().await;
    for number in 1..=3 {
        world.keep(&world.activity(number)).await;
    }
    for is_crash in [true, false, true] {
        if is_crash {
            world.crash().await
        } else {
            world.restart().await
        }
        world.runtime.sleep(Duration::from_secs(5)).await;
        assert_eq!(world.service.in_memory().queues, 1);
    }
    // Long after the log was trimmed, too.
    world.runtime.sleep(Duration::from_secs(3_600)).await;
    world.restart().await;
    world.runtime.sleep(Duration::from_secs(5)).await;
    assert_eq!(world.service.in_memory().queues, 1);
    let before = world.runtime.now();
    for number in 1..=3 {
        assert_eq!(world.next().await, number);
    }
    assert!(world.runtime.now().since(before) < Duration::from_secs(1));
}

/// History's part: offers each task until it is taken or kept.
async fn offer_until_settled(world: World, task: OfferedTask) {
    while world.service.offer(&world.ctx, task.clone()).await.is_err() {
        world.runtime.sleep(Duration::from_millis(50)).await;
    }
}

type Given = Arc<Mutex<BTreeMap<i64, u32>>>;

/// A worker that polls again and again, and at times goes away in the middle of a poll.
async fn work(world: World, given: Given, mut dice: Dice) {
    loop {
        let request = world.activity_poll(&format!("worker-{}", dice.0), None);
        let poll = poll_activity(&world.service, &world.ctx, request, world.in_a(Duration::from_secs(5)));
        let timeout = Duration::from_millis(if dice.below(4) == 0 { dice.below(40) } else { 60_000 });
        match world.runtime.timeout(timeout, poll).await {
            Some(Ok(response)) if !response.activity_id.is_empty() => {
                let number = response.activity_id.parse().expect("a number");
                *given.lock().expect("no panics").entry(number).or_default() += 1;
            }
            Some(Ok(_)) if world.service.offer(&world.ctx, world.activity(-1)).await.is_err() => return,
            _ => {}
        }
        world.runtime.sleep(Duration::from_millis(dice.below(20))).await;
    }
}

async fn run(seed: u64, partitions: u32, faults: Faults, crashes: u32) {
    let plan = FaultPlan::new(seed).everywhere(faults).on(Method::Open, Faults::default());
    let store = FaultyStore::wrap(MemoryStore::new().store(), plan);
    let mut world = World::on(store.store(), MatchingSettings { partitions, ..Default::default() }).await;
    world.history.delay(Duration::from_millis(10));
    world.history.forget(&world.activity(-1).key);
    let given = Given::default();
    let mut dice = Dice(seed * 2 + 1);
    let mut next = 0;
    let mut offered = BTreeSet::new();
    for round in 0..=crashes {
        let mut workers = Vec::new();
        for worker in 0..4 {
            let dice = Dice(seed * 1_000 + u64::from(round) * 10 + worker + 1);
            workers.push(world.runtime.spawn(work(world.clone(), Arc::clone(&given), dice)));
        }
        let mut offers = Vec::new();
        for _ in 0..60 {
            next += 1;
            offered.insert(next);
            let task = world.at_level(next, 1 + (next % 5) as i32);
            offers.push((task.clone(), world.runtime.spawn(offer_until_settled(world.clone(), task))));
            world.runtime.sleep(Duration::from_millis(dice.below(12))).await;
        }
        if round == crashes {
            store.control().heal();
            for (_, offer) in offers {
                offer.await.expect("an offer");
            }
            world.runtime.sleep(Duration::from_secs(30)).await;
            workers.iter().for_each(|worker| worker.abort());
            break;
        }
        world.runtime.sleep(Duration::from_millis(dice.below(400))).await;
        let unsettled: Vec<_> = offers
            .into_iter()
            .filter(|(_, offer)| !offer.is_finished())
            .map(|(task, offer)| {
                offer.abort();
                task
            })
            .collect();
        workers.iter().for_each(|worker| worker.abort());
        world.crash().await;
        for task in unsettled {
            world.runtime.spawn(offer_until_settled(world.clone(), task));
        }
    }
    let given = given.lock().expect("no panics").clone();
    let twice: Vec<_> = given.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "given twice: {twice:?}");
    // A start that was recorded for a poll that the crash tore down runs into its timeout, which is history's to keep.
    let torn: Vec<_> = offered.iter().filter(|number| !given.contains_key(number)).collect();
    for number in &torn {
        let task = world.activity(**number).key;
        assert!(world.history.start_of(&task).is_some(), "{number} is lost: history was never asked to start it");
    }
    assert!(crashes > 0 || torn.is_empty(), "never given, though started: {torn:?}");
    assert_eq!(world.stats().await.approximate_backlog_count, 0);
    world.service.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_task_is_given_once_while_pollers_come_and_go() {
    for seed in 1..=20 {
        run(seed, 1 + (seed % 2) as u32 * 3, Faults::default(), 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_task_is_given_once_on_a_store_that_fails() {
    let faults = Faults { fail: 0.1, fail_after_effect: 0.1, stall: 0.1, stall_for: Duration::from_millis(50) };
    for seed in 1..=20 {
        run(seed, 1 + (seed % 2) as u32 * 3, faults, 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_task_is_lost_or_given_twice_across_crashes_on_a_store_that_fails() {
    let faults = Faults { fail: 0.05, fail_after_effect: 0.05, ..Faults::default() };
    for seed in 1..=20 {
        run(seed, 1 + (seed % 2) as u32 * 3, faults, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_task_is_lost_or_given_twice_across_crashes() {
    for seed in 1..=20 {
        run(seed, 1 + (seed % 2) as u32 * 3, Faults::default(), 4).await;
    }
}
