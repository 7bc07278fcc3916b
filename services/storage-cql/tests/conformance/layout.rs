//! How logs and tables lie in the database: segments that roll and go, large groups beside the log, holes, dropped
//! partitions, and what any of it costs.

use std::time::Duration;

use bytes::Bytes;
use runtime::Runtime;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use storage::{
    Append, CompareAndSet, Epoch, GroupId, Log, LogId, OwnerNonce, PartitionWrite, ScanOrder, ScanRange, Seq,
    StorageError,
};
use storage_cql::{CqlSettings, CqlStore, LogLimits};

use crate::{connect, database};

const OWNER: OwnerNonce = OwnerNonce(1);
const OTHER: OwnerNonce = OwnerNonce(2);
const LIMITS: LogLimits = LogLimits { segment_bytes: 1 << 20, segment_groups: 2, inline_bytes: 1000, chunk_bytes: 700 };

async fn settings() -> CqlSettings {
    CqlSettings { log: LIMITS, ..database::settings().await }
}

async fn session(settings: &CqlSettings) -> Session {
    SessionBuilder::new().known_nodes(&settings.contact_points).build().await.unwrap()
}

/// How many partitions of this store's log there are in a table.
async fn partitions(session: &Session, settings: &CqlSettings, table: &str, log: &LogId) -> usize {
    let all = format!("SELECT DISTINCT log, segment FROM {}.{table}", settings.keyspace);
    let rows = session.query_unpaged(all, ()).await.unwrap().into_rows_result().unwrap();
    let name = format!("{}/{}", settings.within, log.0);
    rows.rows::<(String, uuid::Uuid)>().unwrap().filter(|row| row.as_ref().unwrap().0 == name).count()
}

fn content(seq: u64) -> Bytes {
    // Every other group is too large for its row.
    Bytes::from(format!("{seq:4}").repeat(if seq.is_multiple_of(2) { 500 } else { 5 }))
}

async fn append_all(log: &dyn Log, id: &LogId, epoch: Epoch, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let outcome = log.append(id, epoch, Seq(seq), GroupId(u128::from(seq)), content(seq)).await;
        assert_eq!(outcome, Append::Appended, "append {seq}");
    }
}

#[tokio::test]
async fn a_log_rolls_and_its_trimmed_segments_go_whole() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let (log, id) = (store.store().log, LogId("rolls".into()));
    let mut epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
    append_all(&*log, &id, epoch, 1..=9).await;
    assert_eq!(partitions(&session, &settings, "log_groups", &id).await, 5);
    assert_eq!(partitions(&session, &settings, "log_chunks", &id).await, 4);
    // 5 and 6 share the third segment: it stays, whole, until 7 is the lowest.
    for (below, left) in [(5, 3), (6, 3), (7, 2), (10, 1)] {
        assert_eq!(log.trim(&id, epoch, Seq(below)).await, Append::Appended);
        assert_eq!(partitions(&session, &settings, "log_groups", &id).await, left, "below {below}");
        let opened = log.open(&id, OWNER).await.unwrap();
        let found: Vec<_> = opened.tail.iter().map(|group| (group.seq.0, group.bytes.clone())).collect();
        assert_eq!(found, (below..=9).map(|seq| (seq, content(seq))).collect::<Vec<_>>());
        epoch = opened.head.epoch;
    }
    assert_eq!(partitions(&session, &settings, "log_chunks", &id).await, 0);
    append_all(&*log, &id, epoch, 10..=12).await;
    assert_eq!(log.open(&id, OTHER).await.unwrap().tail.len(), 3);
}

