//! What a run waits for, counted as it comes, changes and goes: its bytes in the row and in memory, and when the first of it
//! is due. So no step has to add that up.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use api::temporal::api::common::v1::Payload;
use api::temporal::api::history::v1::HistoryEvent;
use api::{Held, map_bytes, shared_bytes};
use ids::Timestamp;
use prost::Message;

use crate::pending::{Activity, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer};
use crate::run::Run;
use crate::shared_map::{Entry, SharedMap, Sum};
use crate::updates::{AcceptedUpdate, CompletedUpdate, ReappliedUpdate};
use crate::wake_up::activity_deadline;

/// What the row needs for an entry beside the messages in it: ids, times, tags and lengths. More than it ever is.
const FRAME_BYTES: usize = 64;

/// What takes room in a run's row, and in memory by [`Held`].
pub trait RowBytes {
    /// How much: never less than it is, and some dozens of bytes more at most.
    fn row_bytes(&self) -> usize;
}

/// Something that a run waits for.
pub trait Counted: RowBytes + Held {
    /// By which it is found.
    type Key: Ord + ?Sized;

    /// Its key.
    fn key(&self) -> &Self::Key;

    /// When it is due by itself, if ever.
    fn deadline(&self) -> Option<Timestamp> {
        None
    }
}

/// What is known of many such things together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes in the row.
    row_bytes: usize,
    /// Bytes on the heap.
    held_bytes: usize,
    /// When the first is due.
    earliest: Option<Timestamp>,
}

impl Counts {
    fn is_due(self, now: Timestamp) -> bool {
        self.earliest.is_some_and(|earliest| earliest <= now)
    }
}

impl Sum for Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            row_bytes: self.row_bytes + other.row_bytes,
            held_bytes: self.held_bytes + other.held_bytes,
            earliest: [self.earliest, other.earliest].into_iter().flatten().min(),
        }
    }
}

impl<T: Counted> Entry for Arc<T> {
    type Key = T::Key;
    type Sum = Counts;

    fn key(&self) -> &T::Key {
        Counted::key(&**self)
    }

    fn sum(&self) -> Counts {
        Counts { row_bytes: self.row_bytes(), held_bytes: shared_bytes(&**self), earliest: self.deadline() }
    }

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

impl<T: Counted> SharedMap<Arc<T>> {
    /// Bytes of all values in the row.
    pub fn bytes(&self) -> usize {
        self.sum().row_bytes
    }

    /// Bytes of all of it on the heap.
    pub fn held_bytes(&self) -> usize {
        self.sum().held_bytes + self.len() * Self::NODE_BYTES
    }

    /// When the first value is due.
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.sum().earliest
    }

    /// The values that are due, in the order of their keys.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<&Arc<T>> {
        self.search(&|counts| counts.is_due(now))
    }

    /// When the first of the values is due that are not yet.
    pub(crate) fn earliest_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.sum_of_others(&|counts| counts.is_due(now)).earliest
    }
}

impl<T: Counted + Clone> SharedMap<Arc<T>> {
    /// Changes a value, if it is there.
    pub(crate) fn change(&mut self, key: &T::Key, change: impl FnOnce(&mut T)) {
        self.update(key, |value| change(Arc::make_mut(value)));
    }
}

