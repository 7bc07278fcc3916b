//! The surroundings of a shard in these tests: a store that survives restarts, the virtual clock, and a host that pays.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entities::{BoxFuture, CallError, EntityKey, Host, Kinds, Shard, ShardHandle, ShardSettings};
use ids::Timestamp;
use runtime::Runtime;
use storage::fault::{FaultControl, FaultPlan, FaultyStore, TableInFront};
use storage::memory::MemoryStore;
use storage::{
    LogId, PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange,
    StorageError, StorageResult, Store, Table, Version,
};
use tokio::task::JoinHandle;

use crate::ledger::{Input, Ledger, Overdrawn, Reply, View, partition};

/// Talks to the accounts of a shard.
#[derive(Clone)]
pub struct Handle(pub ShardHandle);

impl Handle {
    pub async fn call(&self, key: EntityKey, input: Input) -> Result<Reply, CallError<Overdrawn>> {
        self.0.call::<Ledger>(key, input).await
    }

    pub async fn call_unshed(&self, key: EntityKey, input: Input) -> Result<Reply, CallError<Overdrawn>> {
        self.0.call_unshed::<Ledger>(key, input).await
    }
}

impl Deref for Handle {
    type Target = ShardHandle;

    fn deref(&self) -> &ShardHandle {
        &self.0
    }
}

/// Accounts alone.
pub fn accounts(host: Arc<dyn Host<Ledger>>) -> Kinds {
    Kinds::default().with(Arc::new(Ledger), host)
}

/// Pays what it is asked to, unless it refuses.
#[derive(Default)]
pub struct Bank {
    pub paid: Mutex<BTreeMap<(String, u64), usize>>,
    pub committed: AtomicUsize,
    pub refuses: AtomicBool,
    /// How long it takes.
    pub delay: Mutex<Duration>,
    pub panics: AtomicBool,
}

impl Bank {
    /// How often this was asked for.
    pub fn asked(&self, id: &str, name: u64) -> usize {
        self.paid.lock().unwrap().get(&(id.to_owned(), name)).copied().unwrap_or(0)
    }
}

impl Host<Ledger> for Bank {
    fn carry_out(self: Arc<Self>, key: EntityKey, name: u64) -> BoxFuture<Option<Input>> {
        let delay = Duration::from_millis(1) + *self.delay.lock().unwrap();
        Box::pin(async move {
            *self.paid.lock().unwrap().entry((key.id.to_string(), name)).or_default() += 1;
            assert!(!self.panics.load(Ordering::Relaxed), "a host that panics");
            Runtime::system().sleep(delay).await;
            if self.refuses.load(Ordering::Relaxed) { Some(Input::NotPaid) } else { Some(Input::Paid(name)) }
        })
    }

