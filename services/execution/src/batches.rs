//! The newest history of a run in memory, with the sum of its bytes.

use std::mem::size_of;
use std::sync::Arc;

use api::Held;

use crate::change::Batch;
use crate::shared_map::{Entry, SharedMap};

/// Batches of events by the first one's id, contiguous.
pub type Batches = SharedMap<Arc<Batch>>;

impl Entry for Arc<Batch> {
    type Key = i64;
    type Sum = usize;

    fn key(&self) -> &i64 {
        &self.first_event_id
    }

    /// Bytes on the heap.
    fn sum(&self) -> usize {
        2 * size_of::<usize>() + size_of::<Batch>() + self.bytes.heap_bytes()
    }

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

impl SharedMap<Arc<Batch>> {
    /// Bytes on the heap.
    pub fn held_bytes(&self) -> usize {
        self.sum() + self.len() * Self::NODE_BYTES
    }

    /// Forgets the oldest ones.
    pub fn forget_oldest(&mut self, count: usize) {
        for _ in 0..count {
            let Some(first) = self.first().map(|batch| batch.first_event_id) else { return };
            self.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_what_comes_and_goes() {
        let batch =
            |id: i64, bytes: usize| Arc::new(Batch { first_event_id: id, count: 1, bytes: vec![7; bytes].into() });
        let mut batches = Batches::default();
        batches.insert(batch(1, 1000));
        batches.insert(batch(2, 10));
        let both = batches.held_bytes();
        batches.forget_oldest(1);
        assert_eq!(both - batches.held_bytes(), batch(1, 1000).sum() + Batches::NODE_BYTES);
        assert_eq!(batches.first().map(|batch| batch.first_event_id), Some(2));
        batches.forget_oldest(5);
        assert_eq!((batches.held_bytes(), batches.len()), (0, 0));
    }
}
