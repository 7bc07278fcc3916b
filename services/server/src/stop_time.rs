//! The time that a stop may take, shared out among its steps.

use std::time::Duration;

use ids::Timestamp;
use runtime::Runtime;

/// What a stop does, in this order. A step that is done early leaves its time to those after it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Shards go to others.
    HandOver,
    /// Requests of clients come to an end.
    Requests,
    /// What is left of the shards is written to the tables.
    Close,
    /// The node announces that it leaves.
    Leave,
}

impl Step {
    /// By how many tenths of the whole time the step is over. While the database is away each of them takes all that it may.
    fn tenths(self) -> u32 {
        match self {
            Self::HandOver => 6,
            Self::Requests => 8,
            Self::Close => 9,
            Self::Leave => 10,
        }
    }
}

/// A stop under way.
pub(crate) struct StopTime {
    runtime: Runtime,
    began: Timestamp,
    within: Duration,
}

impl StopTime {
    /// A stop that begins now and takes at most `within`.
    pub(crate) fn begin(within: Duration, runtime: &Runtime) -> Self {
        Self { runtime: runtime.clone(), began: runtime.now(), within }
    }

    /// What is left now for a step and all before it.
    pub(crate) fn left(&self, step: Step) -> Duration {
        let until = self.within * step.tenths() / 10;
        until.saturating_sub(self.runtime.now().since(self.began))
    }

    /// Goes on with a step for as long as it may take. Says whether it came to its end.
    pub(crate) async fn spend(&self, step: Step, work: impl Future<Output = ()>) -> bool {
        let done = self.runtime.timeout(self.left(step), work).await.is_some();
        if !done {
            tracing::warn!(?step, within = ?self.within, "a step of the shutdown timed out");
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn steps_that_never_end_take_the_whole_time_and_no_more_and_each_has_some() {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
        let (began, time) = (runtime.now(), StopTime::begin(Duration::from_secs(20), &runtime));
        for (step, over_at) in [(Step::HandOver, 12), (Step::Requests, 16), (Step::Close, 18), (Step::Leave, 20)] {
            assert!(!time.spend(step, std::future::pending()).await);
            assert_eq!(runtime.now().since(began), Duration::from_secs(over_at), "{step:?}");
        }
        assert!(time.spend(Step::Leave, async {}).await, "what takes no time is done all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_leaves_its_time_to_the_next() {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
        let time = StopTime::begin(Duration::from_secs(10), &runtime);
        assert!(time.spend(Step::HandOver, runtime.sleep(Duration::from_secs(1))).await);
        assert_eq!(time.left(Step::Close), Duration::from_secs(8));
    }
}
