//! What an owner does while it serves: append, answer reads, roll, checkpoint, trim.

use crate::model::{LogModel, World};
use crate::mutant::Mutant;
use crate::owner::Phase;
use crate::store::{Lwt, NO_OWNER};
use crate::world::Fate;

impl LogModel {
    /// Appends the next group in the segment that the head named under our epoch.
    pub fn append(&self, world: &mut World, at: usize, fate: Fate) {
        let owner = world.owners[at];
        let (segment, group) = (owner.segment, at as u8 + 1);
        let epoch = (!self.has(Mutant::AppendWithoutEpoch)).then_some(owner.epoch);
        let lwt = Lwt::Append { segment, epoch, seq: owner.last + 1, group };
        match self.attempt(world, lwt, fate) {
            Some(true) if fate == Fate::Misreported && self.has(Mutant::OwnEpochIsFenced) => self.fenced(world, at),
            Some(true) if fate == Fate::Answered => {
                world.owners[at].last += 1;
                world.acknowledge(at);
            }
            None | Some(true) => self.resolve_unknown_append(world, at),
            Some(false) => match world.store.segment(segment) {
                Some(segment) if segment.epoch > owner.epoch => self.fenced(world, at),
                Some(_) => self.resolve_unknown_append(world, at),
                // Trimmed and deleted by a successor, if there is one: the head knows.
                None if world.head_epoch() > owner.epoch => self.fenced(world, at),
                None => self.resolve_unknown_append(world, at),
            },
        }
    }

    fn resolve_unknown_append(&self, world: &mut World, at: usize) {
        if self.has(Mutant::PositionAlone) {
            world.owners[at].phase = Phase::Peeking;
        } else {
            world.owners[at].start_reopening();
        }
    }

    /// Only in a mutant: takes whatever stands at our position for our group.
    pub fn peek(&self, world: &mut World, at: usize) {
        let owner = &mut world.owners[at];
        let row = world.store.segment(owner.segment).map_or(NO_OWNER, |segment| segment.rows[usize::from(owner.last)]);
        owner.phase = Phase::Serving;
        if row != NO_OWNER {
            owner.last += 1;
            world.acknowledge(at);
        }
    }

    /// A read (or a rejection) arrives, and right after it its fence check begins: a plain quorum read of the head's epoch. If it
    /// passes, the answer leaves, from memory.
    ///
    /// Arrival and check are one step because the answer need only reflect what was acknowledged before the arrival: the later the
    /// arrival, the more it asks for.
    pub fn answer(&self, world: &mut World, at: usize) {
        let owner = world.owners[at];
        let passes = if self.has(Mutant::NoFenceCheck) || self.has(Mutant::OldFenceCheck) && owner.old_proof {
            true
        } else if self.has(Mutant::FenceCheckOnSegment) {
            world.store.segment(owner.segment).map_or(0, |segment| segment.epoch) <= owner.epoch
        } else {
            world.head_epoch() <= owner.epoch
        };
        if passes {
            world.note_answer(at);
        } else {
            self.fenced(world, at);
        }
    }

    /// Only in a mutant: a fence check that no request has asked for yet.
    pub fn check_fence_early(&self, world: &mut World, at: usize) {
        world.owners[at].old_proof = world.head_epoch() <= world.owners[at].epoch;
    }

    /// Begins to roll. A segment without groups is not left.
    pub fn start_roll(&self, world: &mut World, at: usize) {
        world.rolls_left -= 1;
        let to = world.owners[at].segment + 1;
        world.owners[at].phase = if self.head_first() {
            Phase::MovingHead { to, uncertain: false }
        } else {
            Phase::CreatingSegment { to, uncertain: false }
        };
    }

    /// Whether `HeadMovedBeforeSegment` is on, in either form.
    fn head_first(&self) -> bool {
        self.has(Mutant::HeadMovedBeforeSegment) || self.has(Mutant::HeadMovedBeforeSegmentAndMissingIsEmpty)
    }

