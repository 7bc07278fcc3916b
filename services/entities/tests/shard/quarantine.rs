//! An entity that cannot be read does not harm others.

use std::time::Duration;

use bytes::Bytes;
use entities::CallError;
use storage::fault::{FaultPlan, Faults, Method};
use storage::{PartitionWrite, ScanOrder, ScanRange};

use crate::ledger::{Input, account_row, partition};
use crate::world::{DONE, Handle, START, World, deposit, key, read};

async fn is_quarantined(shard: &Handle, id: &str) -> bool {
    matches!(shard.call(key(id), Input::Read).await, Err(CallError::Quarantined(_)))
}

async fn overwrite(world: &World, id: &str, version: u64, value: &'static [u8]) {
    let puts = vec![(account_row(), Bytes::from_static(value))];
    let write = PartitionWrite { partition: partition(&key(id)), version, puts, deletes: vec![] };
    world.store().table.write(vec![write]).await.unwrap();
}

async fn quarantine_rows(world: &World) -> usize {
    let partition = Bytes::from_static(b"quarantine/test/0");
    world.store().table.scan(&partition, ScanRange::default(), ScanOrder::Ascending, 100).await.unwrap().rows.len()
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_decoded_quarantines_its_entity_alone() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("bad"), deposit(1, 1)).await, DONE);
    assert_eq!(shard.call(key("good"), deposit(1, 1)).await, DONE);
    assert_eq!(shard.call(key("good"), deposit(2, 0)).await, DONE);
    shard.close().await;
    overwrite(&world, "bad", 2, b"\xff\xff\xff").await;
    let next = world.open().await;
    assert!(is_quarantined(&next, "bad").await);
    assert!(is_quarantined(&next, "bad").await);
    assert_eq!(read(&next, "good").await.balance, 1);
    // Nothing was lost from the log, so repairing the row repairs the entity.
    assert_eq!(quarantine_rows(&world).await, 0);
    overwrite(&world, "bad", 3, b"").await;
    next.abandon().await;
    assert_eq!(read(&world.open().await, "bad").await.balance, 0);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_does_not_match_its_checksum_quarantines_its_entity_alone() {
    let world = World::new();
    let shard = world.open().await;
    for id in ["bad", "good"] {
        assert_eq!(shard.call(key(id), deposit(1, 1)).await, DONE);
    }
    shard.close().await;
    let (next, damaged) = world.open_damaged(partition(&key("bad"))).await;
    let refusal = next.call(key("bad"), Input::Read).await;
    let Err(CallError::Quarantined(reason)) = refusal else { panic!("{refusal:?}") };
    assert!(reason.contains("row \"state\": its checksum does not match"), "{reason}");
    assert_eq!(read(&next, "good").await.balance, 1);
    assert_eq!(next.call(key("good"), deposit(2, 1)).await, DONE);
    // A damaged row is never written over unread, so what a backup brings back counts.
    assert!(matches!(next.call(key("bad"), deposit(2, 1)).await, Err(CallError::Quarantined(_))));
    damaged.mend();
    next.close().await;
    assert_eq!(read(&world.open().await, "bad").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_from_beyond_the_end_of_the_log_is_refused() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("good"), deposit(1, 1)).await, DONE);
    overwrite(&world, "bad", 1_000, b"").await;
    assert!(is_quarantined(&shard, "bad").await);
    assert_eq!(read(&shard, "good").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn changes_that_cannot_be_applied_are_copied_to_quarantine_and_stay_refused() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..3 {
        assert_eq!(shard.call(key("bad"), deposit(n, 1)).await, DONE);
    }
    assert_eq!(shard.call(key("bad"), Input::Poison).await, DONE);
    assert_eq!(shard.call(key("good"), deposit(1, 1)).await, DONE);
    shard.abandon().await;

    let next = world.open().await;
    assert!(is_quarantined(&next, "bad").await);
    assert_eq!(read(&next, "good").await.balance, 1);
    // The log may forget the bad changes: they are in quarantine, with the reason.
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(next.stats().log_depth, 0);
    assert_eq!(quarantine_rows(&world).await, 5);
    next.abandon().await;

    // Its rows alone would be out of date.
    let third = world.open().await;
    assert!(is_quarantined(&third, "bad").await);
    assert_eq!(read(&third, "good").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_step_quarantines_its_entity_alone() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("bad"), deposit(1, 1)).await, DONE);
    assert_eq!(shard.call(key("good"), deposit(1, 1)).await, DONE);
    assert!(matches!(shard.call(key("bad"), Input::Panic).await, Err(CallError::Quarantined(_))));
    assert!(is_quarantined(&shard, "bad").await);
    assert_eq!(read(&shard, "good").await.balance, 1);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!((shard.stats().log_depth, shard.stats().dirty_entities), (0, 0));
    assert_eq!(quarantine_rows(&world).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_asked_for_and_cannot_be_read_quarantines_its_entity() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("bad"), deposit(1, 1)).await, DONE);
    world.pass(Duration::from_secs(30)).await;
    world.store().table.drop_partition(&partition(&key("bad"))).await.unwrap();
    assert!(matches!(shard.call(key("bad"), Input::ReadEntry(0)).await, Err(CallError::Quarantined(_))));
    assert!(is_quarantined(&shard, "bad").await);
}

