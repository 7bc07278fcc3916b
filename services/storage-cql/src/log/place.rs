//! Where an owner writes: what this process remembers of a log between calls, so that an append needs no read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use storage::{Epoch, Seq};
use uuid::Uuid;

use crate::settings::LogLimits;

/// A segment of a log: its name, and the position of its first group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: Uuid,
    pub(super) first: Seq,
}

/// A log as its owner of one epoch knows it.
pub(super) struct Place {
    pub(super) epoch: Epoch,
    /// Held while this process changes the head under this epoch, so that its own changes do not compete.
    pub(super) head_turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    /// Oldest first. The last is the one that the head names.
    segments: VecDeque<Segment>,
    /// The last position known to be taken.
    last: Seq,
    /// What the last segment holds.
    bytes: u64,
    /// Whether `last` is certainly the last. After an unknown outcome it is not, and a new segment, which begins at the
    /// position after it, must not be created.
    is_certain: bool,
    /// Whether the head may name another segment by now, or at any later moment.
    is_lost: bool,
}

impl Place {
    /// Of an owner that has just opened the log and read all of it.
    pub(super) fn opened(epoch: Epoch, segments: VecDeque<Segment>, last: Seq, bytes: u64) -> Self {
        Self::new(epoch, State { segments, last, bytes, is_certain: true, is_lost: false })
    }

    /// Of an owner that opened the log in an earlier life. An append of that life may still be under way.
    pub(super) fn found(epoch: Epoch, segment: Segment, last: Seq) -> Self {
        Self::new(epoch, State { segments: [segment].into(), last, bytes: 0, is_certain: false, is_lost: false })
    }

    fn new(epoch: Epoch, state: State) -> Self {
        Self { epoch, head_turn: tokio::sync::Mutex::new(()), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock, and if it did, each field would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> Seq {
        self.state().last
    }

    /// The segment that the head names; `None` when it may have come to name another.
    pub(super) fn segment(&self) -> Option<Uuid> {
        let state = self.state();
        state.segments.back().filter(|_| !state.is_lost).map(|segment| segment.name)
    }

    /// Whether a group at `seq` should go into a new segment.
    pub(super) fn is_full(&self, seq: Seq, limits: &LogLimits) -> bool {
        let state = self.state();
        let Some(segment) = state.segments.back() else { return false };
        let groups = seq.0.saturating_sub(segment.first.0);
        state.is_certain
            && seq == state.last.next()
            && groups > 0
            && (state.bytes >= limits.segment_bytes || groups >= limits.segment_groups)
    }

    pub(super) fn appended(&self, seq: Seq, bytes: usize) {
        let mut state = self.state();
        state.last = state.last.max(seq);
        state.bytes = state.bytes.saturating_add(bytes as u64);
    }

    /// The head names another segment now.
    pub(super) fn rolled(&self, to: Segment) {
        let mut state = self.state();
        state.segments.push_back(to);
        state.bytes = 0;
    }

    /// An outcome is not known: only opening the log again shows where it ends.
    pub(super) fn doubt(&self) {
        self.state().is_certain = false;
    }

    /// A change of the head's segment has an unknown outcome, and may yet happen: what were appended to the old one could
    /// then not be found any more.
    pub(super) fn lose(&self) {
        self.state().is_lost = true;
    }

    /// The segments that have nothing at or above `below`, oldest first. Never the last.
    pub(super) fn passed(&self, below: Seq) -> Vec<Uuid> {
        let state = self.state();
        let followed = state.segments.iter().zip(state.segments.iter().skip(1));
        followed.take_while(|(_, next)| next.first <= below).map(|(segment, _)| segment.name).collect()
    }

    /// A segment is gone.
    pub(super) fn deleted(&self, name: Uuid) {
        self.state().segments.retain(|segment| segment.name != name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LogLimits = LogLimits { segment_bytes: 100, segment_groups: 3, inline_bytes: 1, chunk_bytes: 1 };

    fn segment(name: u128, first: u64) -> Segment {
        Segment { name: Uuid::from_u128(name), first: Seq(first) }
    }

    fn names(names: &[u128]) -> Vec<Uuid> {
        names.iter().map(|&name| Uuid::from_u128(name)).collect()
    }

    fn place(firsts: &[u64], last: u64) -> Place {
        let segments = firsts.iter().zip(1..).map(|(&first, name)| segment(name, first)).collect();
        Place::opened(Epoch(1), segments, Seq(last), 0)
    }

    #[test]
    fn a_segment_is_full_by_groups_or_bytes() {
        let at = place(&[1], 0);
        assert!(!at.is_full(Seq(1), &LIMITS), "an empty segment is never full");
        at.appended(Seq(1), 99);
        assert!(!at.is_full(Seq(2), &LIMITS));
        at.appended(Seq(2), 1);
        assert!(at.is_full(Seq(3), &LIMITS));
        assert!(!at.is_full(Seq(4), &LIMITS), "only the next position can begin a segment");
        at.rolled(segment(2, 3));
        assert_eq!((at.segment(), at.is_full(Seq(3), &LIMITS)), (Some(Uuid::from_u128(2)), false));
        assert!(place(&[1], 3).is_full(Seq(4), &LIMITS));
    }

    #[test]
    fn in_doubt_nothing_is_full() {
        let at = place(&[1], 3);
        at.doubt();
        assert!(!at.is_full(Seq(4), &LIMITS));
        assert!(!Place::found(Epoch(1), segment(1, 1), Seq(3)).is_full(Seq(4), &LIMITS));
    }

    #[test]
    fn a_lost_place_names_no_segment() {
        let at = place(&[1], 3);
        assert!(at.segment().is_some());
        at.lose();
        assert_eq!(at.segment(), None);
    }

    #[test]
    fn a_segment_has_passed_when_the_next_begins_at_the_trim_point() {
        let at = place(&[1, 4, 7], 9);
        for (below, expected) in
            [(3, names(&[])), (4, names(&[1])), (6, names(&[1])), (7, names(&[1, 2])), (10, names(&[1, 2]))]
        {
            assert_eq!(at.passed(Seq(below)), expected, "below {below}");
        }
        at.deleted(Uuid::from_u128(1));
        assert_eq!(at.passed(Seq(10)), names(&[2]));
    }
}
