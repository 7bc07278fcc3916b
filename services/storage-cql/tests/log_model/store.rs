//! The tables as the database holds them, the conditional writes that change them, and the writes whose outcome is not known yet.
//!
//! A conditional write (LWT) happens at one instant: its condition is looked at and its change made together. What makes it hard is
//! only that its sender may not hear of it. See [`Store::in_flight`].

/// How many positions a model may use.
pub const POSITIONS: usize = 4;
/// How many segments a model may use.
pub const SEGMENTS: usize = 7;
/// How many writes may be in flight.
pub const IN_FLIGHT: usize = 4;

/// An owner, counted from 1. An owner proposes at most one group for a position, so `(owner, position)` stands for the random group id.
pub type OwnerId = u8;

/// No group, no owner.
pub const NO_OWNER: OwnerId = 0;

/// The groups of a stretch of the log; the group of position `p` is at `p - 1`.
pub type Rows = [OwnerId; POSITIONS];

/// The row of `log_head`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// Rises with every open and reopen.
    pub epoch: u8,
    /// Names the process that raised the epoch last.
    pub nonce: u8,
    /// If the epoch was raised by a reopen: the epoch that the reopener held. 0 after an open.
    pub reopened_from: u8,
    /// Where appends go; 0 while no segment was ever needed.
    pub segment: u8,
    /// The first position that is kept.
    pub trim: u8,
    /// The segment that holds it: everything before may be deleted.
    pub first_segment: u8,
}

/// One partition `(log, segment)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The static column `epoch`.
    pub epoch: u8,
    /// The static column `last_seq`.
    pub last: u8,
    /// Its groups. (A row's own epoch is written for people who read the table; the protocol never looks at it.)
    pub rows: Rows,
}

/// A conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lwt {
    /// The head of a log that was never used, if it does not exist. It names no segment yet.
    CreateHead,
    /// Raises the head's epoch, if every field (or, in a mutant, only the epoch) is as it was read.
    RaiseHead { read: Head, raised: Head, whole: bool },
    /// Raises a segment's epoch, if the segment exists and has a lower one.
    FenceSegment { segment: u8, epoch: u8 },
    /// Appends a group, if the segment's epoch is ours (a mutant does not ask) and the position is the next.
    Append { segment: u8, epoch: Option<u8>, seq: u8, group: OwnerId },
    /// Creates a segment, if it does not exist.
    CreateSegment { segment: u8, epoch: u8, last: u8 },
    /// Moves the head to the next segment, if epoch and segment are ours.
    MoveHead { epoch: u8, from: u8, to: u8 },
    /// Moves the trim point, if the epoch is ours and the point where we believe it to be (a mutant does not ask).
    Trim { epoch: u8, known: Option<u8>, trim: u8, first_segment: u8 },
}

/// Everything that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The row of `log_head`, once it exists.
    pub head: Option<Head>,
    /// The segments that exist, by number.
    pub segments: [Option<Segment>; SEGMENTS],
    /// Writes whose sender has stopped waiting. Each may still happen, at any time later and on the condition of that time, or never.
    ///
    /// This is more than Paxos allows (there, the next round in the partition finishes or supersedes a proposal), because a request may
    /// also lie in a slow coordinator before Paxos sees it.
    pub in_flight: [Option<Lwt>; IN_FLIGHT],
    /// Checkpoints: everything up to here is in the entities' tables, on a quorum.
    pub durable: u8,
    /// Up to here the tables may *show* rows, from checkpoints that were not acknowledged and that may vanish with a replica.
    pub shown: u8,
    /// Segments before this are known to be trimmed by some owner, whose deletes may come at any time.
    pub deletable: u8,
}

impl Store {
    /// An empty log, with its first segment, that was opened under epoch 1 and left.
    pub fn with_empty_log() -> Self {
        let mut store = Self::nothing();
        store.head = Some(Head { epoch: 1, segment: 1, trim: 1, first_segment: 1, ..Head::default() });
        store.segments[1] = Some(Segment { epoch: 1, ..Segment::default() });
        store
    }

    /// An empty database.
    pub fn nothing() -> Self {
        Self {
            head: None,
            segments: [None; SEGMENTS],
            in_flight: [None; IN_FLIGHT],
            durable: 0,
            shown: 0,
            deletable: 0,
        }
    }

    /// A segment, if it exists.
    pub fn segment(&self, number: u8) -> Option<&Segment> {
        self.segments.get(usize::from(number))?.as_ref()
    }

