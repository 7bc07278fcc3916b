//! Nothing that was changed in the files behind the store's back is served, and nothing is silently missing.
//!
//! Each trial damages a copy of a store's files at a place that its number gives: bits are flipped, stretches overwritten,
//! files cut off, pages put in each other's places. Then everything is read through the ports. A trial passes if the store
//! is refused, or stops, or answers each read with what was stored or with `Corrupt`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ids::Timestamp;
use storage::{
    Append, CompareAndSet, Epoch, Group, GroupId, LogId, OwnerNonce, PartitionWrite, RegistryEntry, Row, ScanOrder,
    ScanRange, Seq, StorageError, StorageResult, Store,
};
use storage_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use tempfile::TempDir;

const LOGS: u64 = 3;
const PARTITIONS: u64 = 25;
const PAGE: usize = 4096;

/// How many trials there are, for each state of the files. `make test-long` sets more.
fn trials() -> u64 {
    std::env::var("DAMAGE_TRIALS").ok().and_then(|trials| trials.parse().ok()).unwrap_or(100)
}

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as usize % below.max(1)
    }
}

fn log_id(number: u64) -> LogId {
    LogId(format!("history/{number}"))
}

fn partition(number: u64) -> Bytes {
    Bytes::from(format!("workflow/{number}"))
}

/// Of the sizes that workflows have: mostly small, now and then several pages.
fn content(seed: u64) -> Bytes {
    let length = [40, 200, 900, 15, 6000, 80, 300][(seed % 7) as usize];
    format!("content {seed} ").into_bytes().into_iter().cycle().take(length).collect()
}

/// Some rounds of what a server does with its store: it appends, writes runs and history, moves watermarks, trims.
async fn work(store: &Store, rounds: Range<u64>) {
    let mut epochs = Vec::new();
    for number in 0..LOGS {
        epochs.push(store.log.open(&log_id(number), OwnerNonce(7)).await.unwrap().head.epoch);
    }
    for round in rounds {
        let (number, seq) = (round % LOGS, round / LOGS + 1);
        let (log, epoch) = (log_id(number), epochs[number as usize]);
        let appended = store.log.append(&log, epoch, Seq(seq), GroupId(u128::from(round)), content(round)).await;
        assert_eq!(appended, Append::Appended);
        let event = |event: u64| Bytes::from(format!("event/{event:06}"));
        let write = PartitionWrite {
            partition: partition(round % PARTITIONS),
            version: seq,
            puts: vec![("run".into(), content(round + 1)), (event(round), content(round + 2))],
            deletes: if round % 4 == 0 { vec![event(round.saturating_sub(2 * PARTITIONS))] } else { vec![] },
        };
        store.table.write(vec![write]).await.unwrap();
        if round % 5 == 0 {
            let (key, version) = (format!("namespaces/{}", round % 15), round / 15);
            let set = store.registry.compare_and_set(&key, version, Some(content(round))).await;
            assert_eq!(set, CompareAndSet::Applied);
        }
        if round % 20 == 19 {
            assert_eq!(store.log.trim(&log, epoch, Seq(seq.saturating_sub(10))).await, Append::Appended);
            let at = Timestamp::from_nanos(round as i64);
            assert_eq!(store.log.set_watermark(&log, epoch, at).await, Append::Appended);
        }
    }
}

/// All that a store holds.
#[derive(Debug, PartialEq, Eq)]
struct Everything {
    partitions: BTreeMap<Bytes, Vec<Row>>,
    entries: Vec<RegistryEntry>,
    logs: BTreeMap<LogId, (Seq, Seq, Timestamp, Epoch, Vec<Group>)>,
}

async fn scan(store: &Store, partition: &Bytes) -> StorageResult<Vec<Row>> {
    let page = store.table.scan(partition, ScanRange::default(), ScanOrder::Ascending, 10_000).await?;
    assert!(!page.more);
    Ok(page.rows)
}

async fn open_log(store: &Store, log: &LogId) -> StorageResult<(Seq, Seq, Timestamp, Epoch, Vec<Group>)> {
    let opened = store.log.open(log, OwnerNonce(9)).await?;
    let head = opened.head;
    Ok((head.last, head.trimmed_below, head.watermark, head.epoch, opened.tail))
}

impl Everything {
    async fn of(store: &Store) -> Self {
        let (mut partitions, mut logs) = (BTreeMap::new(), BTreeMap::new());
        for number in 0..PARTITIONS {
            partitions.insert(partition(number), scan(store, &partition(number)).await.unwrap());
        }
        for number in 0..LOGS {
            logs.insert(log_id(number), open_log(store, &log_id(number)).await.unwrap());
        }
        Self { partitions, entries: store.registry.list("").await.unwrap(), logs }
    }

