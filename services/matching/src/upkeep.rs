//! What goes on beside requests: looking again at queues that somebody left, and forgetting queues that nobody uses.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::service::Core;
use crate::task_queue::TaskQueue;

/// The longest time between two looks for idle queues.
const LONGEST_ROUND: Duration = Duration::from_secs(30);

/// A queue unused for this long gives back memory.
const IDLE_ENOUGH_TO_SHRINK: Duration = Duration::from_secs(15);

impl Core {
    pub(crate) async fn upkeep(self: Arc<Self>, mut nudged: mpsc::UnboundedReceiver<Arc<TaskQueue>>) {
        let round = (self.settings.idle_unload / 2).clamp(Duration::from_secs(1), LONGEST_ROUND);
        let mut next = self.runtime.now() + round;
        loop {
            tokio::select! {
                Some(queue) = nudged.recv() => {
                    let mut state = queue.lock();
                    self.advance(&queue, &mut state);
                }
                () = self.runtime.sleep_until(next) => {
                    self.forget_idle_queues();
                    next = self.runtime.now() + round;
                }
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// Their backlogs, if they had any, are delivered; there is nothing to lose.
    fn forget_idle_queues(&self) {
        let now = self.runtime.now();
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| {
            let mut state = queue.lock();
            let is_over = now.since(state.last_used) >= self.settings.idle_unload && state.is_idle();
            state.retired = is_over;
            if !is_over && now.since(state.last_used) >= IDLE_ENOUGH_TO_SHRINK {
                state.shrink();
            }
            !is_over
        });
        if queues.capacity() > 4 * queues.len().max(64) {
            queues.shrink_to_fit();
        }
    }
}
