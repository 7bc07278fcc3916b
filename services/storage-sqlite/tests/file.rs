//! What the store promises about its file: whose it is, who may open it, how it is written and how large it gets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use storage::{Append, CompareAndSet, Epoch, GroupId, LogId, OwnerNonce, PartitionWrite, Seq, StorageError, Store};
use storage_sqlite::{OpenError, SqliteOptions, SqliteStore, Step};
use tempfile::TempDir;

fn directory() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

/// Through the layer that sums pages up, which any open store has made known to SQLite.
fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open_with_flags_and_vfs(path, Default::default(), "outlast-sums").unwrap()
}

fn put(partition: &str, version: u64, key: &str, bytes: usize) -> PartitionWrite {
    let puts = vec![(Bytes::copy_from_slice(key.as_bytes()), Bytes::from(vec![7; bytes]))];
    PartitionWrite { partition: Bytes::copy_from_slice(partition.as_bytes()), version, puts, deletes: vec![] }
}

async fn open_logs(store: &Store, count: usize) -> Vec<(LogId, Epoch)> {
    let logs = (0..count).map(|number| LogId(format!("history/{number}")));
    let opened = join_all(logs.map(async |log| {
        let epoch = store.log.open(&log, OwnerNonce(1)).await.unwrap().head.epoch;
        (log, epoch)
    }));
    opened.await
}

#[tokio::test]
async fn a_second_opener_gets_the_name_of_the_file_in_use() {
    let (directory, path) = directory();
    let store = SqliteStore::open(&path).unwrap();
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = SqliteStore::open(name).err().expect("the file is locked");
        assert!(matches!(&error, OpenError::InUse(in_use) if in_use == name), "{error}");
        assert_eq!(error.to_string(), format!("{} is in use by another process", name.display()));
    }
    // The refused openers have not broken the lock.
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse(_))));
    store.close().await;
    SqliteStore::open(&path).unwrap().close().await;
}

#[tokio::test]
async fn files_of_others_and_of_newer_releases_are_refused_untouched() {
    let (_directory, path) = directory();
    SqliteStore::open(&path).unwrap().close().await;
    sqlite(&path).pragma_update(None, "user_version", 3).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::OtherFormat { found: 3, known: 2, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let (_directory, path) = self::directory();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE of_another_program (content)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::NotAStore(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let (_directory, path) = self::directory();
    std::fs::write(&path, "a shopping list, long enough to be taken for a header ".repeat(50)).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::NotAStore(_))));

    let (directory, _) = self::directory();
    let error = SqliteStore::open(&directory.path().join("no/such/store.db")).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }) && error.to_string().contains("no/such/store.db"), "{error}");
}

#[tokio::test]
async fn a_file_holds_its_format_and_syncs_fully() {
    let (_directory, path) = directory();
    SqliteStore::open(&path).unwrap().close().await;
    let connection = sqlite(&path);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("user_version"), pragma("application_id")), (2, 0x4F75_746C));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "no other user may read it");
    assert!(!path.with_file_name("store.db-wal").metadata().is_ok_and(|wal| wal.len() > 0), "folded into the file");
}

#[tokio::test]
async fn waiting_writes_share_commits() {
    let (_directory, path) = directory();
    let sqlite = SqliteStore::open(&path).unwrap();
    let store = sqlite.store();
    let logs = open_logs(&store, 50).await;
    let before = sqlite.stats();
    for seq in 1..=10 {
        let appends = logs.iter().map(|(log, epoch)| {
            store.log.append(log, *epoch, Seq(seq), GroupId(u128::from(seq)), Bytes::from_static(b"twelve bytes"))
        });
        let writes = (0..50).map(|n| store.table.write(vec![put(&n.to_string(), seq, "k", 10)]));
        let (appended, written) = futures::join!(join_all(appends), join_all(writes));
        assert!(appended.iter().all(|outcome| *outcome == Append::Appended));
        assert!(written.iter().all(Result::is_ok));
    }
    let after = sqlite.stats();
    assert_eq!(after.log_appends - before.log_appends, 500);
    assert_eq!(after.log_append_bytes - before.log_append_bytes, 6000);
    assert_eq!(after.table_rows_written - before.table_rows_written, 500);
    // Each round is one commit, or two if the writer took the first alone, and seldom more.
    let commits = after.fsyncs - before.fsyncs;
    assert!((10..=100).contains(&commits), "{commits} commits for 1000 calls in 10 rounds");
    sqlite.close().await;
}

