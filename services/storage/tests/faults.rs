//! What the fault adapter promises about its faults.

use std::time::Duration;

use bytes::Bytes;
use ids::Timestamp;
use runtime::Runtime;
use storage::fault::{Fate, FaultPlan, Faults, FaultyStore, Method};
use storage::memory::MemoryStore;
use storage::{Append, CompareAndSet, GroupId, LogId, OwnerNonce, PartitionWrite, Reopen, Seq, StorageError};

fn always(fate: Fate) -> Faults {
    match fate {
        Fate::Passes => Faults::default(),
        Fate::Fails => Faults { fail: 1.0, ..Faults::default() },
        Fate::FailsAfterEffect => Faults { fail_after_effect: 1.0, ..Faults::default() },
    }
}

fn write_of(number: u64) -> PartitionWrite {
    let puts = vec![(Bytes::from(number.to_string()), Bytes::new())];
    PartitionWrite { partition: Bytes::from(number.to_string()), version: 1, puts, deletes: vec![] }
}

/// The outcomes of a hundred writes of one partition each, as one letter per write.
async fn outcomes(seed: u64) -> String {
    let faults = Faults { fail: 0.2, fail_after_effect: 0.3, ..Faults::default() };
    let store = FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(seed).everywhere(faults)).store();
    let mut outcomes = String::new();
    for number in 0..100 {
        outcomes.push(match store.table.write(vec![write_of(number)]).await {
            Ok(()) => '.',
            Err(StorageError::Unavailable { .. }) => 'F',
            Err(StorageError::Unknown(_)) => 'E',
            Err(other) => panic!("{other}"),
        });
    }
    outcomes
}

#[tokio::test]
async fn a_seed_decides_all_faults() {
    let first = outcomes(7).await;
    assert_eq!(first, outcomes(7).await);
    assert_ne!(first, outcomes(8).await);
    let (failed, after) = (first.matches('F').count(), first.matches('E').count());
    assert!((8..=32).contains(&failed) && (15..=45).contains(&after), "{first}");
}