impl RowBytes for Activity {
    fn row_bytes(&self) -> usize {
        self.schedule.encoded_len() + self.progress.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for Timer {
    fn row_bytes(&self) -> usize {
        self.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for AttachedRequest {
    fn row_bytes(&self) -> usize {
        self.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for AcceptedUpdate {
    fn row_bytes(&self) -> usize {
        self.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for ReappliedUpdate {
    fn row_bytes(&self) -> usize {
        self.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for CompletedUpdate {
    fn row_bytes(&self) -> usize {
        self.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for Child {
    fn row_bytes(&self) -> usize {
        let metadata = self.user_metadata.as_ref().map_or(0, Message::encoded_len);
        self.initiated.encoded_len() + metadata + self.run_id.len() + FRAME_BYTES
    }
}

impl RowBytes for ExternalSignal {
    fn row_bytes(&self) -> usize {
        self.initiated.encoded_len() + FRAME_BYTES
    }
}

impl RowBytes for ExternalCancel {
    fn row_bytes(&self) -> usize {
        self.initiated.encoded_len() + FRAME_BYTES
    }
}

impl Counted for Activity {
    type Key = i64;

    fn key(&self) -> &i64 {
        &self.scheduled_event_id
    }

    fn deadline(&self) -> Option<Timestamp> {
        activity_deadline(self).map(|(at, _)| at)
    }
}

impl Counted for Timer {
    type Key = str;

    fn key(&self) -> &str {
        &self.timer_id
    }

    fn deadline(&self) -> Option<Timestamp> {
        Some(Timestamp::from_nanos(self.fires_at))
    }
}

impl Counted for AttachedRequest {
    type Key = str;

    fn key(&self) -> &str {
        &self.request_id
    }
}

impl Counted for AcceptedUpdate {
    type Key = str;

    fn key(&self) -> &str {
        &self.id
    }
}

impl Counted for ReappliedUpdate {
    type Key = str;

    fn key(&self) -> &str {
        &self.id
    }
}

impl Counted for CompletedUpdate {
    type Key = str;

    fn key(&self) -> &str {
        &self.id
    }
}

impl Counted for Child {
    type Key = i64;

    fn key(&self) -> &i64 {
        &self.initiated_event_id
    }
}

impl Counted for ExternalSignal {
    type Key = i64;

    fn key(&self) -> &i64 {
        &self.initiated_event_id
    }
}

impl Counted for ExternalCancel {
    type Key = i64;

    fn key(&self) -> &i64 {
        &self.initiated_event_id
    }
}

impl RowBytes for HistoryEvent {
    fn row_bytes(&self) -> usize {
        self.encoded_len() + FRAME_BYTES
    }
}

/// A buffered event, which has a place in the list.
pub(crate) fn buffered_held_bytes(event: &Arc<HistoryEvent>) -> usize {
    size_of::<usize>() + shared_bytes(&**event)
}

fn bytes_of_fields(fields: &BTreeMap<String, Payload>) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.encoded_len() + FRAME_BYTES).sum()
}

fn heap_of_fields(fields: &BTreeMap<String, Payload>, started_with: Option<&BTreeMap<String, Payload>>) -> usize {
    let of_payload = |name: &String, value: &Payload| {
        let is_shared = started_with.and_then(|fields| fields.get(name)).is_some_and(|former| former == value);
        let content = value.metadata.values().map(Held::heap_bytes).sum::<usize>() + value.data.heap_bytes();
        value.heap_bytes() - if is_shared { content } else { 0 }
    };
    let entries = fields.iter().map(|(name, value)| name.heap_bytes() + of_payload(name, value));
    2 * size_of::<usize>() + size_of_val(fields) + map_bytes::<String, Payload>(fields.len()) + entries.sum::<usize>()
}

impl Run {
    /// Bytes of the run on the heap, history included. Deterministic, as limits depend on it; costs no more for a large run.
    pub fn held_bytes(&self) -> usize {
        let volatile = self.task.heap_bytes() + self.volatile.heap_bytes();
        self.core.heap_bytes() + volatile + self.batches.held_bytes() + self.state_held_bytes()
    }

    /// The same without its history and its core.
    pub(crate) fn state_held_bytes(&self) -> usize {
        self.settings_held_bytes
            + self.buffered_held_bytes
            + self.activities.held_bytes()
            + self.timers.held_bytes()
            + self.children.held_bytes()
            + self.signals.held_bytes()
            + self.cancels.held_bytes()
            + self.attached.held_bytes()
            + self.reapplied_updates.held_bytes()
            + self.accepted_updates.held_bytes()
            + self.completed_updates.held_bytes()
            + self.indexes.held_bytes()
    }

    /// Bytes of the run's row without its core, which is a few ids and numbers: never less than they are.
    pub fn state_bytes(&self) -> usize {
        self.settings_bytes
            + self.buffered_bytes
            + self.activities.bytes()
            + self.timers.bytes()
            + self.children.bytes()
            + self.signals.bytes()
            + self.cancels.bytes()
            + self.attached.bytes()
            + self.reapplied_updates.bytes()
            + self.accepted_updates.bytes()
            + self.completed_updates.bytes()
    }

    /// Counts what begins with the run or ends it, and is seldom touched in between.
    pub(crate) fn count_settings(&mut self) {
        self.settings_bytes = self.start.encoded_len()
            + self.closing.as_ref().map_or(0, |event| event.row_bytes())
            + bytes_of_fields(&self.memo)
            + bytes_of_fields(&self.search_attributes)
            + FRAME_BYTES;
        let (memo, attributes) = (self.start.memo.as_ref(), self.start.search_attributes.as_ref());
        self.settings_held_bytes = shared_bytes(&*self.start)
            + self.closing.as_ref().map_or(0, |event| shared_bytes(&**event))
            + heap_of_fields(&self.memo, memo.map(|memo| &memo.fields))
            + heap_of_fields(&self.search_attributes, attributes.map(|attributes| &attributes.indexed_fields));
    }

    /// Counts the events that wait for the workflow task to end.
    pub(crate) fn count_buffered(&mut self) {
        self.buffered_bytes = self.buffered.iter().map(|event| event.row_bytes()).sum();
        self.buffered_held_bytes = self.buffered.iter().map(buffered_held_bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(name: &str) -> Arc<Timer> {
        Arc::new(Timer { timer_id: name.to_owned(), started_event_id: 5, fires_at: 7, set_at: 6 })
    }

    #[test]
    fn bytes_and_deadlines_follow_what_comes_changes_and_goes() {
        let recount = |timers: &SharedMap<Arc<Timer>>| timers.values().map(|timer| timer.row_bytes()).sum::<usize>();
        let mut timers = SharedMap::default();
        let mut sizes = Vec::new();
        for step in 0..6 {
            match step {
                0 => drop(timers.insert(timer("a"))),
                1 => drop(timers.insert(timer("b"))),
                2 => timers.change("a", |timer| timer.fires_at = 3),
                3 => timers.change("b", |timer| timer.fires_at = 1 << 60),
                4 => drop(timers.remove("unknown")),
                _ => timers.retain(|timer| timer.timer_id == "b"),
            }
            assert_eq!(timers.bytes(), recount(&timers), "after step {step}");
            assert_eq!(timers.earliest(), timers.values().map(|timer| Timestamp::from_nanos(timer.fires_at)).min());
            let again: SharedMap<Arc<Timer>> = timers.values().cloned().collect();
            assert_eq!(timers.held_bytes(), again.held_bytes(), "after step {step}");
            sizes.push(timers.bytes());
        }
        assert!(sizes[0] < sizes[1] && sizes[2] < sizes[3], "{sizes:?}");
        assert_eq!(sizes[3], sizes[4]);
        timers.clear();
        assert_eq!((timers.bytes(), timers.held_bytes(), timers.len()), (0, 0, 0));
        assert_eq!(timers.earliest(), None);
    }

    #[test]
    fn what_is_due_is_distinguished_from_what_is_not_yet() {
        let at = |name: &str, fires_at| Arc::new(Timer { fires_at, ..(*timer(name)).clone() });
        let timers: SharedMap<_> = [at("a", 9), at("b", 2), at("c", 5), at("d", 12)].into_iter().collect();
        let due = |now| timers.due(Timestamp::from_nanos(now)).iter().map(|timer| &*timer.timer_id).collect::<Vec<_>>();
        assert_eq!((due(1), due(5), due(12)), (vec![], vec!["b", "c"], vec!["a", "b", "c", "d"]));
        let after = |now| timers.earliest_after(Timestamp::from_nanos(now)).map(Timestamp::nanos);
        assert_eq!((after(1), after(5), after(12)), (Some(2), Some(9), None));
    }
}
