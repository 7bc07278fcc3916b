//! The memory of a shard: one slot per entity that is loaded or loading, and which to evict first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use bytes::Bytes;
use ids::Timestamp;
use storage::Seq;

use crate::EntityKey;
use crate::hosted::{Entity, Opaque};
use crate::kinds::Entry;
use crate::obligations::Owed;
use crate::request::{Origin, Request};

/// What a slot needs around it: its place, its entry by key, its key in the list of wake-ups.
const AROUND_BYTES: usize = 192;

/// How many requests wait in a mailbox before it is searched for those whose callers have gone.
pub(crate) const FIRST_SWEEP: usize = 64;

/// Names a slot; a slot that was vacated and used again has another name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SlotId {
    index: u32,
    generation: u32,
}

/// Where an entity's state is.
pub(crate) enum Residence {
    /// On its way from the tables.
    Loading,
    /// In memory.
    Ready(Box<dyn Entity>),
}

/// What a checkpoint has taken of an entity and not yet seen acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot {
    /// The oldest change that the write covers: the log is held from here.
    pub(crate) since: Seq,
    /// The newest change that the write covers, and its version.
    pub(crate) version: Seq,
}

/// One entity in memory.
pub(crate) struct Slot {
    pub(crate) key: EntityKey,
    /// Its kind.
    pub(crate) kind: Arc<Entry>,
    pub(crate) residence: Residence,
    /// Whether a load was begun, or waits for another attempt.
    pub(crate) load_begun: bool,
    /// How often in a row it could not be loaded since its rows could not be reached.
    pub(crate) loads_in_vain: u32,
    /// A step that waits for rows; whatever comes after it waits in the mailbox.
    pub(crate) stalled: Option<(Opaque, Origin)>,
    /// How often in a row the stalled step asked for rows.
    pub(crate) stalls: u32,
    pub(crate) mailbox: VecDeque<Request>,
    /// How long the mailbox may grow before it is searched for calls whose callers have gone.
    pub(crate) sweep_at: usize,
    /// The position of the latest change since the entity is in memory; 0 if there was none.
    pub(crate) last_change: Seq,
    /// The oldest change that no checkpoint has taken yet, and when it was made.
    pub(crate) dirty_since: Option<(Seq, Timestamp)>,
    pub(crate) taken: Option<Snapshot>,
    /// The changes that the tables may not show yet, encoded: recovery applies them, quarantine copies them.
    pub(crate) recent: Vec<(Seq, Bytes)>,
    /// Bytes of these.
    recent_bytes: usize,
    pub(crate) owed: Owed,
    /// When the entity is due to wake up.
    pub(crate) next_wake_up: Option<Timestamp>,
    /// When it will be: the entry in the shard's wake-ups.
    pub(crate) scheduled: Option<Timestamp>,
    /// The wake-up of which a row is known to lie in the tables.
    pub(crate) stored_wake_up: Option<Timestamp>,
    /// Whether a wake-up is being delivered.
    pub(crate) waking: bool,
    /// Wake-ups in a row that changed nothing although the entity is due.
    pub(crate) idle_wake_ups: u32,
    /// Whether its state has something that only memory has.
    pub(crate) is_pinned: bool,
    /// Bytes of memory, as counted in [`Entities::bytes`].
    weight: usize,
    /// Its place among those that have come to their end.
    at_rest: Option<u64>,
    /// Looked at since the eviction's hand last passed.
    touched: bool,
}

impl Slot {
    fn new(key: EntityKey, kind: Arc<Entry>) -> Self {
        Self {
            key,
            kind,
            residence: Residence::Loading,
            load_begun: false,
            loads_in_vain: 0,
            stalled: None,
            stalls: 0,
            mailbox: VecDeque::new(),
            sweep_at: FIRST_SWEEP,
            last_change: Seq(0),
            dirty_since: None,
            taken: None,
            recent: Vec::new(),
            recent_bytes: 0,
            owed: Owed::default(),
            next_wake_up: None,
            scheduled: None,
            stored_wake_up: None,
            waking: false,
            idle_wake_ups: 0,
            is_pinned: false,
            weight: 0,
            at_rest: None,
            touched: true,
        }
    }

    /// Whether the tables may not show the entity's latest changes yet.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty_since.is_some() || self.taken.is_some()
    }

    /// Bytes of memory.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// What it takes with a state of this size.
    fn weight_with(&self, state_bytes: usize) -> usize {
        let recent = self.recent.capacity() * size_of::<(Seq, Bytes)>() + self.recent_bytes;
        size_of::<Self>() + AROUND_BYTES + self.key.id.len() + recent + state_bytes
    }

    /// Keeps changes at `seq` until the tables show them.
    pub(crate) fn keep_recent(&mut self, seq: Seq, changes: impl IntoIterator<Item = Bytes>) {
        for change in changes {
            self.recent_bytes += change.len();
            self.recent.push((seq, change));
        }
    }

    /// Forgets the changes that the tables show.
    pub(crate) fn forget_recent(&mut self, up_to: Seq) {
        self.recent.retain(|(seq, _)| *seq > up_to);
        self.recent_bytes = self.recent.iter().map(|(_, change)| change.len()).sum();
        if self.recent.is_empty() {
            self.recent = Vec::new();
        }
    }

    /// Whether an entity that is not in memory is not needed: no caller, no wake-up, nothing that must be written.
    pub(crate) fn is_unneeded(&self) -> bool {
        self.mailbox.is_empty() && !self.waking && !self.is_dirty()
    }

    fn is_evictable(&self) -> bool {
        matches!(self.residence, Residence::Ready(_))
            && !self.is_dirty()
            && self.stalled.is_none()
            && self.mailbox.is_empty()
            && self.owed.is_empty()
            && !self.waking
            && !self.is_pinned
            && self.idle_wake_ups == 0
    }
}

