//! Where a shard's jobs are carried out. Nothing else in this crate waits for the store or for a host once a shard is open: here
//! tasks are spawned, panics caught, and outcomes turned into arrivals.
//!
//! A write whose outcome is not known says so, and is not repeated here: what is to be done about it is the shard's to decide.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use runtime::Runtime;
use storage::{
    Append, Epoch, LogId, OwnerNonce, PartitionKey, PartitionWrite, Row, RowKey, ScanOrder, ScanRange, Seq,
    StorageError, StorageResult, Store, Version,
};
use tokio::task::{JoinError, JoinSet};

use crate::arrival::Arrival;
use crate::checkpoint::batch::{Batch, Part, WriteOutcome, Written, writes_of};
use crate::entity_slot::SlotId;
use crate::hosted::{Entity, Opaque};
use crate::job::Job;
use crate::kinds::Entry;
use crate::loading::{ATTEMPTS, BACKOFF, Fetched, Loaded};
use crate::request::HeldReply;
use crate::wake_ups::buckets::Bucket;
use crate::wake_ups::rows::{WakeUpPage, WakeUpsRead};
use crate::{Corrupt, EntityKey, ObligationId, RowAddress};

/// How many rows of one entity are looked up at once: the tail may have touched thousands of its parts.
const LOOKUPS: usize = 64;
/// How many parts are written at once when each is written by itself.
const APART: usize = 16;
/// How many wake-up rows one read brings.
const WAKE_UPS: usize = 1000;
/// How many partitions one read names.
const PARTITIONS: usize = 256;

/// The surroundings of one shard, and its jobs that are under way: those end with it.
pub(crate) struct Outside {
    backend: Arc<Backend>,
    runtime: Runtime,
    /// Work with the store, and waits.
    storing: JoinSet<Arrival>,
    /// Obligations in the host's hands.
    carrying_out: JoinSet<Arrival>,
}

/// Where jobs are done.
struct Backend {
    store: Store,
    log: LogId,
    nonce: OwnerNonce,
}

impl Outside {
    pub(crate) fn new(store: Store, log: LogId, nonce: OwnerNonce, runtime: Runtime) -> Self {
        let backend = Arc::new(Backend { store, log, nonce });
        Self { backend, runtime, storing: JoinSet::new(), carrying_out: JoinSet::new() }
    }

    /// What the log's epoch is, where that is known at once.
    pub(crate) fn local_epoch(&self) -> Option<Epoch> {
        self.backend.store.log.epoch_if_local(&self.backend.log)
    }

