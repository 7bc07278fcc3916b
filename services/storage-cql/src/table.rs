//! The table port: plain writes whose timestamps are their versions, so that the database lets the highest version win
//! in whatever order writes arrive, and its tombstones hold back late puts.
//!
//! A put of version v is written at timestamp 2v - 1, a delete at 2v - 2: a put wins over a delete of the same version,
//! and loses to the next one's. That is far below the time of day in microseconds, at which partitions are dropped, and so
//! below what ScyllaDB takes for the future.

mod scan;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::errors::SerializationError;
use scylla::response::PagingState;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::prepared::PreparedStatement;
use storage::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageError, StorageResult, Table, Version, checksum,
};
use tokio::sync::Semaphore;

use self::scan::Scans;
use crate::failure::Failure;
use crate::names::Names;
use crate::requests::Requests;
use crate::sealed::{self, Sealed};
use crate::settings::CqlSettings;
use crate::stats::Kind;

/// The highest version that has timestamps.
const MAX_VERSION: Version = 1 << 62;
/// The longest key that Cassandra takes, less what we put before it.
const MAX_KEY_BYTES: usize = 65_000;
/// The largest row: Cassandra takes frames and mutations of 16 MiB by default.
const MAX_ROW_BYTES: usize = 15 << 20;
/// What one partition is sent at once, unless a single row is larger. A longer write goes in pieces.
const PIECE_BYTES: usize = 1 << 20;
/// As many rows at once, at most; the protocol could count to 65,535.
const PIECE_ROWS: usize = 10_000;
/// How many partitions of one call are written at once.
const PARTITIONS_AT_ONCE: usize = 32;

pub(crate) struct CqlTable {
    requests: Arc<Requests>,
    names: Names,
    get: PreparedStatement,
    put: PreparedStatement,
    delete: PreparedStatement,
    drop: PreparedStatement,
    walk: PreparedStatement,
    scans: Scans,
    /// Bounds the writes of this process that are under way.
    in_flight: Semaphore,
}

impl CqlTable {
    pub(crate) async fn prepare(requests: &Arc<Requests>, settings: &CqlSettings) -> Result<Self, Failure> {
        let table = format!("{}.table_rows", settings.keyspace);
        let row = "partition_key = ? AND row_key = ?";
        Ok(Self {
            requests: Arc::clone(requests),
            names: Names::within(&settings.within),
            get: requests
                .prepare(Kind::Read, &format!("SELECT content, writetime(content) FROM {table} WHERE {row}"))
                .await?,
            put: requests
                .prepare(
                    Kind::TableWrite,
                    &format!(
                        "INSERT INTO {table} (partition_key, row_key, content) VALUES (?, ?, ?) USING TIMESTAMP ?"
                    ),
                )
                .await?,
            delete: requests
                .prepare(Kind::TableWrite, &format!("DELETE FROM {table} USING TIMESTAMP ? WHERE {row}"))
                .await?,
            drop: requests
                .prepare(Kind::PartitionDelete, &format!("DELETE FROM {table} WHERE partition_key = ?"))
                .await?,
            walk: requests.prepare(Kind::Read, &format!("SELECT DISTINCT partition_key FROM {table}")).await?,
            scans: Scans::prepare(requests, &table).await?,
            in_flight: Semaphore::new(settings.table_writes_in_flight),
        })
    }

    async fn write_partition(&self, write: &PartitionWrite) -> StorageResult<()> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let partition = self.names.partition(&write.partition);
        let (partition, version) = (&partition, write.version);
        let puts = write.puts.iter().map(|(key, content)| Change::Put { partition, key, content, version });
        let deletes = write.deletes.iter().map(|key| Change::Delete { partition, key, version });
        let changes: Vec<_> = puts.chain(deletes).collect();
        // What is put first refers to what follows, so it is written last.
        for piece in pieces(&changes).into_iter().rev() {
            self.write_piece(piece).await.map_err(Failure::of_write)?;
        }
        self.requests.counters.table_rows(write.puts.len(), write.deletes.len());
        Ok(())
    }

    async fn write_piece(&self, changes: &[Change<'_>]) -> Result<(), Failure> {
        match changes {
            [] => Ok(()),
            [change] => self.requests.write(Kind::TableWrite, self.statement(change), change).await,
            changes => {
                let statements = changes.iter().map(|change| self.statement(change).clone());
                let batch = self.requests.batch(Kind::TableWrite, statements);
                self.requests.write_batch(Kind::TableWrite, &batch, &changes).await
            }
        }
    }

    fn statement(&self, change: &Change<'_>) -> &PreparedStatement {
        match change {
            Change::Put { .. } => &self.put,
            Change::Delete { .. } => &self.delete,
        }
    }
}