    /// Creates the segment `to`, empty, with our epoch and its first position. A number counts only if the very statement that
    /// created it was answered as applied; after any other answer the owner takes the next number. What is left behind is an orphan:
    /// no head will ever name it.
    pub fn create_segment(&self, world: &mut World, at: usize, to: u8, fate: Fate) {
        let owner = world.owners[at];
        let lwt = Lwt::CreateSegment { segment: to, epoch: owner.epoch, last: owner.last };
        let answer = self.attempt(world, lwt, fate);
        let there = world.store.segment(to);
        let looks_ours = there.is_some_and(|there| there.epoch == owner.epoch && there.last == owner.last);
        let orphan = there.is_some_and(|there| there.epoch < owner.epoch);
        world.owners[at].phase = match answer {
            Some(true) if self.head_first() => Phase::Serving,
            Some(true) => Phase::MovingHead { to, uncertain: false },
            None if self.has(Mutant::CreateRepeated) || self.head_first() => {
                Phase::CreatingSegment { to, uncertain: true }
            }
            Some(false) if self.has(Mutant::CreateRepeated) && looks_ours => Phase::MovingHead { to, uncertain: false },
            Some(false) if self.has(Mutant::OrphanUsed) => Phase::MovingHead { to, uncertain: false },
            Some(false) if self.has(Mutant::NumberReused) && orphan => {
                // A plain delete, which a replica may well see again later.
                world.store.delete(to);
                world.doomed = to;
                Phase::CreatingSegment { to, uncertain: false }
            }
            Some(false) if self.head_first() => return world.owners[at].start_reopening(),
            None => Phase::CreatingSegment { to: to + 1, uncertain: true },
            Some(false) => Phase::CreatingSegment { to: to + 1, uncertain: false },
        };
    }

    /// Moves the head. While the outcome is unknown nothing may be appended to the segment that is left: the move may land later.
    pub fn move_head(&self, world: &mut World, at: usize, to: u8, fate: Fate) {
        let owner = world.owners[at];
        let lwt = Lwt::MoveHead { epoch: owner.epoch, from: owner.segment, to };
        let moved = match self.attempt(world, lwt, fate) {
            None if self.has(Mutant::UnknownMoveShruggedOff) => {
                world.owners[at].phase = Phase::Serving;
                return;
            }
            None => {
                world.owners[at].phase = Phase::MovingHead { to, uncertain: true };
                return;
            }
            Some(true) => true,
            Some(false) => world.store.head.is_some_and(|head| head.epoch == owner.epoch && head.segment == to),
        };
        if !moved {
            return self.fenced(world, at);
        }
        let head_first = self.head_first();
        let owner = &mut world.owners[at];
        owner.segment = to;
        owner.phase = if head_first { Phase::CreatingSegment { to, uncertain: false } } else { Phase::Serving };
    }

    /// Writes everything in memory to the tables. Only an acknowledged write counts, and only for its writer.
    pub fn checkpoint(&self, world: &mut World, at: usize, fate: Fate) {
        world.checkpoints_left -= 1;
        let owner = &mut world.owners[at];
        if self.has(Mutant::TrimOnShownRows) {
            world.store.shown = world.store.shown.max(owner.last);
        }
        if fate == Fate::Answered {
            owner.checkpointed = owner.last;
            world.store.durable = world.store.durable.max(owner.last);
        } else {
            world.unknowns_left -= 1;
        }
    }

    /// The point up to which `trim` would cut.
    pub fn trim_point(&self, world: &World, at: usize) -> u8 {
        let owner = &world.owners[at];
        let shown = if self.has(Mutant::TrimOnShownRows) { world.store.shown.min(owner.last) } else { 0 };
        owner.checkpointed.max(shown) + 1
    }

    /// Moves the trim point, and with it the first segment that is kept; whole segments before it may go once that is known.
    pub fn trim(&self, world: &mut World, at: usize, fate: Fate) {
        let owner = world.owners[at];
        let trim = self.trim_point(world, at);
        let holds = |number: &u8| world.store.segment(*number).is_some_and(|segment| segment.last >= trim);
        let first_segment = (owner.first_segment..owner.segment).find(holds).unwrap_or(owner.segment);
        let known = (!self.has(Mutant::TrimByEpochAlone)).then_some(owner.trim);
        let answer = self.attempt(world, Lwt::Trim { epoch: owner.epoch, known, trim, first_segment }, fate);
        let head = world.store.head.unwrap_or_default();
        match answer {
            None if self.has(Mutant::DeleteOnUnknownTrim) => {
                world.store.deletable = world.store.deletable.max(first_segment)
            }
            None => {} // Nothing is deleted; a later trim will show.
            Some(false) if head.epoch > owner.epoch => self.fenced(world, at),
            Some(_) => {
                world.store.deletable = world.store.deletable.max(head.first_segment);
                let owner = &mut world.owners[at];
                (owner.trim, owner.first_segment) = (head.trim, head.first_segment);
            }
        }
    }
}