    /// The next arrival. Waits for ever while no job is under way; loses none when it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Arrival, JoinError> {
        tokio::select! {
            biased;
            Some(arrival) = self.storing.join_next(), if !self.storing.is_empty() => arrival,
            Some(arrival) = self.carrying_out.join_next(), if !self.carrying_out.is_empty() => arrival,
            else => std::future::pending().await,
        }
    }

    /// An arrival that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Result<Arrival, JoinError>> {
        self.storing.try_join_next().or_else(|| self.carrying_out.try_join_next())
    }

    /// Begins a job.
    pub(crate) fn start(&mut self, job: Job) {
        let backend = Arc::clone(&self.backend);
        match job {
            Job::Append { epoch, seq, id, bytes } => self.spawn(async move {
                let append = backend.store.log.append(&backend.log, epoch, seq, id, bytes);
                Arrival::Appended { epoch, outcome: known(append).await }
            }),
            Job::Reopen { epoch, delay } => self.after(delay, async move {
                let reopening = backend.store.log.reopen(&backend.log, epoch, backend.nonce);
                Arrival::Reopened(unless_panicked(reopening).await)
            }),
            Job::CheckFence { delay } => self.after(delay, async move {
                let checking = backend.store.log.epoch(&backend.log);
                Arrival::Fence(unless_panicked(checking).await)
            }),
            Job::Trim { epoch, below } => self.spawn(async move {
                let trim = backend.store.log.trim(&backend.log, epoch, below);
                Arrival::Trimmed { epoch, below, outcome: known(trim).await }
            }),
            Job::Load { slot, again, kind, key, tail } => self.load(slot, again, kind, key, tail),
            Job::Fetch { slot, rows, delay } => self.fetch(slot, rows, delay),
            Job::WriteBatch(batch) => self.spawn(backend.write_batch(batch)),
            Job::WriteParts { batch, parts, delay } => {
                self.after(delay, async move { Arrival::Checkpointed(backend.write_parts(batch, parts).await) })
            }
            Job::ReadWakeUps { bucket, from, delay } => self.after(delay, async move {
                let read = backend.read_wake_ups(bucket, from).await;
                Arrival::WakeUps(read)
            }),
            Job::ListPartitions { prefix, from, delay } => self.after(delay, async move {
                let listing = backend.store.table.partitions(prefix, from, PARTITIONS);
                Arrival::Partitions(unless_panicked(listing).await)
            }),
            Job::MoveWatermark { epoch, to, rows, delay } => self.after(delay, async move {
                let outcome = known(backend.move_watermark(epoch, to, rows)).await;
                Arrival::Watermark { epoch, at: to, outcome }
            }),
            Job::DropBuckets { partitions, index } => self.spawn(backend.drop_buckets(partitions, index)),
            Job::CarryOut { slot, kind, key, id, obligation } => self.carry_out(slot, kind, key, id, obligation),
            Job::Reply(reply) => reply.send(),
            Job::Release(replies) => replies.into_iter().for_each(HeldReply::send),
            Job::Committed { kind, key } => kind.kind.committed(&key),
            // A caller that is gone needs no answer.
            Job::Flushed(waiter) => drop(waiter.send(())),
            Job::AbortObligations => self.carrying_out.abort_all(),
            Job::Sleep { delay, then } => self.after(delay, async move { then }),
        }
    }

    fn spawn(&mut self, work: impl Future<Output = Arrival> + Send + 'static) {
        self.storing.spawn(work);
    }

    fn after(&mut self, delay: Duration, work: impl Future<Output = Arrival> + Send + 'static) {
        if delay.is_zero() {
            return self.spawn(work);
        }
        let runtime = self.runtime.clone();
        self.spawn(async move {
            runtime.sleep(delay).await;
            work.await
        });
    }

    fn load(&mut self, slot: SlotId, again: bool, kind: Arc<Entry>, key: EntityKey, tail: Vec<(Seq, Bytes)>) {
        let (backend, runtime) = (Arc::clone(&self.backend), self.runtime.clone());
        self.spawn(async move {
            let loading = AssertUnwindSafe(backend.load(&kind, &key, &tail, &runtime)).catch_unwind();
            let loaded = match loading.await {
                Ok(Ok((entity, version))) => Loaded::Entity(entity, version),
                Ok(Err(NotFetched::Corrupt(reason))) => Loaded::Corrupt(reason),
                Ok(Err(NotFetched::Unreachable)) => Loaded::Unreachable,
                Err(_) => Loaded::Corrupt("loading panicked".to_owned()),
            };
            Arrival::Loaded { slot, again, loaded }
        });
    }

    fn fetch(&mut self, slot: SlotId, rows: Vec<RowAddress>, delay: Duration) {
        let (backend, runtime) = (Arc::clone(&self.backend), self.runtime.clone());
        self.after(delay, async move {
            let fetching = AssertUnwindSafe(backend.fetch(&rows, &runtime)).catch_unwind();
            let fetched = match fetching.await {
                Ok(Ok(rows)) => Fetched::Rows(rows),
                Ok(Err(NotFetched::Corrupt(reason))) => Fetched::Corrupt(reason),
                Ok(Err(NotFetched::Unreachable)) => Fetched::Unreachable(rows),
                Err(_) => Fetched::Corrupt("fetching panicked".to_owned()),
            };
            Arrival::Fetched { slot, fetched }
        });
    }

    fn carry_out(&mut self, slot: SlotId, kind: Arc<Entry>, key: EntityKey, id: ObligationId, obligation: Opaque) {
        self.carrying_out.spawn(async move {
            let carrying = async move { kind.kind.carry_out(key, obligation).await };
            // A host that panics has carried nothing out.
            let input = AssertUnwindSafe(carrying).catch_unwind().await.unwrap_or(None);
            Arrival::CarriedOut { slot, id, input }
        });
    }
}

/// The outcome of a write to the log: one that panics may have happened.
async fn known(write: impl Future<Output = Append>) -> Append {
    AssertUnwindSafe(write).catch_unwind().await.unwrap_or(Append::Unknown)
}

async fn unless_panicked<T>(work: impl Future<Output = StorageResult<T>>) -> StorageResult<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(StorageError::Unknown("the store panicked".to_owned())))
}

/// Why rows were not got, or made no sense.
enum NotFetched {
    Corrupt(String),
    Unreachable,
}

impl From<Corrupt> for NotFetched {
    fn from(Corrupt(reason): Corrupt) -> Self {
        Self::Corrupt(reason)
    }
}

