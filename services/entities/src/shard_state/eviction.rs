//! Keeping memory within its bound: entities that have come to their end leave first, right after their checkpoint; then
//! clean ones that were not used for longest; and when too little is clean, checkpoints hurry.
//!
//! The bound is that of all shards of the process. A shard that holds more than an equal part of it evicts, whether it or
//! another one grows: among shards that together are above the bound there is always one such.

use super::ShardState;
use crate::entity_slot::{Residence, SlotId};

/// How many entities one turn evicts at most.
const PER_TURN: usize = 64;
/// How many slots it looks at for each.
const LOOK_AT: usize = 64;
/// How often a turn may find nothing among these: what was used lately is passed over once.
const MOST_MISSES: usize = 8;
/// The part of the bound that entities at rest may take: one in this many.
const AT_REST_PART: usize = 32;
/// And how much at most, of all shards: what has just closed may be asked for once more. Bytes.
const MOST_AT_REST: usize = 32 << 20;

impl ShardState {
    /// Evicts while there is more in memory than allowed; says whether more is to be done at once.
    pub(super) fn evict(&mut self) -> bool {
        self.memory_is_short = false;
        self.note_memory();
        let mut misses = 0;
        for _ in 0..PER_TURN {
            let is_above = self.is_above_its_part();
            let most_at_rest = self.share.fair((self.settings.memory_bytes / AT_REST_PART).min(MOST_AT_REST));
            let at_rest = if is_above || self.entities.at_rest_bytes() > most_at_rest {
                self.entities.next_at_rest(LOOK_AT)
            } else {
                None
            };
            let id = match at_rest {
                Some(id) => id,
                None if !is_above => return false,
                None => match self.entities.next_evictable(LOOK_AT) {
                    Some(id) => id,
                    None if misses < MOST_MISSES => {
                        misses += 1;
                        continue;
                    }
                    None => {
                        // Hurry with checkpoints only where they would help.
                        let helpful = self.share.fair(self.settings.memory_bytes) / 4;
                        self.memory_is_short = self.checkpoints.dirty_bytes() > helpful;
                        return false;
                    }
                },
            };
            if let Some(slot) = self.entities.remove(id) {
                self.wake_ups.forget_far(&slot.key, slot.scheduled);
                slot.kind.counters.evictions.increment(1);
                self.note_memory();
            }
        }
        true
    }

    /// Whether all shards together hold more than they may, and this one more than an equal part of that.
    pub(super) fn is_above_its_part(&self) -> bool {
        let most = self.settings.memory_bytes;
        self.share.all().entities > most && self.entities.bytes() > self.share.fair(most)
    }

    /// Whether another shard's growth or opening could make this one evict, although nothing happens to it.
    pub(super) fn holds_more_than_its_part(&self) -> bool {
        // Its part becomes smaller when another shard is opened, of which it hears nothing.
        let most = self.settings.memory_bytes;
        self.entities.bytes() > self.share.fair(most).min(most / 16)
    }

    /// An entity has just become clean: if it has come to its end it need not stay.
    pub(super) fn note_rest(&mut self, id: SlotId) {
        let Some(slot) = self.entities.get(id) else { return };
        let Residence::Ready(entity) = &slot.residence else { return };
        if !slot.is_dirty() && entity.is_at_rest() {
            self.entities.rest(id);
        }
    }
}
