//! A table on three replicas: what was written without an acknowledgement lies on one of them, which is lost, or not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use storage::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageError, StorageResult, Store, Table,
};

use crate::ledger::{Input, Reply};
use crate::world::{DONE, Handle, World, deposit, key, read};

/// What a replica has of a row: Cassandra's timestamp, and the value, or that it is deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Cell {
    timestamp: u64,
    value: Option<Bytes>,
}

impl Cell {
    /// As Cassandra decides: the higher timestamp, then a delete, then the larger value.
    fn wins_over(&self, other: &Self) -> bool {
        let rank = |cell: &Self| (cell.timestamp, cell.value.is_none(), cell.value.clone());
        rank(self) > rank(other)
    }
}

type Rows = BTreeMap<(PartitionKey, RowKey), Cell>;

fn offer(rows: &mut Rows, at: &(PartitionKey, RowKey), cell: &Cell) {
    let known = rows.entry(at.clone()).or_insert_with(|| cell.clone());
    if cell.wins_over(known) {
        *known = cell.clone();
    }
}

/// Three replicas. Reads ask two, in turns, and repair what they read; writes reach two, or one and fail.
struct Replicas {
    replicas: Mutex<[Rows; 3]>,
    reads: AtomicUsize,
    /// Whether writes reach only the first replica.
    torn: AtomicBool,
    /// What was acknowledged and then was not what every reader found.
    ambiguous: Mutex<Vec<String>>,
}

impl Replicas {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            replicas: Mutex::default(),
            reads: AtomicUsize::new(0),
            torn: AtomicBool::new(false),
            ambiguous: Mutex::default(),
        })
    }

    /// Two replicas, others each time.
    fn quorum(&self) -> [usize; 2] {
        let first = self.reads.fetch_add(1, Ordering::Relaxed);
        [first % 3, (first + 1) % 3]
    }

    /// The first replica is lost; an empty one takes its place, which the other two fill.
    fn lose_first(&self) {
        let mut replicas = self.replicas.lock().unwrap();
        let mut fresh = Rows::new();
        for (at, cell) in replicas[1].iter().chain(&replicas[2]) {
            offer(&mut fresh, at, cell);
        }
        replicas[0] = fresh;
    }

    /// A write was acknowledged: unless there is something of a higher version, every two replicas must have it.
    fn note_acknowledged(&self, replicas: &[Rows; 3], at: &(PartitionKey, RowKey), cell: &Cell) {
        let equal_age =
            replicas.iter().filter_map(|rows| rows.get(at)).filter(|found| found.timestamp == cell.timestamp);
        for other in equal_age.filter(|found| *found != cell) {
            self.ambiguous.lock().unwrap().push(format!("{at:?}: {cell:?} is acknowledged, and there is {other:?}"));
        }
    }
}

#[async_trait]
impl Table for Replicas {
    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        let is_torn = self.torn.load(Ordering::Relaxed);
        let quorum = if is_torn { [0, 0] } else { self.quorum() };
        let mut replicas = self.replicas.lock().unwrap();
        for write in writes {
            let put_at = write.version * 2;
            let puts = write.puts.into_iter().map(|(key, value)| (key, put_at, Some(value)));
            let deletes = write.deletes.into_iter().map(|key| (key, put_at.saturating_sub(1), None));
            for (key, timestamp, value) in puts.chain(deletes) {
                let (at, cell) = ((write.partition.clone(), key), Cell { timestamp, value });
                quorum.iter().for_each(|&replica| offer(&mut replicas[replica], &at, &cell));
                if !is_torn {
                    self.note_acknowledged(&replicas, &at, &cell);
                }
            }
        }
        if is_torn { Err(StorageError::Unknown("one replica has it".to_owned())) } else { Ok(()) }
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        let range = ScanRange { from: key.clone(), to: Some([&key[..], &[0]].concat().into()) };
        Ok(self.scan(partition, range, ScanOrder::Ascending, 1).await?.rows.pop())
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        assert_eq!(order, ScanOrder::Ascending, "nothing here reads backwards");
        let quorum = self.quorum();
        let mut replicas = self.replicas.lock().unwrap();
        let is_asked = |(found, key): &(PartitionKey, RowKey)| {
            found == partition && *key >= range.from && range.to.as_ref().is_none_or(|to| key < to)
        };
        let mut read = Rows::new();
        for replica in quorum {
            for (at, cell) in replicas[replica].iter().filter(|(at, _)| is_asked(at)) {
                offer(&mut read, at, cell);
            }
        }
        for (at, cell) in &read {
            quorum.iter().for_each(|&replica| offer(&mut replicas[replica], at, cell));
        }
        let live = read.into_iter().filter_map(|((_, key), cell)| Some((key, cell.value?, cell.timestamp / 2)));
        let mut rows: Vec<_> = live.map(|(key, value, version)| Row { key, value, version }).collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(ScanPage { rows, more })
    }

    async fn partitions(&self, _: &[u8], _: Option<PartitionCursor>, _: usize) -> StorageResult<PartitionPage> {
        unreachable!("nothing is damaged here")
    }

    async fn drop_partition(&self, partition: &PartitionKey) -> StorageResult<()> {
        self.replicas.lock().unwrap().iter_mut().for_each(|rows| rows.retain(|(found, _), _| found != partition));
        Ok(())
    }
}

async fn open(world: &World, replicas: &Arc<Replicas>) -> Handle {
    let store = Store { table: Arc::clone(replicas) as _, ..world.store() };
    world.open_on(store).await.unwrap()
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
        // Checkpoints are tried, and none is reported as done.
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
        replicas.lose_first();
        for n in 0..6 {
            assert_eq!(next.call(key(&id), Input::ReadEntry(n)).await, Ok(Reply::Entry(Some(10))), "entry {n}");
        }
        next.close().await;
    }
}

/// Two owners write the same change from different memories. If both wrote it with the position of that change, Cassandra
/// would keep the larger of the two, and what was acknowledged to the second would not be what is read.
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_to_a_new_owner_is_what_is_read_whatever_a_former_one_left() {
    for reads in 0..3 {
        let (world, replicas) = (World::new(), Replicas::new());
        let first = open(&world, &replicas).await;
        for n in 0..3 {
            assert_eq!(first.call(key("a"), deposit(n, 10)).await, DONE);
        }
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(first.stats().log_depth, 0);
        // What the former owner has in memory, its successor will not.
        assert_eq!(first.call(key("a"), Input::ReadEntry(0)).await, Ok(Reply::Entry(Some(10))));
        replicas.torn.store(true, Ordering::Relaxed);
        assert_eq!(first.call(key("a"), deposit(3, 10)).await, DONE);
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(first.stats().log_depth, 1);
        first.abandon().await;

        replicas.torn.store(false, Ordering::Relaxed);
        replicas.reads.store(reads, Ordering::Relaxed);
        let next = open(&world, &replicas).await;
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(next.stats().log_depth, 0);
        assert_eq!(*replicas.ambiguous.lock().unwrap(), Vec::<String>::new());
        assert_eq!(read(&next, "a").await.balance, 40);
        next.close().await;
    }
}
