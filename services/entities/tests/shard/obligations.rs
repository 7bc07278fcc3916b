//! What is owed to the outside.

use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::fault::{FaultPlan, Faults, Method};

use crate::ledger::Input;
use crate::world::{DONE, World, asking, key, read};

#[tokio::test(start_paused = true)]
async fn an_obligation_is_carried_out_once_and_then_not_owed() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.bank.asked("a", 7), 1);
    assert!(read(&shard, "a").await.owed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_carried_out_before_it_is_durable() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(100), ..Faults::default() };
    let world = World::with(FaultPlan::new(1).on(Method::Append, slow));
    let shard = world.open().await;
    let owe = asking(&shard, "a", Input::Owe(7));
    world.pass(Duration::from_millis(50)).await;
    assert_eq!(world.bank.asked("a", 7), 0);
    // Another process opens the log: it never is.
    let _owner = world.open().await;
    assert!(owe.await.unwrap().is_err());
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.bank.asked("a", 7), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusing_world_is_asked_again_more_and_more_slowly() {
    let world = World::new();
    world.bank.refuses.store(true, Ordering::Relaxed);
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
    world.pass(Duration::from_secs(1)).await;
    let soon = world.bank.asked("a", 7);
    assert!((3..=5).contains(&soon), "{soon}");
    world.pass(Duration::from_secs(100)).await;
    let later = world.bank.asked("a", 7);
    assert!((12..=20).contains(&later), "{later}");
    world.bank.refuses.store(false, Ordering::Relaxed);
    world.pass(Duration::from_secs(11)).await;
    assert!(read(&shard, "a").await.owed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_panics_has_carried_nothing_out() {
    let world = World::new();
    world.bank.panics.store(true, Ordering::Relaxed);
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
    world.pass(Duration::from_secs(1)).await;
    world.bank.panics.store(false, Ordering::Relaxed);
    world.pass(Duration::from_secs(11)).await;
    assert!(read(&shard, "a").await.owed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_carries_out_what_is_still_owed() {
    // In the log's tail, or in the tables alone, and however long ago.
    for wait in [Duration::from_millis(1), Duration::from_secs(60), Duration::from_secs(5 * 3600)] {
        let mut world = World::new();
        world.settings.memory_bytes = 1;
        world.bank.refuses.store(true, Ordering::Relaxed);
        let shard = world.open().await;
        assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
        world.pass(wait).await;
        // The rest is clean and does not stay in memory.
        assert_eq!(shard.stats().loaded_entities, 1);
        shard.abandon().await;
        world.bank.refuses.store(false, Ordering::Relaxed);
        let asked = world.bank.asked("a", 7);
        world.pass(Duration::from_secs(3600)).await;
        assert_eq!(world.bank.asked("a", 7), asked);

        let next = world.open().await;
        world.pass(Duration::from_secs(1)).await;
        assert_eq!(world.bank.asked("a", 7), asked + 1);
        assert!(read(&next, "a").await.owed.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_stops_lets_go_of_its_obligations() {
    for fenced in [false, true] {
        let world = World::new();
        world.bank.refuses.store(true, Ordering::Relaxed);
        let shard = world.open().await;
        assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
        world.pass(Duration::from_secs(10)).await;
        if fenced {
            world.store().log.open(&world.log(), storage::OwnerNonce(9)).await.unwrap();
            assert!(shard.call(key("a"), Input::Read).await.is_err());
        } else {
            shard.close().await;
        }
        shard.closed().await;
        let asked = world.bank.asked("a", 7);
        world.pass(Duration::from_secs(3600)).await;
        assert_eq!(world.bank.asked("a", 7), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn two_thousand_obligations_of_one_entity_are_all_carried_out() {
    let world = World::new();
    let shard = world.open().await;
    futures::future::join_all((0..2000).map(|n| shard.call(key("a"), Input::Owe(n)))).await;
    world.pass(Duration::from_secs(60)).await;
    assert!(read(&shard, "a").await.owed.is_empty());
    assert!((0..2000).all(|n| world.bank.asked("a", n) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_only_asks_in_vain_finds_out_and_stops() {
    for plan in [FaultPlan::new(1), FaultPlan::new(1).hiding_local_epoch()] {
        let world = World::with(plan);
        world.bank.refuses.store(true, Ordering::Relaxed);
        let shard = world.open().await;
        assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
        world.pass(Duration::from_secs(30)).await;
        world.store().log.open(&world.log(), storage::OwnerNonce(9)).await.unwrap();
        // It gets no calls.
        let stopped = world.runtime.timeout(Duration::from_secs(11), shard.closed()).await;
        assert!(stopped.is_some());
    }
}
