//! Everything that exists in the model: the store, the owners, what clients were answered; and the ways in which it can be wrong.

use crate::owner::Owner;
use crate::store::{NO_OWNER, POSITIONS, Rows, Store};

/// How many owners there may be.
pub const OWNERS: usize = 3;

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It happens (or not, by its condition), and its sender hears so.
    Answered,
    /// Its sender does not hear of it. It may happen later, at once, or never.
    Unknown,
    /// It happens, and its sender hears that it was not applied: its coordinator tried a second time and met its own write.
    Misreported,
}

/// What must never be. Each is set where it is seen, and stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wrong {
    /// Two owners both got the acknowledgement that their group has the same position.
    pub two_acknowledged: bool,
    /// An owner began to serve without a group that had been acknowledged, or with another in its place.
    pub served_without: bool,
    /// An answer left that did not reflect a group acknowledged before its request arrived.
    pub stale_answer: bool,
    /// A log was called corrupt by an owner that is not fenced.
    pub called_corrupt: bool,
    /// An owner got the answer that it is fenced and was not.
    pub fenced_without_cause: bool,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    pub owners: [Owner; OWNERS],
    /// Whose group was acknowledged at a position.
    pub acknowledged: Rows,
    pub wrong: Wrong,
    /// How many more unknown outcomes there will be.
    pub unknowns_left: u8,
    /// How many more rolls.
    pub rolls_left: u8,
    /// How many more checkpoints.
    pub checkpoints_left: u8,
    /// A segment whose plain delete may be seen again: a mutant only.
    pub doomed: u8,
}

impl World {
    /// The head's epoch, by a plain read.
    pub fn head_epoch(&self) -> u8 {
        self.store.head.unwrap_or_default().epoch
    }

    /// The segment that the head names.
    pub fn head_segment(&self) -> u8 {
        self.store.head.unwrap_or_default().segment
    }

    /// The owner's clients hear that the group at the end of its memory is durable.
    pub fn acknowledge(&mut self, at: usize) {
        let position = usize::from(self.owners[at].last) - 1;
        let before = &mut self.acknowledged[position];
        if *before != NO_OWNER && *before != at as u8 + 1 {
            self.wrong.two_acknowledged = true;
        }
        *before = at as u8 + 1;
    }

    /// The last position that was acknowledged to any owner.
    pub fn last_acknowledged(&self) -> u8 {
        self.acknowledged.iter().rposition(|group| *group != NO_OWNER).map_or(0, |position| position as u8 + 1)
    }

    /// An owner begins to serve from the tables below the trim point and from the tail that it has read.
    pub fn note_start_of_service(&mut self, at: usize) {
        let owner = &self.owners[at];
        for position in 1..=self.last_acknowledged() {
            let acknowledged = self.acknowledged[usize::from(position) - 1];
            let read = owner.tail[usize::from(position) - 1];
            let has = if position < owner.trim {
                position <= self.store.durable
            } else {
                position <= owner.last && read != NO_OWNER && (acknowledged == NO_OWNER || acknowledged == read)
            };
            self.wrong.served_without |= !has;
        }
    }

    /// An answer leaves from an owner's memory.
    pub fn note_answer(&mut self, at: usize) {
        self.wrong.stale_answer |= self.owners[at].last < self.last_acknowledged();
    }

    /// Whether every position up to the last acknowledged one can be read: in the tables, or in a segment that the head keeps.
    pub fn everything_acknowledged_is_stored(&self) -> bool {
        let head = self.store.head.unwrap_or_default();
        (1..=self.last_acknowledged()).all(|position| {
            let index = usize::from(position) - 1;
            let in_log = || {
                (head.first_segment..=head.segment).filter_map(|number| self.store.segment(number)).any(|segment| {
                    let row = segment.rows[index];
                    row != NO_OWNER && (self.acknowledged[index] == NO_OWNER || self.acknowledged[index] == row)
                })
            };
            position <= self.store.durable || position >= head.trim && in_log()
        })
    }
}

/// Nothing acknowledged.
pub const NONE: Rows = [NO_OWNER; POSITIONS];
