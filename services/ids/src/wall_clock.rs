//! The wall clock, beside the time that a process goes by.

use crate::Timestamp;

/// What the wall clock shows to a process whose own time never goes back, and so is ahead of a wall clock that was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// What it shows: the process's time or an earlier one.
    pub shows: Timestamp,
    /// The process's time when it was last set back; the epoch if it never was.
    pub set_back_at: Timestamp,
}

impl WallClock {
    /// A wall clock that shows the process's time and was never set back.
    pub const fn in_step(now: Timestamp) -> Self {
        Self { shows: now, set_back_at: Timestamp::EPOCH }
    }

    /// Whether it has come to `due`, for something that was set for then at `set_at`, by the process's time.
    ///
    /// What was set since the wall clock was last set back was set by both alike, so the process's time says it alone.
    pub fn has_come_to(&self, due: Timestamp, set_at: Timestamp) -> bool {
        self.shows >= due || set_at >= self.set_back_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_before_the_wall_clock_was_set_back_waits_for_it() {
        let at = Timestamp::from_millis;
        let wall = WallClock { shows: at(5_000), set_back_at: at(8_000) };
        let rows = [(4_999, 1_000, true), (5_000, 1_000, true), (5_001, 1_000, false), (9_000, 8_000, true)];
        for (due, set_at, has_come) in rows {
            assert_eq!(wall.has_come_to(at(due), at(set_at)), has_come, "{due} {set_at}");
        }
        assert!(WallClock::in_step(at(5)).has_come_to(at(9), Timestamp::EPOCH), "never set back");
    }
}
