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
pub(crate) struct Start {
    pub(crate) slot: SlotId,
    pub(crate) id: ObligationId,
    /// The group that must be durable first.
    pub(crate) seq: Seq,
}

/// What leaves when a group is durable.
#[derive(Default)]
pub(crate) struct Cargo {
    pub(crate) replies: Vec<HeldReply>,
    pub(crate) starts: Vec<Start>,
    /// The entities that changed, each once.
    pub(crate) changed: Vec<SlotId>,
}

/// A group that is durable.
pub(crate) struct Landed {
    pub(crate) seq: Seq,
    pub(crate) bytes: usize,
    pub(crate) cargo: Cargo,
}

struct Forming {
    seq: Seq,
    buffer: GroupBuffer,
    begun: Timestamp,
    cargo: Cargo,
}

struct Closed {
    seq: Seq,
    id: GroupId,
    bytes: Bytes,
    begun: Timestamp,
    cargo: Cargo,
}

/// The groups that are not durable yet.
pub(crate) struct LogWriter {
    forming: Forming,
    full: VecDeque<Closed>,
    in_flight: Option<Closed>,
    durable: Seq,
    /// The first position that this owner appends at.
    first: Seq,
    waiting_bytes: usize,
    group_bytes: usize,
}

impl LogWriter {
    pub(crate) fn new(last: Seq, group_bytes: usize) -> Self {
        Self {
            forming: Self::empty_group(last.next()),
            full: VecDeque::new(),
            in_flight: None,
            durable: last,
            first: last.next(),
            waiting_bytes: 0,
            group_bytes,
        }
    }

    fn empty_group(seq: Seq) -> Forming {
        Forming { seq, buffer: GroupBuffer::default(), begun: Timestamp::EPOCH, cargo: Cargo::default() }
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
        if self.forming.buffer.len() == 0 {
            self.forming.begun = at;
            self.forming.buffer.begin();
        }
    }

    /// The position below which no further change can come: groups before it are closed.
    pub(crate) fn open_position(&self) -> Seq {
        self.forming.seq
    }

    /// Bytes that are not durable yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// When the oldest group that is not durable began.
    pub(crate) fn oldest_waiting(&self) -> Option<Timestamp> {
        let closed = self.in_flight.as_ref().or_else(|| self.full.front()).map(|group| group.begun);
        closed.or_else(|| (self.forming.buffer.len() > 0).then_some(self.forming.begun))
    }

    /// Whether every change is durable.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.full.is_empty() && self.forming.buffer.len() == 0
    }

    /// Adds a transition to the group that forms and returns its position.
    pub(crate) fn add(
        &mut self,
        slot: SlotId,
        key: &EntityKey,
        changes: &[Bytes],
        at: Timestamp,
        seeds: &mut Seeds,
    ) -> Seq {
        let seq = self.add_entry(key, changes, "", at, seeds);
        if self.forming.cargo.changed.last() != Some(&slot) {
            self.forming.cargo.changed.push(slot);
        }
        seq
    }

    /// Adds that an entity is set aside.
    pub(crate) fn add_set_aside(&mut self, key: &EntityKey, reason: &str, at: Timestamp, seeds: &mut Seeds) -> Seq {
        self.add_entry(key, &[], reason, at, seeds)
    }

    fn add_entry(
        &mut self,
        key: &EntityKey,
        changes: &[Bytes],
        set_aside: &str,
        at: Timestamp,
        seeds: &mut Seeds,
    ) -> Seq {
        let cost = GroupBuffer::cost(key, changes, set_aside);
        if self.forming.buffer.len() > 0 && self.forming.buffer.len() + cost > self.group_bytes {
            self.close_forming(GroupId(seeds.draw()));
        }
        if self.forming.buffer.len() == 0 {
            self.forming.begun = at;
        }
        self.forming.buffer.push(key, changes, set_aside);
        self.waiting_bytes += cost;
        self.forming.seq
    }

    /// Closes the group that forms, if there is anything in it.
    pub(crate) fn close_forming(&mut self, id: GroupId) {
        if self.forming.buffer.len() == 0 {
            return;
        }
        let next = Self::empty_group(self.forming.seq.next());
        let Forming { seq, buffer, begun, cargo } = std::mem::replace(&mut self.forming, next);
        self.full.push_back(Closed { seq, id, bytes: buffer.finish(), begun, cargo });
    }

    /// The next group to append, if none is in flight.
    pub(crate) fn launch(&mut self, seeds: &mut Seeds) -> Option<(Seq, GroupId, Bytes)> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.full.is_empty() {
            if self.forming.buffer.len() == 0 {
                return None;
            }
            self.close_forming(GroupId(seeds.draw()));
        }
        self.in_flight = self.full.pop_front();
        self.in_flight_group()
    }

    /// The group in flight, to be appended.
    pub(crate) fn in_flight_group(&self) -> Option<(Seq, GroupId, Bytes)> {
        self.in_flight.as_ref().map(|group| (group.seq, group.id, group.bytes.clone()))
    }

    /// The group in flight has landed: what may leave now.
    pub(crate) fn landed(&mut self) -> Option<Landed> {
        let group = self.in_flight.take()?;
        self.durable = group.seq;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(group.bytes.len());
        if self.is_idle() {
            self.waiting_bytes = 0;
        }
        Some(Landed { seq: group.seq, bytes: group.bytes.len(), cargo: group.cargo })
    }

    fn cargo_of(&mut self, seq: Seq) -> Option<&mut Cargo> {
        if seq <= self.durable {
            return None;
        }
        if let Some(group) = &mut self.in_flight
            && group.seq >= seq
        {
            return Some(&mut group.cargo);
        }
        if let Some(group) = self.full.iter_mut().find(|group| group.seq >= seq) {
            return Some(&mut group.cargo);
        }
        (self.forming.buffer.len() > 0).then_some(&mut self.forming.cargo)
    }

    /// Lets a reply leave when `seq` is durable; gives it back if it already is.
    pub(crate) fn attach_reply(&mut self, seq: Seq, reply: HeldReply) -> Option<HeldReply> {
        match self.cargo_of(seq) {
            Some(cargo) => {
                cargo.replies.push(reply);
                None
            }
            None => Some(reply),
        }
    }

    /// Lets an obligation start when its position is durable; gives it back if it already is.
    pub(crate) fn attach_start(&mut self, start: Start) -> Option<Start> {
        match self.cargo_of(start.seq) {
            Some(cargo) => {
                cargo.starts.push(start);
                None
            }
            None => Some(start),
        }
    }

    /// The first group whose append has not begun, if any: its outcome is a fence check for whoever waits now.
    pub(crate) fn first_unlaunched(&self) -> Option<Seq> {
        let full = self.full.front().map(|group| group.seq);
        full.or_else(|| (self.forming.buffer.len() > 0).then_some(self.forming.seq))
    }

    /// The position of the group in flight, if any.
    pub(crate) fn in_flight(&self) -> Option<Seq> {
        self.in_flight.as_ref().map(|group| group.seq)
    }
}
