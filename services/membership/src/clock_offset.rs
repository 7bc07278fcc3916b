//! Pure: how far the leader's clock is from this node's, from questions and answers.
//!
//! Of the last few exchanges the quickest counts: the answer was given somewhere in between, so half of the time it
//! took is how wrong the reading can be.

use std::collections::VecDeque;

use internal_api::membership::ClockReading;

/// How many exchanges are remembered. Count.
const REMEMBERED: usize = 8;

/// The latest readings.
#[derive(Default)]
pub(crate) struct ClockOffset {
    readings: VecDeque<ClockReading>,
}

/// One exchange: asked and answered by the own clock, the other's time in between. Milliseconds.
pub(crate) fn reading(asked: i64, answered: i64, theirs: i64) -> ClockReading {
    let took = answered.saturating_sub(asked).max(0);
    // A millisecond more, since each clock shows whole ones.
    ClockReading { offset_ms: theirs - (asked + took / 2), uncertainty_ms: took / 2 + 1 }
}

impl ClockOffset {
    pub(crate) fn note(&mut self, reading: ClockReading) {
        self.readings.push_back(reading);
        if self.readings.len() > REMEMBERED {
            self.readings.pop_front();
        }
    }

    /// The most certain of the latest.
    pub(crate) fn best(&self) -> Option<ClockReading> {
        self.readings.iter().rev().min_by_key(|reading| reading.uncertainty_ms).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_exchange_is_believed() {
        let mut offset = ClockOffset::default();
        assert_eq!(offset.best(), None);
        offset.note(reading(1000, 1400, 6000));
        assert_eq!(offset.best(), Some(ClockReading { offset_ms: 4800, uncertainty_ms: 201 }));
        offset.note(reading(2000, 2010, 7005));
        assert_eq!(offset.best(), Some(ClockReading { offset_ms: 5000, uncertainty_ms: 6 }));
        for at in 0..8 {
            offset.note(reading(at, at + 100, at + 50));
        }
        assert_eq!(offset.best().map(|best| best.offset_ms), Some(0), "what was true long ago is forgotten");
    }

    #[test]
    fn a_clock_that_was_set_back_meanwhile_gives_no_negative_time() {
        assert_eq!(reading(1000, 500, 1000), ClockReading { offset_ms: 0, uncertainty_ms: 1 });
    }
}
