//! Entities that cannot be served: taken out of service, judged, set aside.

use std::sync::Arc;

use storage::Seq;

use super::ShardState;
use crate::EntityKey;
use crate::entity_slot::{Residence, Slot, SlotId};
use crate::fence_checks::Accusation;
use crate::quarantine::{SetAside, copy_of};
use crate::request::{HeldReply, Origin, Request};

impl ShardState {
    /// Takes an entity out of service until a fence check tells whether it is corrupt, or whether this shard has a new owner
    /// whose rows it cannot make sense of. A former owner must neither call them corrupt nor copy anything aside.
    pub(super) fn accuse(&mut self, id: SlotId, reason: String, origin: Option<Origin>) {
        if let Some(slot) = self.entities.get_mut(id) {
            slot.residence = Residence::Loading;
            slot.load_begun = true;
        }
        self.fences.accuse(Accusation { slot: id, reason, origin });
    }

    /// The shard is ours, so the entities are at fault.
    pub(super) fn convict(&mut self, accused: Vec<Accusation>) {
        for Accusation { slot, reason, origin } in accused {
            self.quarantine(slot, reason, origin);
        }
    }

    /// Sets an entity aside: whoever waits for it is told why, and the shard goes on without it.
    fn quarantine(&mut self, id: SlotId, reason: String, accuser: Option<Origin>) {
        let Some(slot) = self.entities.remove(id) else { return };
        tracing::error!(log = %self.log.0, key = ?slot.key, reason, "entity quarantined");
        slot.kind.counters.quarantined.increment(1);
        let said = (!slot.recent.is_empty())
            .then(|| self.writer.add_set_aside(&slot.key, &reason, self.moment.now, &mut self.seeds));
        let copy = said.map(|said| copy_of(&self.log, &slot, &reason, said));
        let aside = SetAside { reason: Arc::from(reason), said: said.unwrap_or_default() };
        self.checkpoints.forget(id, &slot, copy);
        self.wake_ups.forget(&slot.key, slot.scheduled);
        let Slot { key, stalled, mailbox, .. } = slot;
        self.mailboxed -= mailbox.len();
        let waiting = mailbox.into_iter().map(|Request { origin, .. }| origin);
        for origin in accuser.into_iter().chain(stalled.map(|(_, origin)| origin)).chain(waiting) {
            self.answer_set_aside(&aside, origin);
        }
        self.quarantined.insert(key, aside);
    }

    /// Tells whoever asks for an entity that is set aside, under the same rule as a read: a former owner must not say for good
    /// that nobody serves what the new one may serve.
    pub(super) fn answer_set_aside(&mut self, aside: &SetAside, origin: Origin) {
        if let Origin::Call(to) | Origin::Tell(to, _) = origin {
            self.hold_read(aside.said, HeldReply { to, outcome: aside.answer() });
        }
    }

    /// While the shard recovers: the log says that this entity is set aside, or the tables do.
    pub(super) fn set_aside_again(&mut self, key: EntityKey, reason: &str) {
        if let Some(id) = self.entities.find(&key)
            && let Some(slot) = self.entities.remove(id)
        {
            let copy = copy_of(&self.log, &slot, reason, self.writer.first());
            self.checkpoints.forget(id, &slot, Some(copy));
        }
        self.quarantined.insert(key, SetAside { reason: Arc::from(reason), said: Seq(0) });
    }
}
