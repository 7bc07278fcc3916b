//! One step: an input meets its entity, its changes join the open group, and its answer waits for them.

use std::sync::Arc;

use storage::Seq;

use super::ShardState;
use crate::entity_slot::{FIRST_SWEEP, Residence, SlotId};
use crate::hosted::{Opaque, Refused, Stepped};
use crate::job::Job;
use crate::moment::Moment;
use crate::panics::caught;
use crate::request::{HeldReply, Origin, Outcome, ReplyTo, Request};
use crate::{CallError, Env, Release};

impl ShardState {
    /// Gives a request to its entity, or puts it into the entity's mailbox while that is not there.
    pub(super) fn give(&mut self, request: Request) {
        let Some(id) = self.find_or_load(&request.key) else {
            if let Some(quarantined) = self.quarantined.get(&request.key).cloned() {
                self.answer_quarantined(&quarantined, request.origin);
            }
            return;
        };
        let Some(slot) = self.entities.touch(id) else { return };
        let ready = matches!(slot.residence, Residence::Ready(_));
        if ready && slot.stalled.is_none() && slot.mailbox.is_empty() {
            self.decide(id, request.input, request.origin);
        } else {
            slot.mailbox.push_back(request);
            self.mailboxed += 1;
            if slot.mailbox.len() >= slot.sweep_at {
                self.drop_cancelled(id);
            }
        }
    }

