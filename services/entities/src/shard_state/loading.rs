//! Entities on their way to memory, and steps that wait for rows.

use std::sync::Arc;
use std::time::Duration;

use super::ShardState;
use crate::arrival::Arrival;
use crate::entity_slot::{Residence, SlotId};
use crate::hosted::{Consequences, Entity, Opaque};
use crate::job::Job;
use crate::loading::{ATTEMPTS, BACKOFF, Fetched, Loaded};
use crate::panics::caught;
use crate::request::Origin;
use crate::{CallError, Corrupt, EntityKey, RowAddress};

/// How often in a row a step may ask for rows before it is refused.
const MOST_STALLS: u32 = 16;

impl ShardState {
    /// The slot of an entity, which starts to load if it was not in memory; `None` if it is quarantined, or of a kind that is
    /// not hosted.
    pub(super) fn find_or_load(&mut self, key: &EntityKey) -> Option<SlotId> {
        if let Some(id) = self.entities.find(key) {
            if self.entities.get(id).is_some_and(|slot| !slot.load_begun) {
                self.loads.want(id);
            }
            return Some(id);
        }
        if !self.quarantined.is_empty() && self.quarantined.contains_key(key) {
            return None;
        }
        let kind = Arc::clone(self.kinds.get(key.kind)?);
        let id = self.entities.insert(key.clone(), kind);
        self.loads.want(id);
        Some(id)
    }

    /// Starts as many loads as may run at once.
    pub(super) fn begin_loads(&mut self) {
        while let Some((id, again)) = self.loads.next(&self.settings) {
            let Some(slot) = self.entities.get_mut(id) else { continue };
            if !again && std::mem::replace(&mut slot.load_begun, true) {
                continue;
            }
            self.loads.begun(again);
            slot.kind.counters.loads.increment(1);
            let (kind, key, tail) = (Arc::clone(&slot.kind), slot.key.clone(), slot.recent.clone());
            self.jobs.push(Job::Load { slot: id, again, kind, key, tail });
        }
    }

    /// Rows could not be reached: others first, and then again, unless the entity is not needed any more.
    fn load_later(&mut self, id: SlotId) {
        self.drop_cancelled(id);
        let Some(slot) = self.entities.get_mut(id) else { return };
        if slot.is_unneeded() {
            self.entities.remove(id);
            return;
        }
        slot.loads_in_vain += 1;
        let delay = BACKOFF.after(slot.loads_in_vain + ATTEMPTS);
        self.jobs.push(Job::Sleep { delay, then: Arrival::LoadAgain { slot: id } });
    }

    /// An entity has come: brings it up to date with the log's tail and gives it what waited.
    pub(super) fn on_loaded(&mut self, id: SlotId, again: bool, loaded: Loaded) {
        self.loads.ended(again);
        match loaded {
            Loaded::Unreachable => self.load_later(id),
            Loaded::Corrupt(reason) => self.suspect_corrupt(id, format!("cannot be loaded: {reason}"), None),
            Loaded::Entity(_, version) if version > self.writer.durable().0 => {
                let last = self.writer.durable().0;
                self.suspect_corrupt(id, format!("has a row of version {version}, but the log ends at {last}"), None);
            }
            Loaded::Entity(entity, _) => self.take_up(id, entity),
        }
    }

    /// Takes what was loaded for the live entity.
    fn take_up(&mut self, id: SlotId, entity: Box<dyn Entity>) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Consequences { owed, next_wake_up, weight, is_pinned } = match caught(|| entity.consequences(&slot.key)) {
            Ok(consequences) => consequences,
            Err(panic) => return self.suspect_corrupt(id, format!("panicked while being loaded: {panic}"), None),
        };
        slot.residence = Residence::Ready(entity);
        slot.loads_in_vain = 0;
        slot.next_wake_up = next_wake_up;
        slot.is_pinned = is_pinned;
        slot.waking = false;
        let seq = slot.last_change;
        self.checkpoints.may_take(id, slot);
        self.weigh(id, weight);
        self.reconcile_obligations(id, owed, seq);
        self.schedule_wake_up(id, false, true);
        self.note_rest(id);
        self.drain_mailbox(id);
    }

    /// A step needs rows: it waits, and with it whatever comes later for its entity.
    pub(super) fn stall(&mut self, id: SlotId, rows: Vec<RowAddress>, input: Opaque, origin: Origin) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        slot.stalls += 1;
        if slot.stalls > MOST_STALLS {
            tracing::error!(log = %self.log.0, key = ?slot.key, "a step asks for rows again and again");
            slot.stalls = 0;
            let refused = CallError::Unavailable("the rows that were asked for do not suffice".to_owned());
            return self.after_step(id, origin, Some(Err(refused)), false);
        }
        slot.stalled = Some((input, origin));
        self.jobs.push(Job::Fetch { slot: id, rows, delay: Duration::ZERO });
    }

    /// The rows that a step needs could not be reached: again later, unless that step's caller has gone.
    fn fetch_later(&mut self, id: SlotId, rows: Vec<RowAddress>) {
        self.drop_cancelled(id);
        let Some(slot) = self.entities.get_mut(id) else { return };
        if slot.stalled.as_ref().is_some_and(|(_, origin)| origin.is_cancelled()) {
            slot.stalled = None;
            self.unstall(id);
            return self.drain_mailbox(id);
        }
        slot.loads_in_vain += 1;
        let delay = BACKOFF.after(slot.loads_in_vain + ATTEMPTS);
        self.jobs.push(Job::Fetch { slot: id, rows, delay });
    }

    /// A step that may have been stalled has ended.
    pub(super) fn unstall(&mut self, id: SlotId) {
        if let Some(slot) = self.entities.get_mut(id) {
            slot.stalls = 0;
        }
    }

    /// The rows are here: supplies them, takes the stalled step again, then what waited behind it.
    pub(super) fn on_fetched(&mut self, id: SlotId, fetched: Fetched) {
        let rows = match fetched {
            Fetched::Rows(rows) => rows,
            Fetched::Corrupt(reason) => return self.suspect_corrupt(id, format!("has corrupt rows: {reason}"), None),
            Fetched::Unreachable(rows) => return self.fetch_later(id, rows),
        };
        let durable = self.writer.durable().0;
        if let Some(row) = rows.iter().flatten().find(|row| row.version > durable) {
            let reason = format!("has a row of version {}, but the log ends at {durable}", row.version);
            return self.suspect_corrupt(id, reason, None);
        }
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Residence::Ready(entity) = &mut slot.residence else { return };
        let Some((input, origin)) = slot.stalled.take() else { return };
        slot.loads_in_vain = 0;
        let supplied = caught(|| {
            entity.supply(&slot.key, rows)?;
            Ok((entity.next_wake_up(), entity.weight()))
        });
        let reason = match supplied {
            Ok(Ok((next_wake_up, weight))) => {
                // The rows may hold a time that the rest of the state did not know.
                let is_news = std::mem::replace(&mut slot.next_wake_up, next_wake_up) != next_wake_up;
                self.weigh(id, weight);
                if is_news {
                    self.schedule_wake_up(id, false, false);
                }
                self.decide(id, input, origin);
                self.drain_mailbox(id);
                return self.note_rest(id);
            }
            Ok(Err(Corrupt(reason))) => format!("has corrupt rows: {reason}"),
            Err(panic) => format!("panicked while being supplied with rows: {panic}"),
        };
        self.suspect_corrupt(id, reason, Some(origin));
    }
}
