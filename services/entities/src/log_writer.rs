//! Groups on their way to the log: one in flight, everything decided meanwhile in the next.

use std::collections::VecDeque;

use bytes::Bytes;
use ids::Timestamp;
use storage::{GroupId, Seq};

use crate::entity_slot::SlotId;
use crate::group::GroupBuffer;
use crate::moment::Seeds;
use crate::request::HeldReply;
use crate::{EntityKey, ObligationId};

/// An obligation that waits for its group.
pub(crate) struct DeferredObligation {
    pub(crate) slot: SlotId,
    pub(crate) id: ObligationId,
    /// The group that must be durable first.
    pub(crate) seq: Seq,
}

/// What follows once a group is durable.
#[derive(Default)]
pub(crate) struct OnDurable {
    pub(crate) replies: Vec<HeldReply>,
    pub(crate) obligations: Vec<DeferredObligation>,
    /// The entities that changed, each once.
    pub(crate) changed: Vec<SlotId>,
}

/// A group that is durable.
pub(crate) struct Committed {
    pub(crate) seq: Seq,
    pub(crate) bytes: usize,
    pub(crate) on_durable: OnDurable,
}

struct Open {
    seq: Seq,
    buffer: GroupBuffer,
    begun: Timestamp,
    on_durable: OnDurable,
}

struct Sealed {
    seq: Seq,
    id: GroupId,
    bytes: Bytes,
    begun: Timestamp,
    on_durable: OnDurable,
}

/// The groups that are not durable yet.
pub(crate) struct LogWriter {
    open: Open,
    sealed: VecDeque<Sealed>,
    in_flight: Option<Sealed>,
    durable: Seq,
    /// The first position that this owner appends at.
    first: Seq,
    waiting_bytes: usize,
    group_bytes: usize,
}

impl LogWriter {
    pub(crate) fn new(last: Seq, group_bytes: usize) -> Self {
        Self {
            open: Self::empty_group(last.next()),
            sealed: VecDeque::new(),
            in_flight: None,
            durable: last,
            first: last.next(),
            waiting_bytes: 0,
            group_bytes,
        }
    }

    fn empty_group(seq: Seq) -> Open {
        Open { seq, buffer: GroupBuffer::default(), begun: Timestamp::EPOCH, on_durable: OnDurable::default() }
    }

    /// The last position that is known to be durable.
    pub(crate) fn durable(&self) -> Seq {
        self.durable
    }

    /// The first position that this owner appends at: no earlier owner has written rows of this version or a higher one.
    pub(crate) fn first(&self) -> Seq {
        self.first
    }

    /// Has a group appended even if nothing is decided, so that its position becomes durable.
    pub(crate) fn begin_group(&mut self, at: Timestamp) {
        if self.open.buffer.len() == 0 {
            self.open.begun = at;
            self.open.buffer.begin();
        }
    }

    /// The position below which no further change can come: groups before it are closed.
    pub(crate) fn open_position(&self) -> Seq {
        self.open.seq
    }

    /// Bytes that are not durable yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// When the oldest group that is not durable began.
    pub(crate) fn oldest_waiting(&self) -> Option<Timestamp> {
        let earlier = self.in_flight.as_ref().or_else(|| self.sealed.front()).map(|group| group.begun);
        earlier.or_else(|| (self.open.buffer.len() > 0).then_some(self.open.begun))
    }