impl Backend {
    /// Loads an entity and brings it up to date with the log's tail.
    async fn load(
        &self,
        entry: &Entry,
        key: &EntityKey,
        tail: &[(Seq, Bytes)],
        runtime: &Runtime,
    ) -> Result<(Box<dyn Entity>, Version), NotFetched> {
        let mut loading = entry.kind.load(key, tail)?;
        let mut newest = 0;
        loop {
            let wanted = loading.wants(key);
            if wanted.is_empty() {
                return Ok((loading.finish(key)?, newest));
            }
            let rows = self.fetch(&wanted, runtime).await?;
            newest = rows.iter().flatten().map(|row| row.version).fold(newest, Version::max);
            loading.add(key, rows)?;
        }
    }

    /// Looks rows up, a few times if need be.
    async fn fetch(&self, rows: &[RowAddress], runtime: &Runtime) -> Result<Vec<Option<Row>>, NotFetched> {
        for attempt in 1..=ATTEMPTS {
            let table = &self.store.table;
            let lookups: Vec<_> = rows.iter().map(|address| table.get(&address.partition, &address.key)).collect();
            match stream::iter(lookups).buffered(LOOKUPS).try_collect().await {
                Ok(found) => return Ok(found),
                Err(StorageError::Corrupt(reason)) => return Err(NotFetched::Corrupt(reason)),
                Err(error) => tracing::warn!(%error, "cannot read rows yet"),
            }
            if attempt < ATTEMPTS {
                runtime.sleep(BACKOFF.after(attempt)).await;
            }
        }
        Err(NotFetched::Unreachable)
    }

    async fn write_batch(self: Arc<Self>, batch: Batch) -> Arrival {
        if let Err(error) = self.write(&batch.parts, batch.needs).await {
            tracing::warn!(%error, "cannot write a checkpoint, trying each entity by itself");
            return Arrival::BatchFailed(batch);
        }
        let parts = batch.parts.into_iter().map(|part| (part, WriteOutcome::Written)).collect();
        Arrival::Checkpointed(Written { batch: Some(batch.id), parts })
    }

    /// Writes each part by itself.
    async fn write_parts(&self, batch: Option<u64>, parts: Vec<Part>) -> Written {
        let writes = parts.into_iter().map(|part| async move {
            let outcome = match self.write(std::slice::from_ref(&part), part.taken.version).await {
                Ok(()) => WriteOutcome::Written,
                Err(StorageError::Invalid(reason)) => WriteOutcome::Refused(reason),
                Err(error) => {
                    tracing::debug!(%error, "rows of an entity cannot be written yet");
                    WriteOutcome::Unknown
                }
            };
            (part, outcome)
        });
        let writes: Vec<_> = writes.collect();
        Written { batch, parts: stream::iter(writes).buffer_unordered(APART).collect().await }
    }

    async fn write(&self, parts: &[Part], version: Seq) -> StorageResult<()> {
        let writes = writes_of(parts, version);
        if writes.is_empty() { Ok(()) } else { unless_panicked(self.store.table.write(writes)).await }
    }

    async fn read_wake_ups(&self, bucket: Bucket, from: RowKey) -> WakeUpsRead {
        let partition = bucket.partition(&self.log);
        let range = ScanRange { from, to: None };
        match unless_panicked(self.store.table.scan(&partition, range, ScanOrder::Ascending, WAKE_UPS)).await {
            Ok(page) => WakeUpsRead::Page(WakeUpPage::of(&page)),
            Err(error @ StorageError::Corrupt(_)) => {
                tracing::error!(partition = %partition.escape_ascii(), %error, "wake-ups cannot be read");
                WakeUpsRead::Page(WakeUpPage::unreadable())
            }
            Err(error) => WakeUpsRead::Unreachable(error),
        }
    }

    async fn move_watermark(&self, epoch: Epoch, to: Bucket, rows: Vec<PartitionWrite>) -> Append {
        if !rows.is_empty()
            && let Err(error) = self.store.table.write(rows).await
        {
            tracing::warn!(log = %self.log.0, %error, "cannot write standing wake-ups yet");
            return Append::Unknown;
        }
        self.store.log.set_watermark(&self.log, epoch, to.start()).await
    }

    async fn drop_buckets(self: Arc<Self>, partitions: Vec<PartitionKey>, index: Option<PartitionWrite>) -> Arrival {
        for partition in partitions {
            // Rows left behind cost room and nothing else.
            if let Err(error) = unless_panicked(self.store.table.drop_partition(&partition)).await {
                tracing::warn!(?partition, %error, "cannot drop wake-up rows, leaving them");
            }
        }
        // Only now: a bucket that is not in the index is never looked for again.
        if let Err(error) = unless_panicked(self.store.table.write(index.into_iter().collect())).await {
            tracing::warn!(%error, "cannot take dropped buckets out of the index, leaving them");
        }
        Arrival::BucketsDropped
    }
}
