//! A look at one entity for operators: as this node has it in memory, without any proof that this node still owns it.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use ids::Timestamp;
use storage::{Epoch, Seq};

use crate::entity_slot::{Residence, Slot};
use crate::{EntityKey, Kind, ObligationId, Resident};

/// One entity, and what its shard knows of it.
pub struct EntityView<'a> {
    /// The shard's log.
    pub log: &'a str,
    /// The epoch under which the shard writes.
    pub epoch: Epoch,
    /// The last durable position of the log.
    pub last: Seq,
    /// Why the entity is quarantined, if it is.
    pub quarantined: Option<Arc<str>>,
    /// What is in memory; nothing before the entity is asked for.
    pub slot: Option<SlotView<'a>>,
}

/// An entity in memory.
pub struct SlotView<'a> {
    resident: Option<&'a dyn Any>,
    /// Changes that the tables may not show yet, as the log holds them, with their positions.
    pub unstored: &'a [(Seq, Bytes)],
    /// The position of the latest change since the entity came to memory; 0 without one.
    pub last_change: Seq,
    /// The oldest change that no checkpoint has taken.
    pub dirty_since: Option<Seq>,
    /// The newest change in the checkpoint that is being written.
    pub being_written: Option<Seq>,
    /// When the entity is due to wake up.
    pub next_wake_up: Option<Timestamp>,
    /// When it will be.
    pub scheduled: Option<Timestamp>,
    /// What it owes, its phase, and how often it was tried without success.
    pub owed: Vec<(&'a ObligationId, &'static str, u32)>,
    /// Requests that wait for it.
    pub waiting: usize,
    /// Bytes of memory.
    pub weight: usize,
}

impl<'a> SlotView<'a> {
    pub(crate) fn of(slot: &'a Slot) -> Self {
        let resident = match &slot.residence {
            Residence::Ready(entity) => Some(entity.resident()),
            Residence::Loading => None,
        };
        Self {
            resident,
            unstored: &slot.recent,
            last_change: slot.last_change,
            dirty_since: slot.dirty_since.map(|(seq, _)| seq),
            being_written: slot.taken.map(|taken| taken.version),
            next_wake_up: slot.next_wake_up,
            scheduled: slot.scheduled,
            owed: slot.owed.standings(),
            waiting: slot.mailbox.len() + usize::from(slot.stalled.is_some()),
            weight: slot.weight(),
        }
    }

    /// The entity, if it is of kind `K`; nothing while it is being loaded.
    pub fn resident<K: Kind>(&self) -> Option<&'a Resident<K>> {
        self.resident?.downcast_ref()
    }
}

/// What is done with a view.
type Look = dyn FnOnce(EntityView<'_>) + Send;

/// A look that the shard's task is asked for.
pub(crate) struct Inspection {
    pub(crate) key: EntityKey,
    pub(crate) look: Box<Look>,
}