    /// Reads all of it again, and says what differs. Says how many reads were refused.
    async fn compare(&self, store: &Store, has_stopped: &AtomicBool) -> Result<usize, String> {
        let mut refused = 0;
        let mut hold = |what: String, is_equal: StorageResult<bool>| match is_equal {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{what} is not what was stored")),
            Err(StorageError::Corrupt(_)) => {
                refused += 1;
                Ok(())
            }
            // The process would have ended, with a message.
            Err(StorageError::Unavailable { .. } | StorageError::Unknown(_)) if has_stopped.load(Ordering::SeqCst) => {
                refused += 1;
                Ok(())
            }
            Err(error) => Err(format!("{what}: {error}")),
        };
        for (partition, rows) in &self.partitions {
            hold(format!("{partition:?}"), scan(store, partition).await.map(|found| found == *rows))?;
            for row in rows {
                let found = store.table.get(partition, &row.key).await;
                hold(format!("{:?} of {partition:?}", row.key), found.map(|found| found.as_ref() == Some(row)))?;
            }
        }
        hold("the registry".to_owned(), store.registry.list("").await.map(|found| found == self.entries))?;
        for entry in &self.entries {
            let found = store.registry.get(&entry.key).await;
            hold(entry.key.clone(), found.map(|found| found.as_ref() == Some(entry)))?;
        }
        for (log, expected) in &self.logs {
            hold(log.0.clone(), open_log(store, log).await.map(|found| found == *expected))?;
        }
        Ok(refused)
    }
}

/// A store's files, by what their names end with.
type Files = BTreeMap<&'static str, Vec<u8>>;

fn read_files(path: &Path) -> Files {
    let named = |suffix: &'static str| PathBuf::from(format!("{}{suffix}", path.display()));
    ["", "-wal", "-shm"].into_iter().filter_map(|end| Some((end, std::fs::read(named(end)).ok()?))).collect()
}

fn write_files(files: &Files, path: &Path) {
    for (end, bytes) in files {
        std::fs::write(format!("{}{end}", path.display()), bytes).unwrap();
    }
}

fn options() -> SqliteOptions {
    SqliteOptions::default().synchronous(Synchronous::Off)
}

/// The files of a store that was closed.
async fn closed() -> Files {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let store = options().open(&path).unwrap();
    work(&store.store(), 0..400).await;
    store.close().await;
    let files = read_files(&path);
    assert_eq!(files.keys().collect::<Vec<_>>(), [&""]);
    files
}

/// The files as they are when a process is killed, with a write-ahead log that is copied into the file after so many bytes.
async fn killed(checkpoint_after_bytes: u64) -> Files {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let store = options().checkpoint_after_bytes(checkpoint_after_bytes).open(&path).unwrap();
    work(&store.store(), 0..400).await;
    // A checkpoint may still be under way.
    let mut files = read_files(&path);
    loop {
        tokio::task::yield_now().await;
        let again = read_files(&path);
        if std::mem::replace(&mut files, again) == read_files(&path) {
            break;
        }
    }
    store.close().await;
    files
}

