//! Memory, the log's tail and the inbox stay within their bounds.

use std::time::Duration;

use entities::CallError;
use futures::future::join_all;
use storage::fault::{FaultPlan, Faults, Method};

use crate::ledger::{Input, Reply};
use crate::world::{DONE, World, asking, deposit, key, key_in, read};

#[tokio::test(start_paused = true)]
async fn clean_entities_are_evicted_and_come_back() {
    let mut world = World::new();
    world.settings.memory_bytes = 100_000;
    let shard = world.open().await;
    for n in 0..1000 {
        assert_eq!(shard.call(key(&format!("{n}")), deposit(n, 1)).await, DONE);
    }
    world.pass(Duration::from_secs(30)).await;
    let stats = shard.stats();
    assert!(stats.loaded_bytes <= 100_000, "{stats:?}");
    assert_eq!(stats.dirty_entities, 0);
    for n in 0..1000 {
        assert_eq!(read(&shard, &format!("{n}")).await.balance, 1);
    }
    world.settle().await;
    assert!(shard.stats().loaded_bytes <= 100_000, "{:?}", shard.stats());
}

#[tokio::test(start_paused = true)]
async fn the_tail_is_bounded_under_steady_load() {
    let mut world = World::new();
    world.settings.tail_bytes = 20_000;
    world.settings.checkpoint_batch = 16;
    let shard = world.open().await;
    for round in 0..200 {
        let all = join_all((0..50).map(|n| shard.call(key(&format!("{n}")), deposit(round, 1)))).await;
        assert!(all.into_iter().all(|outcome| outcome == DONE));
        world.pass(Duration::from_millis(10)).await;
        assert!(shard.stats().log_bytes < 40_000, "round {round}: {:?}", shard.stats());
    }
    assert_eq!(read(&shard, "7").await.balance, 200);
    shard.abandon().await;
    assert_eq!(read(&world.open().await, "7").await.balance, 200);
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_never_rests_does_not_hold_the_log() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(3), ..Faults::default() };
    let mut world = World::with(FaultPlan::new(1).on(Method::Append, slow).on(Method::Write, slow));
    world.settings.checkpoint_age = Duration::from_millis(100);
    let shard = world.open().await;
    assert_eq!(shard.call(key("still"), deposit(1, 1)).await, DONE);
    for n in 0..1000 {
        let (one, two) = (shard.call(key("hot"), deposit(2 * n, 1)), shard.call(key("hot"), deposit(2 * n + 1, 1)));
        assert_eq!(futures::join!(one, two), (DONE, DONE));
    }
    let stats = shard.stats();
    assert!(stats.log_depth < 200, "{stats:?}");
    shard.abandon().await;
    let next = world.open().await;
    assert_eq!(read(&next, "hot").await.balance, 2000);
    for n in [0, 999, 1999] {
        assert_eq!(next.call(key("hot"), Input::ReadEntry(n)).await, Ok(Reply::Entry(Some(1))));
    }
}

#[tokio::test(start_paused = true)]
async fn tables_that_cannot_be_written_push_back_until_they_can() {
    let mut world = World::with(FaultPlan::new(1).on(Method::Write, Faults { fail: 1.0, ..Faults::default() }));
    world.settings.dirty_bytes = 50_000;
    let shard = world.open().await;
    let mut refused = 0;
    for n in 0..200 {
        match shard.call(key(&format!("{n}")), deposit(1, 1)).await {
            Err(CallError::Overloaded { .. }) => refused += 1,
            outcome => assert_eq!(outcome, DONE),
        }
    }
    assert!(refused > 50, "{refused}");
    assert_eq!(shard.call_unshed(key("unshed"), deposit(1, 1)).await, DONE);
    world.faults().heal();
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(shard.stats().dirty_entities, 0);
    assert_eq!(shard.call(key("199"), deposit(1, 1)).await.map(|_| ()), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_left_memory_is_fetched_and_later_requests_wait_behind() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(50), ..Faults::default() };
    let world = World::with(FaultPlan::new(1).on(Method::Get, slow));
    let shard = world.open().await;
    for n in 0..3 {
        assert_eq!(shard.call(key("a"), deposit(n, n as i64 * 10)).await, DONE);
    }
    world.pass(Duration::from_secs(30)).await;
    let fetched = asking(&shard, "a", Input::ReadEntry(2));
    let mut behind = asking(&shard, "a", deposit(3, 1));
    let last = asking(&shard, "a", Input::Read);
    world.pass(Duration::from_millis(20)).await;
    assert!(crate::world::is_waiting(&mut behind));
    assert_eq!(read(&shard, "b").await.balance, 0);
    assert_eq!(fetched.await.unwrap(), Ok(Reply::Entry(Some(20))));
    assert_eq!(behind.await.unwrap(), DONE);
    assert_eq!(last.await.unwrap().unwrap().view().balance, 31);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_floods_the_shard_does_not_hold_up_another() {
    let mut world = World::new();
    world.settings.inbox_calls = 1000;
    let shard = world.open().await;
    read(&shard, "loud").await;
    let flood: Vec<_> = (0..1500).map(|n| asking(&shard, "loud", deposit(n, 1))).collect();
    let order = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let quiet = {
        let (shard, order) = (shard.clone(), order.clone());
        world.runtime.spawn(async move {
            let outcome = shard.call(key_in("quiet", "a"), deposit(1, 1)).await;
            (outcome, order.load(std::sync::atomic::Ordering::Relaxed))
        })
    };
    let mut shed = 0;
    for call in flood {
        match call.await.unwrap() {
            Err(CallError::Overloaded { .. }) => shed += 1,
            outcome => {
                assert_eq!(outcome, DONE);
                order.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    assert!(shed >= 400, "{shed}");
    let (outcome, before) = quiet.await.unwrap();
    assert_eq!(outcome, DONE);
    assert!(before < 500, "{before} of the flood went first");
}
