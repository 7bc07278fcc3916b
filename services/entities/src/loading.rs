//! Bringing entities, and rows that steps ask for, from the tables. The work is done outside the shard's task.
//!
//! Some rows may be out of reach for as long as too many of their replicas are away, while all others can be had. So whoever
//! waits for such rows waits by itself: it gives up its room to others, and tries again later.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use runtime::Backoff;
use storage::{Row, Version};

use crate::arrival::Arrival;
use crate::entity_slot::{Residence, SlotId};
use crate::hosted::{Consequences, Entity, Opaque};
use crate::job::Job;
use crate::panics::caught;
use crate::request::Origin;
use crate::shard_state::ShardState;
use crate::{CallError, Corrupt, EntityKey, RowAddress};

/// How often in a row a step may ask for rows before it is refused.
const MOST_STALLS: u32 = 16;

/// How often in a row rows are looked up before a load makes room for others.
pub(crate) const ATTEMPTS: u32 = 3;
/// Between the attempts to read rows that cannot be reached.
pub(crate) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));

/// How a load ended.
pub(crate) enum Loaded {
    /// The entity, and the highest version among its rows.
    Entity(Box<dyn Entity>, Version),
    /// What is stored makes no sense.
    Corrupt(String),
    /// Rows cannot be reached now.
    Unreachable,
}

/// How a fetch ended.
pub(crate) enum Fetched {
    /// The rows, found or not.
    Rows(Vec<Option<Row>>),
    /// What is stored makes no sense.
    Corrupt(String),
    /// Rows cannot be reached now.
    Unreachable(Vec<RowAddress>),
}

/// Entities that wait to be loaded.
#[derive(Default)]
pub(crate) struct Loads {
    /// Somebody waits for these.
    wanted: VecDeque<SlotId>,
    /// These have changes in the log's tail that the tables may not show.
    background: VecDeque<SlotId>,
    /// These could not be reached before. They get a share of the room, since they take it for longer than others.
    again: VecDeque<SlotId>,
    running: usize,
    running_again: usize,
}

impl Loads {
    pub(crate) fn recover(&mut self, id: SlotId) {
        self.background.push_back(id);
    }

    /// Whether more loads wait than may run.
    pub(crate) fn is_saturated(&self, most: usize) -> bool {
        self.running + self.wanted.len() >= most
    }
}

impl ShardState {
    /// The slot of an entity, which starts to load if it was not in memory; `None` if it is quarantined, or of a kind that is
    /// not hosted.
    pub(crate) fn find_or_load(&mut self, key: &EntityKey) -> Option<SlotId> {
        if let Some(id) = self.entities.find(key) {
            if self.entities.get(id).is_some_and(|slot| !slot.load_begun) {
                self.loads.wanted.push_back(id);
            }
            return Some(id);
        }
        if !self.quarantined.is_empty() && self.quarantined.contains_key(key) {
            return None;
        }
        let kind = Arc::clone(self.kinds.get(key.kind)?);
        let id = self.entities.insert(key.clone(), kind);
        self.loads.wanted.push_back(id);
        Some(id)
    }

    /// Starts as many loads as may run at once. What was out of reach gets its share, then come those that somebody waits for.
    pub(crate) fn begin_loads(&mut self) {
        let share = self.settings.concurrent_loads / 4;
        while self.loads.running < self.settings.concurrent_loads {
            let (id, again) = if self.loads.running_again < share
                && let Some(id) = self.loads.again.pop_front()
            {
                (id, true)
            } else if let Some(id) = self.loads.wanted.pop_front() {
                (id, false)
            } else if self.loads.running_again == 0
                && let Some(id) = self.loads.again.pop_front()
            {
                (id, true)
            } else if self.loads.running < self.settings.background_loads
                && let Some(id) = self.loads.background.pop_front()
            {
                (id, false)
            } else {
                return;
            };
            let Some(slot) = self.entities.get_mut(id) else { continue };
            if !again && std::mem::replace(&mut slot.load_begun, true) {
                continue;
            }
            self.loads.running += 1;
            self.loads.running_again += usize::from(again);
            slot.kind.counters.loads.increment(1);
            let (kind, key, tail) = (Arc::clone(&slot.kind), slot.key.clone(), slot.recent.clone());
            self.jobs.push(Job::Load { slot: id, again, kind, key, tail });
        }
    }

    /// The rest is over: the entity waits for another attempt to load it.
    pub(crate) fn on_load_again(&mut self, id: SlotId) {
        self.loads.again.push_back(id);
    }

    /// Rows could not be reached: others first, and then again, unless nobody needs the entity any more.
    fn load_later(&mut self, id: SlotId) {
        self.drop_forsaken(id);
        let Some(slot) = self.entities.get_mut(id) else { return };
        if slot.is_forsaken() {
            self.entities.remove(id);
            return;
        }
        slot.loads_in_vain += 1;
        let delay = BACKOFF.after(slot.loads_in_vain + ATTEMPTS);
        self.jobs.push(Job::Sleep { delay, then: Arrival::LoadAgain { slot: id } });
    }