#[tokio::test]
async fn a_large_write_lets_others_go_first() {
    let (_directory, path) = directory();
    let sqlite = SqliteStore::open(&path).unwrap();
    let store = sqlite.store();
    let (log, epoch) = open_logs(&store, 1).await.remove(0);
    let before = sqlite.stats().fsyncs;
    let large = store.table.write((0..300).map(|n| put(&n.to_string(), 1, "k", 20_000)).collect());
    let is_done = std::cell::Cell::new(false);
    let large = async { (large.await, is_done.set(true)).0 };
    let append = async {
        let appended = store.log.append(&log, epoch, Seq(1), GroupId(1), Bytes::new()).await;
        (appended, is_done.get())
    };
    let (written, appended) = futures::join!(large, append);
    assert_eq!(appended, (Append::Appended, false), "the append has not waited for six megabytes");
    written.unwrap();
    assert!(sqlite.stats().fsyncs - before > 3, "in several transactions");
    for n in 0..300 {
        assert!(store.table.get(&n.to_string().into(), &"k".into()).await.unwrap().is_some());
    }
    sqlite.close().await;
}

#[tokio::test]
async fn what_changes_nothing_commits_nothing() {
    let (_directory, path) = directory();
    let sqlite = SqliteStore::open(&path).unwrap();
    let store = sqlite.store();
    let (log, epoch) = open_logs(&store, 1).await.remove(0);
    let newer = store.log.open(&log, OwnerNonce(2)).await.unwrap().head.epoch;
    let before = sqlite.stats();
    assert_eq!(store.log.append(&log, epoch, Seq(1), GroupId(1), Bytes::new()).await, Append::Fenced);
    assert_eq!(store.log.append(&log, newer, Seq(7), GroupId(1), Bytes::new()).await, Append::Unknown);
    assert_eq!(store.log.trim(&log, newer, Seq(1)).await, Append::Appended);
    assert_eq!(store.registry.compare_and_set("k", 3, None).await, CompareAndSet::Conflict);
    assert_eq!(sqlite.stats().fsyncs, before.fsyncs);
    sqlite.close().await;
}

#[tokio::test]
async fn a_closed_store_has_carried_out_all_and_takes_nothing_more() {
    let (_directory, path) = directory();
    let sqlite = SqliteStore::open(&path).unwrap();
    let store = sqlite.store();
    let (log, epoch) = open_logs(&store, 1).await.remove(0);
    let writes = join_all((0..200).map(|n| store.table.write(vec![put("p", 1, &n.to_string(), 100)])));
    let (written, ()) = futures::join!(writes, sqlite.close());
    assert!(written.iter().all(Result::is_ok));
    let unavailable = |error: &StorageError| matches!(error, StorageError::Unavailable { .. });
    assert!(store.table.write(vec![]).await.is_err_and(|error| unavailable(&error)));
    assert!(store.table.get(&Bytes::new(), &Bytes::new()).await.is_err_and(|error| unavailable(&error)));
    assert!(store.log.open(&log, OwnerNonce(1)).await.is_err_and(|error| unavailable(&error)));
    assert_eq!(store.log.append(&log, epoch, Seq(1), GroupId(1), Bytes::new()).await, Append::Unknown);
    sqlite.close().await;

    let sqlite = SqliteStore::open(&path).unwrap();
    let page = sqlite.store().table.scan(&"p".into(), Default::default(), Default::default(), 1000).await.unwrap();
    assert_eq!(page.rows.len(), 200);
    sqlite.close().await;
}

