//! Rows whose replicas are away, while all others can be had: their entities wait, and no others.

use std::time::Duration;

use entities::CallError;
use ids::Timestamp;
use storage::fault::{FaultPlan, Faults};

use crate::ledger::{Input, partition};
use crate::world::{Asking, DONE, Handle, START, World, asking, deposit, key, read};

const SECOND: Duration = Duration::from_secs(1);

/// The rows of these entities can be neither read nor written.
fn without<'a>(ids: impl IntoIterator<Item = &'a String>) -> FaultPlan {
    let away = Faults { fail: 1.0, ..Faults::default() };
    ids.into_iter().fold(FaultPlan::new(1), |plan, id| plan.on_partition(partition(&key(id)), away))
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix} {n}")).collect()
}

async fn set(shard: &Handle, id: &str, at: Timestamp) {
    assert_eq!(shard.call(key(id), Input::SetAlarm { name: 1, at }).await, DONE);
}

async fn rang(shard: &Handle, id: &str) -> Option<Timestamp> {
    read(shard, id).await.rang.get(&1).map(|times| times[0].1)
}

async fn drop_all(asked: Vec<Asking>) {
    for call in asked {
        call.abort();
        assert!(call.await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn entities_that_cannot_be_loaded_leave_room_to_others() {
    let mut world = World::new();
    world.settings.concurrent_loads = 8;
    let lost = names("lost", 40);
    world.faults().follow(without(&lost));
    let shard = world.open().await;
    let asked: Vec<_> = lost.iter().map(|id| asking(&shard, id, deposit(1, 5))).collect();
    world.pass(SECOND * 5).await;
    for id in names("well", 20) {
        let answer = world.runtime.timeout(SECOND, shard.call(key(&id), deposit(1, 5))).await;
        assert_eq!(answer, Some(DONE), "{id}");
    }
    world.faults().heal();
    for call in asked {
        assert_eq!(call.await.unwrap(), DONE);
    }
}

#[tokio::test(start_paused = true)]
async fn timers_of_entities_in_memory_ring_while_others_cannot_be_loaded() {
    let mut world = World::new();
    world.settings.concurrent_loads = 2;
    let lost = names("lost", 30);
    let shard = world.open().await;
    for id in &lost {
        set(&shard, id, START + SECOND * 100).await;
    }
    shard.close().await;
    // All of them are due first, and none of them can be had: not even an answer that says so.
    let shard = world.open().await;
    set(&shard, "well", START + SECOND * 101).await;
    let hangs = Faults { stall: 1.0, stall_for: SECOND * 1000, ..Faults::default() };
    let plan = lost.iter().fold(FaultPlan::new(1), |plan, id| plan.on_partition(partition(&key(id)), hangs));
    world.faults().follow(plan);
    world.pass(SECOND * 150).await;
    assert!(rang(&shard, "well").await.is_some_and(|at| at < START + SECOND * 102));
    world.faults().follow(FaultPlan::new(1));
    world.pass(SECOND * 3000).await;
    for id in &lost {
        assert!(rang(&shard, id).await.is_some(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn timers_of_entities_that_could_not_be_loaded_ring_when_they_can() {
    let world = World::new();
    let lost = names("lost", 5);
    let shard = world.open().await;
    for id in &lost {
        set(&shard, id, START + SECOND * 100).await;
    }
    shard.close().await;
    world.faults().follow(without(&lost));
    let shard = world.open().await;
    // A caller asks for them, is not answered, and leaves, before the timers are due.
    let asked = lost.iter().map(|id| asking(&shard, id, Input::Read)).collect();
    world.pass(SECOND * 20).await;
    drop_all(asked).await;
    world.pass(SECOND * 3000).await;
    assert!(shard.stats().loaded_entities <= lost.len());
    world.faults().heal();
    world.pass(SECOND * 10).await;
    for id in &lost {
        assert!(rang(&shard, id).await.is_some(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_holds_the_log_at_its_own_changes_and_no_lower() {
    let world = World::new();
    let lost = names("lost", 3);
    let shard = world.open().await;
    for id in names("before", 50) {
        assert_eq!(shard.call(key(&id), deposit(1, 5)).await, DONE);
    }
    for id in &lost {
        assert_eq!(shard.call(key(id), deposit(1, 5)).await, DONE);
    }
    for id in names("after", 50) {
        assert_eq!(shard.call(key(&id), deposit(1, 5)).await, DONE);
    }
    world.faults().follow(without(&lost));
    world.pass(SECOND * 30).await;
    let stats = shard.stats();
    assert_eq!((stats.dirty_entities, stats.log_depth), (3, 53), "{stats:?}");
    // Not only once: the entity that changes next is written as well.
    for id in names("later", 50) {
        assert_eq!(shard.call(key(&id), deposit(1, 5)).await, DONE);
    }
    world.pass(SECOND * 30).await;
    assert_eq!(shard.stats().dirty_entities, 3);
    world.faults().heal();
    world.pass(SECOND * 30).await;
    let stats = shard.stats();
    assert_eq!((stats.dirty_entities, stats.log_depth), (0, 0), "{stats:?}");
    shard.abandon().await;
    let next = world.open().await;
    for id in lost.into_iter().chain(names("before", 50)) {
        assert_eq!(read(&next, &id).await.balance, 5, "{id}");
    }
    assert_eq!(world.witness.ambiguous(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn many_that_cannot_be_written_do_not_stop_checkpoints() {
    let mut world = World::new();
    world.settings.checkpoint_batch = 4;
    let lost = names("lost", 60);
    world.faults().follow(FaultPlan::new(1));
    let shard = world.open().await;
    for id in &lost {
        assert_eq!(shard.call(key(id), deposit(1, 5)).await, DONE);
    }
    world.faults().follow(without(&lost));
    world.pass(SECOND * 60).await;
    for id in names("well", 60) {
        assert_eq!(shard.call(key(&id), deposit(1, 5)).await, DONE);
    }
    world.pass(SECOND * 60).await;
    assert_eq!(shard.stats().dirty_entities, 60);
    world.faults().heal();
    world.pass(SECOND * 60).await;
    assert_eq!(shard.stats().log_depth, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_whose_callers_have_gone_take_no_room() {
    let mut world = World::new();
    world.settings.inbox_calls = 100;
    let lost = names("lost", 1);
    world.faults().follow(without(&lost));
    let shard = world.open().await;
    for _ in 0..5 {
        let asked = (0..90).map(|n| asking(&shard, &lost[0], deposit(n, 1))).collect();
        world.pass(SECOND).await;
        drop_all(asked).await;
        world.pass(SECOND * 6).await;
        let answer = shard.call(key("well"), deposit(1, 5)).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    // It is not needed any more, so it is not in memory either.
    assert_eq!(shard.stats().loaded_entities, 1);
}

#[tokio::test(start_paused = true)]
async fn unshed_calls_that_are_not_decided_take_their_room() {
    let mut world = World::new();
    world.settings.inbox_unshed_calls = 10;
    let lost = names("lost", 1);
    world.faults().follow(without(&lost));
    let shard = world.open().await;
    let call = |n| {
        let (shard, key) = (shard.clone(), key(&lost[0]));
        world.runtime.spawn(async move { shard.call_unshed(key, deposit(n, 1)).await })
    };
    let calls: Vec<_> = (0..25).map(call).collect();
    world.pass(SECOND).await;
    let waiting = shard.inspect(key(&lost[0]), |view| view.slot.map_or(0, |slot| slot.waiting)).await;
    assert_eq!(waiting, Some(10));
    world.faults().heal();
    for call in calls {
        assert_eq!(call.await.unwrap(), DONE);
    }
    assert_eq!(read(&shard, &lost[0]).await.balance, 25);
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_rows_cannot_be_had_waits_and_is_forgotten_with_its_caller() {
    let world = World::new();
    let shard = world.open().await;
    let lost = names("lost", 1);
    assert_eq!(shard.call(key(&lost[0]), deposit(1, 5)).await, DONE);
    world.pass(SECOND * 30).await;
    world.faults().follow(without(&lost));
    let first = asking(&shard, &lost[0], Input::ReadEntry(0));
    let behind = asking(&shard, &lost[0], Input::Read);
    world.pass(SECOND * 20).await;
    drop_all(vec![first]).await;
    let answer = world.runtime.timeout(SECOND * 10, behind).await.expect("an answer").unwrap();
    assert_eq!(answer.map_err(|_: CallError<_>| ()).unwrap().view().balance, 5);
}