/// An owner that dies between making a trim point durable and deleting what lies below leaves segments behind. The next
/// owner's trim finds and deletes them, and its tail never has them.
#[tokio::test]
async fn what_a_dead_owner_left_undeleted_goes_with_the_next_trim() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let (log, id) = (store.store().log, LogId("leftovers".into()));
    let epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
    append_all(&*log, &id, epoch, 1..=7).await;
    let name = format!("{}/{}", settings.within, id.0);
    let trim = format!("UPDATE {}.log_heads SET trimmed_below = 6 WHERE log = ? IF EXISTS", settings.keyspace);
    session.query_unpaged(trim, (name,)).await.unwrap();
    let opened = log.open(&id, OTHER).await.unwrap();
    assert_eq!(opened.tail.iter().map(|group| group.seq.0).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(partitions(&session, &settings, "log_groups", &id).await, 4);
    assert_eq!(log.trim(&id, opened.head.epoch, Seq(6)).await, Append::Appended);
    assert_eq!(partitions(&session, &settings, "log_groups", &id).await, 2);
}

/// A deletion whose coordinator's clock is behind takes only what was written before its time: the values that came last
/// stay, and are no segment.
#[tokio::test]
async fn traces_of_a_deleted_segment_do_no_harm() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let log = store.store().log;
    for traces in ["epoch = 1", "last_seq = 4", "epoch = 1, last_seq = 4", "first_seq = 3", "epoch = 1, first_seq = 3"]
    {
        let id = LogId(format!("traces/{traces}"));
        let epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
        append_all(&*log, &id, epoch, 1..=5).await;
        let name = format!("{}/{}", settings.within, id.0);
        let second = segment_from(&session, &settings, &name, 3).await;
        assert_eq!(log.trim(&id, epoch, Seq(5)).await, Append::Appended);
        let trace = format!("UPDATE {}.log_groups SET {traces} WHERE log = ? AND segment = ?", settings.keyspace);
        session.query_unpaged(trace, (&name, second)).await.unwrap();
        let opened = log.open(&id, OTHER).await.unwrap();
        assert_eq!(opened.tail.iter().map(|group| group.seq.0).collect::<Vec<_>>(), [5], "{traces}");
        append_all(&*log, &id, opened.head.epoch, 6..=8).await;
        assert_eq!(log.trim(&id, opened.head.epoch, Seq(8)).await, Append::Appended, "{traces}");
    }
}

/// The name of the segment that begins at a position.
async fn segment_from(session: &Session, settings: &CqlSettings, log: &str, first: i64) -> uuid::Uuid {
    let find = format!("SELECT segment, first_seq FROM {}.log_groups WHERE log = ? ALLOW FILTERING", settings.keyspace);
    let rows = session.query_unpaged(find, (log,)).await.unwrap().into_rows_result().unwrap();
    let segments: Vec<(uuid::Uuid, i64)> = rows.rows().unwrap().map(Result::unwrap).collect();
    segments.iter().find(|(_, begins)| *begins == first).unwrap().0
}

/// Whatever is missing of the tail is noticed, and only an operator can repair it.
#[tokio::test]
async fn a_hole_is_corrupt() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let log = store.store().log;
    let keyspace = &settings.keyspace;
    let damages = [
        ("group", format!("DELETE FROM {keyspace}.log_groups WHERE log = ? AND segment = ? AND seq = 3")),
        ("segment", format!("DELETE FROM {keyspace}.log_groups WHERE log = ? AND segment = ?")),
        ("chunks", format!("DELETE FROM {keyspace}.log_chunks USING TIMESTAMP 5 WHERE log = ? AND segment = ?")),
    ];
    for (what, damage) in damages {
        let id = LogId(format!("hole/{what}"));
        let epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
        append_all(&*log, &id, epoch, 1..=6).await;
        let name = format!("{}/{}", settings.within, id.0);
        let segment = segment_from(&session, &settings, &name, 3).await;
        session.query_unpaged(damage, (&name, segment)).await.unwrap();
        let error = log.open(&id, OTHER).await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt(_)), "{what}: {error}");
        assert!(error.to_string().contains(&id.0), "{what}: {error}");
    }
}

