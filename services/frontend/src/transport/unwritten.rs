//! Parts of answers that a connection was given and has not written yet. A peer that does not read keeps them, so once
//! one is too old its connection ends.
//!
//! Not the stream alone: that would take a RST_STREAM from our side, and hyper sends one only when a body fails. While a part waits for
//! the peer's window hyper asks the body for nothing (`PipeToSendStream` of 1.12), and what `h2` has of the stream is hyper's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::memory::Held;

/// Periods that are counted separately: this one, the one before, and all that came earlier.
const PERIODS: usize = 3;

/// The parts of one connection, counted by the period they were given in.
#[derive(Default)]
pub(super) struct Unwritten {
    period: AtomicUsize,
    parts: [AtomicUsize; PERIODS],
}

/// A part, charged and counted until the connection has written it.
struct Part {
    data: Bytes,
    _held: Held,
    unwritten: Arc<Unwritten>,
    period: usize,
}

impl Unwritten {
    /// `data` for the connection to write, paid for by `held` until then.
    pub(super) fn part(self: &Arc<Self>, data: Bytes, held: Held) -> Bytes {
        let period = self.period.load(Ordering::Relaxed);
        self.parts[period % PERIODS].fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Part { data, _held: held, unwritten: Arc::clone(self), period })
    }

    /// Begins the next period. False when parts are left of the one before the last.
    pub(super) fn pass(&self) -> bool {
        let next = self.period.load(Ordering::Relaxed).wrapping_add(1);
        let left = self.parts[next % PERIODS].load(Ordering::Relaxed);
        self.period.store(next, Ordering::Relaxed);
        left == 0
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.unwritten.parts[self.period % PERIODS].fetch_sub(1, Ordering::Relaxed);
    }
}
