//! A disk that fails ends all writing; nothing is retried into success.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use storage::{Append, CompareAndSet, GroupId, LogId, OwnerNonce, PartitionWrite, Seq};
use storage_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::vfs::{self, Event, Verdict};
use crate::workload::{self, SHARDS};

fn fails_once(armed: Arc<AtomicBool>, event: Event, file: &'static str) -> vfs::Watcher {
    Arc::new(move |seen, path: &Path| {
        let is_it = seen == event && path.to_string_lossy().ends_with(file);
        if is_it && armed.swap(false, Ordering::SeqCst) { Verdict::Fail } else { Verdict::Pass }
    })
}

#[tokio::test]
async fn after_a_failed_commit_nothing_is_acknowledged() {
    for (event, file) in [(Event::Sync, "-wal"), (Event::Write, "-wal")] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let armed = Arc::new(AtomicBool::new(false));
        vfs::watch(&path, fails_once(armed.clone(), event, file));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let notified = failures.clone();
        let options = SqliteOptions::default().vfs(vfs::NAME);
        let options = options.on_failure(move |failure| notified.lock().unwrap().push(failure.to_string()));
        let store = options.open(&path.join("store.db")).unwrap();
        let ports = store.store();
        let log = LogId("history/0".to_owned());
        let epoch = ports.log.open(&log, OwnerNonce(1)).await.unwrap().head.epoch;
        assert_eq!(ports.log.append(&log, epoch, Seq(1), GroupId(1), "one".into()).await, Append::Appended);

        armed.store(true, Ordering::SeqCst);
        // The disk would work again for the second of these, but what it holds is unknown by then.
        for seq in [2, 2, 3] {
            assert_eq!(ports.log.append(&log, epoch, Seq(seq), GroupId(2), "two".into()).await, Append::Unknown);
        }
        assert!(!armed.load(Ordering::SeqCst), "the fault was met");
        let failures = failures.lock().unwrap().clone();
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains("store.db"), "the message names the file: {failures:?}");
        assert!(ports.table.write(vec![PartitionWrite::default()]).await.is_err());
        assert_eq!(ports.registry.compare_and_set("k", 0, None).await, CompareAndSet::Unknown);
        store.close().await;

        let store = SqliteStore::open(&path.join("store.db")).unwrap();
        let found = store.store().log.open(&log, OwnerNonce(1)).await.unwrap();
        assert_eq!(found.tail[0].bytes, "one");
        assert!(found.head.last <= Seq(2));
        store.close().await;
    }
}

#[tokio::test]
async fn a_failed_checkpoint_ends_writing_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().canonicalize().unwrap();
    vfs::watch(&path, fails_once(Arc::new(AtomicBool::new(true)), Event::Sync, "store.db"));
    let failures = Arc::new(AtomicU64::new(0));
    let notified = failures.clone();
    // The set-up of a new file syncs it once, before the store is open; so the file is made without the shim.
    SqliteStore::open(&path.join("store.db")).unwrap().close().await;
    let options = SqliteOptions::default().vfs(vfs::NAME).checkpoint_after_bytes(10 << 12);
    let options = options.on_failure(move |_| {
        notified.fetch_add(1, Ordering::SeqCst);
    });
    let store = options.open(&path.join("store.db")).unwrap();
    let acknowledged = Mutex::new([0; SHARDS]);
    workload::run(&store.store(), 1000, |shard, done| acknowledged.lock().unwrap()[shard] = done).await;
    assert!(acknowledged.lock().unwrap().iter().all(|done| *done < 5000), "the workload was stopped");
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    store.close().await;

    let store = SqliteStore::open(&path.join("store.db")).unwrap();
    let acknowledged = *acknowledged.lock().unwrap();
    workload::check(&store.store(), &acknowledged).await.unwrap();
    store.close().await;
}
