//! The table port.

use async_trait::async_trait;
use bytes::Bytes;
use storage::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageError, StorageResult, Table,
};

use crate::command::{Bulk, Command};
use crate::reader::Request;
use crate::store::Shared;

/// Half of what SQLite takes, so that a row with its key always fits.
const MAX_VALUE_BYTES: usize = 500_000_000;

/// Refuses what SQLite would refuse, before it is part of a transaction with others.
fn check(write: &PartitionWrite) -> StorageResult<()> {
    if i64::try_from(write.version).is_err() {
        return Err(StorageError::Invalid(format!("version {} is above {}", write.version, i64::MAX)));
    }
    match write.puts.iter().find(|(_, value)| value.len() > MAX_VALUE_BYTES) {
        Some((_, value)) => {
            Err(StorageError::Invalid(format!("a row of {} bytes is above {MAX_VALUE_BYTES}", value.len())))
        }
        None => Ok(()),
    }
}

#[async_trait]
impl Table for Shared {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        writes.iter().try_for_each(check)?;
        let writes = writes.into_iter();
        Ok(self.command(|answer| Command::Bulk(Bulk::Write { writes, answer })).await?)
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        self.request(|answer| Request::Row { partition: partition.clone(), key: key.clone(), answer }).await
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        let partition = partition.clone();
        self.request(|answer| Request::Scan { partition, range, order, limit, answer }).await
    }

    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        let prefix = Bytes::copy_from_slice(prefix);
        self.request(|answer| Request::Partitions { prefix, from, limit, answer }).await
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        let partition = partition.clone();
        Ok(self.command(|answer| Command::Bulk(Bulk::DropPartition { partition, answer })).await?)
    }
}
