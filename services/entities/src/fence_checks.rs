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

/// An entity that cannot be served, before it is known whether its bytes are corrupt or its owner has changed.
pub(crate) struct Suspect {
    pub(crate) slot: SlotId,
    pub(crate) reason: String,
    /// The input that failed on it.
    pub(crate) origin: Option<Origin>,
}

/// What waits for a quorum read of the log's epoch, shared by all that came before it began.
#[derive(Default)]
pub(crate) struct FenceChecks {
    /// Those that the running check serves.
    checking: Vec<HeldRead>,
    running: bool,
    /// Those that came since it began.
    next: Vec<HeldRead>,
    /// Entities that the running check confirms, and those for the next.
    checked_suspects: Vec<Suspect>,
    suspects: Vec<Suspect>,
    /// Whether the shard wants a check for itself.
    suspected: bool,
}

impl FenceChecks {
    pub(crate) fn is_idle(&self) -> bool {
        !self.running && self.next.is_empty() && self.suspects.is_empty()
    }

    /// Holds an answer until a check that begins from now on has passed.
    pub(crate) fn hold(&mut self, position: Seq, reply: HeldReply) {
        self.next.push(HeldRead { position, reply });
    }

    /// Has the next check confirm whether an entity is corrupt.
    pub(crate) fn add_suspect(&mut self, suspect: Suspect) {
        self.suspects.push(suspect);
    }

    /// A check is wanted though nothing waits for it.
    pub(crate) fn suspect(&mut self) {
        self.suspected = true;
    }

    /// Whether a check is to begin.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.running && (self.suspected || !self.next.is_empty() || !self.suspects.is_empty())
    }

    /// A check begins, for all that came so far.
    pub(crate) fn begin(&mut self) {
        self.running = true;
        self.suspected = false;
        std::mem::swap(&mut self.checking, &mut self.next);
        std::mem::swap(&mut self.checked_suspects, &mut self.suspects);
    }

    /// The check that ran has passed: what it served.
    pub(crate) fn passed(&mut self) -> (Vec<HeldRead>, Vec<Suspect>) {
        self.running = false;
        (std::mem::take(&mut self.checking), std::mem::take(&mut self.checked_suspects))
    }

    /// Takes those for the next check, whose outcome is known without asking the store.
    pub(crate) fn take_suspects(&mut self) -> Vec<Suspect> {
        std::mem::take(&mut self.suspects)
    }
}