#[tokio::test]
async fn a_dropped_store_lets_go_of_its_file() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path).unwrap().store();
    store.table.write(vec![put("p", 1, "k", 1)]).await.unwrap();
    drop(store);
    let reopened = async {
        loop {
            match SqliteStore::open(&path) {
                Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    };
    reopened.await.close().await;
}

#[tokio::test]
async fn the_write_ahead_log_stays_bounded_under_steady_load() {
    const BOUND: u64 = 256 << 10;
    let (_directory, path) = directory();
    let sqlite = SqliteOptions::default().checkpoint_after_bytes(BOUND).open(&path).unwrap();
    let store = sqlite.store();
    let (log, epoch) = open_logs(&store, 1).await.remove(0);
    let (nothing, mut longest) = (Bytes::new(), 0);
    for seq in 1..=1500 {
        let bytes = Bytes::from(vec![1; 8 << 10]);
        let append = store.log.append(&log, epoch, Seq(seq), GroupId(1), bytes);
        let read = store.table.get(&nothing, &nothing);
        let (appended, read) = futures::join!(append, read);
        assert_eq!((appended, read.unwrap()), (Append::Appended, None));
        if seq % 50 == 0 {
            assert_eq!(store.log.trim(&log, epoch, Seq(seq - 10)).await, Append::Appended);
        }
        longest = longest.max(sqlite.stats().wal_bytes);
    }
    // The bound is looked at after each commit, so it may be passed by one.
    assert!(longest < 4 * BOUND + (64 << 10), "the write-ahead log grew to {longest} bytes");
    let file = path.metadata().unwrap().len();
    assert!(file < 4 << 20, "trimmed space is used again, yet the file has {file} bytes");
    sqlite.close().await;
}

#[tokio::test]
async fn old_tombstones_are_swept_and_young_ones_kept() {
    for (age, is_swept) in [(Duration::ZERO, true), (Duration::from_secs(3600), false)] {
        let (_directory, path) = directory();
        let sqlite = SqliteOptions::default().tombstone_age(age).open(&path).unwrap();
        let store = sqlite.store();
        // Written in the past, so that an age of zero finds them old: a second has to pass.
        for round in 0..40 {
            let deletes = (0..500).map(|n| Bytes::from(format!("{round}/{n}"))).collect();
            let write = PartitionWrite { partition: "p".into(), version: 2, puts: vec![], deletes };
            store.table.write(vec![write]).await.unwrap();
            if round == 0 {
                runtime::Runtime::system().sleep(Duration::from_millis(1100)).await;
            }
        }
        store.table.write(vec![put("p", 1, "39/1", 1)]).await.unwrap();
        assert_eq!(store.table.get(&"p".into(), &"39/1".into()).await.unwrap(), None, "a young tombstone holds");
        sqlite.close().await;
        let count = "SELECT count(*) FROM tombstone WHERE key >= CAST('0/' AS BLOB) AND key < CAST('0/~' AS BLOB)";
        let left: i64 = self::sqlite(&path).query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(left == 0, is_swept, "{left} tombstones of the first round are left");
    }
}

#[tokio::test]
async fn an_append_waits_for_a_few_rows_of_a_large_write_and_not_for_all() {
    let (_directory, path) = directory();
    let (reached, mut at_row) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, may_go_on) = mpsc::channel();
    // The statements of each transaction, the present one last.
    let transactions = Arc::new(Mutex::new(vec![0_usize]));
    let (seen, may_go_on) = (Arc::clone(&transactions), Mutex::new(may_go_on));
    let options = SqliteOptions::default().on_step(move |step| {
        let mut seen = seen.lock().unwrap();
        match step {
            Step::AfterStatement => *seen.last_mut().unwrap() += 1,
            Step::AfterCommit => seen.push(0),
            _ => return,
        }
        if seen.last() == Some(&100) {
            drop(seen);
            // Later transactions get there too, when the test has seen enough.
            let _ = (reached.send(()), may_go_on.lock().unwrap().recv());
        }
    });
    let sqlite = options.open(&path).unwrap();
    let store = sqlite.store();
    let (log, epoch) = open_logs(&store, 1).await.remove(0);
    let writes = (0..600).map(|number| put(&format!("p{number}"), 1, "k", 1000)).collect();
    let bulk = store.table.write(writes);
    tokio::pin!(bulk);
    assert!(futures::poll!(&mut bulk).is_pending());
    at_row.recv().await.unwrap();
    let before = transactions.lock().unwrap().len();
    let append = store.log.append(&log, epoch, Seq(1), GroupId(1), Bytes::from_static(b"small"));
    tokio::pin!(append);
    assert!(futures::poll!(&mut append).is_pending());
    go_on.send(()).unwrap();
    drop(go_on);
    assert_eq!(append.await, Append::Appended);
    let statements = transactions.lock().unwrap()[before - 1..=before].to_vec();
    assert!(statements[0] <= 101, "the large write goes on in front of an append: {statements:?}");
    assert!(statements[1] > 0, "the append is in the next transaction");
    bulk.await.unwrap();
    sqlite.close().await;
}
