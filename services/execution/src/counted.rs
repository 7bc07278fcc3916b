//! What a run's row holds, counted in bytes as it comes, changes and goes, in the row and in memory, so that nobody has to
//! add it up at each step.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::mem::size_of;
use std::ops::Deref;
use std::sync::Arc;

use api::temporal::api::common::v1::Payload;
use api::temporal::api::history::v1::HistoryEvent;
use api::{Held, map_bytes, shared_bytes};
use prost::Message;

use crate::pending::{Activity, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer};
use crate::run::Run;

/// What the row needs for an entry beside the messages in it: ids, times, tags and lengths. More than it ever is.
const FRAME_BYTES: usize = 64;

/// What takes room in a run's row, and in memory by [`Held`].
pub trait RowBytes {
    /// How much: never less than it is, and some dozens of bytes more at most.
    fn row_bytes(&self) -> usize;
}

/// Values by key, shared, with the sums of their bytes in the row and in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted<K: Ord, V> {
    values: BTreeMap<K, Arc<V>>,
    bytes: usize,
    held_bytes: usize,
}

impl<K: Ord, V> Counted<K, V> {
    /// Bytes of all values in the row.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of all of it on the heap.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + map_bytes::<K, Arc<V>>(self.values.len())
    }
}

impl<K: Ord + Held, V: RowBytes + Held> Counted<K, V> {
    /// Adds a value, or replaces it.
    pub(crate) fn insert(&mut self, key: K, value: Arc<V>) {
        self.bytes += value.row_bytes();
        self.held_bytes += key.heap_bytes() + shared_bytes(&*value);
        let key_bytes = key.heap_bytes();
        if let Some(old) = self.values.insert(key, value) {
            self.bytes -= old.row_bytes();
            self.held_bytes -= key_bytes + shared_bytes(&*old);
        }
    }

    /// Takes a value out, if it is there.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some((key, old)) = self.values.remove_entry(key) {
            self.bytes -= old.row_bytes();
            self.held_bytes -= key.heap_bytes() + shared_bytes(&*old);
        }
    }

    /// Keeps only some values.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&V) -> bool) {
        let (bytes, held_bytes) = (&mut self.bytes, &mut self.held_bytes);
        self.values.retain(|key, value| {
            let stays = wanted(value);
            if !stays {
                *bytes -= value.row_bytes();
                *held_bytes -= key.heap_bytes() + shared_bytes(&**value);
            }
            stays
        });
    }

    /// Takes all values out.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<K: Ord, V: RowBytes + Held + Clone> Counted<K, V> {
    /// Changes a value, if it is there.
    pub(crate) fn change(&mut self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(value) = self.values.get_mut(key) {
            self.bytes -= value.row_bytes();
            self.held_bytes -= shared_bytes(&**value);
            change(Arc::make_mut(value));
            self.bytes += value.row_bytes();
            self.held_bytes += shared_bytes(&**value);
        }
    }
}

impl<K: Ord, V> Default for Counted<K, V> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), bytes: 0, held_bytes: 0 }
    }
}

impl<K: Ord, V> Deref for Counted<K, V> {
    type Target = BTreeMap<K, Arc<V>>;

    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

impl<K: Ord + Held, V: RowBytes + Held> FromIterator<(K, Arc<V>)> for Counted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(values: I) -> Self {
        let mut counted = Self::default();
        values.into_iter().for_each(|(key, value)| counted.insert(key, value));
        counted
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
        self.core.heap_bytes() + self.task.heap_bytes() + self.batches.held_bytes() + self.state_held_bytes()
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
    fn bytes_follow_what_comes_changes_and_goes() {
        let recount = |timers: &Counted<String, Timer>| timers.values().map(|timer| timer.row_bytes()).sum::<usize>();
        let mut timers = Counted::default();
        let mut sizes = Vec::new();
        for step in 0..6 {
            match step {
                0 => timers.insert("a".to_owned(), timer("a")),
                1 => timers.insert("b".to_owned(), timer("b")),
                2 => timers.insert("a".to_owned(), timer("longer")),
                3 => timers.change(&"b".to_owned(), |timer| timer.fires_at = i64::MAX),
                4 => timers.remove("nobody"),
                _ => timers.retain(|timer| timer.timer_id == "b"),
            }
            assert_eq!(timers.bytes(), recount(&timers), "after step {step}");
            assert_eq!(
                timers.held_bytes(),
                Counted::from_iter(timers.values.clone()).held_bytes(),
                "after step {step}"
            );
            sizes.push(timers.bytes());
        }
        assert!(sizes[0] < sizes[1] && sizes[1] < sizes[2] && sizes[2] < sizes[3], "{sizes:?}");
        assert_eq!(sizes[3], sizes[4]);
        timers.clear();
        assert_eq!((timers.bytes(), timers.held_bytes(), timers.len()), (0, 0, 0));
    }
}
