//! Which shard of how many.

use ids::{ShardId, Slot};

/// Which shard of how many, and so which entities are its own.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

impl Place {
    pub(crate) fn holds(self, slot: Slot) -> bool {
        slot.shard(self.of) == ShardId(self.number)
    }
}