    fn committed(&self, _: &EntityKey) {
        self.committed.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct World {
    pub memory: MemoryStore,
    pub witness: Arc<Witness>,
    pub faulty: FaultyStore,
    pub runtime: Runtime,
    pub bank: Arc<Bank>,
    pub settings: ShardSettings,
}

pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl World {
    /// A store whose fence checks are free.
    pub fn new() -> Self {
        Self::with(FaultPlan::new(1))
    }

    pub fn with(plan: FaultPlan) -> Self {
        let memory = MemoryStore::new();
        let witness = Arc::new(Witness { inner: memory.store().table, ..Witness::default() });
        let faulty = FaultyStore::wrap(Store { table: Arc::clone(&witness) as _, ..memory.store() }, plan);
        Self {
            memory,
            witness,
            faulty,
            runtime: Runtime::virtual_from(START),
            bank: Arc::new(Bank::default()),
            settings: ShardSettings::default(),
        }
    }

    pub fn faults(&self) -> FaultControl {
        self.faulty.control()
    }

    pub fn store(&self) -> Store {
        self.memory.store()
    }

    pub fn log(&self) -> LogId {
        LogId("test/0".to_owned())
    }

    pub async fn try_open(&self) -> Result<Handle, StorageError> {
        self.open_on(self.faulty.store()).await
    }

    pub async fn open_on(&self, store: Store) -> Result<Handle, StorageError> {
        let kinds = accounts(Arc::clone(&self.bank) as _);
        Shard::open(self.log(), kinds, store, self.runtime.clone(), self.settings.clone()).await.map(Handle)
    }

    pub async fn open(&self) -> Handle {
        self.try_open().await.unwrap()
    }

    /// Opens on a store that takes no rows of one account.
    pub async fn open_refusing(&self, id: &str) -> Handle {
        let mut store = self.faulty.store();
        store.table = Arc::new(Choosy { inner: store.table, refused: partition(&key(id)) });
        self.open_on(store).await.unwrap()
    }

    /// Opens on a store in which a partition is damaged until it is mended.
    pub async fn open_damaged(&self, partition: PartitionKey) -> (Handle, Arc<Damaged>) {
        let mut store = self.faulty.store();
        let damaged = Damaged::of(store.table, partition);
        store.table = Arc::clone(&damaged) as _;
        (self.open_on(store).await.unwrap(), damaged)
    }

    /// Opens, however often the store fails.
    pub async fn open_patiently(&self) -> Handle {
        loop {
            match self.try_open().await {
                Ok(shard) => return shard,
                Err(StorageError::Corrupt(reason)) => panic!("corrupt: {reason}"),
                Err(_) => self.runtime.sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Lets everything that needs no time happen, and `duration` pass.
    pub async fn pass(&self, duration: Duration) {
        self.runtime.sleep(duration).await;
    }

    pub async fn settle(&self) {
        self.pass(Duration::from_millis(5)).await;
    }
}

pub fn key(id: &str) -> EntityKey {
    key_in("namespace", id)
}

pub fn key_in(namespace: &str, id: &str) -> EntityKey {
    EntityKey::of::<Ledger>(namespace, id)
}

pub fn deposit(request: u64, amount: i64) -> Input {
    Input::Deposit { request, amount }
}

pub async fn read(shard: &Handle, id: &str) -> View {
    shard.call(key(id), Input::Read).await.unwrap().view()
}

pub const DONE: Result<Reply, CallError<Overdrawn>> = Ok(Reply::Done { repeated: false });

pub type Asking = JoinHandle<Result<Reply, CallError<Overdrawn>>>;

/// Calls without waiting for the answer. The call is made once other tasks get to run.
pub fn asking(shard: &Handle, id: &str, input: Input) -> Asking {
    let (shard, key) = (shard.clone(), key(id));
    Runtime::system().spawn(async move { shard.call(key, input).await })
}

pub fn is_waiting(asking: &mut Asking) -> bool {
    !asking.is_finished()
}

/// A table that notices when a row is put twice with one version and other bytes: a real store may keep either.
pub struct Witness {
    inner: Arc<dyn Table>,
    seen: Mutex<HashMap<(PartitionKey, RowKey, Version), Bytes>>,
    ambiguous: Mutex<Vec<String>>,
}

impl Default for Witness {
    fn default() -> Self {
        Self { inner: MemoryStore::new().store().table, seen: Mutex::default(), ambiguous: Mutex::default() }
    }
}

impl Witness {
    /// What was put twice.
    pub fn ambiguous(&self) -> Vec<String> {
        self.ambiguous.lock().unwrap().clone()
    }

    fn look(&self, write: &PartitionWrite) {
        let mut seen = self.seen.lock().unwrap();
        for (key, value) in &write.puts {
            let put = (write.partition.clone(), key.clone(), write.version);
            let found = seen.entry(put).or_insert_with(|| value.clone());
            if *found != *value {
                let what = format!("{:?} {key:?} at {}: {found:?}, then {value:?}", write.partition, write.version);
                self.ambiguous.lock().unwrap().push(what);
            }
        }
    }
}

#[async_trait]
impl TableInFront for Witness {
    fn behind(&self) -> &dyn Table {
        &*self.inner
    }

    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        writes.iter().for_each(|write| self.look(write));
        self.inner.write(writes).await
    }
}

/// A table in which the rows of one partition do not match their checksums.
pub struct Damaged {
    inner: Arc<dyn Table>,
    partition: Mutex<Option<PartitionKey>>,
    /// Whether its partitions cannot be gone through.
    is_hidden: AtomicBool,
}

impl Damaged {
    pub fn of(inner: Arc<dyn Table>, partition: PartitionKey) -> Arc<Self> {
        Arc::new(Self { inner, partition: Mutex::new(Some(partition)), is_hidden: AtomicBool::new(false) })
    }

    pub fn mend(&self) {
        *self.partition.lock().unwrap() = None;
    }

    pub fn hide(&self) {
        self.is_hidden.store(true, Ordering::Relaxed);
    }

    fn look(&self, partition: &PartitionKey) -> StorageResult<()> {
        if self.partition.lock().unwrap().as_ref() == Some(partition) {
            return Err(StorageError::Corrupt("row \"state\": its checksum does not match".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl TableInFront for Damaged {
    fn behind(&self) -> &dyn Table {
        &*self.inner
    }

    async fn get(&self, partition: &PartitionKey, key: &RowKey) -> StorageResult<Option<Row>> {
        self.look(partition)?;
        self.inner.get(partition, key).await
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        self.look(partition)?;
        self.inner.scan(partition, range, order, limit).await
    }

    async fn partitions(
        &self,
        prefix: &[u8],
        from: Option<PartitionCursor>,
        limit: usize,
    ) -> StorageResult<PartitionPage> {
        if self.is_hidden.load(Ordering::Relaxed) {
            return Err(StorageError::Unknown("hidden".to_owned()));
        }
        self.inner.partitions(prefix, from, limit).await
    }
}

/// A table that holds rows of one partition for invalid, as if they were over its limits.
struct Choosy {
    inner: Arc<dyn Table>,
    refused: PartitionKey,
}

#[async_trait]
impl TableInFront for Choosy {
    fn behind(&self) -> &dyn Table {
        &*self.inner
    }

    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        if writes.iter().any(|write| write.partition == self.refused) {
            return Err(StorageError::Invalid("a row over the limit".to_owned()));
        }
        self.inner.write(writes).await
    }
}