    /// Makes the change of `lwt` if its condition holds, and says whether it did.
    pub fn execute(&mut self, lwt: Lwt) -> bool {
        let applies = self.condition_holds(lwt);
        if applies {
            self.change(lwt);
        }
        applies
    }

    fn condition_holds(&self, lwt: Lwt) -> bool {
        let head = self.head.unwrap_or_default();
        match lwt {
            Lwt::CreateHead => self.head.is_none(),
            Lwt::RaiseHead { read, whole: true, .. } => head == read,
            Lwt::RaiseHead { read, whole: false, .. } => head.epoch == read.epoch,
            Lwt::FenceSegment { segment, epoch } => self.segment(segment).is_some_and(|of| of.epoch < epoch),
            Lwt::Append { segment, epoch, seq, .. } => self
                .segment(segment)
                .is_some_and(|of| epoch.is_none_or(|epoch| of.epoch == epoch) && of.last + 1 == seq),
            Lwt::CreateSegment { segment, .. } => self.segment(segment).is_none(),
            Lwt::MoveHead { epoch, from, .. } => head.epoch == epoch && head.segment == from,
            Lwt::Trim { epoch, known, .. } => head.epoch == epoch && known.is_none_or(|known| head.trim == known),
        }
    }

    fn change(&mut self, lwt: Lwt) {
        match (lwt, &mut self.head) {
            (Lwt::CreateHead, head) => *head = Some(Head { trim: 1, first_segment: 1, ..Head::default() }),
            (Lwt::RaiseHead { raised, .. }, Some(head)) => {
                (head.epoch, head.nonce, head.reopened_from) = (raised.epoch, raised.nonce, raised.reopened_from);
            }
            (Lwt::FenceSegment { segment, epoch }, _) => {
                if let Some(of) = &mut self.segments[usize::from(segment)] {
                    of.epoch = epoch;
                }
            }
            (Lwt::Append { segment, seq, group, .. }, _) => {
                if let Some(of) = &mut self.segments[usize::from(segment)] {
                    of.last = seq;
                    of.rows[usize::from(seq) - 1] = group;
                }
            }
            (Lwt::CreateSegment { segment, epoch, last }, _) => {
                self.segments[usize::from(segment)] = Some(Segment { epoch, last, ..Segment::default() });
            }
            (Lwt::MoveHead { to, .. }, Some(head)) => head.segment = to,
            (Lwt::Trim { trim, first_segment, .. }, Some(head)) => {
                (head.trim, head.first_segment) = (trim, first_segment);
            }
            (Lwt::RaiseHead { .. } | Lwt::MoveHead { .. } | Lwt::Trim { .. }, None) => {}
        }
    }

    /// The sender has stopped waiting for `lwt`.
    pub fn put_in_flight(&mut self, lwt: Lwt) {
        let free = self.in_flight.iter_mut().find(|slot| slot.is_none());
        *free.expect("there is room for as many as may be unknown") = Some(lwt);
        self.tidy_in_flight();
    }

    /// What is in flight at `slot` happens now, after all.
    pub fn land(&mut self, slot: usize) {
        if let Some(lwt) = self.in_flight[slot].take() {
            self.execute(lwt);
        }
        self.tidy_in_flight();
    }

    /// Forgets what is in flight but can never apply again, and puts the rest in order, so that states which differ in nothing that
    /// matters are one state. The head's epoch, segment and trim point only rise; what is behind them is dead.
    pub fn tidy_in_flight(&mut self) {
        for slot in 0..IN_FLIGHT {
            if self.in_flight[slot].is_some_and(|lwt| self.is_dead(lwt)) {
                self.in_flight[slot] = None;
            }
        }
        self.in_flight.sort_unstable();
    }

    fn is_dead(&self, lwt: Lwt) -> bool {
        let head = self.head.unwrap_or_default();
        match lwt {
            // A segment may be deleted, and a late create may bring it back as it was: nothing there is dead for ever.
            Lwt::FenceSegment { .. } | Lwt::Append { .. } | Lwt::CreateSegment { .. } => false,
            Lwt::CreateHead => self.head.is_some(),
            Lwt::RaiseHead { read, whole, .. } => {
                head.epoch > read.epoch || whole && (head.segment, head.trim) > (read.segment, read.trim)
            }
            Lwt::MoveHead { epoch, from, .. } => head.epoch > epoch || head.segment > from,
            Lwt::Trim { epoch, known, .. } => head.epoch > epoch || known.is_some_and(|known| head.trim > known),
        }
    }

    /// Deletes a whole partition: a plain write.
    pub fn delete(&mut self, segment: u8) {
        self.segments[usize::from(segment)] = None;
    }
}
