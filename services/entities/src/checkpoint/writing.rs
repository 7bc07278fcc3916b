//! Writing what checkpoints have taken: together while that works, and each part by itself when it does not. So an entity
//! whose rows are out of reach, since too many of their replicas are away, holds up neither the others nor the log above
//! its own changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use runtime::{Backoff, Runtime};
use storage::{PartitionKey, PartitionWrite, RowKey, Seq, StorageError, StorageResult, Table};

use crate::RowAddress;
use crate::arrival::Arrival;
use crate::checkpoint::Part;
use crate::shard::ShardTask;

/// How many parts are written at once when each is written by itself.
const APART: usize = 16;
/// Between the attempts to write what is out of reach.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));

/// Parts that are written together.
pub(super) struct Batch {
    pub(super) id: u64,
    /// The position that must be durable first.
    pub(super) needs: Seq,
    pub(super) parts: Vec<Part>,
}

/// What became of a part.
pub(super) enum Fate {
    /// The store has acknowledged it.
    Written,
    /// The store will never take it, and why.
    Refused(String),
    /// Not written yet, as far as anybody knows.
    OutOfReach,
}

/// What became of parts that were written together, or tried again.
pub(crate) struct Written {
    /// The batch; `None` if they were tried again.
    pub(super) batch: Option<u64>,
    pub(super) parts: Vec<(Part, Fate)>,
}

/// What could not be written with its batch, and is tried again until it can.
#[derive(Default)]
pub(super) struct OutOfReach {
    waiting: VecDeque<Part>,
    /// The batches from which these and those being tried come, with how many of each.
    batches: BTreeMap<u64, usize>,
    bytes: usize,
    is_trying: bool,
    /// Tries in a row of which none wrote anything.
    in_vain: u32,
}

impl OutOfReach {
    /// The oldest batch of which something is not written.
    pub(super) fn oldest_batch(&self) -> Option<u64> {
        self.batches.first_key_value().map(|(&id, _)| id)
    }

    /// Bytes in rows that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, part: Part) {
        *self.batches.entry(part.batch).or_insert(0) += 1;
        self.bytes += part.bytes();
        self.waiting.push_back(part);
    }

    /// These have been tried again: those that are through leave, the others wait for their next turn.
    pub(super) fn tried(&mut self, parts: Vec<(Part, Fate)>) -> Vec<(Part, Fate)> {
        let (still, through): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, fate)| matches!(fate, Fate::OutOfReach));
        self.is_trying = false;
        self.in_vain = if through.is_empty() { self.in_vain + 1 } else { 0 };
        self.waiting.extend(still.into_iter().map(|(part, _)| part));
        for (part, _) in &through {
            self.bytes = self.bytes.saturating_sub(part.bytes());
            if let Some(count) = self.batches.get_mut(&part.batch) {
                *count -= 1;
                if *count == 0 {
                    self.batches.remove(&part.batch);
                }
            }
        }
        through
    }

    fn next_try(&mut self, most: usize) -> Option<(Vec<Part>, Duration)> {
        if self.is_trying || self.waiting.is_empty() {
            return None;
        }
        self.is_trying = true;
        let count = self.waiting.len().min(most);
        Some((self.waiting.drain(..count).collect(), BACKOFF.after(self.in_vain + 1)))
    }
}

impl Part {
    fn bytes(&self) -> usize {
        self.writes.iter().flat_map(|write| &write.puts).map(|(key, value)| key.len() + value.len()).sum()
    }
}

impl ShardTask {
    pub(super) fn write_batch(&mut self, batch: Batch) {
        let (table, runtime) = (Arc::clone(&self.store.table), self.runtime.clone());
        self.outside.spawn(async move { Arrival::Checkpointed(write_batch(&*table, batch, &runtime).await) });
    }

    /// Tries again to write what was out of reach, if there is anything, after a delay.
    pub(super) fn try_again(&mut self) {
        let most = self.settings.checkpoint_batch;
        let Some((parts, delay)) = self.checkpoints.out_of_reach.next_try(most) else { return };
        let (table, runtime) = (Arc::clone(&self.store.table), self.runtime.clone());
        self.outside.spawn(async move {
            runtime.sleep(delay).await;
            Arrival::Checkpointed(Written { batch: None, parts: write_apart(&*table, parts).await })
        });
    }
}

async fn write_batch(table: &dyn Table, batch: Batch, runtime: &Runtime) -> Written {
    let id = Some(batch.id);
    match write(table, &batch.parts, batch.needs).await {
        Ok(()) => {
            let parts = batch.parts.into_iter().map(|part| (part, Fate::Written)).collect();
            return Written { batch: id, parts };
        }
        Err(error) => tracing::warn!(%error, "cannot write a checkpoint, trying each entity by itself"),
    }
    runtime.sleep(BACKOFF.delay()).await;
    Written { batch: id, parts: write_apart(table, batch.parts).await }
}

/// Writes each part by itself.
async fn write_apart(table: &dyn Table, parts: Vec<Part>) -> Vec<(Part, Fate)> {
    let writes = parts.into_iter().map(|part| async move {
        let fate = match write(table, std::slice::from_ref(&part), part.taken.version).await {
            Ok(()) => Fate::Written,
            Err(StorageError::Invalid(reason)) => Fate::Refused(reason),
            Err(error) => {
                tracing::debug!(%error, "rows of an entity cannot be written yet");
                Fate::OutOfReach
            }
        };
        (part, fate)
    });
    let writes: Vec<_> = writes.collect();
    stream::iter(writes).buffer_unordered(APART).collect().await
}

async fn write(table: &dyn Table, parts: &[Part], version: Seq) -> StorageResult<()> {
    let entities = parts.iter().flat_map(|part| part.writes.iter().cloned());
    let writes: Vec<_> = entities.chain(wake_ups(parts, version)).collect();
    if writes.is_empty() {
        return Ok(());
    }
    let written = AssertUnwindSafe(table.write(writes)).catch_unwind().await;
    written.unwrap_or_else(|_| Err(StorageError::Unknown("writing a checkpoint panicked".to_owned())))
}

/// The wake-up rows of parts, many to a write.
fn wake_ups(parts: &[Part], version: Seq) -> impl Iterator<Item = PartitionWrite> {
    let mut by_partition: BTreeMap<PartitionKey, BTreeSet<RowKey>> = BTreeMap::new();
    for RowAddress { partition, key } in parts.iter().flat_map(|part| &part.wake_up_rows) {
        by_partition.entry(partition.clone()).or_default().insert(key.clone());
    }
    by_partition.into_iter().map(move |(partition, keys)| PartitionWrite {
        partition,
        version: version.0,
        puts: keys.into_iter().map(|key| (key, Bytes::new())).collect(),
        deletes: Vec::new(),
    })
}
