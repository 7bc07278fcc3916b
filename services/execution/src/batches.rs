//! The newest history of a run in memory, with the sum of its bytes.

use std::mem::size_of;
use std::ops::Deref;
use std::sync::Arc;

use api::Held;

use crate::change::Batch;

/// Batches of events, contiguous, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batches {
    list: Vec<Arc<Batch>>,
    held_bytes: usize,
}

impl Batches {
    /// Bytes on the heap.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds the next batch.
    pub fn push(&mut self, batch: Arc<Batch>) {
        self.held_bytes += held_bytes(&batch);
        self.list.push(batch);
    }

    /// Forgets the oldest ones.
    pub fn forget_oldest(&mut self, count: usize) {
        for batch in self.list.drain(..count.min(self.list.len())) {
            self.held_bytes -= held_bytes(&batch);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A batch in its [`Arc`], which has a place in the list.
fn held_bytes(batch: &Batch) -> usize {
    3 * size_of::<usize>() + size_of::<Batch>() + batch.bytes.heap_bytes()
}

impl Deref for Batches {
    type Target = [Arc<Batch>];

    fn deref(&self) -> &Self::Target {
        &self.list
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
        batches.push(batch(1, 1000));
        batches.push(batch(2, 10));
        let both = batches.held_bytes();
        batches.forget_oldest(1);
        assert_eq!(both - batches.held_bytes(), held_bytes(&batch(1, 1000)));
        assert_eq!(batches[0].first_event_id, 2);
        batches.forget_oldest(5);
        assert_eq!((batches.held_bytes(), batches.len()), (0, 0));
    }
}
