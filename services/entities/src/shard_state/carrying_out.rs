//! What entities owe to the outside: handed to the host once it is durable, and again while it is still owed.

use std::sync::Arc;

use storage::Seq;

use super::ShardState;
use crate::arrival::Arrival;
use crate::entity_slot::{Residence, SlotId};
use crate::hosted::Opaque;
use crate::job::Job;
use crate::log_writer::DeferredObligation;
use crate::panics::caught;
use crate::request::{Origin, Request};
use crate::{ObligationId, OwedChanges};

impl ShardState {
    /// Attaches what the entity has newly come to owe to the group at `seq`, and starts it if that is durable.
    pub(super) fn reconcile_obligations(&mut self, id: SlotId, changes: OwedChanges<ObligationId>, seq: Seq) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        for obligation in slot.owed.reconcile(changes, seq) {
            self.start_when_durable(DeferredObligation { slot: id, id: obligation, seq });
        }
    }

    fn start_when_durable(&mut self, start: DeferredObligation) {
        if let Some(start) = self.writer.attach_obligation(start) {
            self.start(start);
        }
    }

    /// Hands an obligation to the host, if it is still owed.
    pub(super) fn start(&mut self, start: DeferredObligation) {
        if self.closing.is_some() {
            return;
        }
        let Some(slot) = self.entities.get_mut(start.slot) else { return };
        if !slot.owed.may_start(&start.id, start.seq) {
            return;
        }
        let Residence::Ready(entity) = &slot.residence else { return };
        let obligation = match caught(|| entity.obligation(&slot.key, &start.id)) {
            Ok(Some(obligation)) => obligation,
            Ok(None) => return slot.owed.forget(&start.id),
            Err(panic) => {
                return self.suspect_corrupt(
                    start.slot,
                    format!("panicked while computing an obligation: {panic}"),
                    None,
                );
            }
        };
        let (kind, key) = (Arc::clone(&slot.kind), slot.key.clone());
        let DeferredObligation { slot, id, .. } = start;
        self.jobs.push(Job::CarryOut { slot, kind, key, id, obligation });
    }

    /// The host is done: gives its answer to the entity.
    pub(super) fn on_carried_out(&mut self, id: SlotId, obligation: ObligationId, input: Option<Opaque>) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        slot.owed.answered(&obligation);
        match input {
            Some(input) => {
                let key = slot.key.clone();
                self.give(Request { key, input, origin: Origin::Obligation(obligation) });
            }
            None => self.settle_obligation(id, obligation),
        }
    }

    /// After the entity has seen the answer: an obligation that it still owes is carried out again after a backoff.
    pub(super) fn settle_obligation(&mut self, id: SlotId, obligation: ObligationId) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Some(delay) = slot.owed.back_off(&obligation) else { return };
        self.jobs.push(Job::Sleep { delay, then: Arrival::RetryDue { slot: id, id: obligation } });
        // It would be tried for ever by a former owner that writes nothing and so never learns that it is one.
        self.suspect_fence();
    }

    /// The backoff is over: carries the obligation out again as the state has it now.
    pub(super) fn on_retry_due(&mut self, id: SlotId, obligation_id: ObligationId) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        if slot.owed.is_backing_off(&obligation_id) {
            let seq = slot.last_change;
            slot.owed.wait_for(&obligation_id, seq);
            self.start_when_durable(DeferredObligation { slot: id, id: obligation_id, seq });
        }
    }
}
