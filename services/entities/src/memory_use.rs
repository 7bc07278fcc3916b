//! What the shards of a process hold together: a process has one bound, and its shards come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Gauge, gauge};

/// What shards hold that share a bound. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct MemoryUse {
    sums: Arc<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    entities: AtomicUsize,
    dirty: AtomicUsize,
    waiting: AtomicUsize,
    shards: AtomicUsize,
}

/// What one shard holds. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Entities in memory.
    pub(crate) entities: usize,
    /// Those of them that the tables do not show yet.
    pub(crate) dirty: usize,
    /// Groups that are not durable yet.
    pub(crate) waiting: usize,
}

/// A shard's part in the sums, which goes with it.
pub(crate) struct Share {
    sums: Arc<Sums>,
    noted: Holding,
    gauges: [Gauge; 3],
}

impl MemoryUse {
    /// Counts one more shard.
    pub(crate) fn join(&self) -> Share {
        self.sums.shards.fetch_add(1, Ordering::Relaxed);
        let gauges = ["entities", "dirty", "log_waiting"].map(|part| gauge!("outlast_memory_bytes", "part" => part));
        Share { sums: Arc::clone(&self.sums), noted: Holding::default(), gauges }
    }

    /// Bytes of all entities in memory.
    #[must_use]
    pub fn entity_bytes(&self) -> usize {
        self.sums.entities.load(Ordering::Relaxed)
    }

    /// Bytes of those that the tables do not show yet.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.sums.dirty.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the logs.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.sums.waiting.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Notes what the shard holds now.
    pub(crate) fn note(&mut self, now: Holding) {
        let moved = |sum: &AtomicUsize, before: usize, after: usize| {
            if before != after {
                // Wraps to less than before where that is due: the sums are of numbers that were added.
                sum.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        };
        let before = std::mem::replace(&mut self.noted, now);
        moved(&self.sums.entities, before.entities, now.entities);
        moved(&self.sums.dirty, before.dirty, now.dirty);
        moved(&self.sums.waiting, before.waiting, now.waiting);
    }

    /// What all shards hold.
    pub(crate) fn all(&self) -> Holding {
        Holding {
            entities: self.sums.entities.load(Ordering::Relaxed),
            dirty: self.sums.dirty.load(Ordering::Relaxed),
            waiting: self.sums.waiting.load(Ordering::Relaxed),
        }
    }

    /// An equal part of a bound for each shard that is open now.
    pub(crate) fn fair(&self, bound: usize) -> usize {
        bound / self.sums.shards.load(Ordering::Relaxed).max(1)
    }

    /// Publishes the sums.
    pub(crate) fn publish(&self) {
        let all = self.all();
        for (gauge, bytes) in self.gauges.iter().zip([all.entities, all.dirty, all.waiting]) {
            gauge.set(bytes as f64);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.note(Holding::default());
        self.sums.shards.fetch_sub(1, Ordering::Relaxed);
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_shards_and_forget_those_that_go() {
        let memory = MemoryUse::default();
        let (mut one, mut two) = (memory.join(), memory.clone().join());
        one.note(Holding { entities: 100, dirty: 50, waiting: 7 });
        two.note(Holding { entities: 30, dirty: 0, waiting: 1 });
        one.note(Holding { entities: 60, dirty: 20, waiting: 0 });
        assert_eq!(two.all(), Holding { entities: 90, dirty: 20, waiting: 1 });
        assert_eq!(two.fair(1000), 500);
        drop(one);
        assert_eq!((memory.entity_bytes(), memory.dirty_bytes(), memory.waiting_bytes()), (30, 0, 1));
        assert_eq!(two.fair(1000), 1000);
    }
}