/// A chunk that was changed on its way is noticed by the checksum.
#[tokio::test]
async fn a_changed_chunk_is_corrupt() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let (log, id) = (store.store().log, LogId("changed".into()));
    let epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
    append_all(&*log, &id, epoch, 1..=2).await;
    let name = format!("{}/{}", settings.within, id.0);
    let keyspace = &settings.keyspace;
    let find = format!("SELECT segment, beside, content FROM {keyspace}.log_chunks WHERE log = ? ALLOW FILTERING");
    let rows = session.query_unpaged(find, (&name,)).await.unwrap().into_rows_result().unwrap();
    let (segment, beside, mut chunk) =
        rows.rows::<(uuid::Uuid, uuid::Uuid, Vec<u8>)>().unwrap().next().unwrap().unwrap();
    chunk[0] ^= 1;
    let change = format!(
        "INSERT INTO {keyspace}.log_chunks (log, segment, beside, chunk, content) VALUES (?, ?, ?, 0, ?) USING TIMESTAMP 5"
    );
    session.query_unpaged(change, (&name, segment, beside, chunk)).await.unwrap();
    let error = log.open(&id, OTHER).await.unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt(what) if what.contains("checksum")), "{error}");
}

/// A row, an entry and a group that were changed where they lie are not served; what lies beside them is.
#[tokio::test]
async fn what_was_changed_where_it_lies_is_corrupt() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let (ports, keyspace, within) = (store.store(), &settings.keyspace, &settings.within);
    let partition = Bytes::from("changed rows");
    let puts = ["a", "b"].map(|key| (Bytes::from(key), content(1))).to_vec();
    let write = PartitionWrite { partition: partition.clone(), version: 4, puts, deletes: vec![] };
    ports.table.write(vec![write]).await.unwrap();
    let stored = format!("{within}/changed rows").into_bytes();
    // The same bytes as another version.
    let find = format!("SELECT content FROM {keyspace}.table_rows WHERE partition_key = ? AND row_key = ?");
    let rows = session.query_unpaged(find, (&stored, &b"a"[..])).await.unwrap().into_rows_result().unwrap();
    let (bytes,) = rows.first_row::<(Vec<u8>,)>().unwrap();
    let change = format!(
        "INSERT INTO {keyspace}.table_rows (partition_key, row_key, content) VALUES (?, ?, ?) USING TIMESTAMP 9"
    );
    session.query_unpaged(change, (&stored, &b"a"[..], bytes)).await.unwrap();
    let is_named = |error: StorageError, what: &str| {
        assert!(matches!(&error, StorageError::Corrupt(said) if said.contains(what)), "{error}");
    };
    is_named(ports.table.get(&partition, &"a".into()).await.unwrap_err(), "row \"a\"");
    is_named(
        ports.table.scan(&partition, ScanRange::default(), ScanOrder::Ascending, 9).await.unwrap_err(),
        "row \"a\"",
    );
    assert_eq!(ports.table.get(&partition, &"b".into()).await.unwrap().map(|row| row.value), Some(content(1)));

    assert_eq!(ports.registry.compare_and_set("changed", 0, Some(content(1))).await, CompareAndSet::Applied);
    let change =
        format!("UPDATE {keyspace}.registry_entries SET content = 0x00 WHERE registry = ? AND key = 'changed'");
    session.query_unpaged(change, (format!("{within}/"),)).await.unwrap();
    is_named(ports.registry.get("changed").await.unwrap_err(), "registry entry \"changed\"");

    let id = LogId("changed group".into());
    let epoch = ports.log.open(&id, OWNER).await.unwrap().head.epoch;
    append_all(&*ports.log, &id, epoch, 1..=1).await;
    let name = format!("{within}/{}", id.0);
    let segment = segment_from(&session, &settings, &name, 1).await;
    let change = format!("UPDATE {keyspace}.log_groups SET id = uuid() WHERE log = ? AND segment = ? AND seq = 1");
    session.query_unpaged(change, (&name, segment)).await.unwrap();
    is_named(ports.log.open(&id, OTHER).await.unwrap_err(), "position 1: its checksum");
}

