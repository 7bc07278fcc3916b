//! Keeping memory within its bound: clean entities leave first, and when too little is clean, checkpoints hurry.

use crate::Kind;
use crate::shard::ShardTask;

/// How many entities one turn of the shard's task evicts at most.
const PER_TURN: usize = 64;
/// How many slots it looks at for each.
const LOOK_AT: usize = 64;

impl<K: Kind> ShardTask<K> {
    /// Evicts while there is more in memory than allowed.
    pub(crate) fn evict(&mut self) {
        self.memory_is_short = false;
        for _ in 0..PER_TURN {
            if self.entities.bytes() <= self.settings.memory_bytes {
                return;
            }
            let Some(id) = self.entities.next_evictable(LOOK_AT) else {
                // Hurry with checkpoints only where they would help.
                self.memory_is_short = self.checkpoints.dirty_bytes() > self.settings.memory_bytes / 4;
                return;
            };
            if let Some(slot) = self.entities.remove(id) {
                self.wake_ups.forget_far(&slot.key, slot.scheduled);
                self.metrics.evictions.increment(1);
            }
        }
    }
}
