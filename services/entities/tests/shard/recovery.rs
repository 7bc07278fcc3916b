//! What the next owner finds.

use std::time::Duration;

use entities::CallError;
use storage::fault::{FaultPlan, Faults, Method};
use storage::{ScanOrder, ScanRange};

use crate::ledger::{Input, Reply, partition};
use crate::world::{DONE, World, asking, deposit, key, read};

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_without_a_checkpoint() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..20 {
        assert_eq!(shard.call(key("a"), deposit(n, 1)).await, DONE);
        assert_eq!(shard.call(key(&format!("b{n}")), deposit(n, 2)).await, DONE);
    }
    shard.abandon().await;
    assert_eq!(shard.call(key("a"), Input::Read).await, Err(CallError::NotOwner));

    let next = world.open().await;
    assert_eq!(next.stats().log_depth, 40);
    assert_eq!(read(&next, "a").await.balance, 20);
    assert_eq!(read(&next, "b7").await.balance, 2);
    // The rest loads in the background, and the tail goes once this owner has written it.
    world.pass(Duration::from_secs(30)).await;
    let stats = next.stats();
    assert_eq!((stats.log_depth, stats.dirty_entities, stats.loaded_entities), (0, 0, 21));
}

#[tokio::test(start_paused = true)]
async fn after_a_checkpoint_the_rows_hold_the_rest() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 1)).await, DONE);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(shard.stats().log_depth, 0);
    assert_eq!(shard.call(key("a"), deposit(2, 1)).await, DONE);
    shard.abandon().await;
    let next = world.open().await;
    assert_eq!(next.stats().log_depth, 1);
    assert_eq!(read(&next, "a").await.balance, 2);
    assert_eq!(next.call(key("a"), Input::ReadEntry(0)).await, Ok(Reply::Entry(Some(1))));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_its_row_shows_already_is_not_applied_again() {
    // Rows are written, but the trim never comes through.
    let never = Faults { fail: 1.0, ..Faults::default() };
    let world = World::with(FaultPlan::new(1).on(Method::Trim, never));
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 1)).await, DONE);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(shard.call(key("a"), deposit(2, 1)).await, DONE);
    shard.abandon().await;
    let next = world.open().await;
    assert_eq!(next.stats().log_depth, 2);
    assert_eq!(read(&next, "a").await.balance, 2);
}

#[tokio::test(start_paused = true)]
async fn closing_writes_everything_and_leaves_an_empty_tail() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..1000 {
        assert_eq!(shard.call(key(&format!("{n}")), deposit(n, 1)).await, DONE);
    }
    shard.close().await;
    assert_eq!(shard.call(key("1"), Input::Read).await, Err(CallError::NotOwner));
    assert_eq!(shard.call_unshed(key("1"), Input::Read).await, Err(CallError::NotOwner));
    shard.closed().await;
    let next = world.open().await;
    assert_eq!((next.stats().log_depth, next.stats().last.0), (0, 1000));
    assert_eq!(read(&next, "999").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn closing_right_after_a_recovery_loads_and_writes_what_was_in_the_tail() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..100 {
        assert_eq!(shard.call(key(&format!("{n}")), deposit(n, 1)).await, DONE);
    }
    shard.abandon().await;
    world.open().await.close().await;
    let next = world.open().await;
    assert_eq!(next.stats().log_depth, 0);
    assert_eq!(read(&next, "42").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_on_a_store_that_cannot_be_written_and_loses_nothing() {
    let world = World::with(FaultPlan::new(1).on(Method::Write, Faults { fail: 1.0, ..Faults::default() }));
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 1)).await, DONE);
    shard.close().await;
    assert_eq!(read(&world.open().await, "a").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closing_shard_finishes_what_it_has_decided() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(100), ..Faults::default() };
    let world = World::with(FaultPlan::new(1).on(Method::Append, slow));
    let shard = world.open().await;
    read(&shard, "a").await;
    let write = asking(&shard, "a", deposit(1, 5));
    world.settle().await;
    shard.close().await;
    assert_eq!(write.await.unwrap(), DONE);
}

#[tokio::test(start_paused = true)]
async fn what_opens_and_closes_between_two_checkpoints_is_written_once() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..10 {
        assert_eq!(shard.call(key("a"), deposit(n, 1)).await, DONE);
    }
    world.pass(Duration::from_secs(30)).await;
    let rows = world.store().table.scan(&partition(&key("a")), ScanRange::default(), ScanOrder::Ascending, 100).await;
    let versions: Vec<_> = rows.unwrap().rows.iter().map(|row| row.version).collect();
    assert_eq!(versions, vec![10; 11]);
}

#[tokio::test(start_paused = true)]
async fn the_first_open_fails_when_the_store_does_and_succeeds_later() {
    let world = World::new();
    for method in [Method::Open, Method::SetWatermark, Method::Scan] {
        for fate in [storage::fault::Fate::Fails, storage::fault::Fate::FailsAfterEffect] {
            world.faults().arrange(method, fate);
            assert!(world.try_open().await.is_err(), "{method:?} {fate:?}");
        }
    }
    assert_eq!(world.open().await.call(key("a"), deposit(1, 1)).await, DONE);
}
