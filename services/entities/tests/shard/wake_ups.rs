//! Timers: never early, and late only while no process owns the shard.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entities::Shard;
use ids::Timestamp;
use runtime::Runtime;
use storage::fault::{FaultPlan, Faults, Method, TableInFront};
use storage::{PartitionKey, ScanOrder, ScanPage, ScanRange, StorageResult, Store, Table};

use crate::ledger::Input;
use crate::world::{DONE, Handle, START, World, accounts, deposit, key, read};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn set(shard: &Handle, id: &str, name: u64, at: Timestamp) {
    assert_eq!(shard.call(key(id), Input::SetAlarm { name, at }).await, DONE);
}

/// How long after its time an alarm rang; it must have rung once and not early.
async fn lateness(shard: &Handle, id: &str, name: u64) -> Duration {
    let view = read(shard, id).await;
    let times = view.rang.get(&name).unwrap_or_else(|| panic!("alarm {name} of {id} has not rung: {view:?}"));
    assert_eq!(times.len(), 1, "alarm {name} of {id} rang more than once");
    let (due, at) = times[0];
    assert!(at >= due, "alarm {name} of {id} rang early");
    at.since(due)
}

/// All rows of wake-ups, of every bucket from a day before the start until 400 days after.
async fn wake_up_rows(world: &World) -> usize {
    let mut rows = 0;
    let bucket = |at: Timestamp| at.nanos() / (600 * 1_000_000_000);
    for bucket in bucket(START - DAY)..bucket(START + DAY * 400) {
        let partition = Bytes::from(format!("wake-ups/test/0/{bucket}"));
        let page =
            world.store().table.scan(&partition, ScanRange::default(), ScanOrder::Ascending, 1000).await.unwrap();
        rows += page.rows.len();
    }
    rows
}

#[tokio::test(start_paused = true)]
async fn alarms_ring_on_time() {
    let world = World::new();
    let shard = world.open().await;
    let dues = [Duration::from_millis(1), SECOND, SECOND * 59, HOUR, DAY, DAY * 30, DAY * 365];
    for (name, due) in dues.iter().enumerate() {
        set(&shard, "a", name as u64, START + *due).await;
    }
    for (name, due) in dues.iter().enumerate() {
        world.runtime.sleep_until(START + *due + SECOND / 2).await;
        assert!(lateness(&shard, "a", name as u64).await <= Duration::from_millis(10));
        assert_eq!(read(&shard, "a").await.rang.len(), name + 1);
    }
}

fn bucket_of(at: Timestamp) -> Bytes {
    Bytes::from(format!("wake-ups/test/0/{}", at.nanos() / 600_000_000_000))
}

