//! What requests in flight may take of memory, all together: as bytes that arrive, then as messages being answered.
//!
//! Nothing waits for room here, since those who hold some might wait for each other. Who finds none is told to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{ResourceExhaustedCause, ServiceError, ServiceResult};

/// What a refused request is to wait: requests hold memory for their transfer and their answer, which is well under a
/// second, and nothing here knows more of them.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The bytes that requests in flight hold.
pub(crate) struct RequestMemory {
    held: AtomicUsize,
    bound: usize,
}

impl RequestMemory {
    /// Room for `bound` bytes.
    pub(crate) fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), bound })
    }

    /// Holds `bytes`, if there is room.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> ServiceResult<Held> {
        let mut held = Held { memory: Arc::clone(self), bytes: 0 };
        held.grow(bytes)?;
        Ok(held)
    }
}

/// A request's part, given back when dropped.
pub(crate) struct Held {
    memory: Arc<RequestMemory>,
    bytes: usize,
}

impl Held {
    /// Holds `more` bytes, if there is room. What was held stays held either way.
    pub(crate) fn grow(&mut self, more: usize) -> ServiceResult<()> {
        let RequestMemory { held, bound } = &*self.memory;
        let before = held.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        if before.saturating_add(more) <= *bound {
            return Ok(());
        }
        Err(ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::SystemOverloaded,
            message: format!("requests in flight hold {before} bytes, at most {bound} are allowed, try again"),
            retry_after: Some(RETRY_AFTER),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_what_there_is_and_give_it_back() {
        let memory = RequestMemory::new(100);
        let mut first = memory.hold(60).unwrap();
        let refused = memory.hold(41).err().unwrap().to_string();
        assert_eq!(refused, "requests in flight hold 60 bytes, at most 100 are allowed, try again");
        first.grow(40).unwrap();
        assert!(memory.hold(1).is_err());
        assert!(first.grow(1).is_err());
        drop(first);
        assert!(memory.hold(100).is_ok());
        assert_eq!(memory.held.load(Ordering::Relaxed), 0, "what was refused is not held either");
    }
}