    /// Drops the calls in an entity's mailbox whose callers have gone.
    pub(super) fn drop_cancelled(&mut self, id: SlotId) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let before = slot.mailbox.len();
        slot.mailbox.retain(|request| !request.origin.is_cancelled());
        self.mailboxed -= before - slot.mailbox.len();
        // Twice as many before the next look, so that looking costs little for each.
        slot.sweep_at = (slot.mailbox.len() * 2).max(FIRST_SWEEP);
    }

    /// Decides on what waits in the mailbox, in order, until something stalls.
    pub(super) fn drain_mailbox(&mut self, id: SlotId) {
        loop {
            let Some(slot) = self.entities.get_mut(id) else { return };
            if slot.stalled.is_some() || !matches!(slot.residence, Residence::Ready(_)) {
                return;
            }
            let Some(request) = slot.mailbox.pop_front() else { return };
            self.mailboxed -= 1;
            self.decide(id, request.input, request.origin);
        }
    }

    /// One step of a loaded entity.
    pub(super) fn decide(&mut self, id: SlotId, input: Opaque, origin: Origin) {
        if origin.is_cancelled() {
            return self.unstall(id);
        }
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Residence::Ready(entity) = &mut slot.residence else { return };
        let Moment { now, wall, .. } = self.moment;
        let env = Env { now, wall, seed: self.seeds.draw() };
        let (key, encoded) = (&slot.key, &mut self.encoded);
        encoded.clear();
        // What follows from the changes is computed together with them, so that a panic strikes all or nothing.
        let stepped = caught(|| entity.step(key, input, &env, encoded));
        let position = slot.last_change;
        match stepped {
            Ok(Ok(stepped)) => self.finish(id, position, stepped, origin),
            Ok(Err(Refused::Rejected(rejection))) => {
                self.unstall(id);
                self.answer_unchanged(id, position, Err(CallError::Rejected(rejection)), origin);
            }
            Ok(Err(Refused::Needs(rows, input))) => self.stall(id, rows, input, origin),
            Err(panic) => self.suspect_corrupt(id, format!("panicked in a step: {panic}"), Some(origin)),
        }
    }

    fn finish(&mut self, id: SlotId, position: Seq, stepped: Stepped, origin: Origin) {
        self.unstall(id);
        let Stepped { reply, release, consequences } = stepped;
        let Some(consequences) = consequences else {
            if release == Release::Lazy {
                self.after_step(id, origin, Some(Ok(reply)), false);
            } else {
                self.answer_unchanged(id, position, Ok(reply), origin);
            }
            return;
        };
        if let Some(slot) = self.entities.get_mut(id) {
            slot.next_wake_up = consequences.next_wake_up;
            slot.is_pinned = consequences.is_pinned;
        }
        if self.encoded.is_empty() {
            self.weigh(id, consequences.weight);
            self.reconcile_obligations(id, consequences.owed, position);
            return self.answer_volatile(id, position, reply, origin);
        }
        let seq = self.record(id);
        self.weigh(id, consequences.weight);
        let at_once = match (release, origin) {
            (Release::Lazy, origin) => (origin, Some(Ok(reply))),
            (Release::Durable, Origin::Call(to)) => (self.answer_at(seq, to, Ok(reply)), None),
            (Release::Durable, Origin::Unshed(to, _)) => (self.answer_at(seq, to, Ok(reply)), None),
            (Release::Durable, origin) => (origin, None),
        };
        self.reconcile_obligations(id, consequences.owed, seq);
        self.after_step(id, at_once.0, at_once.1, true);
    }

    fn answer_at(&mut self, seq: Seq, to: ReplyTo, outcome: Outcome) -> Origin {
        self.hold_for(seq, HeldReply { to, outcome });
        Origin::Answered
    }

    /// Puts the encoded changes into the open group, and notes what they mean for checkpoints.
    fn record(&mut self, id: SlotId) -> Seq {
        let now = self.moment.now;
        let Some(slot) = self.entities.get_mut(id) else { return self.writer.durable() };
        let seq = self.writer.add(id, &slot.key, &self.encoded, now, &mut self.seeds);
        slot.last_change = seq;
        slot.kind.counters.changes.increment(self.encoded.len() as u64);
        slot.keep_recent(seq, self.encoded.drain(..));
        self.checkpoints.mark_dirty(id, slot, seq, now);
        seq
    }

    fn answer_unchanged(&mut self, id: SlotId, position: Seq, outcome: Outcome, origin: Origin) {
        let origin = self.answer_read(position, outcome, origin);
        self.after_step(id, origin, None, false);
    }

    /// The state has changed in what only memory has: callers that wait for the entity look again.
    fn answer_volatile(&mut self, id: SlotId, position: Seq, reply: Opaque, origin: Origin) {
        let origin = self.answer_read(position, Ok(reply), origin);
        if let Some(slot) = self.entities.get(id) {
            self.jobs.push(Job::Committed { kind: Arc::clone(&slot.kind), key: slot.key.clone() });
        }
        self.after_step(id, origin, None, true);
    }

    fn answer_read(&mut self, position: Seq, outcome: Outcome, origin: Origin) -> Origin {
        match origin {
            Origin::Call(to) | Origin::Unshed(to, _) => {
                self.hold_read(position, HeldReply { to, outcome });
                Origin::Answered
            }
            other => other,
        }
    }

    /// What the shard itself does after a step: sends what may leave at once, settles the obligation or the wake-up that
    /// gave the input, and schedules the next wake-up.
    pub(super) fn after_step(&mut self, id: SlotId, origin: Origin, at_once: Option<Outcome>, changed: bool) {
        let woken = matches!(origin, Origin::WakeUp);
        match (origin, at_once) {
            (Origin::Call(to) | Origin::Unshed(to, _), Some(outcome)) => {
                self.jobs.push(Job::Reply(HeldReply { to, outcome }));
            }
            (Origin::Obligation(obligation), _) => self.settle_obligation(id, obligation),
            _ => {}
        }
        if woken || changed {
            self.schedule_wake_up(id, woken, changed);
        }
    }

    /// Notes the weight of a state in all the sums that it is part of.
    pub(super) fn weigh(&mut self, id: SlotId, state_bytes: usize) {
        let (before, after) = self.entities.weigh(id, state_bytes);
        if self.entities.get(id).is_some_and(|slot| slot.is_dirty()) {
            self.checkpoints.reweigh(before, after);
        }
    }
}
