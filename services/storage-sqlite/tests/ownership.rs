//! The file is the store's alone: others' files are refused as they were found, and what happens to the file while it is
//! open is noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use storage::{Append, GroupId, LogId, OwnerNonce, PartitionWrite, Seq};
use storage_sqlite::{FileChange, OpenError, SqliteOptions, SqliteStore, WriteFailure};
use tempfile::TempDir;
use tokio::sync::Notify;

fn directory() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// Every file of a directory, by name.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// What is done at a path.
type Make = fn(&Path);

#[tokio::test]
async fn what_is_not_a_store_is_refused_as_it_was_found_and_nothing_is_left_beside_it() {
    const OTHERS: [(&str, Make); 5] = [
        ("a text", |path| std::fs::write(path, "root:x:0:0:root:/root:/bin/bash\n".repeat(40)).unwrap()),
        ("a short text", |path| std::fs::write(path, "a shopping list").unwrap()),
        ("a database", |path| sqlite(path).execute_batch("CREATE TABLE of_another_program (content)").unwrap()),
        ("a database with a write-ahead log", |path| {
            sqlite(path).execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE of_another_program (content)").unwrap();
        }),
        ("another application's database", |path| {
            sqlite(path).execute_batch("PRAGMA application_id = 7; CREATE TABLE of_another_program (content)").unwrap();
        }),
    ];
    for (what, make) in OTHERS {
        let (directory, path) = directory();
        make(&path);
        let before = contents(directory.path());
        let error = SqliteStore::open(&path).err().expect(what);
        assert!(matches!(&error, OpenError::NotAStore(refused) if *refused == path), "{what}: {error}");
        assert!(contents(directory.path()) == before, "{what}");
    }
}

#[tokio::test]
async fn a_log_that_the_owner_of_a_database_left_behind_stays() {
    let (directory, path) = directory();
    let theirs = directory.path().join("theirs.db");
    let connection = sqlite(&theirs);
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE of_another_program (content)").unwrap();
    // As their process would leave it by dying now.
    std::fs::copy(&theirs, &path).unwrap();
    std::fs::copy(directory.path().join("theirs.db-wal"), directory.path().join("store.db-wal")).unwrap();
    let read = || ["", "-wal"].map(|suffix| std::fs::read(directory.path().join(format!("store.db{suffix}"))).unwrap());
    let before = read();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::NotAStore(_))));
    assert!(read() == before);
}

#[tokio::test]
async fn a_file_with_two_names_is_refused() {
    let (directory, path) = directory();
    SqliteStore::open(&path).unwrap().close().await;
    let link = directory.path().join("link.db");
    std::fs::hard_link(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = SqliteStore::open(name).err().unwrap();
        assert!(matches!(&error, OpenError::Linked { path, names: 2 } if path == name), "{error}");
    }
    std::fs::remove_file(&link).unwrap();
    SqliteStore::open(&path).unwrap().close().await;
}

#[tokio::test]
async fn an_open_store_has_nothing_but_sqlites_files_beside_it() {
    let (directory, path) = directory();
    let store = SqliteStore::open(&path).unwrap();
    let names: Vec<_> = contents(directory.path()).into_keys().collect();
    let expected = ["store.db", "store.db-shm", "store.db-wal"].map(|name| directory.path().join(name));
    assert_eq!(names, expected);
    store.close().await;
    assert_eq!(contents(directory.path()).into_keys().collect::<Vec<_>>(), expected[..1]);
}

/// A change to a store's files from outside, to which of them, and how the store reacts.
const MISHAPS: [(&str, Make, FileChange); 6] = [
    ("", |path| std::fs::remove_file(path).unwrap(), FileChange::Gone),
    ("", |path| std::fs::rename(path, path.with_extension("old")).unwrap(), FileChange::Gone),
    (
        "",
        |path| {
            std::fs::copy(path, path.with_extension("copy")).unwrap();
            std::fs::rename(path.with_extension("copy"), path).unwrap();
        },
        FileChange::Replaced,
    ),
    ("", |path| std::fs::hard_link(path, path.with_extension("link")).unwrap(), FileChange::Linked(2)),
    ("-wal", |path| std::fs::remove_file(path).unwrap(), FileChange::Gone),
    ("-wal", |path| std::fs::hard_link(path, path.with_extension("link")).unwrap(), FileChange::Linked(2)),
];

/// A store that notes what made it end.
struct Watched {
    store: SqliteStore,
    seen: Arc<std::sync::Mutex<Vec<(PathBuf, FileChange)>>>,
    ended: Arc<Notify>,
}

fn watched(path: &Path) -> Watched {
    let (seen, ended) = (Arc::default(), Arc::new(Notify::new()));
    let (notes, notified) = (Arc::<std::sync::Mutex<Vec<_>>>::clone(&seen), ended.clone());
    let options = SqliteOptions::default().on_failure(move |failure| {
        let WriteFailure::File { path, change } = failure else { panic!("{failure}") };
        notes.lock().unwrap().push((path.clone(), *change));
        notified.notify_one();
    });
    Watched { store: options.open(path).unwrap(), seen, ended }
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_will_not_be_found() {
    for (suffix, mishap, change) in MISHAPS {
        let (_directory, path) = directory();
        let struck = PathBuf::from(format!("{}{suffix}", path.display()));
        let watched = watched(&path);
        let ports = watched.store.store();
        let log = LogId("history/0".to_owned());
        let epoch = ports.log.open(&log, OwnerNonce(1)).await.unwrap().head.epoch;
        assert_eq!(ports.log.append(&log, epoch, Seq(1), GroupId(1), "one".into()).await, Append::Appended);
        mishap(&struck);
        assert_eq!(ports.log.append(&log, epoch, Seq(2), GroupId(2), "two".into()).await, Append::Unknown);
        let put = PartitionWrite {
            partition: "p".into(),
            version: 1,
            puts: vec![("k".into(), Bytes::new())],
            ..PartitionWrite::default()
        };
        assert!(ports.table.write(vec![put]).await.is_err(), "{struck:?} {change}");
        assert_eq!(*watched.seen.lock().unwrap(), [(struck.canonicalize().unwrap_or(struck), change)]);
        watched.store.close().await;
    }
}

#[tokio::test]
async fn an_idle_store_notices_too() {
    for (suffix, mishap, change) in MISHAPS {
        let (_directory, path) = directory();
        let struck = PathBuf::from(format!("{}{suffix}", path.display()));
        let watched = watched(&path);
        mishap(&struck);
        watched.ended.notified().await;
        let seen = watched.seen.lock().unwrap().clone();
        assert_eq!(seen, [(struck.canonicalize().unwrap_or(struck), change)]);
        watched.store.close().await;
    }
}

/// The message of each, as an operator reads it.
#[test]
fn what_happened_to_which_file_is_said() {
    let said = |change| WriteFailure::File { path: "/data/store.db".into(), change }.to_string();
    assert_eq!(said(FileChange::Gone), "/data/store.db was deleted or moved away while it was open");
    assert_eq!(said(FileChange::Replaced), "/data/store.db was replaced by another file while it was open");
    assert_eq!(said(FileChange::Linked(2)), "/data/store.db was given another name (2 hard links) while it was open");
}
