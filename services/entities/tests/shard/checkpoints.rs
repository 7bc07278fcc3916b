//! Rows show what is durable, and each version of a row is one thing only.

use std::time::Duration;

use storage::Row;
use storage::fault::{FaultPlan, Faults, Method};

use crate::ledger::{account_row, partition};
use crate::world::{DONE, Handle, World, asking, deposit, key, read};

const STALL: Duration = Duration::from_millis(100);

const AGE: Duration = Duration::from_millis(150);

/// A shard with a deposit that is 100 ms old, whose appends take long from now on.
async fn slow_log() -> (World, Handle) {
    let mut world = World::new();
    world.settings.checkpoint_age = AGE;
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 1)).await, DONE);
    read(&shard, "b").await;
    world.pass(Duration::from_millis(100)).await;
    let slow = Faults { stall: 1.0, stall_for: STALL, ..Faults::default() };
    world.faults().follow(FaultPlan::new(1).on(Method::Append, slow));
    (world, shard)
}

async fn row(world: &World) -> Option<Row> {
    row_of(world, "a").await
}

async fn row_of(world: &World, id: &str) -> Option<Row> {
    world.store().table.get(&partition(&key(id)), &account_row()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_a_table_before_the_log_has_it() {
    let (world, shard) = slow_log().await;
    let write = asking(&shard, "a", deposit(2, 1));
    world.pass(STALL * 3 / 4).await;
    // Taken with the second deposit, whose group is still on its way.
    assert_eq!(row(&world).await, None);
    let owner = world.open().await;
    assert!(write.await.unwrap().is_err());
    world.pass(STALL * 2).await;
    assert_eq!(read(&owner, "a").await.balance, 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_after_the_snapshot_gets_a_version_of_its_own() {
    let (world, shard) = slow_log().await;
    let in_flight = asking(&shard, "b", deposit(1, 1));
    world.settle().await;
    let before = asking(&shard, "a", deposit(2, 1));
    world.pass(AGE - Duration::from_millis(80)).await;
    // The snapshot is taken; this must not join the group that it ends with.
    let after = asking(&shard, "a", deposit(3, 1));
    assert_eq!((in_flight.await.unwrap(), before.await.unwrap()), (DONE, DONE));
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(row(&world).await.map(|row| row.version), Some(3));
    assert_eq!(after.await.unwrap(), DONE);
    shard.abandon().await;
    assert_eq!(read(&world.open().await, "a").await.balance, 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_writes_what_was_in_the_tail_whatever_the_rows_show() {
    let mut world = World::with(FaultPlan::new(1).on(Method::Trim, Faults { fail: 1.0, ..Faults::default() }));
    world.settings.checkpoint_age = AGE;
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 1)).await, DONE);
    world.pass(AGE * 2).await;
    assert!(row(&world).await.is_some());
    shard.abandon().await;
    let next = world.open().await;
    assert_eq!(read(&next, "a").await.balance, 1);
    // What the new owner saw was a copy that not enough replicas have.
    world.store().table.drop_partition(&partition(&key("a"))).await.unwrap();
    world.pass(AGE * 2).await;
    // With the position of its own first group: what the former owner wrote at the first one may have been something else.
    assert_eq!(row(&world).await.map(|row| row.version), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_at_rest_is_written_soon() {
    let mut world = World::new();
    world.settings.checkpoint_age = Duration::from_secs(10);
    let shard = world.open().await;
    // The first round begins at once; the next one two seconds later.
    for (id, is_written) in [("first", true), ("a", false), ("b", false)] {
        assert_eq!(shard.call(key(id), deposit(1, 5)).await, DONE);
        assert_eq!(row_of(&world, id).await, None);
        assert_eq!(shard.call(key(id), deposit(2, -5)).await, DONE);
        world.pass(Duration::from_millis(100)).await;
        assert_eq!(row_of(&world, id).await.is_some(), is_written, "{id}");
    }
    // What begins again is not at rest any more, and waits as long as everything.
    assert_eq!(shard.call(key("b"), deposit(3, 1)).await, DONE);
    assert_eq!(shard.call(key("open"), deposit(1, 1)).await, DONE);
    world.pass(Duration::from_secs(2)).await;
    assert!(row(&world).await.is_some());
    assert_eq!((row_of(&world, "b").await, row_of(&world, "open").await), (None, None));
    world.pass(Duration::from_secs(9)).await;
    assert!(row_of(&world, "b").await.is_some() && row_of(&world, "open").await.is_some());
    shard.abandon().await;
    let next = world.open().await;
    for (id, balance) in [("first", 0), ("a", 0), ("b", 1), ("open", 1)] {
        assert_eq!(read(&next, id).await.balance, balance, "{id}");
    }
}
