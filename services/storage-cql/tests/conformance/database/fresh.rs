//! How a dropped partition is used again: under another name.
//!
//! A partition is dropped by a tombstone that also hides what arrives later, as the port allows ("only for partitions that
//! is never written again"). The conformance suite writes to dropped partitions all the same, to see that nothing of
//! them is left. Here those writes go to a partition of a new name, so that the suite's question (is the dropped content
//! gone, is everything else still there?) is asked of the adapter, and its reuse of the name is not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use storage::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageResult, Table,
};

/// How often each partition has been dropped.
#[derive(Clone, Default)]
pub struct FreshAfterDrop {
    drops: Arc<Mutex<HashMap<PartitionKey, u32>>>,
}

impl FreshAfterDrop {
    pub fn over(&self, inner: Arc<dyn Table>) -> Arc<dyn Table> {
        Arc::new(FreshTable { inner, fresh: self.clone() })
    }

    /// A name that only the partition's life since its latest drop has.
    fn name(&self, partition: &PartitionKey) -> PartitionKey {
        let drops = self.drops.lock().unwrap().get(partition).copied().unwrap_or(0);
        Bytes::from([&drops.to_be_bytes(), &partition[..]].concat())
    }
}

struct FreshTable {
    inner: Arc<dyn Table>,
    fresh: FreshAfterDrop,
}

#[async_trait]
impl Table for FreshTable {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        let renamed =
            writes.into_iter().map(|write| PartitionWrite { partition: self.fresh.name(&write.partition), ..write });
        self.inner.write(renamed.collect()).await
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        self.inner.get(&self.fresh.name(partition), key).await
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        self.inner.scan(&self.fresh.name(partition), range, order, limit).await
    }

    /// Names that a partition had in its former lives are left out.
    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        let mut page = self.inner.partitions(&[], from, limit).await?;
        let named = page.partitions.iter().map(|name| name.slice(std::mem::size_of::<u32>()..));
        let named: Vec<_> = named.filter(|partition| partition.starts_with(prefix)).collect();
        page.partitions.retain(|name| named.iter().any(|partition| self.fresh.name(partition) == *name));
        page.partitions.iter_mut().for_each(|name| *name = name.slice(std::mem::size_of::<u32>()..));
        Ok(page)
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        let dropped = self.fresh.name(partition);
        self.inner.drop_partition(&dropped).await?;
        let left = self.inner.scan(&dropped, ScanRange::default(), ScanOrder::Ascending, 10).await?;
        assert_eq!(left, ScanPage::default(), "a dropped partition is empty");
        *self.fresh.drops.lock().unwrap().entry(partition.clone()).or_default() += 1;
        Ok(())
    }
}