    /// Whether every change is durable.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.sealed.is_empty() && self.open.buffer.len() == 0
    }

    /// Adds a transition to the open group and returns its position.
    pub(crate) fn add(
        &mut self,
        slot: SlotId,
        key: &EntityKey,
        changes: &[Bytes],
        at: Timestamp,
        seeds: &mut Seeds,
    ) -> Seq {
        let seq = self.add_entry(key, changes, "", at, seeds);
        if self.open.on_durable.changed.last() != Some(&slot) {
            self.open.on_durable.changed.push(slot);
        }
        seq
    }

    /// Adds that an entity is quarantined.
    pub(crate) fn add_quarantined(&mut self, key: &EntityKey, reason: &str, at: Timestamp, seeds: &mut Seeds) -> Seq {
        self.add_entry(key, &[], reason, at, seeds)
    }

    fn add_entry(
        &mut self,
        key: &EntityKey,
        changes: &[Bytes],
        quarantined: &str,
        at: Timestamp,
        seeds: &mut Seeds,
    ) -> Seq {
        let cost = GroupBuffer::cost(key, changes, quarantined);
        if self.open.buffer.len() > 0 && self.open.buffer.len() + cost > self.group_bytes {
            self.seal(GroupId(seeds.draw()));
        }
        if self.open.buffer.len() == 0 {
            self.open.begun = at;
        }
        self.open.buffer.push(key, changes, quarantined);
        self.waiting_bytes += cost;
        self.open.seq
    }

    /// Seals the open group, if there is anything in it.
    pub(crate) fn seal(&mut self, id: GroupId) {
        if self.open.buffer.len() == 0 {
            return;
        }
        let next = Self::empty_group(self.open.seq.next());
        let Open { seq, buffer, begun, on_durable } = std::mem::replace(&mut self.open, next);
        self.sealed.push_back(Sealed { seq, id, bytes: buffer.finish(), begun, on_durable });
    }

    /// The next group to append, if none is in flight.
    pub(crate) fn launch(&mut self, seeds: &mut Seeds) -> Option<(Seq, GroupId, Bytes)> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.sealed.is_empty() {
            if self.open.buffer.len() == 0 {
                return None;
            }
            self.seal(GroupId(seeds.draw()));
        }
        self.in_flight = self.sealed.pop_front();
        self.in_flight_group()
    }

    /// The group in flight, to be appended.
    pub(crate) fn in_flight_group(&self) -> Option<(Seq, GroupId, Bytes)> {
        self.in_flight.as_ref().map(|group| (group.seq, group.id, group.bytes.clone()))
    }

    /// The group in flight is durable: what may follow now.
    pub(crate) fn commit_in_flight(&mut self) -> Option<Committed> {
        let group = self.in_flight.take()?;
        self.durable = group.seq;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(group.bytes.len());
        if self.is_idle() {
            self.waiting_bytes = 0;
        }
        Some(Committed { seq: group.seq, bytes: group.bytes.len(), on_durable: group.on_durable })
    }

    fn on_durable_at(&mut self, seq: Seq) -> Option<&mut OnDurable> {
        if seq <= self.durable {
            return None;
        }
        if let Some(group) = &mut self.in_flight
            && group.seq >= seq
        {
            return Some(&mut group.on_durable);
        }
        if let Some(group) = self.sealed.iter_mut().find(|group| group.seq >= seq) {
            return Some(&mut group.on_durable);
        }
        (self.open.buffer.len() > 0).then_some(&mut self.open.on_durable)
    }

    /// Lets a reply leave when `seq` is durable; gives it back if it already is.
    pub(crate) fn attach_reply(&mut self, seq: Seq, reply: HeldReply) -> Option<HeldReply> {
        match self.on_durable_at(seq) {
            Some(on_durable) => {
                on_durable.replies.push(reply);
                None
            }
            None => Some(reply),
        }
    }

    /// Lets an obligation start when its position is durable; gives it back if it already is.
    pub(crate) fn attach_obligation(&mut self, start: DeferredObligation) -> Option<DeferredObligation> {
        match self.on_durable_at(start.seq) {
            Some(on_durable) => {
                on_durable.obligations.push(start);
                None
            }
            None => Some(start),
        }
    }

    /// The first group whose append has not begun, if any: its outcome is a fence check for all that waits now.
    pub(crate) fn first_unlaunched(&self) -> Option<Seq> {
        let sealed = self.sealed.front().map(|group| group.seq);
        sealed.or_else(|| (self.open.buffer.len() > 0).then_some(self.open.seq))
    }

    /// The position of the group in flight, if any.
    pub(crate) fn in_flight(&self) -> Option<Seq> {
        self.in_flight.as_ref().map(|group| group.seq)
    }
}
