//! What one write of a checkpoint carries, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ids::Timestamp;
use storage::{PartitionKey, PartitionWrite, RowKey, Seq};

use crate::RowAddress;
use crate::entity_slot::{SlotId, Snapshot};

/// What one entity contributes to a write.
pub(crate) struct Part {
    /// `None` for a quarantine's copy.
    pub(crate) slot: Option<SlotId>,
    pub(crate) taken: Snapshot,
    /// The wake-up of which a row goes with it.
    pub(crate) wake_up: Option<Timestamp>,
    pub(crate) writes: Vec<PartitionWrite>,
    /// The wake-up rows that go with them.
    pub(crate) wake_up_rows: Vec<RowAddress>,
    /// The batch in which it was to be written first.
    pub(crate) batch: u64,
}

/// Parts that are written together.
pub(crate) struct Batch {
    pub(crate) id: u64,
    /// The position that must be durable first.
    pub(crate) needs: Seq,
    pub(crate) parts: Vec<Part>,
}

/// What came of writing a part.
pub(crate) enum WriteOutcome {
    /// The store has acknowledged it.
    Written,
    /// The store will never take it, and why.
    Refused(String),
    /// Perhaps not written.
    Unknown,
}

/// What became of parts that were written together, or tried again.
pub(crate) struct Written {
    /// The batch; `None` if they were tried again.
    pub(crate) batch: Option<u64>,
    pub(crate) parts: Vec<(Part, WriteOutcome)>,
}

impl Part {
    /// Bytes of the values in its rows.
    pub(crate) fn value_bytes(&self) -> usize {
        self.writes.iter().flat_map(|write| &write.puts).map(|(_, value)| value.len()).sum()
    }

    /// Bytes in its rows, names included.
    pub(crate) fn bytes(&self) -> usize {
        self.writes.iter().flat_map(|write| &write.puts).map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// The rows of parts, and the wake-up rows that go with them, many to a write.
pub(crate) fn writes_of(parts: &[Part], version: Seq) -> Vec<PartitionWrite> {
    let mut by_partition: BTreeMap<PartitionKey, BTreeSet<RowKey>> = BTreeMap::new();
    for RowAddress { partition, key } in parts.iter().flat_map(|part| &part.wake_up_rows) {
        by_partition.entry(partition.clone()).or_default().insert(key.clone());
    }
    let wake_ups = by_partition.into_iter().map(move |(partition, keys)| PartitionWrite {
        partition,
        version: version.0,
        puts: keys.into_iter().map(|key| (key, Bytes::new())).collect(),
        deletes: Vec::new(),
    });
    parts.iter().flat_map(|part| part.writes.iter().cloned()).chain(wake_ups).collect()
}
