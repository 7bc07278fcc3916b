//! What DescribeTaskQueue shows of a queue: recent pollers, and rates of the last half minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::WorkerVersionCapabilities;
use api::temporal::api::deployment::v1::WorkerDeploymentOptions;
use ids::Timestamp;

/// How many pollers of a queue are remembered; beyond it the one not seen for longest is forgotten.
const MOST_POLLERS: usize = 500;

/// How long a rate holds without a poll of the worker that asked for it: longer than a poll waits.
const RATE_HOLDS: Duration = Duration::from_secs(70);

/// A poller.
#[derive(Clone, Debug, Default)]
pub(crate) struct PollerDescription {
    pub(crate) identity: String,
    pub(crate) worker_instance_key: String,
    pub(crate) capabilities: Option<WorkerVersionCapabilities>,
    pub(crate) deployment: Option<WorkerDeploymentOptions>,
    /// Tasks a second that it wants the queue limited to.
    pub(crate) rate: Option<f64>,
}

/// Recent pollers, by identity.
#[derive(Default)]
pub(crate) struct RecentPollers(HashMap<String, (Timestamp, Arc<PollerDescription>)>);

impl RecentPollers {
    pub(crate) fn saw(&mut self, poller: &Arc<PollerDescription>, now: Timestamp) {
        if let Some((at, known)) = self.0.get_mut(&poller.identity) {
            let rate = known.rate.filter(|_| known.worker_instance_key == poller.worker_instance_key);
            (*at, *known) = (now, Arc::clone(poller));
            // A poll without a rate takes nothing back of what an earlier poll of the worker asked for.
            if poller.rate.is_none() && rate.is_some() {
                Arc::make_mut(known).rate = rate;
            }
            return;
        }
        if self.0.len() >= MOST_POLLERS {
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(identity, _)| identity.clone());
            oldest.and_then(|identity| self.0.remove(&identity));
        }
        self.0.insert(poller.identity.clone(), (now, Arc::clone(poller)));
    }

    /// Those seen within `history`, the latest first; forgets the others.
    pub(crate) fn within(&mut self, history: Duration, now: Timestamp) -> Vec<(Timestamp, Arc<PollerDescription>)> {
        self.0.retain(|_, (at, _)| now.since(*at) < history);
        let mut recent: Vec<_> = self.0.values().cloned().collect();
        recent.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.identity.cmp(&other.identity)));
        recent
    }

    /// The rate that the latest poll asked for whose worker is still there.
    pub(crate) fn rate(&self, now: Timestamp) -> Option<f64> {
        let asking = self.0.values().filter(|(at, poller)| poller.rate.is_some() && now.since(*at) < RATE_HOLDS);
        asking.max_by_key(|(at, _)| *at).and_then(|(_, poller)| poller.rate)
    }

    /// A worker has left: what it asked for does not hold any longer.
    pub(crate) fn forget_rate_of(&mut self, worker_instance_key: &str) {
        let left =
            |poller: &PollerDescription| poller.rate.is_some() && poller.worker_instance_key == worker_instance_key;
        for (_, poller) in self.0.values_mut().filter(|(_, poller)| left(poller)) {
            Arc::make_mut(poller).rate = None;
        }
    }
}

const SPAN_SECONDS: i64 = 5;
const SPANS: usize = 6;

/// How often something happened in the last half minute.
#[derive(Clone, Default)]
pub(crate) struct Rate {
    counts: [u32; SPANS],
    span: i64,
}

impl Rate {
    pub(crate) fn count(&mut self, now: Timestamp) {
        self.advance(now);
        self.counts[self.span.rem_euclid(SPANS as i64) as usize] += 1;
    }

    /// Times a second.
    pub(crate) fn per_second(&mut self, now: Timestamp) -> f32 {
        self.advance(now);
        let total: u32 = self.counts.iter().sum();
        total as f32 / (SPANS as i64 * SPAN_SECONDS) as f32
    }

    fn advance(&mut self, now: Timestamp) {
        let span = now.seconds_and_nanos().0.div_euclid(SPAN_SECONDS);
        for passed in (self.span + 1..=span).rev().take(SPANS) {
            self.counts[passed.rem_euclid(SPANS as i64) as usize] = 0;
        }
        self.span = self.span.max(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn a_rate_forgets_after_half_a_minute() {
        let mut rate = Rate::default();
        (0..60).for_each(|second| rate.count(at(second)));
        assert!((0.8..=1.0).contains(&rate.per_second(at(59))));
        assert!(rate.per_second(at(75)) < 0.6);
        assert_eq!(rate.per_second(at(100)), 0.0);
    }

    #[test]
    fn pollers_are_shown_once_each_and_only_recent_ones() {
        let mut pollers = RecentPollers::default();
        for second in 0..1_000 {
            let identity = format!("worker-{}", second % 700);
            pollers.saw(&Arc::new(PollerDescription { identity, ..Default::default() }), at(second));
        }
        assert!(pollers.0.len() <= MOST_POLLERS);
        let recent = pollers.within(Duration::from_secs(10), at(1_000));
        assert_eq!(recent.len(), 9);
        assert_eq!(recent[0].1.identity, "worker-299");
    }
}