    /// An entity has come: brings it up to date with the log's tail and gives it what waited.
    pub(crate) fn on_loaded(&mut self, id: SlotId, again: bool, loaded: Loaded) {
        self.loads.running -= 1;
        self.loads.running_again -= usize::from(again);
        match loaded {
            Loaded::Unreachable => self.load_later(id),
            Loaded::Corrupt(reason) => self.accuse(id, format!("cannot be loaded: {reason}"), None),
            Loaded::Entity(_, version) if version > self.writer.durable().0 => {
                let last = self.writer.durable().0;
                self.accuse(id, format!("has a row of version {version}, but the log ends at {last}"), None);
            }
            Loaded::Entity(entity, _) => self.take_up(id, entity),
        }
    }

    /// Takes what was loaded for the live entity.
    fn take_up(&mut self, id: SlotId, entity: Box<dyn Entity>) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Consequences { owed, next_wake_up, weight } = match caught(|| entity.consequences(&slot.key)) {
            Ok(consequences) => consequences,
            Err(panic) => return self.accuse(id, format!("panicked while being loaded: {panic}"), None),
        };
        slot.residence = Residence::Ready(entity);
        slot.loads_in_vain = 0;
        slot.next_wake_up = next_wake_up;
        slot.waking = false;
        let seq = slot.last_change;
        self.checkpoints.may_take(id, slot);
        self.weigh(id, weight);
        self.reconcile_obligations(id, owed, seq);
        let now = self.moment.now;
        self.schedule_wake_up(id, false, true, now);
        self.note_rest(id);
        self.drain_mailbox(id);
    }

    /// A step needs rows: it waits, and with it whatever comes later for its entity.
    pub(crate) fn stall(&mut self, id: SlotId, rows: Vec<RowAddress>, input: Opaque, origin: Origin) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        slot.stalls += 1;
        if slot.stalls > MOST_STALLS {
            tracing::error!(log = %self.log.0, key = ?slot.key, "a step asks for rows again and again");
            slot.stalls = 0;
            let refused = CallError::Unavailable("the rows that were asked for do not suffice".to_owned());
            let now = self.moment.now;
            return self.after_step(id, origin, Some(Err(refused)), false, now);
        }
        slot.stalled = Some((input, origin));
        self.jobs.push(Job::Fetch { slot: id, rows, delay: Duration::ZERO });
    }

    /// The rows that a step needs could not be reached: again later, unless nobody waits for that step any more.
    fn fetch_later(&mut self, id: SlotId, rows: Vec<RowAddress>) {
        self.drop_forsaken(id);
        let Some(slot) = self.entities.get_mut(id) else { return };
        if slot.stalled.as_ref().is_some_and(|(_, origin)| origin.is_forsaken()) {
            slot.stalled = None;
            self.unstall(id);
            return self.drain_mailbox(id);
        }
        slot.loads_in_vain += 1;
        let delay = BACKOFF.after(slot.loads_in_vain + ATTEMPTS);
        self.jobs.push(Job::Fetch { slot: id, rows, delay });
    }

    /// A step that may have been stalled has ended.
    pub(crate) fn unstall(&mut self, id: SlotId) {
        if let Some(slot) = self.entities.get_mut(id) {
            slot.stalls = 0;
        }
    }

    /// The rows are here: supplies them, takes the stalled step again, then what waited behind it.
    pub(crate) fn on_fetched(&mut self, id: SlotId, fetched: Fetched) {
        let rows = match fetched {
            Fetched::Rows(rows) => rows,
            Fetched::Corrupt(reason) => return self.accuse(id, format!("has corrupt rows: {reason}"), None),
            Fetched::Unreachable(rows) => return self.fetch_later(id, rows),
        };
        let durable = self.writer.durable().0;
        if let Some(row) = rows.iter().flatten().find(|row| row.version > durable) {
            let reason = format!("has a row of version {}, but the log ends at {durable}", row.version);
            return self.accuse(id, reason, None);
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
                // The rows may tell of a time that the rest of the state did not know.
                let is_news = std::mem::replace(&mut slot.next_wake_up, next_wake_up) != next_wake_up;
                self.weigh(id, weight);
                if is_news {
                    let now = self.moment.now;
                    self.schedule_wake_up(id, false, false, now);
                }
                self.decide(id, input, origin);
                self.drain_mailbox(id);
                return self.note_rest(id);
            }
            Ok(Err(Corrupt(reason))) => format!("has corrupt rows: {reason}"),
            Err(panic) => format!("panicked while being supplied with rows: {panic}"),
        };
        self.accuse(id, reason, Some(origin));
    }
}
