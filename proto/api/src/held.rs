//! What a value holds on the heap, following the allocator's own figure, and how it lets go of what it shares.

use std::collections::BTreeMap;
use std::mem::size_of;

use bytes::Bytes;

/// Entries of a full node of a [`BTreeMap`], and what a node needs beside them.
const NODE_ENTRIES: usize = 11;
const NODE_FRAME_BYTES: usize = 16;
const EDGES_BYTES: usize = 12 * size_of::<usize>();
/// Entries that a node of a map holds which grew one by one.
const GROWN_ENTRIES: usize = 8;
/// What shared [`Bytes`] need beside their content.
const SHARED_BYTES: usize = 24;

/// A value of which state is made.
pub trait Held {
    /// Bytes on the heap, without the value itself, once [`Held::own_bytes`] has been called. The same for equal values.
    /// Takes as long as the value is large.
    fn heap_bytes(&self) -> usize;

    /// Entries of all its lists and maps.
    fn elements(&self) -> usize {
        0
    }

    /// Gives it [`Bytes`] of its own, and lists that are no longer than they must be: the bytes of a request are slices of all that its connection received, and keeping one
    /// keeps all of that in memory.
    fn own_bytes(&mut self) {}
}

/// Bytes of the nodes of a map that grew to this many entries.
#[must_use]
pub const fn map_bytes<K, V>(len: usize) -> usize {
    let node = NODE_ENTRIES * (size_of::<K>() + size_of::<V>()) + NODE_FRAME_BYTES;
    match len {
        0 => 0,
        1..=NODE_ENTRIES => node,
        _ => {
            let leaves = len.div_ceil(GROWN_ENTRIES);
            leaves * node + leaves.div_ceil(GROWN_ENTRIES) * (node + EDGES_BYTES)
        }
    }
}

/// Bytes of a value of which there is an [`std::sync::Arc`].
#[must_use]
pub fn shared_bytes<T: Held>(value: &T) -> usize {
    2 * size_of::<usize>() + size_of::<T>() + value.heap_bytes()
}

impl Held for Bytes {
    fn heap_bytes(&self) -> usize {
        if self.is_empty() { 0 } else { self.len() + SHARED_BYTES }
    }

    fn own_bytes(&mut self) {
        // Empty ones share too.
        *self = Self::copy_from_slice(self);
    }
}

impl Held for String {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl<T: Held> Held for Vec<T> {
    fn heap_bytes(&self) -> usize {
        self.len() * size_of::<T>() + self.iter().map(Held::heap_bytes).sum::<usize>()
    }

    fn elements(&self) -> usize {
        self.len() + self.iter().map(Held::elements).sum::<usize>()
    }

    fn own_bytes(&mut self) {
        self.shrink_to_fit();
        self.iter_mut().for_each(Held::own_bytes);
    }
}

impl<K: Held, V: Held> Held for BTreeMap<K, V> {
    fn heap_bytes(&self) -> usize {
        let entries = self.iter().map(|(key, value)| key.heap_bytes() + value.heap_bytes());
        map_bytes::<K, V>(self.len()) + entries.sum::<usize>()
    }

    fn elements(&self) -> usize {
        self.len() + self.values().map(Held::elements).sum::<usize>()
    }

    fn own_bytes(&mut self) {
        self.values_mut().for_each(Held::own_bytes);
    }
}

impl<T: Held> Held for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Held::heap_bytes)
    }

    fn elements(&self) -> usize {
        self.as_ref().map_or(0, Held::elements)
    }

    fn own_bytes(&mut self) {
        self.iter_mut().for_each(Held::own_bytes);
    }
}

impl<T: Held> Held for Box<T> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() + (**self).heap_bytes()
    }

    fn elements(&self) -> usize {
        (**self).elements()
    }

    fn own_bytes(&mut self) {
        (**self).own_bytes();
    }
}

macro_rules! held_in_place {
    ($($kind:ty),*) => {
        $(impl Held for $kind {
            fn heap_bytes(&self) -> usize {
                0
            }
        })*
    };
}

held_in_place!(bool, i32, i64, u32, u64, f32, f64, (), prost_types::Duration, prost_types::Timestamp);

impl Held for prost_types::Any {
    fn heap_bytes(&self) -> usize {
        self.type_url.len() + self.value.len()
    }
}

impl Held for prost_types::FieldMask {
    fn heap_bytes(&self) -> usize {
        self.paths.heap_bytes()
    }

    fn elements(&self) -> usize {
        self.paths.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporal::api::common::v1::{Payload, Payloads};
    use crate::temporal::api::failure::v1::Failure;
    use crate::temporal::api::history::v1::HistoryEvent;

    fn payload(data: usize) -> Payload {
        let metadata = [("encoding".to_owned(), Bytes::from_static(b"json/plain"))];
        Payload { metadata: metadata.into(), data: Bytes::from(vec![7; data]), ..Payload::default() }
    }

    #[test]
    fn elements_are_counted_at_every_depth() {
        let payloads = Payloads { payloads: vec![payload(1), payload(2), Payload::default()] };
        assert_eq!(payloads.elements(), 5);
        let cause = Failure { encoded_attributes: Some(payload(3)), ..Failure::default() };
        let failure = Failure { cause: Some(Box::new(cause)), ..Failure::default() };
        assert_eq!(failure.elements(), 1);
    }

    #[test]
    fn owned_bytes_let_go_of_what_they_were_a_slice_of() {
        let received = Bytes::from(vec![7; 1000]);
        let data = received.slice(10..20);
        let mut event = HistoryEvent {
            user_metadata: Some(crate::temporal::api::sdk::v1::UserMetadata {
                summary: Some(Payload { data, ..Payload::default() }),
                details: None,
            }),
            ..HistoryEvent::default()
        };
        assert!(!received.is_unique());
        let before = event.clone();
        event.own_bytes();
        assert_eq!(event, before);
        drop(before);
        assert!(received.is_unique());
    }
}