/// A quorum of one datacentre does not see what another's has accepted, so a log stays where it is at home.
#[tokio::test]
async fn a_log_that_is_at_home_elsewhere_is_not_opened() {
    let settings = settings().await;
    let (store, session) = (connect(&settings).await, session(&settings).await);
    let (log, id) = (store.store().log, LogId("elsewhere".into()));
    let epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
    let name = format!("{}/{}", settings.within, id.0);
    let moved = format!("UPDATE {}.log_heads SET datacenter = 'far' WHERE log = ? IF EXISTS", settings.keyspace);
    session.query_unpaged(moved, (name,)).await.unwrap();
    for error in [log.open(&id, OTHER).await.unwrap_err(), log.reopen(&id, epoch, OWNER).await.unwrap_err()] {
        assert!(matches!(&error, StorageError::Invalid(what) if what.contains("\"far\"")), "{error}");
    }
    assert_eq!(log.epoch(&id).await.unwrap(), epoch, "a refused opener changes nothing");
}

/// The log has never been opened, and four processes do so at once: each that gets it has an epoch of its own, and only the
/// highest can append.
#[tokio::test]
async fn openers_of_a_new_log_get_different_epochs() {
    let settings = settings().await;
    let stores = futures::future::join_all((0..4).map(|_| connect(&settings))).await;
    for round in 0..5 {
        let id = LogId(format!("new/{round}"));
        let opening = stores.iter().zip(10..).map(|(store, nonce)| {
            let (log, id) = (store.store().log, id.clone());
            async move { (log.open(&id, OwnerNonce(nonce)).await, log) }
        });
        let mut opened = Vec::new();
        for (outcome, log) in futures::future::join_all(opening).await {
            match outcome {
                Ok(outcome) => opened.push((outcome.head.epoch, log)),
                // Overtaken, or so many at once that the database gave up on one of them.
                Err(StorageError::Unavailable { .. } | StorageError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        opened.sort_by_key(|(epoch, _)| *epoch);
        assert!(opened.windows(2).all(|pair| pair[0].0 < pair[1].0), "an epoch was given twice");
        let highest = stores[0].store().log.epoch(&id).await.unwrap();
        let (mut appended, mut perhaps) = (0, 0);
        for (epoch, log) in &opened {
            let outcome = log.append(&id, *epoch, Seq(1), GroupId(epoch.0.into()), content(1)).await;
            assert!(outcome != Append::Appended || *epoch == highest, "epoch {} of {}", epoch.0, highest.0);
            appended += usize::from(outcome == Append::Appended);
            perhaps += usize::from(outcome == Append::Unknown);
        }
        assert!(appended <= 1);
        let tail = stores[1].store().log.open(&id, OTHER).await.unwrap().tail;
        assert!(tail.len() <= 1 && (appended..=appended + perhaps).contains(&tail.len()), "{} groups", tail.len());
    }
}

/// A change that another process made is heard of within two seconds, and polling ends with the last listener.
#[tokio::test]
async fn a_watcher_hears_of_changes_by_others() {
    let settings = settings().await;
    let (ours, theirs) = (connect(&settings).await, connect(&settings).await);
    let mut watcher = ours.store().registry.watch();
    for version in 0..3 {
        // What was there before we began counts as a change once.
        Runtime::system().sleep(Duration::from_millis(1200)).await;
        watcher.mark_unchanged();
        let outcome = theirs.store().registry.compare_and_set("k", version, Some("new".into())).await;
        assert_eq!(outcome, CompareAndSet::Applied);
        let heard = Runtime::system().timeout(Duration::from_secs(2), watcher.changed()).await;
        heard.expect("noticed within two seconds").expect("the registry is still there");
        assert_eq!(ours.store().registry.get("k").await.unwrap().map(|entry| entry.version), Some(version + 1));
    }
    drop(watcher);
    let before = ours.stats();
    Runtime::system().sleep(Duration::from_millis(2500)).await;
    assert!(ours.stats().reads - before.reads <= 1, "one look may have been under way");
}

/// What a dropped partition was sent before, and arrives later, stays away.
#[tokio::test]
async fn a_dropped_partition_hides_late_writes() {
    let settings = settings().await;
    let table = connect(&settings).await.store().table;
    let write = |version: u64, partition: &'static str| PartitionWrite {
        partition: partition.into(),
        version,
        puts: vec![("row".into(), "content".into())],
        deletes: vec![],
    };
    table.write(vec![write(5, "dropped"), write(5, "kept")]).await.unwrap();
    table.drop_partition(&"dropped".into()).await.unwrap();
    table.write(vec![write(6, "dropped"), write(6, "kept")]).await.unwrap();
    let scan = |partition: &'static str| {
        let table = table.clone();
        async move { table.scan(&partition.into(), ScanRange::default(), ScanOrder::Ascending, 9).await.unwrap() }
    };
    assert_eq!(scan("dropped").await.rows, []);
    assert_eq!(scan("kept").await.rows.len(), 1);
}

/// Rows of a megabyte each: a scan comes back in pages that fit in memory, and none is missed.
#[tokio::test]
async fn large_rows_are_scanned_in_small_pages() {
    let table = connect(&settings().await).await.store().table;
    let rows: Vec<(Bytes, Bytes)> = (0..24_u8).map(|n| (vec![n].into(), vec![n; 1 << 20].into())).collect();
    for rows in rows.chunks(3) {
        let write = PartitionWrite { partition: "large".into(), version: 1, puts: rows.to_vec(), deletes: Vec::new() };
        table.write(vec![write]).await.unwrap();
    }
    let (mut found, mut from) = (Vec::new(), Bytes::new());
    loop {
        let range = ScanRange { from: from.clone(), to: None };
        let page = table.scan(&"large".into(), range, ScanOrder::Ascending, 1000).await.unwrap();
        found.extend(page.rows.into_iter().map(|row| (row.key, row.value)));
        if !page.more {
            break;
        }
        from = [&found.last().unwrap().0[..], &[0]].concat().into();
    }
    assert!(found == rows, "{} rows of {}", found.len(), rows.len());
}

/// What things cost, in requests: a benchmark relies on these counters.
#[tokio::test]
async fn an_append_is_one_conditional_batch_and_idleness_costs_nothing() {
    let settings = CqlSettings { log: LogLimits::default(), ..database::settings().await };
    let store = connect(&settings).await;
    let (log, id) = (store.store().log, LogId("cost".into()));
    let epoch = log.open(&id, OWNER).await.unwrap().head.epoch;
    let before = store.stats();
    append_all(&*log, &id, epoch, 1..=20).await;
    let after = store.stats();
    assert_eq!(after.conditional_batches - before.conditional_batches, 20);
    assert_eq!((after.log_appends, after.unknowns), (20, 0));
    let others = |stats: storage_cql::CqlStats| {
        (stats.conditional_updates, stats.serial_reads, stats.reads, stats.chunk_writes, stats.table_writes)
    };
    assert_eq!(others(after), others(before), "an append is nothing but its batch");
    log.epoch(&id).await.unwrap();
    assert_eq!(store.stats().reads - after.reads, 1, "a fence check is one read");
    let idle = store.stats();
    Runtime::system().sleep(Duration::from_millis(2500)).await;
    assert_eq!(store.stats(), idle);
}

/// A closed store says so, and does nothing.
#[tokio::test]
async fn a_closed_store_refuses() {
    let settings = settings().await;
    let store: CqlStore = connect(&settings).await;
    let (ports, id) = (store.store(), LogId("closed".into()));
    let epoch = ports.log.open(&id, OWNER).await.unwrap().head.epoch;
    store.close().await;
    assert!(matches!(ports.log.open(&id, OWNER).await, Err(StorageError::Unavailable { .. })));
    assert_eq!(ports.log.append(&id, epoch, Seq(1), GroupId(1), content(1)).await, Append::Unknown);
    assert!(matches!(ports.table.get(&"p".into(), &"k".into()).await, Err(StorageError::Unavailable { .. })));
    assert_eq!(connect(&settings).await.store().log.open(&id, OWNER).await.unwrap().head.last, Seq(0));
}
