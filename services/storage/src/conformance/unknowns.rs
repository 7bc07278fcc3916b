//! What a caller does after an unknown outcome, with and without the effect.

use super::{FIRST, Subject, group_id, log_id, text};
use crate::fault::{Fate, FaultPlan, FaultyStore, Method};
use crate::{Append, CompareAndSet, Epoch, Group, LogId, PartitionWrite, Reopen, Seq, StorageError, Store};

/// Opens a log, appends one group, and lets the append of a second one end as `Unknown` after `fate`. Returns the
/// opener's epoch and the log as `reopen` then shows it.
async fn unknown_append(store: &Store, faulty: &FaultyStore, id: &LogId, fate: Fate) -> (Epoch, Vec<Group>) {
    let old = store.log.open(id, FIRST).await.unwrap().head.epoch;
    assert_eq!(store.log.append(id, old, Seq(1), group_id(1), text("one")).await, Append::Appended);
    faulty.control().arrange(Method::Append, fate);
    assert_eq!(store.log.append(id, old, Seq(2), group_id(2), text("two")).await, Append::Unknown);
    match store.log.reopen(id, old, FIRST).await.unwrap() {
        Reopen::Reopened(opened) => (opened.head.epoch, opened.tail),
        other => panic!("the log is still ours, yet {other:?}"),
    }
}

/// After `Unknown` with effect, the reopened tail shows the group, and the log goes on behind it.
pub async fn an_append_that_landed_is_found_by_its_id(subject: &mut dyn Subject) {
    let faulty = FaultyStore::wrap(subject.store(), FaultPlan::new(0));
    let (store, id) = (faulty.store(), log_id("history/0"));
    let (epoch, tail) = unknown_append(&store, &faulty, &id, Fate::FailsAfterEffect).await;
    let landed = tail.iter().find(|group| group.seq == Seq(2)).expect("the group is there");
    assert_eq!((landed.id, &landed.bytes), (group_id(2), &text("two")));
    assert_eq!(store.log.append(&id, epoch, Seq(3), group_id(3), text("three")).await, Append::Appended);
}

/// After `Unknown` without effect, the place is free, and an append under the old epoch can no longer take it.
pub async fn an_append_that_did_not_land_can_be_made_again(subject: &mut dyn Subject) {
    let faulty = FaultyStore::wrap(subject.store(), FaultPlan::new(0));
    let (store, id) = (faulty.store(), log_id("history/0"));
    let (epoch, tail) = unknown_append(&store, &faulty, &id, Fate::Fails).await;
    assert_eq!(tail.len(), 1);
    let old = Epoch(epoch.0 - 1);
    assert_eq!(store.log.append(&id, old, Seq(2), group_id(2), text("late")).await, Append::Fenced);
    assert_eq!(store.log.append(&id, epoch, Seq(2), group_id(2), text("two")).await, Append::Appended);
    let tail = store.log.open(&id, FIRST).await.unwrap().tail;
    assert_eq!(tail.last().map(|group| &group.bytes), Some(&text("two")));
}

/// A reopen that ended as `Unknown` is called again with the same epoch and nonce until it is known.
pub async fn an_unknown_reopen_can_be_repeated(subject: &mut dyn Subject) {
    let faulty = FaultyStore::wrap(subject.store(), FaultPlan::new(0));
    let (log, id) = (faulty.store().log, log_id("history/0"));
    let mut epoch = log.open(&id, FIRST).await.unwrap().head.epoch;
    for fates in [[Fate::Fails, Fate::Fails], [Fate::Fails, Fate::FailsAfterEffect], [Fate::FailsAfterEffect; 2]] {
        for fate in fates {
            faulty.control().arrange(Method::Reopen, fate);
            assert_eq!(log.reopen(&id, epoch, FIRST).await.unwrap(), Reopen::Unknown);
        }
        let Reopen::Reopened(opened) = log.reopen(&id, epoch, FIRST).await.unwrap() else { panic!("{fates:?}") };
        assert_eq!(opened.head.epoch, Epoch(epoch.0 + 1));
        epoch = opened.head.epoch;
    }
}

/// A table write that ended as `Unknown` is repeated whole, whatever part of it had happened.
pub async fn an_unknown_write_can_be_repeated(subject: &mut dyn Subject) {
    let faulty = FaultyStore::wrap(subject.store(), FaultPlan::new(3));
    let table = faulty.store().table;
    for version in 1..20 {
        let writes: Vec<_> = (0..5)
            .map(|n| PartitionWrite {
                partition: text(&format!("p{n}")),
                version,
                puts: vec![(text("a"), text(&version.to_string())), (text(&version.to_string()), text("new"))],
                deletes: vec![text(&(version - 1).to_string())],
            })
            .collect();
        faulty.control().arrange(Method::Write, Fate::FailsAfterEffect);
        assert!(matches!(table.write(writes.clone()).await, Err(StorageError::Unknown(_))));
        table.write(writes.clone()).await.unwrap();
        for write in writes {
            for (key, value) in &write.puts {
                let row = table.get(&write.partition, key).await.unwrap().expect("the row is there");
                assert_eq!((row.value, row.version), (value.clone(), version));
            }
            assert_eq!(table.get(&write.partition, &write.deletes[0]).await.unwrap(), None);
        }
    }
}

/// A compare-and-set that ended as `Unknown` is settled by what is there now.
pub async fn an_unknown_compare_and_set_is_settled_by_reading(subject: &mut dyn Subject) {
    let faulty = FaultyStore::wrap(subject.store(), FaultPlan::new(0));
    let registry = faulty.store().registry;
    for (fate, expected) in [(Fate::Fails, None), (Fate::FailsAfterEffect, Some(text("value")))] {
        faulty.control().arrange(Method::CompareAndSet, fate);
        assert_eq!(registry.compare_and_set("k", 0, Some(text("value"))).await, CompareAndSet::Unknown);
        assert_eq!(registry.get("k").await.unwrap().map(|entry| entry.value), expected);
    }
}
