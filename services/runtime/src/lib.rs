//! Time, randomness, ids and task spawning for every crate that does I/O. Others must not call `SystemTime::now`,
//! `tokio::spawn` and the like (clippy bans them), so that tests and simulation decide what time it is.
//!
//! Start at [`Runtime`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ids::Timestamp;
use tokio::task::JoinHandle;

mod clock;
pub use clock::{Clock, SystemClock, VirtualClock};

/// What a process draws from its surroundings. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    clock: Arc<dyn Clock>,
}

impl Runtime {
    /// The real clock.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock) }
    }

    /// A clock that follows tokio's paused time from `start` on: use with `#[tokio::test(start_paused = true)]`.
    pub fn virtual_from(start: Timestamp) -> Self {
        Self { clock: Arc::new(VirtualClock::starting_at(start)) }
    }

    /// The time of day. It may step backwards when the machine's clock is set.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns once [`Runtime::now`] is at or past `at`, never before, even if the clock is set meanwhile.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() && self.now() >= at {
                return;
            }
            // tokio's timer has a granularity of a millisecond.
            tokio::time::sleep(left.clamp(Duration::from_millis(1), self.clock.longest_nap())).await;
        }
    }

    /// Waits for at least `duration`.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Runs `future` for at most `duration`; `None` when the time ran out.
    pub async fn timeout<T>(&self, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(duration, future).await.ok()
    }

    /// Starts a task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(future)
    }

    /// A random UUID as text.
    pub fn uuid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// 128 random bits, to seed decisions that need fresh ids.
    pub fn seed(&self) -> u128 {
        uuid::Uuid::new_v4().as_u128()
    }
}
