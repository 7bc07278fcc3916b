//! Open and reopen, step by step. A reopen is an open that is ready to hear that it is too late, and that keeps its memory.

use crate::model::{LogModel, World};
use crate::mutant::Mutant;
use crate::owner::Phase;
use crate::store::{Head, Lwt, NO_OWNER, POSITIONS};
use crate::world::Fate;

impl LogModel {
    /// Reads the head. An opener takes it as it is; a reopener goes on only if the epoch is still its own, or was raised by an
    /// earlier attempt of this very reopen. The read itself proves nothing: the raise is conditional on every field of it.
    pub fn read_head(&self, world: &mut World, at: usize) {
        let Some(head) = world.store.head else {
            world.owners[at].phase = Phase::CreatingHead;
            return;
        };
        let owner = world.owners[at];
        if owner.reopening != 0 && !self.is_ours(head, owner.reopening, self.nonce(at)) {
            self.fenced(world, at);
            return;
        }
        world.owners[at].phase = Phase::RaisingHead { read: head };
    }

    fn is_ours(&self, head: Head, epoch: u8, nonce: u8) -> bool {
        if self.has(Mutant::ReopenByNonceAlone) {
            return head.nonce == nonce;
        }
        if self.has(Mutant::ReopenByEpochAlone) {
            return head.epoch == epoch || head.epoch == epoch + 1;
        }
        head.nonce == nonce && (head.epoch == epoch || head.reopened_from == epoch)
    }

    /// Creates the head of a log that was never used. It is the same for every creator, and the head is read again in any case.
    pub fn create_head(&self, world: &mut World, at: usize, fate: Fate) {
        self.attempt(world, Lwt::CreateHead, fate);
        world.owners[at].phase = Phase::ReadingHead;
    }

    /// Raises the head's epoch. Only an applied answer gives an epoch; after any other the process starts over, and an epoch of
    /// one's own that landed unseen is simply raised again.
    pub fn raise_head(&self, world: &mut World, at: usize, read: Head, fate: Fate) {
        let reopened_from = world.owners[at].reopening;
        let raised = Head { epoch: read.epoch + 1, nonce: self.nonce(at), reopened_from, ..read };
        let whole = !self.has(Mutant::StaleHead);
        let applied = self.attempt(world, Lwt::RaiseHead { read, raised, whole }, fate);
        let owner = &mut world.owners[at];
        if applied != Some(true) {
            owner.phase = Phase::ReadingHead;
            return;
        }
        let remembered = owner.segment;
        owner.adopt(raised);
        if owner.reopening != 0 && self.has(Mutant::ReopenRemembersSegment) {
            owner.segment = remembered;
        }
        owner.phase = if owner.segment == 0 {
            Phase::CheckingHead { hole: false }
        } else if self.has(Mutant::TailReadBeforeFence) || self.has(Mutant::SegmentNotFenced) && owner.reopening == 0 {
            Phase::ReadingTail { segment: owner.first_segment }
        } else {
            Phase::Fencing
        };
    }

    /// Raises the epoch of the segment that the head names. An epoch counts only if the very statement that brought it into the
    /// segment was answered as applied. After any other answer the owner starts over and gets a new one: what is still in flight
    /// must not carry an epoch that an owner serves under.
    pub fn fence_segment(&self, world: &mut World, at: usize, fate: Fate) {
        let owner = world.owners[at];
        let lwt = Lwt::FenceSegment { segment: owner.segment, epoch: owner.epoch };
        let answer = self.attempt(world, lwt, fate);
        let epoch = world.store.segment(owner.segment).map(|segment| segment.epoch);
        let fenced = match (answer, epoch) {
            (Some(true), _) => true,
            (None, _) if self.has(Mutant::FenceRepeated) => return,
            (Some(false), Some(epoch)) if epoch == owner.epoch && self.has(Mutant::FenceRepeated) => true,
            (Some(false), Some(epoch)) if epoch > owner.epoch => return self.fenced(world, at),
            (Some(false), None) => self.has(Mutant::HeadMovedBeforeSegmentAndMissingIsEmpty),
            (None | Some(false), _) => {
                world.owners[at].phase = Phase::ReadingHead;
                return;
            }
        };
        world.owners[at].phase = if !fenced || self.has(Mutant::TailReadBeforeFence) {
            Phase::CheckingHead { hole: !fenced }
        } else {
            Phase::ReadingTail { segment: owner.first_segment }
        };
    }

    /// Reads one segment. A number without a partition, or without rows, is no hole: it may be an orphan, never named by a head.
    pub fn read_segment(&self, world: &mut World, at: usize, number: u8) {
        let segment = world.store.segment(number).copied();
        let owner = &mut world.owners[at];
        for position in 0..POSITIONS {
            let group = segment.map_or(NO_OWNER, |segment| segment.rows[position]);
            if group != NO_OWNER {
                owner.tail[position] = group;
            }
        }
        if number < owner.segment {
            owner.phase = Phase::ReadingTail { segment: number + 1 };
            return;
        }
        let missing_is_empty = self.has(Mutant::HeadMovedBeforeSegmentAndMissingIsEmpty);
        let last_seq = match segment {
            Some(segment) => Some(segment.last),
            None if missing_is_empty => {
                owner.tail.iter().rposition(|group| *group != NO_OWNER).map(|last| last as u8 + 1).or(Some(0))
            }
            None => None,
        };
        let end = last_seq.and_then(|last_seq| owner.contiguous_tail(last_seq));
        owner.phase = match end {
            None => Phase::CheckingHead { hole: true },
            Some(_) if self.has(Mutant::TailReadBeforeFence) => Phase::Fencing,
            Some(_) => Phase::CheckingHead { hole: false },
        };
        // A reopener compares with the end of its memory; an opener's memory is what it has read.
        if owner.reopening == 0 {
            owner.last = end.unwrap_or(0);
        }
    }

    /// Reads the head a last time. A former owner was fenced; for the owner, a hole means that the log is corrupt.
    pub fn check_head(&self, world: &mut World, at: usize, hole: bool) {
        let owner = world.owners[at];
        let epoch = world.store.head.unwrap_or_default().epoch;
        if epoch != owner.epoch && (hole || !self.has(Mutant::NoLastLook)) {
            return self.fenced(world, at);
        }
        if hole {
            world.wrong.called_corrupt = true;
            return;
        }
        if owner.reopening == 0 {
            world.note_start_of_service(at);
        } else if !look_for_own_group(world, at) {
            world.wrong.called_corrupt = true;
            return;
        }
        let owner = &mut world.owners[at];
        owner.tail = [NO_OWNER; POSITIONS];
        owner.reopening = 0;
        owner.phase = Phase::Serving;
    }
}

/// No other owner came between, so the position after our memory holds our group, which is acknowledged now, or nothing: then the group is
/// appended again. Returns whether that is so.
fn look_for_own_group(world: &mut World, at: usize) -> bool {
    let owner = &mut world.owners[at];
    let row = owner.tail.get(usize::from(owner.last)).copied().unwrap_or(NO_OWNER);
    if row == at as u8 + 1 {
        owner.last += 1;
        world.acknowledge(at);
    }
    row == NO_OWNER || row == at as u8 + 1
}
