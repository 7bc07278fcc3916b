//! The threads that read. Each sees a snapshot that holds everything acknowledged before the read was asked for.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use storage::{
    Epoch, Group, GroupId, PartitionKey, RegistryEntry, Row, RowKey, ScanOrder, ScanPage, ScanRange, Seq, StorageResult,
};
use tokio::sync::oneshot;

use crate::SqliteOptions;
use crate::error::{Cause, read_error};
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
    Groups { log_number: i64, from: Seq, to: Seq, answer: Answer<Vec<Group>> },
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
            drop(answer.send(row(connection, &partition, key).map_err(read_error)));
        }
        Request::Scan { partition, range, order, limit, answer } => {
            drop(answer.send(scan(connection, &partition, &range, order, limit).map_err(read_error)));
        }
        Request::Groups { log_number, from, to, answer } => {
            drop(answer.send(groups(connection, log_number, from, to).map_err(read_error)));
        }
        Request::Entry { key, answer } => drop(answer.send(entry(connection, key).map_err(read_error))),
        Request::Entries { prefix, answer } => {
            drop(answer.send(entries(connection, &prefix).map_err(read_error)));
        }
    }
}

fn bytes(value: ValueRef<'_>) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(value.as_blob()?))
}

fn row(connection: &Connection, partition: &[u8], key: RowKey) -> rusqlite::Result<Option<Row>> {
    let mut statement =
        connection.prepare_cached("SELECT version, value FROM row WHERE partition = ?1 AND key = ?2")?;
    let mut rows = statement.query(params![partition, &key[..]])?;
    match rows.next()? {
        Some(row) => Ok(Some(Row { version: row.get(0)?, value: bytes(row.get_ref(1)?)?, key })),
        None => Ok(None),
    }
}

fn scan(
    connection: &Connection,
    partition: &[u8],
    range: &ScanRange,
    order: ScanOrder,
    limit: usize,
) -> rusqlite::Result<ScanPage> {
    let mut statement = connection.prepare_cached(match (order, &range.to) {
        (ScanOrder::Ascending, None) => {
            "SELECT key, version, value FROM row WHERE partition = ?1 AND key >= ?2 ORDER BY key"
        }
        (ScanOrder::Ascending, Some(_)) => {
            "SELECT key, version, value FROM row WHERE partition = ?1 AND key >= ?2 AND key < ?3 ORDER BY key"
        }
        (ScanOrder::Descending, None) => {
            "SELECT key, version, value FROM row WHERE partition = ?1 AND key >= ?2 ORDER BY key DESC"
        }
        (ScanOrder::Descending, Some(_)) => {
            "SELECT key, version, value FROM row WHERE partition = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC"
        }
    })?;
    let mut found = match &range.to {
        None => statement.query(params![partition, &range.from[..]])?,
        Some(to) => statement.query(params![partition, &range.from[..], &to[..]])?,
    };
    let (mut page, mut page_bytes) = (ScanPage::default(), 0);
    while let Some(row) = found.next()? {
        if page.rows.len() >= limit || page_bytes >= SCAN_PAGE_BYTES {
            page.more = true;
            break;
        }
        let row = Row { key: bytes(row.get_ref(0)?)?, version: row.get(1)?, value: bytes(row.get_ref(2)?)? };
        page_bytes += row.key.len() + row.value.len();
        page.rows.push(row);
    }
    Ok(page)
}

fn groups(connection: &Connection, log_number: i64, from: Seq, to: Seq) -> rusqlite::Result<Vec<Group>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, id, epoch, bytes FROM log_group WHERE position BETWEEN ?1 AND ?2 ORDER BY position",
    )?;
    let groups = statement.query_map([position(log_number, from.0), position(log_number, to.0)], |row| {
        Ok(Group {
            seq: Seq(seq_of(row.get(0)?)),
            id: GroupId(u128::from_be_bytes(row.get(1)?)),
            epoch: Epoch(row.get(2)?),
            bytes: bytes(row.get_ref(3)?)?,
        })
    })?;
    groups.collect()
}

fn entry(connection: &Connection, key: String) -> rusqlite::Result<Option<RegistryEntry>> {
    let mut statement = connection.prepare_cached("SELECT version, value FROM registry WHERE key = ?1")?;
    let mut rows = statement.query([&key])?;
    match rows.next()? {
        Some(row) => Ok(Some(RegistryEntry { version: row.get(0)?, value: bytes(row.get_ref(1)?)?, key })),
        None => Ok(None),
    }
}

fn entries(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<RegistryEntry>> {
    let mut statement =
        connection.prepare_cached("SELECT key, version, value FROM registry WHERE key >= ?1 ORDER BY key")?;
    let mut rows = statement.query([prefix])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        entries.push(RegistryEntry { key, version: row.get(1)?, value: bytes(row.get_ref(2)?)? });
    }
    Ok(entries)
}
