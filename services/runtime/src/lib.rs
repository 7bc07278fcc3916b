//! Time, randomness, ids and task spawning for every crate that does I/O. Others must not call `SystemTime::now`,
//! `tokio::spawn` and the like (clippy bans them), so that tests and simulation decide what time it is.
//!
//! Start at [`Runtime`].

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ids::{Timestamp, WallClock};
use tokio::task::JoinHandle;

mod backoff;
mod clock;
pub use backoff::Backoff;
use clock::{AnchoredClock, Machine, SetByHand};
pub use clock::{Clock, VirtualClock, WallDial};

/// What a process draws from its surroundings. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    clock: Arc<dyn Clock>,
}

impl Runtime {
    /// The real clock, one for the whole process: each reading notices when the wall clock was set.
    pub fn system() -> Self {
        static CLOCK: LazyLock<Arc<AnchoredClock<Machine>>> =
            LazyLock::new(|| Arc::new(AnchoredClock::new(Machine::new())));
        Self { clock: Arc::clone(&*CLOCK) as Arc<dyn Clock> }
    }

    /// A clock that follows tokio's paused time from `start` on: use with `#[tokio::test(start_paused = true)]`.
    pub fn virtual_from(start: Timestamp) -> Self {
        Self { clock: Arc::new(VirtualClock::starting_at(start)) }
    }

    /// The same, with a wall clock that the test can set.
    pub fn virtual_with_wall_clock(start: Timestamp) -> (Self, WallDial) {
        let (source, dial) = SetByHand::starting_at(start);
        (Self { clock: Arc::new(AnchoredClock::new(source)) }, dial)
    }

    /// The time that this process goes by: the time of day, but it never goes back. It is ahead of a wall clock that was set
    /// back, and follows one that is set forward. Between processes only the [`wall`](Self::wall) clock can be compared.
    pub fn now(&self) -> Timestamp {
        self.clock.read().0
    }

    /// What the wall clock shows; never later than [`now`](Self::now).
    pub fn wall(&self) -> Timestamp {
        self.clock.read().1.shows
    }

    /// Both at the same moment.
    pub fn clocks(&self) -> (Timestamp, WallClock) {
        self.clock.read()
    }

    /// Goes on where the [`clocks`](Self::clocks) of a process before this one were, if its time was ahead of what the wall clock
    /// shows now, as long as the wall clock was not set back long ago or by very much. Before anything else reads the time.
    pub fn go_on_from(&self, before: (Timestamp, WallClock)) {
        self.clock.go_on_from(before);
    }

    /// Returns once [`Runtime::now`] is at or past `at`, never before, even if the wall clock is set meanwhile.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() && self.now() >= at {
                return;
            }
            // tokio's timer has a granularity of a millisecond.
            tokio::time::sleep(left.clamp(Duration::from_millis(1), self.clock.max_sleep())).await;
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

    /// Runs `job`, which computes for longer than others should wait, on a thread of its own. It runs to its end, whatever
    /// becomes of the handle. Paused time stands still meanwhile.
    pub fn spawn_blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        tokio::task::spawn_blocking(job)
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
