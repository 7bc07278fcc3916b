//! The clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// The longest one may sleep before looking at the clock again, since it may be set.
    fn longest_nap(&self) -> Duration;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH + since
    }
    fn longest_nap(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Tokio's clock, told as a time of day: stands still unless tokio's paused time moves on.
pub struct VirtualClock {
    start: Timestamp,
    zero: tokio::time::Instant,
}

impl VirtualClock {
    /// A clock that shows `start` now. Must be called inside a tokio runtime.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, zero: tokio::time::Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start + self.zero.elapsed()
    }
    fn longest_nap(&self) -> Duration {
        Duration::from_secs(365 * 24 * 3600)
    }
}
