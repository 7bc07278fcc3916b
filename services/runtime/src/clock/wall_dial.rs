//! A wall clock that tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ids::Timestamp;

use super::anchored::Source;

/// Sets the wall clock of a [`Runtime::virtual_with_wall_clock`](crate::Runtime::virtual_with_wall_clock).
#[derive(Clone)]
pub struct WallDial {
    set_by_nanos: Arc<AtomicI64>,
}

impl WallDial {
    /// Sets it forward.
    pub fn forward(&self, by: Duration) {
        self.set_by_nanos.fetch_add(nanos(by), Ordering::SeqCst);
    }

    /// Sets it back.
    pub fn back(&self, by: Duration) {
        self.set_by_nanos.fetch_sub(nanos(by), Ordering::SeqCst);
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Tokio's clock as the monotonic one, and a wall clock beside it.
pub(crate) struct SetByHand {
    start: Timestamp,
    zero: tokio::time::Instant,
    set_by_nanos: Arc<AtomicI64>,
}

impl SetByHand {
    pub(crate) fn starting_at(start: Timestamp) -> (Self, WallDial) {
        let set_by_nanos = Arc::new(AtomicI64::new(0));
        let dial = WallDial { set_by_nanos: Arc::clone(&set_by_nanos) };
        (Self { start, zero: tokio::time::Instant::now(), set_by_nanos }, dial)
    }
}

impl Source for SetByHand {
    fn monotonic(&self) -> Duration {
        self.zero.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let shows = self.start + self.zero.elapsed();
        Timestamp::from_nanos(shows.nanos().saturating_add(self.set_by_nanos.load(Ordering::SeqCst)))
    }
}