struct Place {
    generation: u32,
    // Boxed, so that a vacant place is small and growing the arena moves no states.
    slot: Option<Box<Slot>>,
}

/// All slots of a shard.
pub(crate) struct Entities {
    places: Vec<Place>,
    by_key: HashMap<EntityKey, SlotId>,
    vacant: Vec<u32>,
    hand: usize,
    bytes: usize,
    /// Those that have come to their end, in the order in which they did so.
    at_rest: BTreeMap<u64, SlotId>,
    next_rest: u64,
    at_rest_bytes: usize,
}

impl Entities {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            by_key: HashMap::new(),
            vacant: Vec::new(),
            hand: 0,
            bytes: 0,
            at_rest: BTreeMap::new(),
            next_rest: 0,
            at_rest_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Bytes of memory in all slots.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory in slots that have come to their end.
    pub(crate) fn at_rest_bytes(&self) -> usize {
        self.at_rest_bytes
    }

    /// Whether the entity is in memory.
    pub(crate) fn is_ready(&self, key: &EntityKey) -> bool {
        let slot = self.find(key).and_then(|id| self.get(id));
        slot.is_some_and(|slot| matches!(slot.residence, Residence::Ready(_)))
    }

    pub(crate) fn find(&self, key: &EntityKey) -> Option<SlotId> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&self, id: SlotId) -> Option<&Slot> {
        let place = self.places.get(id.index as usize)?;
        if place.generation == id.generation { place.slot.as_deref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.slot.as_deref_mut() } else { None }
    }

    /// The slot, noted as used.
    pub(crate) fn touch(&mut self, id: SlotId) -> Option<&mut Slot> {
        let slot = self.get_mut(id)?;
        slot.touched = true;
        Some(slot)
    }

    /// A new slot for an entity that has none, waiting to be loaded.
    pub(crate) fn insert(&mut self, key: EntityKey, kind: Arc<Entry>) -> SlotId {
        let mut slot = Box::new(Slot::new(key.clone(), kind));
        slot.weight = slot.weight_with(0);
        self.bytes += slot.weight;
        let slot = Some(slot);
        let id = if let Some(index) = self.vacant.pop() {
            let place = &mut self.places[index as usize];
            place.slot = slot;
            SlotId { index, generation: place.generation }
        } else {
            self.places.push(Place { generation: 0, slot });
            SlotId { index: (self.places.len() - 1) as u32, generation: 0 }
        };
        self.by_key.insert(key, id);
        id
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let slot = place.slot.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(id.index);
        self.by_key.remove(&slot.key);
        self.bytes -= slot.weight;
        if let Some(place) = slot.at_rest {
            self.at_rest.remove(&place);
            self.at_rest_bytes -= slot.weight;
        }
        Some(*slot)
    }

    /// Notes how much memory the state in a slot takes; returns the slot's weight before and after.
    pub(crate) fn weigh(&mut self, id: SlotId, state_bytes: usize) -> (usize, usize) {
        let Some(slot) = self.get_mut(id) else { return (0, 0) };
        let before = slot.weight;
        let after = slot.weight_with(state_bytes);
        slot.weight = after;
        let at_rest = slot.at_rest.take();
        self.bytes = self.bytes - before + after;
        if let Some(place) = at_rest {
            self.at_rest.remove(&place);
            self.at_rest_bytes -= before;
        }
        (before, after)
    }

    /// The entity in a slot has come to its end, until it is weighed again.
    pub(crate) fn rest(&mut self, id: SlotId) {
        let place = self.next_rest;
        let Some(slot) = self.get_mut(id).filter(|slot| slot.at_rest.is_none()) else { return };
        (slot.at_rest, slot.touched) = (Some(place), false);
        let weight = slot.weight;
        self.at_rest_bytes += weight;
        self.at_rest.insert(place, id);
        self.next_rest += 1;
    }

    /// The next slot to evict of those that have come to their end: the first that nothing needs and that was not used since
    /// it was last looked at. Looks at no more than `most`.
    pub(crate) fn next_at_rest(&mut self, most: usize) -> Option<SlotId> {
        for _ in 0..most {
            let (&first, &id) = self.at_rest.first_key_value()?;
            let last = self.next_rest;
            let slot = self.get_mut(id)?;
            if !std::mem::take(&mut slot.touched) && slot.is_evictable() {
                return Some(id);
            }
            slot.at_rest = Some(last);
            self.at_rest.remove(&first);
            self.at_rest.insert(last, id);
            self.next_rest += 1;
        }
        None
    }

    /// The next slot to evict: clean, owing nothing, needed by nothing, and not looked at since the hand last passed. Looks
    /// at no more than `most` places.
    pub(crate) fn next_evictable(&mut self, most: usize) -> Option<SlotId> {
        for _ in 0..most.min(self.places.len() * 2) {
            self.hand = if self.hand + 1 >= self.places.len() { 0 } else { self.hand + 1 };
            let place = &mut self.places[self.hand];
            let Some(slot) = &mut place.slot else { continue };
            if std::mem::take(&mut slot.touched) || !slot.is_evictable() {
                continue;
            }
            return Some(SlotId { index: self.hand as u32, generation: place.generation });
        }
        None
    }

    /// Every slot. Not for use per step.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.places.iter().filter_map(|place| place.slot.as_deref())
    }
}
