//! An owner: what one shard task knows of its log, and how far it is in opening, reopening, serving or rolling.
//!
//! Between any two of its steps an owner may be paused for as long as you like, or for ever: that is all that a crash is here.

use crate::store::{Head, NO_OWNER, POSITIONS, Rows};

/// What an owner will do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Has not begun.
    #[default]
    Idle,
    /// Found no head: creates it. This owns nothing.
    CreatingHead,
    /// Reads the head, to open the log or (see [`Owner::reopening`]) to reopen it.
    ReadingHead,
    /// Raises the head's epoch, on the condition that it still is what was read.
    RaisingHead { read: Head },
    /// Raises the epoch of the segment that the head names. From then on no process with a lower epoch can append.
    Fencing,
    /// Reads the segments from the one that holds the trim point to the one that the head names.
    ReadingTail { segment: u8 },
    /// Reads the head once more, before serving or before calling the log corrupt.
    CheckingHead { hole: bool },
    /// Owns the log, as far as it knows.
    Serving,
    /// Rolls: creates the segment `to`.
    CreatingSegment { to: u8, uncertain: bool },
    /// Rolls: the segment `to` is there, empty and ours; moves the head to it.
    MovingHead { to: u8, uncertain: bool },
    /// Resolves an unknown append by looking at its position, without reopening: mutants only.
    Peeking,
    /// Was fenced and has dropped its memory.
    Gone,
}

/// One owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// What comes next.
    pub phase: Phase,
    /// The epoch that an applied raise of its own gave it.
    pub epoch: u8,
    /// The epoch that it held when it began to reopen; 0 while it opens.
    pub reopening: u8,
    /// Where its appends go.
    pub segment: u8,
    /// The trim point as far as it knows.
    pub trim: u8,
    /// The segment that holds it, as far as it knows.
    pub first_segment: u8,
    /// What it has read of the tail so far; empty once it serves.
    pub tail: Rows,
    /// Its memory holds everything up to this position. Its next group goes to the position after.
    pub last: u8,
    /// Everything up to here is in the tables by its own, acknowledged writes.
    pub checkpointed: u8,
    /// The last fence check passed, whenever that was: mutants only.
    pub old_proof: bool,
}

impl Owner {
    /// Forgets everything.
    pub fn drop_memory(&mut self) {
        *self = Self { phase: Phase::Gone, ..Self::default() };
    }

    /// Whether it answers requests.
    pub fn serves(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::CreatingSegment { .. } | Phase::MovingHead { .. })
    }

    /// Begins to resolve an unknown outcome. Memory stays.
    pub fn start_reopening(&mut self) {
        self.reopening = self.epoch;
        self.old_proof = false;
        self.phase = Phase::ReadingHead;
    }

    /// Takes the head as its own applied raise left it.
    pub fn adopt(&mut self, head: Head) {
        self.epoch = head.epoch;
        self.segment = head.segment;
        self.trim = head.trim;
        self.first_segment = head.first_segment;
        self.tail = [NO_OWNER; POSITIONS];
    }

    /// The end of what was read, if the tail has no hole between the trim point and `last_seq`, and nothing beyond.
    pub fn contiguous_tail(&self, last_seq: u8) -> Option<u8> {
        let whole = (1..=POSITIONS as u8).all(|position| {
            let there = self.tail[usize::from(position) - 1] != NO_OWNER;
            position < self.trim || there == (position <= last_seq)
        });
        (whole && last_seq + 1 >= self.trim).then_some(last_seq)
    }
}
