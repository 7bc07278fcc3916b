//! How a process divides its memory. The only place that does.

use crate::MIB;

/// The least that a process can work with. Bytes.
pub const LEAST_MEMORY: usize = 64 * MIB;

/// Caches of the store above this gain nothing. Bytes.
const MOST_STORE_CACHE: usize = 128 * MIB;

/// The parts of a process's memory. What is left, three eighths, is for what is not counted: connections, polls that wait,
/// answers on their way, metrics, the program itself, and what the allocator keeps between the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryParts {
    /// All requests that arrive or are being answered. Bytes.
    pub in_flight_bytes: usize,
    /// Workflows and task queues in memory, of all shards. Bytes.
    pub entity_bytes: usize,
    /// The part of these that the tables do not show yet. Bytes.
    pub dirty_bytes: usize,
    /// What waits for the logs, of all shards. Bytes.
    pub waiting_bytes: usize,
    /// Pages that the store keeps in memory, where it is in this process. Bytes.
    pub store_cache_bytes: usize,
}

impl MemoryParts {
    /// The parts of so many bytes, or of [`LEAST_MEMORY`] if that is more.
    #[must_use]
    pub fn of(total: usize) -> Self {
        let total = total.max(LEAST_MEMORY);
        let entity_bytes = total / 8 * 3;
        Self {
            in_flight_bytes: total / 8,
            entity_bytes,
            dirty_bytes: entity_bytes / 4,
            waiting_bytes: total / 16,
            store_cache_bytes: (total / 16).min(MOST_STORE_CACHE),
        }
    }

    /// What the parts come to. Dirty entities are entities.
    #[must_use]
    pub fn sum(&self) -> usize {
        let Self { in_flight_bytes, entity_bytes, dirty_bytes: _, waiting_bytes, store_cache_bytes } = *self;
        [entity_bytes, waiting_bytes, store_cache_bytes].into_iter().fold(in_flight_bytes, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_divided_and_something_is_left() {
        for (total, in_flight, entities, dirty, waiting, store) in [
            (0, 8, 24, 6, 4, 4),
            (64, 8, 24, 6, 4, 4),
            (128, 16, 48, 12, 8, 8),
            (512, 64, 192, 48, 32, 32),
            (4096, 512, 1536, 384, 256, 128),
            (65_536, 8192, 24_576, 6144, 4096, 128),
        ] {
            let parts = MemoryParts::of(total * MIB);
            let expected = MemoryParts {
                in_flight_bytes: in_flight * MIB,
                entity_bytes: entities * MIB,
                dirty_bytes: dirty * MIB,
                waiting_bytes: waiting * MIB,
                store_cache_bytes: store * MIB,
            };
            assert_eq!(parts, expected, "{total} MiB");
            let total = (total * MIB).max(LEAST_MEMORY);
            assert!(parts.sum() <= total / 8 * 5, "{total}");
        }
        assert!(MemoryParts::of(usize::MAX).sum() < usize::MAX);
    }
}