#[tokio::test]
async fn another_methods_calls_change_nothing() {
    let faults = Faults { fail: 0.5, ..Faults::default() };
    let mut seen = Vec::new();
    for reads in [0, 3] {
        let store = FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(7).everywhere(faults)).store();
        let mut outcomes = Vec::new();
        for number in 0..50 {
            outcomes.push(store.table.write(vec![write_of(number)]).await.is_ok());
            for _ in 0..reads {
                let _ = store.table.get(&Bytes::new(), &Bytes::new()).await;
            }
        }
        seen.push(outcomes);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn every_method_fails_without_effect_and_with() {
    let (log, key) = (LogId("history/0".to_owned()), Bytes::from_static(b"0"));
    for (fate, happens) in [(Fate::Fails, false), (Fate::FailsAfterEffect, true)] {
        let inner = MemoryStore::new().store();
        let owner = OwnerNonce(1);
        let epoch = inner.log.open(&log, owner).await.unwrap().head.epoch;
        let plan = FaultPlan::new(0).everywhere(always(fate)).hiding_local_epoch();
        let faulty = FaultyStore::wrap(inner.clone(), plan);
        let store = faulty.store();

        let appended = store.log.append(&log, epoch, Seq(1), GroupId(1), Bytes::new()).await;
        assert_eq!(appended, Append::Unknown);
        assert_eq!(store.log.trim(&log, epoch, Seq(2)).await, Append::Unknown);
        assert_eq!(store.log.set_watermark(&log, epoch, Timestamp::MAX).await, Append::Unknown);
        assert_eq!(store.log.reopen(&log, epoch, owner).await.unwrap(), Reopen::Unknown);
        assert!(store.log.open(&log, owner).await.is_err());
        assert!(store.log.epoch(&log).await.is_err());
        assert_eq!(store.log.epoch_if_local(&log), None);
        let opened = inner.log.open(&log, owner).await.unwrap().head;
        let expected = if happens { (4, 1, 2, Timestamp::MAX) } else { (2, 0, 1, Timestamp::EPOCH) };
        assert_eq!((opened.epoch.0, opened.last.0, opened.trimmed_below.0, opened.watermark), expected);

        assert!(store.table.write(vec![write_of(0)]).await.is_err());
        assert!(store.table.get(&key, &key).await.is_err());
        let scanned = store.table.scan(&key, Default::default(), Default::default(), 1).await;
        assert!(scanned.is_err());
        inner.table.write(vec![write_of(0)]).await.unwrap();
        assert!(store.table.drop_partition(&key).await.is_err());
        assert_eq!(inner.table.get(&key, &key).await.unwrap().is_none(), happens);

        let set = store.registry.compare_and_set("k", 0, Some(Bytes::new())).await;
        assert_eq!(set, CompareAndSet::Unknown);
        assert!(store.registry.get("k").await.is_err());
        assert!(store.registry.list("").await.is_err());
        assert_eq!(inner.registry.get("k").await.unwrap().is_some(), happens);
        assert_eq!(faulty.control().injected(), 13);
    }
}

#[tokio::test]
async fn a_lost_write_may_have_happened_in_part() {
    let inner = MemoryStore::new().store();
    let store = FaultyStore::wrap(inner.clone(), FaultPlan::new(0).everywhere(always(Fate::FailsAfterEffect))).store();
    let (mut whole, mut partial) = (0, 0);
    for round in 0..20 {
        let numbers = || round * 10..round * 10 + 10;
        assert!(store.table.write(numbers().map(write_of).collect()).await.is_err());
        let mut landed = 0;
        for number in numbers() {
            let key = Bytes::from(number.to_string());
            landed += u32::from(inner.table.get(&key, &key).await.unwrap().is_some());
        }
        if landed == 10 { whole += 1 } else { partial += 1 }
    }
    assert!(whole > 0 && partial > 0, "{whole} whole, {partial} partial");
}

#[tokio::test]
async fn a_store_heals_and_breaks_at_run_time() {
    let plan = FaultPlan::new(0).on(Method::Write, always(Fate::Fails));
    let faulty = FaultyStore::wrap(MemoryStore::new().store(), plan);
    let (store, control) = (faulty.store(), faulty.control());
    assert!(store.table.write(vec![]).await.is_err());
    control.heal();
    assert!(store.table.write(vec![]).await.is_ok());
    control.arrange(Method::Write, Fate::FailsAfterEffect);
    assert!(store.table.write(vec![]).await.is_err());
    assert!(store.table.write(vec![]).await.is_ok());
    control.break_again();
    assert!(store.table.write(vec![]).await.is_err());
    control.arrange(Method::Write, Fate::Passes);
    assert!(store.table.write(vec![]).await.is_ok());
    control.follow(FaultPlan::new(0));
    assert!(store.table.write(vec![]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stall_holds_a_call_up() {
    let stall_for = Duration::from_secs(3);
    let plan = FaultPlan::new(0).on(Method::Write, Faults { stall: 1.0, stall_for, ..Faults::default() });
    let store = FaultyStore::wrap(MemoryStore::new().store(), plan).store();
    let runtime = Runtime::virtual_from(Timestamp::EPOCH);
    store.table.write(vec![]).await.unwrap();
    assert_eq!(runtime.now(), Timestamp::EPOCH + stall_for);
    store.table.get(&Bytes::new(), &Bytes::new()).await.unwrap();
    assert_eq!(runtime.now(), Timestamp::EPOCH + stall_for);
}

#[tokio::test]
async fn faults_of_a_partition_strike_what_touches_it_and_nothing_else() {
    let (bad, good) = (Bytes::from_static(b"0"), Bytes::from_static(b"1"));
    let plan = FaultPlan::new(0).on_partition(bad.clone(), always(Fate::Fails));
    let faulty = FaultyStore::wrap(MemoryStore::new().store(), plan);
    let table = faulty.store().table;
    assert!(table.write(vec![write_of(1)]).await.is_ok());
    assert!(table.write(vec![write_of(1), write_of(0)]).await.is_err());
    assert!(table.get(&good, &good).await.is_ok());
    assert!(table.get(&bad, &bad).await.is_err());
    assert!(table.scan(&good, Default::default(), Default::default(), 1).await.is_ok());
    assert!(table.scan(&bad, Default::default(), Default::default(), 1).await.is_err());
    assert!(table.drop_partition(&bad).await.is_err());
    faulty.control().heal();
    assert!(table.write(vec![write_of(0)]).await.is_ok());
}
