//! Buckets that cannot be read, since what is stored does not match its checksums: whose wake-ups they hold is found out by
//! looking at every entity of the shard. Each is loaded, and is then scheduled for what its state says, as if a row had said so.
//!
//! Meanwhile other buckets are read and ring as always, and the watermark does not pass the damaged one. So the next owner of the
//! shard finds it there, and begins again. Once all entities were looked at it is passed like any other, and dropped.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use runtime::Backoff;
use storage::{LogId, PartitionCursor, PartitionPage, StorageError};

use super::buckets::Bucket;
use super::rows::READ_BACKOFF;
use crate::job::Job;
use crate::kinds::Kinds;

/// How long to wait before looking again at what does not match its checksums: only an operator repairs it.
const CORRUPT_REST: Duration = Duration::from_secs(60);

/// The damaged buckets, and the walk over all entities on their account.
#[derive(Default)]
pub(super) struct Damaged {
    buckets: BTreeSet<Bucket>,
    walk: Option<Walk>,
}

struct Walk {
    /// What it makes up for. Buckets that turn out to be damaged later need another walk: of an entity that it has seen by
    /// then, and that has left memory again, only a row may say that it is due.
    covers: BTreeSet<Bucket>,
    /// What the partitions are named by that remain to be gone through, those of one kind after those of another.
    prefixes: VecDeque<&'static [u8]>,
    from: Option<PartitionCursor>,
    is_reading: bool,
    backoff: Backoff,
    looked_at: usize,
}

impl Walk {
    fn over(prefixes: VecDeque<&'static [u8]>, covers: BTreeSet<Bucket>) -> Self {
        Self { covers, prefixes, from: None, is_reading: false, backoff: READ_BACKOFF, looked_at: 0 }
    }

    fn listing(&self, delay: Duration) -> Option<Job> {
        let prefix = *self.prefixes.front()?;
        Some(Job::ListPartitions { prefix, from: self.from.clone(), delay })
    }

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

    /// Makes up for no bucket any more that a finished walk covered.
    pub(super) fn finish_walk(&mut self, log: &LogId) {
        let Some(walk) = self.walk.take_if(|walk| walk.is_over()) else { return };
        let (buckets, entities) = (walk.covers.len(), walk.looked_at);
        tracing::info!(log = %log.0, buckets, entities, "the timers of damaged buckets of wake-ups were found again");
        self.buckets.retain(|bucket| !walk.covers.contains(bucket));
    }

    /// Reads on, if there is something to read now.
    pub(super) fn next_listing(&mut self, kinds: &Kinds) -> Option<Job> {
        if self.walk.is_none() && !self.buckets.is_empty() {
            let prefixes = kinds.iter().map(|kind| kind.entity_partitions()).collect();
            self.walk = Some(Walk::over(prefixes, self.buckets.clone()));
        }
        let walk = self.walk.as_mut().filter(|walk| !walk.is_reading)?;
        let listing = walk.listing(Duration::ZERO)?;
        walk.is_reading = true;
        Some(listing)
    }

    /// Partitions were named, in which these many entities of the shard were found.
    pub(super) fn listed(&mut self, page: PartitionPage, entities: usize) {
        let Some(walk) = &mut self.walk else { return };
        walk.looked_at += entities;
        walk.is_reading = false;
        walk.backoff.reset();
        if page.next.is_none() {
            walk.prefixes.pop_front();
        }
        walk.from = page.next;
    }

    /// Tries again, after a delay.
    pub(super) fn list_again(&mut self, log: &LogId, error: &StorageError) -> Option<Job> {
        let walk = self.walk.as_mut()?;
        let mut delay = walk.backoff.next_delay();
        if let StorageError::Corrupt(_) = error {
            tracing::error!(log = %log.0, %error, "entities cannot be gone through: timers of those that are not in memory do not ring until they can");
            delay += CORRUPT_REST;
        } else {
            tracing::warn!(log = %log.0, %error, "cannot scan entities yet, retrying");
        }
        walk.listing(delay)
    }
}
