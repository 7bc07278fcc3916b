//! Answers that changed nothing, and entities that look corrupt, until it is proved that this shard was still ours after they came.

use storage::Seq;

use crate::entity_slot::SlotId;
use crate::request::{HeldReply, Origin};

/// An answer to something that changed nothing.
pub(crate) struct HeldRead {
    /// The position that it saw.
    pub(crate) position: Seq,
    pub(crate) reply: HeldReply,
}

/// An entity that cannot be served, before it is known whether that is its fault.
pub(crate) struct Accusation {
    pub(crate) slot: SlotId,
    pub(crate) reason: String,
    /// Whose input brought it to light.
    pub(crate) origin: Option<Origin>,
}

/// What waits for a quorum read of the log's epoch, shared by all that came before it began.
#[derive(Default)]
pub(crate) struct FenceChecks {
    /// Those whom the check that runs now serves.
    checking: Vec<HeldRead>,
    running: bool,
    /// Those who came since it began.
    next: Vec<HeldRead>,
    /// Entities to be judged by the check that runs now, and by the next.
    judged: Vec<Accusation>,
    accused: Vec<Accusation>,
    /// Whether the shard itself wants to know.
    suspected: bool,
}

impl FenceChecks {
    pub(crate) fn is_idle(&self) -> bool {
        !self.running && self.next.is_empty() && self.accused.is_empty()
    }

    /// Holds an answer until a check that begins from now on has passed.
    pub(crate) fn hold(&mut self, position: Seq, reply: HeldReply) {
        self.next.push(HeldRead { position, reply });
    }

    /// Has an entity judged by the next check.
    pub(crate) fn accuse(&mut self, accusation: Accusation) {
        self.accused.push(accusation);
    }

    /// A check is wanted though nothing waits for it.
    pub(crate) fn suspect(&mut self) {
        self.suspected = true;
    }

    /// Whether a check is to begin.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.running && (self.suspected || !self.next.is_empty() || !self.accused.is_empty())
    }

    /// A check begins, for all that came so far.
    pub(crate) fn begin(&mut self) {
        self.running = true;
        self.suspected = false;
        std::mem::swap(&mut self.checking, &mut self.next);
        std::mem::swap(&mut self.judged, &mut self.accused);
    }

    /// The check that ran has passed: what it served.
    pub(crate) fn passed(&mut self) -> (Vec<HeldRead>, Vec<Accusation>) {
        self.running = false;
        (std::mem::take(&mut self.checking), std::mem::take(&mut self.judged))
    }

    /// Takes those that are to be judged by the next check, which was no matter of asking.
    pub(crate) fn take_accused(&mut self) -> Vec<Accusation> {
        std::mem::take(&mut self.accused)
    }
}
