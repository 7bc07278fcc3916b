//! A copy that is made while a store is written to, and the walk through a file that says whether it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use storage::{Append, Epoch, GroupId, LogId, OwnerNonce, PartitionWrite, Seq, Store};
use storage_sqlite::{BackupError, OpenError, RowCheck, SqliteOptions, SqliteStore, Synchronous, backup, verify};
use tempfile::TempDir;

/// Any row is what it should be.
const ANY: RowCheck = |_, _, _| Ok(());

fn fresh() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

fn log() -> LogId {
    LogId("history/0".to_owned())
}

fn key(seq: u64) -> Bytes {
    Bytes::from(format!("{seq:08}"))
}

async fn write(store: &Store, epoch: Epoch, seq: u64) {
    let content = Bytes::from(vec![seq as u8; 2000]);
    let appended = store.log.append(&log(), epoch, Seq(seq), GroupId(u128::from(seq)), content.clone()).await;
    assert_eq!(appended, Append::Appended);
    let puts = vec![(key(seq), content)];
    store
        .table
        .write(vec![PartitionWrite { partition: "p".into(), version: seq, puts, deletes: vec![] }])
        .await
        .unwrap();
}

/// Whether all up to `seq` is there, and what there is makes sense.
async fn holds_all_to(path: &Path, seq: u64) -> u64 {
    let sqlite = SqliteStore::open(path).unwrap();
    let store = sqlite.store();
    let opened = store.log.open(&log(), OwnerNonce(2)).await.unwrap();
    assert!(opened.head.last >= Seq(seq), "{} of {seq} groups", opened.head.last.0);
    assert_eq!(opened.tail.len() as u64, opened.head.last.0);
    for seq in 1..=seq {
        assert!(store.table.get(&"p".into(), &key(seq)).await.unwrap().is_some(), "row {seq}");
    }
    // It is a store like any other.
    write(&store, opened.head.epoch, opened.head.last.next().0).await;
    sqlite.close().await;
    opened.head.last.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "a backup blocks, and is made by a process of its own elsewhere")]
