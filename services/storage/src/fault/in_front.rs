//! Tables of tests that do one thing otherwise.

use async_trait::async_trait;

use crate::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageResult, Table,
};

/// A table in front of another: what it does not do itself, the other does.
#[async_trait]
pub trait TableInFront: Send + Sync + 'static {
    /// The other.
    fn behind(&self) -> &dyn Table;

    /// As [`Table::write`].
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        self.behind().write(writes).await
    }

    /// As [`Table::get`].
    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        self.behind().get(partition, key).await
    }

    /// As [`Table::scan`].
    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        self.behind().scan(partition, range, order, limit).await
    }

    /// As [`Table::partitions`].
    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        self.behind().partitions(prefix, from, limit).await
    }

    /// As [`Table::drop_partition`].
    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        self.behind().drop_partition(partition).await
    }
}

#[async_trait]
impl<T: TableInFront> Table for T {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        TableInFront::write(self, writes).await
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        TableInFront::get(self, partition, key).await
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        TableInFront::scan(self, partition, range, order, limit).await
    }

    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        TableInFront::partitions(self, prefix, from, limit).await
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        TableInFront::drop_partition(self, partition).await
    }
}
