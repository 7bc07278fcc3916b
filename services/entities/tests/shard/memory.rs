//! Memory is one bound of all shards of a process, and entities that have come to their end leave it first.

use std::sync::Arc;
use std::time::Duration;

use entities::{CallError, Shard};
use storage::LogId;
use storage::fault::{FaultPlan, Faults, Method};

use crate::world::{DONE, Handle, World, accounts, deposit, key, read};

/// An account with money in it.
async fn open_account(shard: &Handle, id: &str) {
    assert_eq!(shard.call(key(id), deposit(1, 1)).await, DONE);
}

/// An account that was emptied: it has come to its end.
async fn closed_account(shard: &Handle, id: &str) {
    open_account(shard, id).await;
    assert_eq!(shard.call(key(id), deposit(2, -1)).await, DONE);
}

#[tokio::test(start_paused = true)]
async fn those_that_have_come_to_their_end_leave_first_and_long_before_memory_is_full() {
    let mut world = World::new();
    // One part in 32 of it is for them.
    world.settings.memory_bytes = 3_200_000;
    let shard = world.open().await;
    for n in 0..100 {
        open_account(&shard, &format!("open {n}")).await;
    }
    world.pass(Duration::from_secs(30)).await;
    let open_bytes = shard.stats().loaded_bytes;
    for round in 0..3 {
        for n in 0..1000 {
            closed_account(&shard, &format!("closed {round} {n}")).await;
        }
        world.pass(Duration::from_secs(30)).await;
        let stats = shard.stats();
        assert!(stats.loaded_bytes <= open_bytes + 100_000, "round {round}: {stats:?}");
        assert!(stats.loaded_entities >= 100, "round {round}: {stats:?}");
    }
    // One that goes on is no longer among them.
    let before = shard.stats().loaded_entities;
    assert_eq!(shard.call(key("closed 0 7"), deposit(3, 5)).await, DONE);
    assert_eq!(read(&shard, "closed 0 7").await.balance, 5);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(shard.stats().loaded_entities, before + 1);
    assert_eq!(read(&shard, "closed 0 8").await.balance, 0);
}

#[tokio::test(start_paused = true)]
async fn shards_share_a_bound_and_one_gives_way_to_another_that_grows() {
    let mut world = World::new();
    world.settings.memory_bytes = 400_000;
    let one = world.open().await;
    for n in 0..2000 {
        open_account(&one, &n.to_string()).await;
    }
    world.pass(Duration::from_secs(30)).await;
    let full = one.stats().loaded_bytes;
    assert!((300_000..=400_000).contains(&full), "{full}");
    let kinds = accounts(Arc::clone(&world.bank) as _);
    let log = LogId("test/1".to_owned());
    let settings = world.settings.clone();
    let other = Shard::open(log, kinds, world.faulty.store(), world.runtime.clone(), settings).await.unwrap();
    let other = Handle(other);
    for n in 0..2000 {
        open_account(&other, &format!("other {n}")).await;
        // The first one is not at work, and looks at the bound once a second.
        if n % 200 == 0 {
            world.pass(Duration::from_secs(2)).await;
        }
    }
    world.pass(Duration::from_secs(30)).await;
    let (one_bytes, other_bytes) = (one.stats().loaded_bytes, other.stats().loaded_bytes);
    assert!(one_bytes + other_bytes <= 400_000, "{one_bytes} and {other_bytes}");
    assert!(one_bytes <= 210_000 && other_bytes >= 150_000, "{one_bytes} and {other_bytes}");
    assert_eq!(world.settings.memory.entity_bytes(), one_bytes + other_bytes);
    other.abandon().await;
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.settings.memory.entity_bytes(), one.stats().loaded_bytes);
}

#[tokio::test(start_paused = true)]
async fn calls_are_refused_when_nothing_can_leave_memory_and_taken_again_when_it_can() {
    let mut world = World::with(FaultPlan::new(1).on(Method::Write, Faults { fail: 1.0, ..Faults::default() }));
    world.settings.memory_bytes = 1 << 20;
    let shard = world.open().await;
    let mut refused = 0;
    for n in 0..5000 {
        match shard.call(key(&n.to_string()), deposit(1, 1)).await {
            Err(CallError::Overloaded { .. }) => refused += 1,
            outcome => assert_eq!(outcome, DONE),
        }
    }
    let stats = shard.stats();
    assert!(refused > 1000 && stats.loaded_bytes < 2 << 20, "{refused}, {stats:?}");
    world.faults().heal();
    world.pass(Duration::from_secs(30)).await;
    assert!(shard.stats().loaded_bytes <= 1 << 20, "{:?}", shard.stats());
    assert_eq!(shard.call(key("another"), deposit(1, 1)).await, DONE);
}
