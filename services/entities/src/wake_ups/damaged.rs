//! Buckets that cannot be read, since what is stored does not match its checksums: whose wake-ups they hold is found out by
//! looking at every entity of the shard. Each is loaded, and is then scheduled for what its state says, as if a row had said so.
//!
//! Meanwhile other buckets are read and ring as always, and the watermark does not pass the damaged one. So whoever opens the
//! shard next finds it there, and begins again. Once all entities were looked at it is passed like any other, and dropped.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use ids::Timestamp;
use runtime::Runtime;
use storage::{PartitionCursor, PartitionPage, StorageError, Table};

use super::{Bucket, CORRUPT_REST, READ_BACKOFF};
use crate::arrival::Arrival;
use crate::entity_slot::Residence;
use crate::kinds::Kinds;
use crate::shard::ShardTask;

/// How many partitions one step of a walk names.
const PAGE: usize = 256;
/// The place of an entity that is only looked at, among those to be loaded: behind whoever is due.
const LAST: Timestamp = Timestamp::MAX;

/// The damaged buckets, and the walk over all entities on their account.
#[derive(Default)]
pub(super) struct Damaged {
    buckets: BTreeSet<Bucket>,
    walk: Option<Walk>,
}

struct Walk {
    /// What it makes up for. Buckets that turn out to be damaged later need another walk: of an entity that it has seen by
    /// then, and that has left memory again, only a row may tell.
    covers: BTreeSet<Bucket>,
    /// What the partitions are named by that remain to be gone through, those of one kind after those of another.
    prefixes: VecDeque<&'static [u8]>,
    from: Option<PartitionCursor>,
    is_reading: bool,
    looked_at: usize,
}

impl Walk {
    fn is_over(&self) -> bool {
        self.prefixes.is_empty()
    }
}

impl Damaged {
    /// The first that is not made up for yet.
    pub(super) fn first(&self) -> Option<Bucket> {
        self.buckets.first().copied()
    }

    pub(super) fn add(&mut self, bucket: Bucket) {
        self.buckets.insert(bucket);
    }

    /// Among which partitions to read on, and from where, if there is something to read now.
    fn next_read(&mut self, kinds: &Kinds) -> Option<(&'static [u8], Option<PartitionCursor>)> {
        if self.walk.is_none() && !self.buckets.is_empty() {
            let (covers, prefixes) =
                (self.buckets.clone(), kinds.iter().map(|kind| kind.entity_partitions()).collect());
            self.walk = Some(Walk { covers, prefixes, from: None, is_reading: false, looked_at: 0 });
        }
        let walk = self.walk.as_mut().filter(|walk| !walk.is_reading)?;
        let prefix = *walk.prefixes.front()?;
        walk.is_reading = true;
        Some((prefix, walk.from.take()))
    }
}

impl ShardTask {
    /// Goes on with the walk that damaged buckets ask for, if there are any.
    pub(super) fn look_at_all_entities(&mut self) {
        if self.closing.is_some() || self.wake_ups.to_load.last().is_some_and(|(at, _)| *at == LAST) {
            return;
        }
        if let Some(walk) = self.wake_ups.damaged.walk.take_if(|walk| walk.is_over()) {
            let (buckets, entities) = (walk.covers.len(), walk.looked_at);
            tracing::info!(log = %self.log.0, buckets, entities, "the timers of damaged buckets of wake-ups were found again");
            self.wake_ups.damaged.buckets.retain(|bucket| !walk.covers.contains(bucket));
        }
        let Some((prefix, from)) = self.wake_ups.damaged.next_read(&self.kinds) else { return };
        let (table, runtime) = (Arc::clone(&self.store.table), self.runtime.clone());
        self.outside.spawn(async move { Arrival::Partitions(read_partitions(&*table, prefix, from, &runtime).await) });
    }

    /// Has the entities of these partitions loaded that are this shard's and not in memory.
    pub(crate) fn on_partitions(&mut self, page: PartitionPage) {
        let keys = page.partitions.iter().filter_map(|partition| self.kinds.entity_of(partition));
        for key in keys.filter(|key| self.kinds.slot(key).is_some_and(|slot| self.place.holds(slot))) {
            let slot = self.entities.find(&key).and_then(|id| self.entities.get(id));
            let is_here = slot.is_some_and(|slot| matches!(slot.residence, Residence::Ready(_)));
            if !is_here && !self.quarantined.contains_key(&key) {
                self.wake_ups.to_load.insert((LAST, key));
            }
            self.wake_ups.damaged.walk.iter_mut().for_each(|walk| walk.looked_at += 1);
        }
        if let Some(walk) = &mut self.wake_ups.damaged.walk {
            walk.is_reading = false;
            if page.next.is_none() {
                walk.prefixes.pop_front();
            }
            walk.from = page.next;
        }
    }
}

async fn read_partitions(
    table: &dyn Table,
    prefix: &'static [u8],
    from: Option<PartitionCursor>,
    runtime: &Runtime,
) -> PartitionPage {
    let mut backoff = READ_BACKOFF;
    loop {
        match AssertUnwindSafe(table.partitions(prefix, from.clone(), PAGE)).catch_unwind().await {
            Ok(Ok(page)) => return page,
            Ok(Err(error @ StorageError::Corrupt(_))) => {
                tracing::error!(%error, "entities cannot be gone through: timers of those that are not in memory do not ring until they can");
                runtime.sleep(CORRUPT_REST).await;
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot scan entities yet, retrying"),
            Err(_) => tracing::error!("scanning entities panicked"),
        }
        runtime.sleep(backoff.next_delay()).await;
    }
}