#[tokio::test(start_paused = true)]
async fn what_changed_during_the_last_checkpoint_is_copied_to_quarantine() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(100), ..Faults::default() };
    let mut world = World::with(FaultPlan::new(1).on(Method::Write, slow));
    world.settings.checkpoint_age = Duration::from_millis(50);
    let shard = world.open().await;
    assert_eq!(shard.call(key("bad"), deposit(1, 1)).await, DONE);
    world.pass(Duration::from_millis(100)).await;
    assert_eq!(shard.call(key("bad"), deposit(2, 1)).await, DONE);
    // The write with the first deposit comes through; the second is in no row.
    world.pass(Duration::from_millis(52)).await;
    assert!(shard.call(key("bad"), Input::Panic).await.is_err());
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(quarantine_rows(&world).await, 2);
    assert_eq!(shard.stats().log_depth, 0);
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_takes_the_new_owners_rows_for_neither_corrupt_nor_true() {
    for plan in [FaultPlan::new(1), FaultPlan::new(1).hiding_local_epoch()] {
        let mut world = World::with(plan);
        world.settings.checkpoint_age = Duration::from_millis(50);
        let first = world.open().await;
        assert_eq!(first.call(key("a"), deposit(1, 1)).await, DONE);
        first.abandon().await;
        // Has the change in its tail, but not the entity in memory.
        let slow = Faults { stall: 1.0, stall_for: Duration::from_secs(1), ..Faults::default() };
        world.faults().follow(FaultPlan::new(1).on(Method::Get, slow));
        let former = world.open().await;
        let owner = {
            let mut direct = World::new();
            direct.settings.checkpoint_age = Duration::from_millis(50);
            direct.faulty = storage::fault::FaultyStore::wrap(world.store(), FaultPlan::new(1));
            direct.open().await
        };
        assert_eq!(owner.call(key("a"), deposit(2, 1)).await, DONE);
        world.pass(Duration::from_millis(200)).await;
        assert_eq!(former.call(key("a"), Input::Read).await, Err(CallError::NotOwner));
        former.closed().await;
        world.pass(Duration::from_secs(10)).await;
        assert_eq!(quarantine_rows(&world).await, 0);
        assert_eq!(read(&owner, "a").await.balance, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_the_store_refuses_quarantines_its_entity_alone_and_loses_nothing() {
    let mut world = World::new();
    world.settings.checkpoint_age = Duration::from_millis(50);
    let shard = world.open_refusing("bad").await;
    for id in ["bad", "good", "fine"] {
        assert_eq!(shard.call(key(id), deposit(1, 1)).await, DONE);
    }
    world.pass(Duration::from_secs(10)).await;
    assert!(is_quarantined(&shard, "bad").await);
    assert_eq!(read(&shard, "good").await.balance, 1);
    assert_eq!((shard.stats().log_depth, shard.stats().dirty_entities), (0, 0));
    assert_eq!(quarantine_rows(&world).await, 2);
    assert_eq!(shard.call(key("good"), deposit(2, 1)).await, DONE);
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_the_next_owner_can_serve_is_woken_by_it_though_its_time_has_passed() {
    let world = World::new();
    let shard = world.open().await;
    let at = START + Duration::from_secs(100);
    assert_eq!(shard.call(key("a"), Input::SetAlarm { name: 1, at }).await, DONE);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(shard.stats().log_depth, 0);
    assert!(matches!(shard.call(key("a"), Input::Panic).await, Err(CallError::Quarantined(_))));
    world.pass(Duration::from_secs(3600)).await;
    shard.abandon().await;
    let next = world.open().await;
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(read(&next, "a").await.rang.len(), 1);
}
