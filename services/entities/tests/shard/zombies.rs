//! What a former owner still does, late: nothing of it may be seen.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use entities::CallError;
use runtime::Runtime;
use storage::fault::{FaultPlan, Faults, FaultyStore, Method, TableInFront};
use storage::memory::MemoryStore;
use storage::{PartitionKey, StorageResult, Store, Table};

use crate::ledger::Input;
use crate::ring::{Leader, Node};
use crate::world::{DONE, Handle, START, World, asking, deposit, key, read};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A table whose drops are on their way for as long as the test likes, though the sender takes them for done.
struct LateDrops {
    inner: Arc<dyn Table>,
    late: Mutex<Vec<PartitionKey>>,
}

#[async_trait]
impl TableInFront for LateDrops {
    fn behind(&self) -> &dyn Table {
        &*self.inner
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        self.late.lock().unwrap().push(partition.clone());
        Ok(())
    }
}

async fn open(world: &World, store: Store) -> Handle {
    world.open_on(store).await.unwrap()
}

/// Temporal's range deletes of a dead owner, issued late, erase what its successor wrote below their bound. Here a drop
/// names buckets below a watermark that was durable before, and no process has written into those since.
#[tokio::test(start_paused = true)]
async fn drops_of_buckets_by_a_former_owner_erase_no_wake_up_of_the_new_one() {
    let world = World::new();
    let late = Arc::new(LateDrops { inner: world.store().table, late: Mutex::default() });
    let former = open(&world, Store { table: Arc::clone(&late) as _, ..world.store() }).await;
    for n in 0..60_u32 {
        let at = START + Duration::from_secs(240) * n;
        assert_eq!(former.call(key(&format!("old {n}")), Input::SetAlarm { name: 1, at }).await, DONE);
    }
    world.pass(2 * HOUR).await;
    let drops = late.late.lock().unwrap().clone();
    assert!(drops.len() > 5, "it has dropped {} buckets", drops.len());

    let owner = open(&world, world.store()).await;
    let now = world.runtime.now();
    // Due before the bucket of now, in it, and after it; and the old ones go on.
    for (n, at) in [now - HOUR, now - SECOND, now + SECOND, now + HOUR, now + 3 * HOUR].into_iter().enumerate() {
        assert_eq!(owner.call(key(&format!("new {n}")), Input::SetAlarm { name: 1, at }).await, DONE);
    }
    owner.close().await;
    for partition in &drops {
        world.store().table.drop_partition(partition).await.unwrap();
    }
    let next = world.open().await;
    world.pass(5 * HOUR).await;
    let names = (0..60).map(|n| format!("old {n}")).chain((0..5).map(|n| format!("new {n}")));
    for name in names {
        let rang = read(&next, &name).await.rang;
        assert_eq!(rang.get(&1).map(Vec::len), Some(1), "{name} rang {rang:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_owner_rings_no_alarm_and_soon_stops_carrying_out_what_is_owed() {
    for hiding in [false, true] {
        let runtime = Runtime::virtual_from(START);
        let (leader, memory) = (Leader::new(1), MemoryStore::new());
        let plan = FaultPlan::new(1);
        let plan = if hiding { plan.hiding_local_epoch() } else { plan };
        let faulty = FaultyStore::wrap(memory.store(), plan);
        let former = Node::start("a", &leader, faulty.store(), &runtime);
        former.door.bank.refuses.store(true, Ordering::Relaxed);
        leader.turn(|_| Some("a"));
        former.shards.settled().await.unwrap();
        let alarm = |name, seconds| Input::SetAlarm { name, at: START + SECOND * seconds };
        assert_eq!(former.call(&key("x"), alarm(1, 20)).await, DONE);
        assert_eq!(former.call(&key("x"), Input::Owe(7)).await, DONE);
        runtime.sleep(SECOND).await;
        former.view.cut_off(true);
        let owner = Node::start("b", &leader, memory.store(), &runtime);
        leader.turn(|_| Some("b"));
        owner.shards.settled().await.unwrap();
        // Its next attempt without success starts a fence check.
        runtime.sleep(15 * SECOND).await;
        let asked = former.door.bank.asked("x", 7);
        assert_eq!(former.open_shards(), 0, "hiding {hiding}");
        runtime.sleep(60 * SECOND).await;
        assert_eq!(former.door.bank.asked("x", 7), asked);
        let seen = owner.call(&key("x"), Input::Read).await.unwrap().view();
        assert_eq!((seen.rang[&1].len(), seen.owed.len()), (1, 0));
        assert_eq!(owner.door.bank.asked("x", 7), 1);
        former.shards.abandon().await;
        owner.shards.abandon().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_a_paused_owner_is_fenced() {
    let runtime = Runtime::virtual_from(START);
    let (leader, memory) = (Leader::new(1), MemoryStore::new());
    let former = Node::start("a", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    former.shards.settled().await.unwrap();
    let alarm = Input::SetAlarm { name: 1, at: START + 10 * SECOND };
    assert_eq!(former.call(&key("x"), alarm).await, DONE);
    former.view.cut_off(true);
    leader.turn(|_| Some("b"));
    let owner = Node::start("b", &leader, memory.store(), &runtime);
    owner.shards.settled().await.unwrap();
    assert_eq!(former.open_shards(), 1, "idle, it has not noticed");
    runtime.sleep(11 * SECOND).await;
    assert_eq!(former.open_shards(), 0);
    let seen = owner.call(&key("x"), Input::Read).await.unwrap().view();
    assert_eq!(seen.rang[&1].len(), 1);
    former.shards.abandon().await;
    owner.shards.abandon().await;
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_quarantines_no_entity_that_the_new_one_serves() {
    let slow = Faults { stall: 1.0, stall_for: SECOND, ..Faults::default() };
    let world = World::with(FaultPlan::new(1).hiding_local_epoch());
    let former = world.open().await;
    assert_eq!(former.call(key("a"), deposit(1, 1)).await, DONE);
    // Found guilty while it was ours, and then the process stands still.
    world.faults().follow(FaultPlan::new(1).hiding_local_epoch().on(Method::Append, slow));
    let suspects = asking(&former, "a", Input::Panic);
    world.settle().await;
    let owner = open(&world, world.store()).await;
    // Callers do not get as final what only the former owner takes for true.
    assert_eq!(suspects.await.unwrap(), Err(CallError::NotOwner));
    assert_eq!(owner.call(key("a"), deposit(2, 1)).await, DONE);
    world.pass(Duration::from_secs(30)).await;
    former.closed().await;
    assert_eq!(owner.call(key("a"), deposit(3, 1)).await, DONE);
    owner.close().await;
    assert_eq!(read(&open(&world, world.store()).await, "a").await.balance, 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_quarantines_stays_so_though_it_was_not_copied() {
    let never = Faults { fail: 1.0, ..Faults::default() };
    let world = World::with(FaultPlan::new(1).on(Method::Write, never));
    let former = world.open().await;
    assert_eq!(former.call(key("a"), deposit(1, 1)).await, DONE);
    assert!(former.call(key("a"), Input::Panic).await.is_err());
    assert_eq!(former.call(key("b"), deposit(1, 1)).await, DONE);
    former.abandon().await;
    world.faults().heal();
    for depth in [3, 0] {
        let next = world.open().await;
        assert!(next.stats().log_depth <= depth);
        assert!(matches!(next.call(key("a"), Input::Read).await, Err(CallError::Quarantined(_))));
        assert_eq!(read(&next, "b").await.balance, 1);
        // Now it is copied, and the log may forget it.
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(next.stats().log_depth, 0);
        next.abandon().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_refuses_no_caller_on_account_of_its_quarantine() {
    let world = World::with(FaultPlan::new(1).hiding_local_epoch());
    let former = world.open().await;
    // Nothing of it is in the log: the next owner tries it again.
    assert!(matches!(former.call(key("a"), Input::Panic).await, Err(CallError::Quarantined(_))));
    assert!(matches!(former.call(key("a"), Input::Read).await, Err(CallError::Quarantined(_))));
    let owner = open(&world, world.store()).await;
    assert_eq!(owner.call(key("a"), deposit(1, 1)).await, DONE);
    assert_eq!(former.call(key("a"), Input::Read).await, Err(CallError::NotOwner));
}