/// The timestamps of puts and of deletes of a version.
fn timestamps(version: Version) -> (i64, i64) {
    let put = (i128::from(version) * 2 - 1).min(i128::from(i64::MAX));
    let put = i64::try_from(put).unwrap_or(i64::MAX);
    (put, put - 1)
}

/// The version of a put at `timestamp`.
fn version_at(timestamp: i64) -> StorageResult<Version> {
    let doubled = i128::from(timestamp) + 1;
    u64::try_from(doubled / 2)
        .ok()
        .filter(|_| doubled % 2 == 0)
        .ok_or_else(|| StorageError::Corrupt(format!("a row has timestamp {timestamp}, which no put has")))
}

/// A row as it was put, if it is still that.
fn row(partition: &[u8], key: RowKey, stored: &[u8], timestamp: i64) -> StorageResult<Row> {
    let version = version_at(timestamp)?;
    let what = || {
        let (key, partition) = (checksum::readable(&key), checksum::readable(partition));
        format!("row \"{key}\" of partition \"{partition}\"")
    };
    let value = sealed::opened(stored, |value| checksum::of_row(partition, &key, version, value), what)?;
    Ok(Row { key, value, version })
}

/// A write's changes in pieces that the database takes, in their order: one, for nearly all writes.
fn pieces<'a, 'b>(changes: &'b [Change<'a>]) -> Vec<&'b [Change<'a>]> {
    let (mut pieces, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, change) in changes.iter().enumerate() {
        if at > from && (bytes + change.bytes() > PIECE_BYTES || at - from == PIECE_ROWS) {
            pieces.push(&changes[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += change.bytes();
    }
    pieces.push(&changes[from..]);
    pieces
}

/// One row's part in a write.
enum Change<'a> {
    Put { partition: &'a [u8], key: &'a Bytes, content: &'a Bytes, version: Version },
    Delete { partition: &'a [u8], key: &'a Bytes, version: Version },
}

impl Change<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, content, .. } => key.len() + content.len(),
            Self::Delete { key, .. } => key.len(),
        }
    }
}

