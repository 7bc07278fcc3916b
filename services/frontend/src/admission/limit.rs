//! How much may be under way at a time, from how long the runtime's threads keep a task waiting. Pure.
//!
//! Additive increase, multiplicative decrease: up by one while the lag is below its target, down by a fifth when it is
//! above. What is admitted beyond what the threads get through only makes every step of every request wait, and with them
//! those of a namespace that asks for little.

use std::time::Duration;

use settings::AdmissionSettings;

/// The limit.
pub(crate) struct Limit {
    now: usize,
    least: usize,
    most: usize,
    lag: Duration,
}

impl Limit {
    /// Begins at the least: a namespace that has just been joined by another gives way at once.
    pub(crate) fn new(settings: &AdmissionSettings) -> Self {
        let least = settings.least.max(1);
        Self { now: least, least, most: settings.most.max(least), lag: settings.lag }
    }

    /// The limit now.
    pub(crate) fn now(&self) -> usize {
        self.now
    }

    /// A task that was ready has waited this long for a thread.
    pub(crate) fn observe(&mut self, lag: Duration) {
        self.now = if lag > self.lag { self.now * 4 / 5 } else { self.now + 1 }.clamp(self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> Limit {
        let settings = AdmissionSettings { lag: Duration::from_millis(1), least: 4, most: 100, ..Default::default() };
        Limit::new(&settings)
    }

    #[test]
    fn it_grows_by_one_while_nothing_lags_and_shrinks_by_a_fifth_when_something_does() {
        let mut limit = limit();
        (0..16).for_each(|_| limit.observe(Duration::from_micros(900)));
        assert_eq!(limit.now(), 20);
        limit.observe(Duration::from_micros(1001));
        assert_eq!(limit.now(), 16);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut limit = limit();
        (0..200).for_each(|_| limit.observe(Duration::ZERO));
        assert_eq!(limit.now(), 100);
        (0..200).for_each(|_| limit.observe(Duration::from_secs(1)));
        assert_eq!(limit.now(), 4);
    }
}
