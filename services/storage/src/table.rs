//! The table port: versioned rows in partitions. For each row the highest version wins, in whatever order writes
//! arrive.

use async_trait::async_trait;
use bytes::Bytes;

use crate::StorageResult;

/// Names a partition: rows that are written atomically and scanned together.
pub type PartitionKey = Bytes;
/// Names and orders a row within its partition, bytewise.
pub type RowKey = Bytes;
/// The log position from which a row was written, or a later one.
pub type Version = u64;

/// A row as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: RowKey,
    /// Its content.
    pub value: Bytes,
    /// The version with which it was put.
    pub version: Version,
}

/// A write to one partition, applied as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PartitionWrite {
    /// The partition.
    pub partition: PartitionKey,
    /// The version of every put and delete in it. A put or delete loses against a stored row or tombstone with a
    /// higher version; at the same version a put wins over a delete, and equal puts are the same write repeated.
    ///
    /// A version of a row is put with one value only. Which of two values remains is unspecified, and adapters differ: the one
    /// that came later on SQLite and in memory, the larger one on Cassandra and ScyllaDB, where two readers may even see
    /// different ones. So versions are the positions of groups, and the new owner of a log writes rows only at positions
    /// of groups that it has appended itself, even rows of changes that it found.
    pub version: Version,
    /// Rows to put.
    pub puts: Vec<(RowKey, Bytes)>,
    /// Rows to delete. A delete keeps a tombstone of its version, so that a late put of a lower one stays deleted.
    pub deletes: Vec<RowKey>,
}

/// Which rows a scan reads: from `from` (inclusive) to `to` (exclusive; `None` for the end of the partition).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScanRange {
    /// The lowest key.
    pub from: RowKey,
    /// The key above the highest.
    pub to: Option<RowKey>,
}

/// In which order a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ScanOrder {
    /// From the lowest key up.
    #[default]
    Ascending,
    /// From the highest key down.
    Descending,
}

/// Rows of a scan, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// At most as many as asked for. A short page is not the end: only `more` says so.
    pub rows: Vec<Row>,
    /// Whether rows may remain beyond the last one returned.
    pub more: bool,
}

impl ScanPage {
    /// Where an ascending scan goes on: the least key above the last one, which is that key with a zero byte behind it. `None`
    /// at the end.
    #[must_use]
    pub fn next_from(&self) -> Option<RowKey> {
        let last = self.rows.last().filter(|_| self.more)?;
        Some([&last.key[..], &[0]].concat().into())
    }
}

/// Where a walk over partitions goes on: bytes that mean something to the adapter that gave them.
pub type PartitionCursor = Bytes;

/// Names of partitions, from a walk over all of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PartitionPage {
    /// About as many as asked for; there may be none and yet more to come.
    pub partitions: Vec<PartitionKey>,
    /// Where the walk goes on; `None` at its end.
    pub next: Option<PartitionCursor>,
}

/// Versioned rows in partitions.
#[async_trait]
pub trait Table: Send + Sync + 'static {
    /// Writes to any number of partitions: each partition's write is atomic and durable on return, the whole is not
    /// one. A write to one partition that is larger than a store takes at once (a mebibyte on Cassandra) goes in pieces, the
    /// first put last. On an error each may or may not have happened; repeating all of them is safe.
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()>;

    /// One row; `None` if it does not exist or is deleted.
    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>>;

    /// Up to `limit` rows of a partition.
    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage>;

    /// Walks over the partitions whose names begin with `prefix`, in an order of the adapter's own: from the beginning, or from
    /// where a page before ended. What has rows throughout the walk is named in it. Expensive: every partition of the
    /// store may be missed, so it is for what happens rarely and has time.
    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage>;

    /// Removes a whole partition with its tombstones. Only for partitions that are never written again.
    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()>;
}
