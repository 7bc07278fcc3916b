//! The threads that read. Each sees a snapshot that holds everything acknowledged before the read was requested.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use storage::checksum::{self, readable};
use storage::{
    Epoch, Group, GroupId, LogId, PartitionCursor, PartitionKey, PartitionPage, RegistryEntry, Row, RowKey, ScanOrder,
    ScanPage, ScanRange, Seq, StorageResult,
};
use tokio::sync::oneshot;

use crate::SqliteOptions;
use crate::error::{Cause, ReadError, read_error};
use crate::queue::WorkQueue;
use crate::schema::{open_reader, position, seq_of};
use crate::stats::Counters;
use crate::thread;

/// A page of a scan ends after so many bytes, whatever its limit.
const SCAN_PAGE_BYTES: usize = 4 << 20;

/// How many reads share a snapshot at most.
const READS_PER_SNAPSHOT: usize = 32;

type Answer<T> = oneshot::Sender<StorageResult<T>>;

/// Something to be read.
pub(crate) enum Request {
    Row { partition: PartitionKey, key: RowKey, answer: Answer<Option<Row>> },
    Scan { partition: PartitionKey, range: ScanRange, order: ScanOrder, limit: usize, answer: Answer<ScanPage> },
    Partitions { prefix: Bytes, from: Option<PartitionCursor>, limit: usize, answer: Answer<PartitionPage> },
    Groups { log: LogId, log_number: i64, from: Seq, to: Seq, answer: Answer<Vec<Group>> },
    Entry { key: String, answer: Answer<Option<RegistryEntry>> },
    Entries { prefix: String, answer: Answer<Vec<RegistryEntry>> },
}

/// The running threads.
pub(crate) struct Readers {
    requests: Arc<WorkQueue<Request>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads, each with a connection of its own.
    pub(crate) fn start(
        path: &Path,
        options: &SqliteOptions,
        requests: Arc<WorkQueue<Request>>,
        counters: &Arc<Counters>,
    ) -> Result<Self, Cause> {
        let mut readers = Self { requests, threads: Vec::new() };
        for _ in 0..options.readers {
            let connection = open_reader(path, options)?;
            let (requests, counters) = (readers.requests.clone(), counters.clone());
            readers.threads.push(thread::start("sqlite-read", move || run(&connection, &requests, &counters))?);
        }
        Ok(readers)
    }

    /// Answers what waits, then ends the threads.
    pub(crate) fn finish(self) {
        drop(self);
    }
}