async fn a_backup_holds_what_was_acknowledged_before_it_began_while_writes_go_on() {
    let (directory, path) = fresh();
    let options = SqliteOptions::default().synchronous(Synchronous::Off).checkpoint_after_bytes(64 << 10);
    let sqlite = options.open(&path).unwrap();
    let store = sqlite.store();
    let epoch = store.log.open(&log(), OwnerNonce(1)).await.unwrap().head.epoch;
    let (acknowledged, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = async {
        let mut seq = 0;
        while !ends.load(Ordering::SeqCst) {
            seq += 1;
            write(&store, epoch, seq).await;
            acknowledged.store(seq, Ordering::SeqCst);
        }
        seq
    };
    let copying = async {
        let mut copies = Vec::new();
        for number in 1..=4 {
            while acknowledged.load(Ordering::SeqCst) < number * 60 {
                tokio::task::yield_now().await;
            }
            let (before, to) =
                (acknowledged.load(Ordering::SeqCst), directory.path().join(format!("copy-{number}.db")));
            let (from, at) = (path.clone(), to.clone());
            let copied = tokio::task::spawn_blocking(move || backup(&from, &at)).await.unwrap().unwrap();
            assert!(copied.is_whole() && copied.rows >= before, "{copied:?}");
            copies.push((to, before));
        }
        ends.store(true, Ordering::SeqCst);
        copies
    };
    let (written, copies) = futures::join!(writing, copying);
    sqlite.close().await;
    for (copy, before) in copies {
        assert!(holds_all_to(&copy, before).await <= written);
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

#[tokio::test]
async fn a_backup_without_a_server_holds_all_and_never_replaces_a_file() {
    let (directory, path) = fresh();
    let sqlite = SqliteStore::open(&path).unwrap();
    let epoch = sqlite.store().log.open(&log(), OwnerNonce(1)).await.unwrap().head.epoch;
    write(&sqlite.store(), epoch, 1).await;
    sqlite.close().await;
    let to = directory.path().join("copy.db");
    assert!(backup(&path, &to).unwrap().is_whole());
    let before = std::fs::read(&to).unwrap();
    let error = backup(&path, &to).unwrap_err();
    assert!(matches!(&error, BackupError::Exists(at) if *at == to), "{error}");
    assert_eq!(std::fs::read(&to).unwrap(), before);
    assert_eq!(holds_all_to(&to, 1).await, 1);

    let missing = directory.path().join("missing.db");
    let error = backup(&missing, &directory.path().join("other.db")).unwrap_err();
    assert!(matches!(&error, BackupError::Store(OpenError::Io { .. })), "{error}");
    assert!(!missing.exists() && !directory.path().join("other.db").exists());
}

/// Changes bytes of the file that follow what is looked for.
fn change(path: &Path, find: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(find.len()).rposition(|window| window == find).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn damage_is_found_named_and_not_copied() {
    let (directory, path) = fresh();
    let sqlite = SqliteStore::open(&path).unwrap();
    let epoch = sqlite.store().log.open(&log(), OwnerNonce(1)).await.unwrap().head.epoch;
    for seq in 1..=77 {
        write(&sqlite.store(), epoch, seq).await;
    }
    sqlite.close().await;
    assert!(verify(&path, ANY).unwrap().is_whole());
    let judged = verify(&path, |_, key, _| if key.ends_with(b"1") { Err("odd".to_owned()) } else { Ok(()) });
    assert!(judged.unwrap().problems.iter().all(|problem| problem == "odd"));
    change(&path, &[77; 100]);
    let found = verify(&path, ANY).unwrap();
    assert!(found.problems.iter().any(|what| what.contains("page") && what.contains("checksum")), "{found:?}");
    let to = directory.path().join("copy.db");
    let error = backup(&path, &to).unwrap_err();
    assert!(matches!(&error, BackupError::Store(OpenError::Damaged { .. })), "{error}");
    assert!(!to.exists());
}

/// The pages are right, and what is in them is not: as if SQLite, or its memory, had been wrong.
#[tokio::test]
async fn a_row_a_group_and_an_entry_that_do_not_match_are_named() {
    let (_directory, path) = fresh();
    let sqlite = SqliteStore::open(&path).unwrap();
    let store = sqlite.store();
    let epoch = store.log.open(&log(), OwnerNonce(1)).await.unwrap().head.epoch;
    for seq in 1..=3 {
        write(&store, epoch, seq).await;
    }
    store.registry.compare_and_set("namespaces/a", 0, Some("value".into())).await;
    sqlite.close().await;
    let connection = rusqlite::Connection::open_with_flags_and_vfs(&path, Default::default(), "outlast-sums").unwrap();
    let changes = "UPDATE row SET version = 9 WHERE key = CAST('00000002' AS BLOB); UPDATE log_group SET epoch = 7 WHERE rowid % 16 = 3;
                   UPDATE registry SET value = CAST('other' AS BLOB); DELETE FROM log_group WHERE rowid % 16 = 2;";
    connection.execute_batch(changes).unwrap();
    drop(connection);
    let problems = verify(&path, ANY).unwrap().problems;
    let expected = [
        "log history/0: a hole, position 3 where 2 is due",
        "log history/0, position 3: its checksum does not match",
        "row \"00000002\" of partition \"p\": its checksum does not match",
        "registry entry \"namespaces/a\": its checksum does not match",
    ];
    assert_eq!(problems, expected);

    // The server says the same of each, and serves the rest.
    let sqlite = SqliteStore::open(&path).unwrap();
    let store = sqlite.store();
    let row = store.table.get(&"p".into(), &key(2)).await.unwrap_err().to_string();
    assert!(row.contains(expected[2]), "{row}");
    assert!(store.table.get(&"p".into(), &key(1)).await.unwrap().is_some());
    let scan = store.table.scan(&"p".into(), Default::default(), Default::default(), 10).await;
    assert!(scan.unwrap_err().to_string().contains(expected[2]));
    assert!(store.registry.get("namespaces/a").await.unwrap_err().to_string().contains(expected[3]));
    assert!(store.registry.list("").await.unwrap_err().to_string().contains(expected[3]));
    assert!(store.log.open(&log(), OwnerNonce(3)).await.unwrap_err().to_string().contains(expected[1]));
    sqlite.close().await;
}

#[test]
fn what_is_no_store_is_neither_verified_nor_made() {
    let (_directory, path) = fresh();
    assert!(matches!(verify(&path, ANY), Err(OpenError::Io { .. })));
    assert!(!path.exists());
    std::fs::write(&path, "a shopping list").unwrap();
    assert!(matches!(verify(&path, ANY), Err(OpenError::NotAStore(_))));
}
