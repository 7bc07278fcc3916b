//! Rows in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageResult, Table, Version,
};

#[derive(Default)]
pub(super) struct MemoryTable {
    partitions: Mutex<BTreeMap<PartitionKey, Partition>>,
}

type Partition = BTreeMap<RowKey, Cell>;

/// The newest write to a row.
struct Cell {
    version: Version,
    /// `None` is a tombstone.
    value: Option<Bytes>,
}

impl Cell {
    /// What decides between two writes: the version, then a put over a delete.
    fn rank(&self) -> (Version, bool) {
        (self.version, self.value.is_some())
    }
}

fn offer(partition: &mut Partition, key: &RowKey, new: Cell) {
    match partition.get_mut(key) {
        Some(old) if old.rank() > new.rank() => {}
        Some(old) => *old = new,
        None => {
            partition.insert(exact(key), new);
        }
    }
}

/// A copy that pins nothing else: `bytes` may be a slice of a much larger buffer.
fn exact(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn live_row((key, cell): (&RowKey, &Cell)) -> Option<Row> {
    let value = cell.value.clone()?;
    Some(Row { key: key.clone(), value, version: cell.version })
}

impl MemoryTable {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Partition>> {
        // Nothing panics while holding the lock, and if it did, each row would still be whole.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Table for MemoryTable {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        let mut partitions = self.lock();
        for write in writes {
            let partition = partitions.entry(exact(&write.partition)).or_default();
            for (key, value) in &write.puts {
                offer(partition, key, Cell { version: write.version, value: Some(exact(value)) });
            }
            for key in &write.deletes {
                offer(partition, key, Cell { version: write.version, value: None });
            }
        }
        Ok(())
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        Ok(self.lock().get(partition).and_then(|rows| rows.get_key_value(key)).and_then(live_row))
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        let to = range.to.map_or(Bound::Unbounded, Bound::Excluded);
        let is_empty = matches!(&to, Bound::Excluded(to) if *to <= range.from);
        let partitions = self.lock();
        let Some(rows) = partitions.get(partition).filter(|_| !is_empty) else {
            return Ok(ScanPage::default());
        };
        let live = rows.range((Bound::Included(range.from), to)).filter_map(live_row);
        // One row beyond the page shows whether there are more.
        let wanted = limit.saturating_add(1);
        let mut rows: Vec<Row> = match order {
            ScanOrder::Ascending => live.take(wanted).collect(),
            ScanOrder::Descending => live.rev().take(wanted).collect(),
        };
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(ScanPage { rows, more })
    }

    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        let from = from.map_or_else(|| Bound::Included(Bytes::copy_from_slice(prefix)), Bound::Excluded);
        let partitions = self.lock();
        let named = partitions.range((from, Bound::Unbounded)).map(|(partition, _)| partition);
        let named = named.take_while(|partition| partition.starts_with(prefix)).take(limit);
        let page: Vec<_> = named.cloned().collect();
        let next = page.last().filter(|_| page.len() == limit).cloned();
        Ok(PartitionPage { partitions: page, next })
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        self.lock().remove(partition);
        Ok(())
    }
}
