//! How long to wait between the attempts of something that is tried again.

use std::time::Duration;

/// Delays that double, from a first one up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays of `first`, twice that, and so on, never more than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next.min(self.longest);
        self.next = delay.saturating_mul(2).min(self.longest);
        delay
    }

    /// The next delay, without taking it.
    pub fn delay(&self) -> Duration {
        self.next.min(self.longest)
    }

    /// The delay after that many failed attempts, for callers that count them.
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doublings).min(self.longest)
    }

    /// An attempt succeeded: the next delay is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next delay is the longest one.
    pub fn go_to_longest(&mut self) {
        self.next = self.longest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(20), ms(100));
        let delays: Vec<Duration> = (0..5).map(|_| backoff.next_delay()).collect();
        assert_eq!(delays, [ms(20), ms(40), ms(80), ms(100), ms(100)]);
        backoff.reset();
        assert_eq!((backoff.delay(), backoff.next_delay(), backoff.delay()), (ms(20), ms(20), ms(40)));
        let after: Vec<Duration> = [0, 1, 2, 3, 4, 100].into_iter().map(|failures| backoff.after(failures)).collect();
        assert_eq!(after, [ms(20), ms(20), ms(40), ms(80), ms(100), ms(100)]);
        backoff.go_to_longest();
        assert_eq!(backoff.next_delay(), ms(100));
        assert_eq!(Backoff::new(ms(5), ms(2)).next_delay(), ms(2), "never more than the longest");
        assert_eq!(Backoff::new(ms(1), Duration::MAX).next_delay(), ms(1));
    }
}
