//! The parts of `memory.total`: those that are not set are filled in.

use settings::MemoryParts;

use crate::machine::default_memory_total;
use crate::{ByteSize, Config};

/// What is in force.
pub(crate) struct Shares {
    pub(crate) total: ByteSize,
    pub(crate) in_flight: ByteSize,
    pub(crate) entities: ByteSize,
    pub(crate) dirty: ByteSize,
    pub(crate) waiting: ByteSize,
    pub(crate) store_cache: ByteSize,
}

impl Shares {
    /// Fills in what is not set.
    pub(crate) fn fill(config: &mut Config) -> Self {
        let Config { memory, frontend, shards, .. } = config;
        let total = *memory.total.get_or_insert_with(|| default_memory_total().into());
        let parts = MemoryParts::of(total.in_memory());
        let entities = *shards.memory_bytes.get_or_insert(parts.entity_bytes.into());
        // A part of what was set, if that is less.
        let dirty = parts.dirty_bytes.min(entities.in_memory() / 4);
        Self {
            total,
            in_flight: *frontend.in_flight_bytes.get_or_insert(parts.in_flight_bytes.into()),
            entities,
            dirty: *shards.dirty_bytes.get_or_insert(dirty.into()),
            waiting: *shards.waiting_bytes.get_or_insert(parts.waiting_bytes.into()),
            store_cache: parts.store_cache_bytes.into(),
        }
    }

    /// What the parts come to.
    pub(crate) fn sum(&self) -> ByteSize {
        let parts = MemoryParts {
            in_flight_bytes: self.in_flight.in_memory(),
            entity_bytes: self.entities.in_memory(),
            dirty_bytes: self.dirty.in_memory(),
            waiting_bytes: self.waiting.in_memory(),
            store_cache_bytes: self.store_cache.in_memory(),
        };
        parts.sum().into()
    }
}