/// Whose timers they are cannot be read either: every entity is loaded to find out when it is due.
#[tokio::test(start_paused = true)]
async fn timers_of_a_damaged_bucket_ring_on_time_and_those_behind_it_too() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..600 {
        set(&shard, &format!("in it {n}"), 1, START + HOUR * 5 + SECOND * (n % 500)).await;
        set(&shard, &format!("behind {n}"), 1, START + HOUR * 6 + SECOND * n).await;
    }
    assert_eq!(shard.call(key("nothing to wait for"), deposit(1, 1)).await, DONE);
    shard.close().await;
    let (shard, _) = world.open_damaged(bucket_of(START + HOUR * 5)).await;
    world.runtime.sleep_until(START + HOUR * 4).await;
    assert_eq!(shard.stats().loaded_entities, 0, "they have not been touched");
    // Some have rung when the next owner comes, who finds the bucket as damaged.
    world.runtime.sleep_until(START + HOUR * 5 + SECOND * 200).await;
    shard.abandon().await;
    let (shard, damaged) = world.open_damaged(bucket_of(START + HOUR * 5)).await;
    world.runtime.sleep_until(START + HOUR * 8).await;
    for n in 0..600 {
        assert!(lateness(&shard, &format!("in it {n}"), 1).await <= Duration::from_millis(300), "{n}");
        assert!(lateness(&shard, &format!("behind {n}"), 1).await <= Duration::from_millis(10), "{n}");
    }
    // It is passed and dropped like any other.
    world.pass(DAY).await;
    damaged.mend();
    assert_eq!(wake_up_rows(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_bucket_is_kept_until_its_timers_are_found() {
    let world = World::new();
    let shard = world.open().await;
    set(&shard, "a", 1, START + HOUR * 5).await;
    shard.close().await;
    let (shard, damaged) = world.open_damaged(bucket_of(START + HOUR * 5)).await;
    damaged.hide();
    world.runtime.sleep_until(START + DAY).await;
    shard.abandon().await;
    let next = world.open().await;
    world.pass(SECOND).await;
    assert!(lateness(&next, "a", 1).await > HOUR * 18);
}

#[tokio::test(start_paused = true)]
async fn no_timer_needs_the_index_of_buckets_and_a_damaged_one_is_mended_in_time() {
    let world = World::new();
    let shard = world.open().await;
    for (name, due) in [HOUR, DAY, DAY * 30].iter().enumerate() {
        set(&shard, &format!("{name}"), 1, START + *due).await;
    }
    shard.close().await;
    let (shard, damaged) = world.open_damaged(Bytes::from("wake-up-buckets/test/0")).await;
    set(&shard, "3", 1, START + DAY * 40).await;
    for name in 0..3 {
        world.runtime.sleep_until(START + [HOUR, DAY, DAY * 30][name] + SECOND).await;
        assert!(lateness(&shard, &format!("{name}"), 1).await <= Duration::from_millis(10));
    }
    shard.close().await;
    damaged.mend();
    let (shard, table) = open_counting(&world, &world.runtime).await;
    world.runtime.sleep_until(START + DAY * 40 + SECOND).await;
    assert!(lateness(&shard, "3", 1).await <= Duration::from_millis(10), "it was added to the damaged index");
    let scans = table.scans.lock().unwrap().iter().filter(|scan| scan.starts_with("wake-ups/")).count();
    assert!(scans <= 3, "{scans} buckets were looked at");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_in_the_past_rings_at_once() {
    let world = World::new();
    let shard = world.open().await;
    set(&shard, "a", 1, START - HOUR).await;
    world.settle().await;
    lateness(&shard, "a", 1).await;
}

#[tokio::test(start_paused = true)]
async fn alarms_ring_after_a_crash_with_and_without_a_checkpoint() {
    for checkpointed in [false, true] {
        let world = World::new();
        let shard = world.open().await;
        set(&shard, "soon", 1, START + SECOND * 40).await;
        set(&shard, "far", 1, START + DAY * 30).await;
        if checkpointed {
            world.pass(SECOND * 30).await;
            assert_eq!(shard.stats().log_depth, 0);
        }
        shard.abandon().await;
        let next = world.open().await;
        world.runtime.sleep_until(START + SECOND * 50).await;
        assert!(lateness(&next, "soon", 1).await <= Duration::from_millis(10));
        world.runtime.sleep_until(START + DAY * 30 - SECOND).await;
        assert!(read(&next, "far").await.rang.is_empty());
        world.pass(SECOND * 2).await;
        assert!(lateness(&next, "far", 1).await <= Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn alarms_that_came_due_while_the_shard_had_no_owner_ring_when_it_has_one() {
    let world = World::new();
    let shard = world.open().await;
    for n in 0..500 {
        set(&shard, &format!("{n}"), 1, START + HOUR + SECOND * n).await;
    }
    shard.close().await;
    world.pass(DAY * 20).await;
    let next = world.open().await;
    world.pass(SECOND).await;
    for n in 0..500 {
        assert!(lateness(&next, &format!("{n}"), 1).await > DAY * 19);
    }
}

#[tokio::test(start_paused = true)]
async fn evicted_entities_are_woken() {
    let mut world = World::new();
    world.settings.memory_bytes = 50_000;
    let shard = world.open().await;
    for n in 0..500 {
        set(&shard, &format!("soon {n}"), 1, START + SECOND * 300 + SECOND * n).await;
        set(&shard, &format!("far {n}"), 1, START + DAY * 3 + SECOND * n).await;
    }
    world.pass(SECOND * 60).await;
    assert!(shard.stats().loaded_entities < 100, "{:?}", shard.stats());
    world.runtime.sleep_until(START + SECOND * 900).await;
    for n in 0..500 {
        assert!(lateness(&shard, &format!("soon {n}"), 1).await <= Duration::from_millis(10));
    }
    world.runtime.sleep_until(START + DAY * 4).await;
    for n in 0..500 {
        assert!(lateness(&shard, &format!("far {n}"), 1).await <= Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn passed_rows_are_dropped_and_nothing_due_is_lost_with_them() {
    let world = World::new();
    let mut shard = world.open().await;
    for n in 0..100 {
        set(&shard, &format!("{n}"), 1, START + HOUR * n as u32).await;
    }
    world.pass(SECOND * 30).await;
    assert!(wake_up_rows(&world).await >= 99);
    for _ in 0..10 {
        shard.abandon().await;
        shard = world.open().await;
        world.pass(HOUR * 10).await;
    }
    for n in 0..100 {
        assert!(lateness(&shard, &format!("{n}"), 1).await <= Duration::from_millis(10), "{n}");
    }
    world.pass(HOUR).await;
    assert_eq!(wake_up_rows(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_delays_alarms_and_loses_none() {
    let faults = Faults { fail: 0.3, fail_after_effect: 0.3, ..Faults::default() };
    let mut world = World::with(FaultPlan::new(7).everywhere(faults).on(Method::Open, Faults::default()));
    world.settings.memory_bytes = 20_000;
    let shard = world.open_patiently().await;
    for n in 0..50 {
        set(&shard, &format!("{n}"), 1, START + SECOND * 100 * n).await;
        set(&shard, &format!("{n}"), 2, START + DAY + SECOND * 100 * n).await;
    }
    world.pass(DAY * 2).await;
    for n in 0..50 {
        assert!(lateness(&shard, &format!("{n}"), 1).await <= SECOND * 120);
        assert!(lateness(&shard, &format!("{n}"), 2).await <= SECOND * 120);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alarm_set_beside_an_obligation_that_others_settled_is_kept() {
    let mut world = World::new();
    world.settings.memory_bytes = 1;
    *world.bank.delay.lock().unwrap() = SECOND * 60;
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
    set(&shard, "a", 1, START + DAY).await;
    // The host still works on the obligation when it is settled and all is written.
    assert_eq!(shard.call(key("a"), Input::Paid(7)).await, DONE);
    world.pass(SECOND * 100).await;
    assert_eq!(shard.stats().loaded_entities, 0);
    shard.abandon().await;
    let next = world.open().await;
    world.pass(DAY).await;
    assert!(lateness(&next, "a", 1).await <= Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn alarms_that_wait_for_a_slow_store_outlive_the_watermark() {
    let mut world = World::new();
    world.settings.memory_bytes = 1;
    world.settings.concurrent_loads = 2;
    let shard = world.open().await;
    for n in 0..20 {
        set(&shard, &format!("{n}"), 1, START + HOUR + SECOND * n).await;
    }
    world.pass(SECOND * 60).await;
    assert_eq!(shard.stats().loaded_entities, 0);
    // Two loads hang, the other alarms queue behind them while hours pass.
    let stuck = Faults { stall: 1.0, stall_for: DAY, ..Faults::default() };
    world.faults().follow(FaultPlan::new(1).on(Method::Get, stuck));
    world.pass(HOUR * 6).await;
    shard.abandon().await;
    world.faults().follow(FaultPlan::new(1));
    let next = world.open().await;
    world.pass(SECOND).await;
    for n in 0..20 {
        assert!(lateness(&next, &format!("{n}"), 1).await >= HOUR * 4);
    }
}

/// A store whose appends hang, all else being well.
fn hanging_appends() -> FaultPlan {
    FaultPlan::new(1).on(Method::Append, Faults { stall: 1.0, stall_for: DAY, ..Faults::default() })
}

/// When the bucket of [`START`] ends.
const BUCKET_END: Timestamp = Timestamp::from_millis(1_700_000_400_000);

#[tokio::test(start_paused = true)]
async fn an_alarm_whose_ringing_never_became_durable_outlives_the_watermark() {
    let world = World::new();
    let shard = world.open().await;
    set(&shard, "a", 1, BUCKET_END - Duration::from_millis(1)).await;
    world.pass(SECOND * 30).await;
    assert_eq!(shard.stats().log_depth, 0);
    world.faults().follow(hanging_appends());
    world.runtime.sleep_until(BUCKET_END + SECOND * 10).await;
    shard.abandon().await;
    world.faults().follow(FaultPlan::new(1));
    let next = world.open().await;
    world.pass(SECOND).await;
    lateness(&next, "a", 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_obligation_whose_settling_never_became_durable_outlives_the_watermark() {
    let world = World::new();
    world.bank.refuses.store(true, std::sync::atomic::Ordering::Relaxed);
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
    world.pass(SECOND * 30).await;
    assert_eq!(shard.stats().log_depth, 0);
    world.faults().follow(hanging_appends());
    let settled = crate::world::asking(&shard, "a", Input::Paid(7));
    world.runtime.sleep_until(BUCKET_END + SECOND * 10).await;
    shard.abandon().await;
    assert!(settled.await.unwrap().is_err());
    world.faults().follow(FaultPlan::new(1));
    let asked = world.bank.asked("a", 7);
    let _next = world.open().await;
    world.pass(SECOND).await;
    assert!(world.bank.asked("a", 7) > asked, "the obligation is lost");
}

/// A table that notes which partitions were scanned, and which dropped.
struct Counting {
    inner: Arc<dyn Table>,
    scans: Mutex<Vec<String>>,
    drops: Mutex<Vec<String>>,
}

#[async_trait]
impl TableInFront for Counting {
    fn behind(&self) -> &dyn Table {
        &*self.inner
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        self.scans.lock().unwrap().push(String::from_utf8_lossy(partition).into_owned());
        self.inner.scan(partition, range, order, limit).await
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        self.drops.lock().unwrap().push(String::from_utf8_lossy(partition).into_owned());
        self.inner.drop_partition(partition).await
    }
}

async fn open_counting(world: &World, runtime: &Runtime) -> (Handle, Arc<Counting>) {
    let inner = world.faulty.store();
    let (scans, drops) = (Mutex::default(), Mutex::default());
    let table = Arc::new(Counting { inner: inner.table.clone(), scans, drops });
    let store = Store { table: Arc::clone(&table) as _, ..inner };
    let (kinds, settings) = (accounts(Arc::clone(&world.bank) as _), world.settings.clone());
    let shard = Shard::open(world.log(), kinds, store, runtime.clone(), settings).await.unwrap();
    (Handle(shard), table)
}

/// Starting a server in 2261 went through every ten minutes since its last start.
#[tokio::test(start_paused = true)]
async fn opening_a_shard_after_two_centuries_reads_the_buckets_that_there_are() {
    let world = World::new();
    let shard = world.open().await;
    let dues = [SECOND, HOUR, DAY * 30, DAY * 365 * 100, DAY * 365 * 190, DAY * 365 * 230];
    for (name, due) in dues.iter().enumerate() {
        set(&shard, &format!("{name}"), 1, START + *due).await;
    }
    shard.close().await;

    let later = Runtime::virtual_from(START + DAY * 365 * 200);
    let (shard, table) = open_counting(&world, &later).await;
    world.pass(DAY).await;
    for name in 0..5 {
        lateness(&shard, &format!("{name}"), 1).await;
    }
    let scans = table.scans.lock().unwrap().clone();
    let of_buckets = scans.iter().filter(|scan| scan.starts_with("wake-ups/")).count();
    // Those of the first five, one more that a standing row may lie in, and none of the ten million between.
    assert!((5..=6).contains(&of_buckets), "{scans:?}");
    assert_eq!(scans.iter().filter(|scan| scan.starts_with("wake-up-buckets/")).count(), 1, "{scans:?}");
    assert!(scans.len() <= 8, "{scans:?}");
    // What was passed is dropped, each bucket once, and is not in the index any more.
    let drops = table.drops.lock().unwrap().clone();
    assert_eq!(drops.len(), drops.iter().collect::<BTreeSet<_>>().len(), "{drops:?}");
    assert!((5..=7).contains(&drops.len()), "{drops:?}");
    shard.close().await;
    let (shard, table) = open_counting(&world, &later).await;
    world.pass(SECOND).await;
    let scans = table.scans.lock().unwrap().clone();
    assert!(scans.iter().filter(|scan| scan.starts_with("wake-ups/")).count() <= 1, "{scans:?}");
    let end = Runtime::virtual_from(START + DAY * 365 * 230 + SECOND);
    shard.close().await;
    let (shard, _) = open_counting(&world, &end).await;
    world.pass(SECOND).await;
    assert!(lateness(&shard, "5", 1).await <= SECOND * 2, "the index has kept what was to come");
}

/// What is owed has nothing to do with the time of day.
#[tokio::test(start_paused = true)]
async fn an_obligation_does_not_wait_for_a_clock_that_was_set_back_before_the_next_owner_came() {
    for passes in [SECOND * 60, HOUR] {
        let mut world = World::new();
        world.bank.refuses.store(true, std::sync::atomic::Ordering::Relaxed);
        let shard = world.open().await;
        assert_eq!(shard.call(key("a"), Input::Owe(7)).await, DONE);
        // A checkpoint has written it, and within an hour the watermark has passed what that wrote.
        world.pass(passes).await;
        assert_eq!(shard.stats().log_depth, 0);
        shard.abandon().await;
        world.bank.refuses.store(false, std::sync::atomic::Ordering::Relaxed);
        world.runtime = Runtime::virtual_from(START - DAY);
        let next = world.open().await;
        world.pass(SECOND).await;
        assert!(read(&next, "a").await.owed.is_empty(), "after {passes:?}");
    }
}
