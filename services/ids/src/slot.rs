//! Where a workflow ID lives: a fixed hash to one of 16384 slots; a shard is a contiguous range of slots.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::{NamespaceId, WorkflowId};

/// How many slots there are. Fixed for ever: stored data depends on it.
pub const SLOTS: u16 = 16_384;

/// `xxh3_64(namespace id, 0x00, workflow ID) mod 16384`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

/// A contiguous range of slots with one log: the unit of ownership. Numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u32);

impl Slot {
    /// The slot of a workflow ID (or of any other name within a namespace, such as a task-queue partition).
    pub fn of(namespace: &NamespaceId, id: &WorkflowId) -> Self {
        let mut hash = Xxh3::new();
        hash.update(namespace.as_str().as_bytes());
        hash.update(&[0]);
        hash.update(id.as_str().as_bytes());
        let slot = hash.digest() % u64::from(SLOTS);
        Self(slot as u16)
    }

    /// The number, below [`SLOTS`].
    pub fn number(self) -> u16 {
        self.0
    }

    /// The shard that holds this slot when there are `shards` of them, all ranges equal to within one slot.
    pub fn shard(self, shards: u32) -> ShardId {
        ShardId((u64::from(self.0) * u64::from(shards) / u64::from(SLOTS)) as u32)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_known_names_never_change() {
        // Computed by another implementation of XXH3 over `namespace id, 0x00, workflow ID`.
        let long = "x".repeat(1000);
        let vectors = [
            ("", "", 11_483),
            ("00000000-0000-0000-0000-000000000000", "order-1", 14_051),
            ("32049b68-7872-4094-8e63-d0dd59896a83", "größe/東京", 1_731),
            ("n", long.as_str(), 5_899),
        ];
        for (namespace, workflow, expected) in vectors {
            assert_eq!(slot(namespace, workflow), expected, "{namespace} {workflow}");
        }
    }

    #[test]
    fn the_separator_keeps_neighbouring_names_apart() {
        assert_ne!(slot("ab", "c"), slot("a", "bc"));
    }

    #[test]
    fn shards_cover_all_slots_in_order() {
        for shards in [1, 3, 4, 512, 16_384] {
            let of = |slot| Slot(slot).shard(shards).0;
            assert_eq!(of(0), 0);
            assert_eq!(of(SLOTS - 1), shards - 1);
            assert!((1..SLOTS).all(|slot| of(slot) - of(slot - 1) <= 1));
        }
    }

    fn slot(namespace: &str, workflow: &str) -> u16 {
        Slot::of(&namespace.into(), &workflow.into()).number()
    }
}