/// Damages one of the files, and says how.
fn damage(files: &mut Files, dice: &mut Dice) -> String {
    // The index is rebuilt from the log; its damage must only not be taken for the log's.
    let end = match dice.roll(10) {
        0 => "-shm",
        1..=5 => "-wal",
        _ => "",
    };
    let end = if files.contains_key(end) { end } else { "" };
    let Some(bytes) = files.get_mut(end) else { return String::new() };
    let at = dice.roll(bytes.len());
    let how = match dice.roll(10) {
        0..=4 => {
            let bit = dice.roll(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        5 => {
            let to = (at + 1 + dice.roll(600)).min(bytes.len());
            let with = [0, 0xFF, 0x5A][dice.roll(3)];
            bytes[at..to].fill(with);
            format!("bytes {at} to {to} filled with {with}")
        }
        6..=7 => {
            // An empty file is how a new one looks.
            bytes.truncate(at.max(1));
            format!("cut off at {at}")
        }
        8 => {
            let (page, from) = (at / PAGE * PAGE, dice.roll(bytes.len() / PAGE) * PAGE);
            let copy = bytes[from..(from + PAGE).min(bytes.len())].to_vec();
            let to = (page + copy.len()).min(bytes.len());
            bytes[page..to].copy_from_slice(&copy[..to - page]);
            format!("page at {from} copied to {page}")
        }
        _ => {
            let page = at / PAGE * PAGE;
            let to = (page + PAGE).min(bytes.len());
            bytes[page..to].fill(0);
            format!("page at {page} filled with 0")
        }
    };
    format!("store.db{end}: {how}")
}

/// How trials ended.
#[derive(Debug, Default)]
struct Tally {
    refused_to_open: u64,
    stopped: u64,
    corrupt: u64,
    whole: u64,
}

async fn try_all(files: &Files) -> (Tally, Vec<String>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("undamaged.db");
    write_files(files, &path);
    let store = options().open(&path).unwrap();
    let everything = Everything::of(&store.store()).await;
    store.close().await;
    assert!(everything.partitions.values().map(Vec::len).sum::<usize>() > 300);

    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for trial in 1..=trials() {
        let mut damaged = files.clone();
        let how = damage(&mut damaged, &mut Dice(trial.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.db");
        write_files(&damaged, &path);
        let has_stopped = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&has_stopped);
        let opened = options().on_failure(move |_| stops.store(true, Ordering::SeqCst)).open(&path);
        let Ok(store) = opened else {
            tally.refused_to_open += 1;
            continue;
        };
        match everything.compare(&store.store(), &has_stopped).await {
            Err(what) => wrong.push(format!("trial {trial}, {how}: {what}")),
            Ok(_) if has_stopped.load(Ordering::SeqCst) => tally.stopped += 1,
            Ok(0) => tally.whole += 1,
            Ok(_) => tally.corrupt += 1,
        }
        store.close().await;
    }
    (tally, wrong)
}

async fn no_trial_serves_altered_or_lacking_data(files: &Files) {
    let (tally, wrong) = try_all(files).await;
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{tally:?}, and {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // It was not the damage that was missing.
    assert!(
        tally.refused_to_open > 0 && tally.corrupt + tally.stopped > 0 && tally.whole < trials() * 3 / 4,
        "{tally:?}"
    );
}

#[tokio::test]
async fn a_closed_store_that_was_damaged() {
    no_trial_serves_altered_or_lacking_data(&closed().await).await;
}

#[tokio::test]
async fn a_killed_store_with_all_of_it_in_the_write_ahead_log_that_was_damaged() {
    let files = killed(1 << 40).await;
    assert!(files["-wal"].len() > 1 << 20);
    let (tally, wrong) = try_all(&files).await;
    println!("{tally:?}");
    assert!(wrong.is_empty(), "{tally:?}, and {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tally.refused_to_open > trials() / 4, "{tally:?}");
}

#[tokio::test]
async fn a_killed_store_with_some_of_it_in_the_write_ahead_log_that_was_damaged() {
    let files = killed(128 << 10).await;
    assert!(files["-wal"].len() < 2 << 20 && files[""].len() > 50 * PAGE);
    no_trial_serves_altered_or_lacking_data(&files).await;
}

/// Rows on a damaged page can be neither read nor written, and those beside it perhaps not written; all others can, and the
/// server goes on.
#[tokio::test]
async fn rows_on_a_damaged_page_do_not_affect_others() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let write = |name: &'static str, version: u64| PartitionWrite {
        partition: name.into(),
        version,
        puts: vec![("k".into(), Bytes::from(vec![name.as_bytes()[0]; 3000]))],
        deletes: vec!["other".into()],
    };
    let store = options().open(&path).unwrap();
    // A page for each.
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"] {
        store.store().table.write(vec![write(name, 1)]).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(500).position(|window| window == [b'c'; 500]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let has_stopped = Arc::new(AtomicBool::new(false));
    let stops = Arc::clone(&has_stopped);
    let sqlite = options().on_failure(move |_| stops.store(true, Ordering::SeqCst)).open(&path).unwrap();
    let (store, log) = (sqlite.store(), log_id(0));
    let epoch = store.log.open(&log, OwnerNonce(1)).await.unwrap().head.epoch;
    for seq in 1..=3 {
        let version = seq + 1;
        // The first time, what shares its transaction may go without an answer too.
        let refused = store.table.write(vec![write("c", version)]).await.unwrap_err();
        assert!(matches!(refused, StorageError::Unknown(_)), "{refused}");
        let appended = store.log.append(&log, epoch, Seq(seq), GroupId(1), Bytes::new());
        let (appended, written) = futures::join!(appended, store.table.write(vec![write("k", version)]));
        assert_eq!(appended, Append::Appended);
        written.unwrap();
        if seq > 1 {
            let both = (store.table.write(vec![write("c", version)]), store.table.write(vec![write("m", version)]));
            let (refused, written) = futures::join!(both.0, both.1);
            assert!(refused.is_err());
            written.unwrap();
        }
    }
    assert!(
        store.table.get(&"c".into(), &"k".into()).await.is_err_and(|error| matches!(error, StorageError::Corrupt(_)))
    );
    for (name, version) in [("k", 4), ("m", 4), ("n", 1)] {
        assert_eq!(store.table.get(&name.into(), &"k".into()).await.unwrap().unwrap().version, version);
    }
    assert!(!has_stopped.load(Ordering::SeqCst));
    sqlite.close().await;
    // What was acknowledged in between is there.
    let sqlite = options().open(&path).unwrap();
    assert_eq!(sqlite.store().log.open(&log, OwnerNonce(2)).await.unwrap().head.last, Seq(3));
    sqlite.close().await;
}

/// What the trials rest on: `SqliteStore` is opened as a server opens it.
#[tokio::test]
async fn undamaged_files_are_read_back_whole() {
    for files in [closed().await, killed(1 << 40).await, killed(128 << 10).await] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.db");
        write_files(&files, &path);
        SqliteStore::open(&path).unwrap().close().await;
        let found = storage_sqlite::verify(&path, |_, _, _| Ok(())).unwrap();
        assert!(found.is_whole() && found.rows > 300 && found.groups > 30 && found.entries == 3, "{found:?}");
    }
}
