//! Entities that cannot be served: suspected, confirmed as corrupt by a fence check, quarantined.

use std::sync::Arc;

use storage::Seq;

use super::ShardState;
use crate::EntityKey;
use crate::entity_slot::{Residence, Slot, SlotId};
use crate::fence_checks::Suspect;
use crate::quarantine::{Quarantined, copy_of};
use crate::request::{HeldReply, Origin, Request};

impl ShardState {
    /// Takes an entity out of service until a fence check shows whether it is corrupt, or whether this shard has a new owner
    /// whose rows it cannot decode. A former owner must neither call them corrupt nor copy anything into quarantine.
    pub(super) fn suspect_corrupt(&mut self, id: SlotId, reason: String, origin: Option<Origin>) {
        if let Some(slot) = self.entities.get_mut(id) {
            slot.residence = Residence::Loading;
            slot.load_begun = true;
        }
        self.fences.add_suspect(Suspect { slot: id, reason, origin });
    }

    /// The fence check has passed: the shard is ours, so these entities are corrupt.
    pub(super) fn confirm_corrupt(&mut self, suspects: Vec<Suspect>) {
        for Suspect { slot, reason, origin } in suspects {
            self.quarantine(slot, reason, origin);
        }
    }

    /// Quarantines an entity: its callers get the reason, and the shard goes on without it.
    fn quarantine(&mut self, id: SlotId, reason: String, first: Option<Origin>) {
        let Some(slot) = self.entities.remove(id) else { return };
        tracing::error!(log = %self.log.0, key = ?slot.key, reason, "entity quarantined");
        slot.kind.counters.quarantined.increment(1);
        let logged_at = (!slot.recent.is_empty())
            .then(|| self.writer.add_quarantined(&slot.key, &reason, self.moment.now, &mut self.seeds));
        let copy = logged_at.map(|logged_at| copy_of(&self.log, &slot, &reason, logged_at));
        let quarantined = Quarantined { reason: Arc::from(reason), logged_at: logged_at.unwrap_or_default() };
        self.checkpoints.forget(id, &slot, copy);
        self.wake_ups.forget(&slot.key, slot.scheduled);
        let Slot { key, stalled, mailbox, .. } = slot;
        self.mailboxed -= mailbox.len();
        let waiting = mailbox.into_iter().map(|Request { origin, .. }| origin);
        for origin in first.into_iter().chain(stalled.map(|(_, origin)| origin)).chain(waiting) {
            self.answer_quarantined(&quarantined, origin);
        }
        self.quarantined.insert(key, quarantined);
    }

    /// Answers a request for a quarantined entity, under the same rule as a read: a former owner must not refuse for good
    /// what the new one may serve.
    pub(super) fn answer_quarantined(&mut self, quarantined: &Quarantined, origin: Origin) {
        if let Origin::Call(to) | Origin::Unshed(to, _) = origin {
            self.hold_read(quarantined.logged_at, HeldReply { to, outcome: quarantined.answer() });
        }
    }

    /// While the shard recovers: the log says that this entity is quarantined, or the tables do.
    pub(super) fn quarantine_again(&mut self, key: EntityKey, reason: &str) {
        if let Some(id) = self.entities.find(&key)
            && let Some(slot) = self.entities.remove(id)
        {
            let copy = copy_of(&self.log, &slot, reason, self.writer.first());
            self.checkpoints.forget(id, &slot, Some(copy));
        }
        self.quarantined.insert(key, Quarantined { reason: Arc::from(reason), logged_at: Seq(0) });
    }
}
