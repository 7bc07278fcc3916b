//! Buckets that cannot be read, since what is stored does not match its checksums: whose wake-ups they hold is found out by
//! looking at every entity of the shard. Each is loaded, and is then scheduled for what its state says, as if a row had said so.
//!
//! Meanwhile other buckets are read and ring as always, and the watermark does not pass the damaged one. So whoever opens the
//! shard next finds it there, and begins again. Once all entities were looked at it is passed like any other, and dropped.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ids::Timestamp;
use runtime::Backoff;
use storage::{PartitionCursor, PartitionPage, StorageError, StorageResult};

use super::{Bucket, CORRUPT_REST, READ_BACKOFF};
use crate::entity_slot::Residence;
use crate::job::Job;
use crate::kinds::Kinds;
use crate::shard_state::ShardState;

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
    backoff: Backoff,
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
            self.walk =
                Some(Walk { covers, prefixes, from: None, is_reading: false, backoff: READ_BACKOFF, looked_at: 0 });
        }
        let walk = self.walk.as_mut().filter(|walk| !walk.is_reading)?;
        let prefix = *walk.prefixes.front()?;
        walk.is_reading = true;
        Some((prefix, walk.from.clone()))
    }
}

impl ShardState {
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
        self.jobs.push(Job::ListPartitions { prefix, from, delay: Duration::ZERO });
    }

    /// Has the entities of these partitions loaded that are this shard's and not in memory.
    pub(crate) fn on_partitions(&mut self, listed: StorageResult<PartitionPage>) {
        let page = match listed {
            Ok(page) => page,
            Err(error) => return self.list_again(&error),
        };
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
            walk.backoff.reset();
            if page.next.is_none() {
                walk.prefixes.pop_front();
            }
            walk.from = page.next;
        }
    }

    fn list_again(&mut self, error: &StorageError) {
        let Some(walk) = &mut self.wake_ups.damaged.walk else { return };
        let Some(&prefix) = walk.prefixes.front() else { return };
        let mut delay = walk.backoff.next_delay();
        if let StorageError::Corrupt(_) = error {
            tracing::error!(log = %self.log.0, %error, "entities cannot be gone through: timers of those that are not in memory do not ring until they can");
            delay += CORRUPT_REST;
        } else {
            tracing::warn!(log = %self.log.0, %error, "cannot scan entities yet, retrying");
        }
        self.jobs.push(Job::ListPartitions { prefix, from: walk.from.clone(), delay });
    }
}
