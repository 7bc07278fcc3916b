//! Rows with faults.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Fate, FaultControl, Method, lost, refused};
use crate::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageResult, Table,
};

pub(super) struct FaultyTable {
    pub(super) inner: Arc<dyn Table>,
    pub(super) control: FaultControl,
}

#[async_trait]
impl Table for FaultyTable {
    async fn write(&self, mut writes: Vec<PartitionWrite>) -> StorageResult<()> {
        let drawn = self.control.meet_at(Method::Write, writes.iter().map(|write| &write.partition)).await;
        match drawn.fate {
            Fate::Passes => self.inner.write(writes).await,
            Fate::Fails => Err(refused(Method::Write)),
            Fate::FailsAfterEffect => {
                // Only a partition is atomic: half of these writes happen wholly, the others for some partitions.
                let (is_partial, mut bits) = (drawn.dice & 1 == 1, drawn.dice);
                writes.retain(|_| {
                    bits = bits.rotate_right(1);
                    !is_partial || bits & 1 == 1
                });
                self.inner.write(writes).await?;
                Err(lost(Method::Write))
            }
        }
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        match self.control.meet_at(Method::Get, std::iter::once(partition)).await.fate {
            Fate::Passes => self.inner.get(partition, key).await,
            Fate::Fails | Fate::FailsAfterEffect => Err(refused(Method::Get)),
        }
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        match self.control.meet_at(Method::Scan, std::iter::once(partition)).await.fate {
            Fate::Passes => self.inner.scan(partition, range, order, limit).await,
            Fate::Fails | Fate::FailsAfterEffect => Err(refused(Method::Scan)),
        }
    }

    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        match self.control.meet(Method::Scan).await.fate {
            Fate::Passes => self.inner.partitions(prefix, from, limit).await,
            Fate::Fails | Fate::FailsAfterEffect => Err(refused(Method::Scan)),
        }
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        match self.control.meet_at(Method::DropPartition, std::iter::once(partition)).await.fate {
            Fate::Passes => self.inner.drop_partition(partition).await,
            Fate::Fails => Err(refused(Method::DropPartition)),
            Fate::FailsAfterEffect => {
                self.inner.drop_partition(partition).await?;
                Err(lost(Method::DropPartition))
            }
        }
    }
}
