//! A token bucket: so many tasks a second, with a second's worth at once at most.

use std::time::Duration;

use ids::Timestamp;

/// A token bucket on given time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TokenBucket {
    per_second: f64,
    tokens: f64,
    at: Timestamp,
}

impl TokenBucket {
    /// A full bucket. Rates below zero or not a number count as zero: nothing passes.
    pub fn new(per_second: f64, now: Timestamp) -> Self {
        let per_second = if per_second.is_finite() { per_second.max(0.0) } else { 0.0 };
        Self { per_second, tokens: capacity(per_second), at: now }
    }

    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Changes the rate; what has been used stays used.
    pub fn set(&mut self, per_second: f64, now: Timestamp) {
        self.refill(now);
        let fresh = Self::new(per_second, now);
        self.tokens = self.tokens.min(fresh.tokens);
        self.per_second = fresh.per_second;
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Gives back a token that was not needed.
    pub fn refund(&mut self) {
        self.tokens = (self.tokens + 1.0).min(capacity(self.per_second));
    }

    /// When there will be a token; `None` for never.
    pub fn ready_at(&self, now: Timestamp) -> Option<Timestamp> {
        let missing = 1.0 - self.tokens;
        if missing <= 0.0 {
            return Some(now);
        }
        if self.per_second <= 0.0 {
            return None;
        }
        // A day is as good as never, and keeps the arithmetic in range; a rate so low is asked again then.
        let wait = (missing / self.per_second).min(86_400.0);
        // A nanosecond more, so that rounding never wakes a waiter too early.
        Some(self.at + Duration::from_secs_f64(wait) + Duration::from_nanos(1))
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(capacity(self.per_second));
        self.at = self.at.max(now);
    }
}

fn capacity(per_second: f64) -> f64 {
    if per_second > 0.0 { per_second.max(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut now = Timestamp::from_millis(1_000);
        let mut bucket = TokenBucket::new(10.0, now);
        assert_eq!((0..20).filter(|_| bucket.take(now)).count(), 10);
        let mut passed = 0;
        for _ in 0..25 {
            now = bucket.ready_at(now).expect("a rate above zero");
            assert!(bucket.take(now));
            passed += 1;
        }
        assert_eq!(passed, 25);
        let took = now.since(Timestamp::from_millis(1_000));
        assert!((2_400..2_600).contains(&took.as_millis()), "{took:?}");
    }

    #[test]
    fn zero_lets_nothing_pass_and_a_new_rate_does() {
        let now = Timestamp::from_millis(1_000);
        let mut bucket = TokenBucket::new(0.0, now);
        assert!(!bucket.take(now));
        assert_eq!(bucket.ready_at(now), None);
        bucket.set(0.5, now);
        let at = bucket.ready_at(now).expect("a rate above zero");
        assert_eq!(at.since(now).as_secs(), 2);
        assert!(bucket.take(at));
    }

    #[test]
    fn a_refund_is_worth_a_token_and_never_overfills() {
        let now = Timestamp::from_millis(1_000);
        let mut bucket = TokenBucket::new(1.0, now);
        bucket.refund();
        assert!(bucket.take(now));
        assert!(!bucket.take(now));
        bucket.refund();
        assert!(bucket.take(now));
    }
}