impl Drop for Readers {
    /// Their connections are closed when it returns, as they must be before the file's lock goes.
    fn drop(&mut self) {
        self.requests.close();
        for thread in self.threads.drain(..) {
            // If it panicked there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, requests: &WorkQueue<Request>, counters: &Counters) {
    // Half of what waits leaves the other half to the other threads, at little loss if there are none.
    while let Some(taken) = requests.take(|waiting| waiting.div_ceil(2).min(READS_PER_SNAPSHOT)) {
        counters.read(taken.len() as u64);
        let is_shared = taken.len() > 1;
        // Without the transaction each read takes a snapshot of its own, which is slower but no less right.
        let began = is_shared && run_cached(connection, "BEGIN").is_ok();
        for request in taken {
            answer(connection, request);
        }
        if began {
            let _ = run_cached(connection, "COMMIT");
        }
    }
}

fn run_cached(connection: &Connection, sql: &'static str) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([])
}

/// A caller that has gone away misses nothing it could use, hence the dropped results.
fn answer(connection: &Connection, request: Request) {
    match request {
        Request::Row { partition, key, answer } => {
            let what = || row_name(&partition, &key);
            let found = row(connection, &partition, &key).map_err(|error| read_error(error, what));
            drop(answer.send(found));
        }
        Request::Scan { partition, range, order, limit, answer } => {
            drop(answer.send(scan(connection, &partition, &range, order, limit)));
        }
        Request::Partitions { prefix, from, limit, answer } => {
            let what = || format!("a walk over the partitions from \"{}\"", readable(&prefix));
            let found = partitions(connection, &prefix, from, limit).map_err(|error| read_error(error.into(), what));
            drop(answer.send(found));
        }
        Request::Groups { log, log_number, from, to, answer } => {
            drop(answer.send(groups(connection, &log, log_number, from, to)));
        }
        Request::Entry { key, answer } => {
            let found = entry(connection, &key).map_err(|error| read_error(error, || entry_name(&key)));
            drop(answer.send(found));
        }
        Request::Entries { prefix, answer } => drop(answer.send(entries(connection, &prefix))),
    }
}

/// How messages name a row.
pub(crate) fn row_name(partition: &[u8], key: &[u8]) -> String {
    format!("row \"{}\" of partition \"{}\"", readable(key), readable(partition))
}

/// How messages name a group.
pub(crate) fn group_name(log: &LogId, seq: Seq) -> String {
    format!("log {}, position {}", log.0, seq.0)
}

/// How messages name an entry.
pub(crate) fn entry_name(key: &str) -> String {
    format!("registry entry \"{}\"", readable(key.as_bytes()))
}

fn bytes(value: ValueRef<'_>) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(value.as_blob()?))
}

/// The value in a column, if it matches the sum in another.
fn checked(
    row: &rusqlite::Row<'_>,
    value: usize,
    sum: usize,
    sum_of: impl FnOnce(&[u8]) -> u64,
) -> Result<Bytes, ReadError> {
    let value = row.get_ref(value)?.as_blob().map_err(rusqlite::Error::from)?;
    if sum_of(value) == row.get::<_, i64>(sum)?.cast_unsigned() {
        Ok(Bytes::copy_from_slice(value))
    } else {
        Err(ReadError::Mismatch)
    }
}

fn row(connection: &Connection, partition: &[u8], key: &RowKey) -> Result<Option<Row>, ReadError> {
    let mut statement =
        connection.prepare_cached("SELECT version, value, sum FROM row WHERE partition = ?1 AND key = ?2")?;
    let mut rows = statement.query(params![partition, &key[..]])?;
    match rows.next()? {
        Some(row) => {
            let version = row.get(0)?;
            let value = checked(row, 1, 2, |value| checksum::of_row(partition, key, version, value))?;
            Ok(Some(Row { version, value, key: key.clone() }))
        }
        None => Ok(None),
    }
}

fn scan(
    connection: &Connection,
    partition: &[u8],
    range: &ScanRange,
    order: ScanOrder,
    limit: usize,
) -> StorageResult<ScanPage> {
    let failed = |error: rusqlite::Error| {
        read_error(error.into(), || format!("a scan of partition \"{}\"", readable(partition)))
    };
    let sql = match (order, &range.to) {
        (ScanOrder::Ascending, None) => {
            "SELECT key, version, value, sum FROM row WHERE partition = ?1 AND key >= ?2 ORDER BY key"
        }
        (ScanOrder::Ascending, Some(_)) => {
            "SELECT key, version, value, sum FROM row WHERE partition = ?1 AND key >= ?2 AND key < ?3 ORDER BY key"
        }
        (ScanOrder::Descending, None) => {
            "SELECT key, version, value, sum FROM row WHERE partition = ?1 AND key >= ?2 ORDER BY key DESC"
        }
        (ScanOrder::Descending, Some(_)) => {
            "SELECT key, version, value, sum FROM row WHERE partition = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC"
        }
    };
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let found = match &range.to {
        None => statement.query(params![partition, &range.from[..]]),
        Some(to) => statement.query(params![partition, &range.from[..], &to[..]]),
    };
    let mut found = found.map_err(failed)?;
    let (mut page, mut page_bytes) = (ScanPage::default(), 0);
    while let Some(row) = found.next().map_err(failed)? {
        if page.rows.len() >= limit || page_bytes >= SCAN_PAGE_BYTES {
            page.more = true;
            break;
        }
        let row = scanned(partition, row)?;
        page_bytes += row.key.len() + row.value.len();
        page.rows.push(row);
    }
    Ok(page)
}

/// A row of a scan: key, version, value and sum.
fn scanned(partition: &[u8], row: &rusqlite::Row<'_>) -> StorageResult<Row> {
    let place = |error: rusqlite::Error| read_error(error.into(), || row_name(partition, b"?"));
    let key = row.get_ref(0).and_then(bytes).map_err(place)?;
    let version = row.get(1).map_err(place)?;
    let value = checked(row, 2, 3, |value| checksum::of_row(partition, &key, version, value));
    let value = value.map_err(|error| read_error(error, || row_name(partition, &key)))?;
    Ok(Row { key, version, value })
}

/// Goes from each partition to the next, whatever they hold. The cursor is the last one named.
fn partitions(
    connection: &Connection,
    prefix: &[u8],
    from: Option<PartitionCursor>,
    limit: usize,
) -> rusqlite::Result<PartitionPage> {
    let mut first = connection.prepare_cached("SELECT min(partition) FROM row WHERE partition >= ?1")?;
    let mut next = connection.prepare_cached("SELECT min(partition) FROM row WHERE partition > ?1")?;
    let mut page = PartitionPage { partitions: Vec::new(), next: from };
    while page.partitions.len() < limit {
        let found = match &page.next {
            None => first.query_row([prefix], |row| row.get::<_, Option<Vec<u8>>>(0))?,
            Some(last) => next.query_row([&last[..]], |row| row.get(0))?,
        };
        page.next = found.filter(|found| found.starts_with(prefix)).map(Bytes::from);
        match &page.next {
            Some(found) => page.partitions.push(found.clone()),
            None => break,
        }
    }
    Ok(page)
}

fn groups(connection: &Connection, log: &LogId, log_number: i64, from: Seq, to: Seq) -> StorageResult<Vec<Group>> {
    let failed = |error: rusqlite::Error| read_error(error.into(), || format!("the tail of log {}", log.0));
    let sql =
        "SELECT position, id, epoch, bytes, sum FROM log_group WHERE position BETWEEN ?1 AND ?2 ORDER BY position";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let range = [position(log_number, from.0), position(log_number, to.0)];
    let mut found = statement.query(range).map_err(failed)?;
    let mut groups = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        let seq = Seq(seq_of(row.get(0).map_err(failed)?));
        let group = group(log, seq, row).map_err(|error| read_error(error, || group_name(log, seq)))?;
        groups.push(group);
    }
    Ok(groups)
}

fn group(log: &LogId, seq: Seq, row: &rusqlite::Row<'_>) -> Result<Group, ReadError> {
    let (id, epoch) = (GroupId(u128::from_be_bytes(row.get(1)?)), Epoch(row.get(2)?));
    let bytes = checked(row, 3, 4, |bytes| checksum::of_group(log, seq, id, epoch, bytes))?;
    Ok(Group { seq, id, epoch, bytes })
}

fn entry(connection: &Connection, key: &str) -> Result<Option<RegistryEntry>, ReadError> {
    let mut statement = connection.prepare_cached("SELECT version, value, sum FROM registry WHERE key = ?1")?;
    let mut rows = statement.query([&key])?;
    match rows.next()? {
        Some(row) => {
            let version = row.get(0)?;
            let value = checked(row, 1, 2, |value| checksum::of_entry(key, version, value))?;
            Ok(Some(RegistryEntry { key: key.to_owned(), version, value }))
        }
        None => Ok(None),
    }
}

fn entries(connection: &Connection, prefix: &str) -> StorageResult<Vec<RegistryEntry>> {
    let failed = |error: rusqlite::Error| read_error(error.into(), || format!("registry entries from \"{prefix}\""));
    let sql = "SELECT key, version, value, sum FROM registry WHERE key >= ?1 ORDER BY key";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([prefix]).map_err(failed)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let key: String = row.get(0).map_err(failed)?;
        if !key.starts_with(prefix) {
            break;
        }
        let version = row.get(1).map_err(failed)?;
        let value = checked(row, 2, 3, |value| checksum::of_entry(&key, version, value));
        let value = value.map_err(|error| read_error(error, || entry_name(&key)))?;
        entries.push(RegistryEntry { key, version, value });
    }
    Ok(entries)
}
