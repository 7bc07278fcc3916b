//! A table on three replicas: what was written without an acknowledgement lies on one of them, and that one is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use entities::{Host, Shard};
use storage::memory::MemoryStore;
use storage::{
    LogId, PartitionKey, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange, StorageError, StorageResult,
    Store, Table,
};

use crate::ledger::{Input, Ledger, Reply};
use crate::world::{DONE, Handle, World, deposit, key, read};

/// Three replicas. Reads ask two, in turns, and mend what they read; writes reach two, or one and fail. Knows no deletes.
struct Replicas {
    replicas: Mutex<[MemoryStore; 3]>,
    reads: AtomicUsize,
    /// Whether writes reach only the first replica.
    torn: AtomicBool,
}

impl Replicas {
    fn new() -> Arc<Self> {
        let replicas = Mutex::new(std::array::from_fn(|_| MemoryStore::new()));
        Arc::new(Self { replicas, reads: AtomicUsize::new(0), torn: AtomicBool::new(false) })
    }

    fn table(&self, replica: usize) -> Arc<dyn Table> {
        self.replicas.lock().unwrap()[replica % 3].store().table
    }

    /// Two replicas, others each time.
    fn quorum(&self) -> [Arc<dyn Table>; 2] {
        let first = self.reads.fetch_add(1, Ordering::Relaxed);
        [self.table(first), self.table(first + 1)]
    }

    /// The first replica is lost; an empty one takes its place, which the other two fill.
    async fn lose_first(&self, partitions: &[PartitionKey]) {
        let empty = MemoryStore::new();
        for partition in partitions {
            for other in [1, 2] {
                let page = self.table(other).scan(partition, ScanRange::default(), ScanOrder::Ascending, 10_000).await;
                repair(&*empty.store().table, partition, &page.unwrap().rows).await.unwrap();
            }
        }
        self.replicas.lock().unwrap()[0] = empty;
    }
}

async fn repair(table: &dyn Table, partition: &PartitionKey, rows: &[Row]) -> StorageResult<()> {
    let put = |row: &Row| PartitionWrite {
        partition: partition.clone(),
        version: row.version,
        puts: vec![(row.key.clone(), row.value.clone())],
        deletes: vec![],
    };
    table.write(rows.iter().map(put).collect()).await
}

#[async_trait]
impl Table for Replicas {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        if self.torn.load(Ordering::Relaxed) {
            self.table(0).write(writes).await?;
            return Err(StorageError::Unknown("one replica has it".to_owned()));
        }
        for table in self.quorum() {
            table.write(writes.clone()).await?;
        }
        Ok(())
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        let quorum = self.quorum();
        let mut found = None;
        for table in &quorum {
            found = found.max_by_version(table.get(partition, key).await?);
        }
        for table in &quorum {
            repair(&**table, partition, found.as_slice()).await?;
        }
        Ok(found)
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        let quorum = self.quorum();
        for (from, to) in [(0, 1), (1, 0)] {
            let page = quorum[from].scan(partition, range.clone(), order, limit).await?;
            repair(&*quorum[to], partition, &page.rows).await?;
        }
        quorum[0].scan(partition, range, order, limit).await
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        for replica in 0..3 {
            self.table(replica).drop_partition(partition).await?;
        }
        Ok(())
    }
}

trait Newer {
    fn max_by_version(self, other: Self) -> Self;
}

impl Newer for Option<Row> {
    fn max_by_version(self, other: Self) -> Self {
        match (self, other) {
            (Some(left), Some(right)) => Some(if left.version >= right.version { left } else { right }),
            (left, right) => left.or(right),
        }
    }
}

async fn open(world: &World, replicas: &Arc<Replicas>) -> Handle {
    let store = Store { table: Arc::clone(replicas) as _, ..world.store() };
    let (kind, host) = (Arc::new(Ledger), Arc::clone(&world.bank) as Arc<dyn Host<Ledger>>);
    let log = LogId("test/0".to_owned());
    Shard::open(log, kind, host, store, world.runtime.clone(), world.settings.clone()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn rows_that_a_former_owner_left_on_one_replica_are_written_again_before_the_log_forgets_them() {
    let (world, replicas) = (World::new(), Replicas::new());
    for reads in 0..3 {
        let id = format!("account {reads}");
        let first = open(&world, &replicas).await;
        replicas.torn.store(true, Ordering::Relaxed);
        for n in 0..5 {
            assert_eq!(first.call(key(&id), deposit(n, 10)).await, DONE);
        }
        // Checkpoints are tried, and nobody tells of success.
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(first.call(key(&id), deposit(5, 10)).await, DONE);
        assert!(first.stats().log_depth >= 6);
        first.abandon().await;

        replicas.torn.store(false, Ordering::Relaxed);
        replicas.reads.store(reads, Ordering::Relaxed);
        let next = open(&world, &replicas).await;
        assert_eq!(read(&next, &id).await.balance, 60);
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(next.stats().log_depth, 0);
        let partition = crate::ledger::partition(&key(&id));
        replicas.lose_first(&[partition]).await;
        for n in 0..6 {
            assert_eq!(next.call(key(&id), Input::ReadEntry(n)).await, Ok(Reply::Entry(Some(10))), "entry {n}");
        }
        next.close().await;
    }
}