impl SerializeRow for Change<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::Put { partition, key, content, version } => {
                let content = Sealed { value: content, sum: checksum::of_row(partition, key, *version, content) };
                (partition, key, content, timestamps(*version).0).serialize(context, writer)
            }
            Self::Delete { partition, key, version } => {
                (timestamps(*version).1, partition, key).serialize(context, writer)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Refuses what the database would refuse, or could not distinguish from something else.
fn check(write: &PartitionWrite) -> StorageResult<()> {
    let invalid = |what: String| Err(StorageError::Invalid(what));
    if write.version > MAX_VERSION {
        return invalid(format!("version {} is above {MAX_VERSION}", write.version));
    }
    let keys = write.puts.iter().map(|(key, _)| key).chain(&write.deletes).chain([&write.partition]);
    if let Some(key) = keys.clone().find(|key| key.len() > MAX_KEY_BYTES) {
        return invalid(format!("a key has {} bytes, at most {MAX_KEY_BYTES} are allowed", key.len()));
    }
    if let Some((_, value)) = write.puts.iter().find(|(_, value)| value.len() > MAX_ROW_BYTES) {
        return invalid(format!("a row has {} bytes, at most {MAX_ROW_BYTES} are allowed", value.len()));
    }
    Ok(())
}

#[async_trait]
impl Table for CqlTable {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        writes.iter().try_for_each(check)?;
        let writes: Vec<_> = writes.iter().map(|write| self.write_partition(write)).collect();
        stream::iter(writes).buffer_unordered(PARTITIONS_AT_ONCE).try_collect().await
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        let partition = self.names.partition(partition);
        let rows = self.requests.rows(Kind::Read, &self.get, (&partition, key)).await;
        let found = rows.and_then(|rows| rows.maybe_first_row::<(Bytes, i64)>().map_err(Failure::unreadable));
        let Some((value, timestamp)) = found.map_err(Failure::of_read)? else { return Ok(None) };
        Ok(Some(row(&partition, key.clone(), &value, timestamp)?))
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        self.scans.scan(&self.requests, self.names.partition(partition), range, order, limit).await
    }

    /// The cursor is the database's own: the walk is one statement, page by page around the ring of its nodes.
    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        let from = from.map_or_else(PagingState::start, |from| PagingState::new_from_raw_bytes(&from[..]));
        let mut walk = self.walk.clone();
        walk.set_page_size(i32::try_from(limit).unwrap_or(i32::MAX).max(1));
        let (rows, next) = self.requests.page(&walk, (), from).await.map_err(Failure::of_read)?;
        let names = rows.rows::<(&[u8],)>().map_err(|error| Failure::of_read(Failure::unreadable(error)))?;
        let mut partitions = Vec::new();
        for name in names {
            let (name,) = name.map_err(|error| Failure::of_read(Failure::unreadable(error)))?;
            let ours = self.names.partition_of(name).filter(|partition| partition.starts_with(prefix));
            partitions.extend(ours.map(Bytes::copy_from_slice));
        }
        let next = next.and_then(|state| state.as_bytes_slice().map(|bytes| Bytes::copy_from_slice(bytes)));
        Ok(PartitionPage { partitions, next })
    }

    /// One tombstone for the partition, at the time of day: it also holds back whatever is still under way to the
    /// partition, for as long as the database keeps tombstones.
    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        let values = (self.names.partition(partition),);
        self.requests.write(Kind::PartitionDelete, &self.drop, values).await.map_err(Failure::of_write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_order_versions_and_puts_over_deletes() {
        let mut before = i64::MIN;
        for version in [0, 1, 2, 3, 1 << 40, (1 << 40) + 1, MAX_VERSION - 1, MAX_VERSION] {
            let (put, delete) = timestamps(version);
            assert!(before < delete && delete < put, "version {version}: {delete} {put}");
            assert_eq!(version_at(put).unwrap(), version);
            before = put;
        }
        assert!(version_at(timestamps(5).1).is_err(), "a delete's timestamp is no put's");
        assert!(version_at(i64::MIN).is_err());
    }

    #[test]
    fn writes_that_the_database_could_not_take_are_refused() {
        let write =
            |puts: Vec<(RowKey, Bytes)>, deletes| PartitionWrite { version: 1, puts, deletes, ..Default::default() };
        let key = Bytes::from_static(b"key");
        let cases = [
            write(vec![(vec![0; MAX_KEY_BYTES + 1].into(), Bytes::new())], vec![]),
            write(vec![], vec![vec![0; MAX_KEY_BYTES + 1].into()]),
            write(vec![(key.clone(), vec![0; MAX_ROW_BYTES + 1].into())], vec![]),
            PartitionWrite { version: MAX_VERSION + 1, ..write(vec![], vec![key.clone()]) },
            PartitionWrite { partition: vec![0; MAX_KEY_BYTES + 1].into(), ..write(vec![], vec![key.clone()]) },
        ];
        for refused in cases {
            assert!(matches!(check(&refused), Err(StorageError::Invalid(_))));
        }
        let largest = write(vec![(vec![0; MAX_KEY_BYTES].into(), Bytes::new())], vec![key; PIECE_ROWS]);
        check(&PartitionWrite { version: MAX_VERSION, ..largest }).unwrap();
    }

    #[test]
    fn a_large_write_goes_in_pieces_and_a_large_row_alone() {
        let (key, partition) = (Bytes::from_static(b"key"), b"partition");
        let contents =
            [10, PIECE_BYTES / 2, PIECE_BYTES / 2, 3 * PIECE_BYTES, 10, 10].map(|size| Bytes::from(vec![0; size]));
        let put = |content| Change::Put { partition, key: &key, content, version: 1 };
        let changes: Vec<_> = contents.iter().map(put).collect();
        let sizes = |changes: &[Change<'_>]| pieces(changes).iter().map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&changes), [2, 1, 1, 2]);
        assert_eq!(sizes(&changes[..2]), [2]);
        assert_eq!(sizes(&[]), [0]);
        let many: Vec<_> = (0..PIECE_ROWS + 1).map(|_| put(&contents[0])).collect();
        assert_eq!(sizes(&many), [PIECE_ROWS, 1]);
    }
}
