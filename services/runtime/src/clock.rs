//! The clocks.

mod anchored;
mod resumed;
mod wall_dial;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::{Timestamp, WallClock};

pub(crate) use self::anchored::{AnchoredClock, Source};
pub(crate) use self::wall_dial::SetByHand;
pub use self::wall_dial::WallDial;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// The time that the process goes by, which never goes back, and what the wall clock shows at the same moment.
    fn read(&self) -> (Timestamp, WallClock);
    /// Goes on where the clocks of a process before this one were, if they were ahead of the wall clock.
    fn go_on_from(&self, before: (Timestamp, WallClock)) {
        let _ = before;
    }
    /// The longest one may sleep before looking at the clock again, since it may be set.
    fn max_sleep(&self) -> Duration;
}

/// The machine's clocks.
pub(crate) struct Machine {
    began: std::time::Instant,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { began: std::time::Instant::now() }
    }
}

impl Source for Machine {
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH + since
    }
}

/// Tokio's clock, as a time of day: stands still unless tokio's paused time moves on.
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
    fn read(&self) -> (Timestamp, WallClock) {
        let now = self.start + self.zero.elapsed();
        (now, WallClock::in_step(now))
    }
    fn max_sleep(&self) -> Duration {
        Duration::from_secs(365 * 24 * 3600)
    }
}
