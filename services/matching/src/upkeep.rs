//! Background work: advancing queues that a dropped call left, removing idle queues, and
//! finding out about shards that are another node's by now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use taskqueue::Input;

use crate::service::Core;
use crate::task_queue::TaskQueue;

/// The longest time between two looks for idle queues.
const LONGEST_ROUND: Duration = Duration::from_secs(30);

/// How often this node checks that it still owns a shard with waiters.
const OWNERSHIP_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// A queue unused for this long gives back memory.
const IDLE_ENOUGH_TO_SHRINK: Duration = Duration::from_secs(15);

impl Core {
    pub(crate) async fn upkeep(self: Arc<Self>, mut woken: mpsc::UnboundedReceiver<Arc<TaskQueue>>) {
        let round = (self.settings.idle_unload / 2).clamp(Duration::from_secs(1), LONGEST_ROUND);
        let mut next = self.runtime.now() + round;
        let mut next_ownership_check = self.runtime.now() + OWNERSHIP_CHECK_INTERVAL;
        loop {
            tokio::select! {
                Some(queue) = woken.recv() => {
                    let mut state = queue.lock();
                    self.advance(&queue, &mut state);
                }
                () = self.runtime.sleep_until(next) => {
                    self.forget_idle_queues();
                    next = self.runtime.now() + round;
                }
                () = self.runtime.sleep_until(next_ownership_check) => {
                    self.check_ownership();
                    next_ownership_check = self.runtime.now() + OWNERSHIP_CHECK_INTERVAL;
                }
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// Waiting calls do not touch the log, so they do not notice that another node has opened it, and this node may not notice
    /// otherwise while it is cut off from the ring: a read finds out.
    fn check_ownership(self: &Arc<Self>) {
        for queue in self.queues.with_waiters() {
            let core = Arc::clone(self);
            self.spawn(async move {
                let key = queue.partition(0).key();
                let check = core.partitions.call(&key, Input::Describe);
                // Whatever the answer: a shard that is no longer ours stops before it gives one.
                let _ = core.runtime.timeout(OWNERSHIP_CHECK_INTERVAL, check).await;
            });
        }
    }

    /// Their backlogs, if they had any, are delivered; there is nothing to lose.
    fn forget_idle_queues(&self) {
        let now = self.runtime.now();
        self.queues.retain(|queue| {
            let mut state = queue.lock();
            let is_over = now.since(state.last_used) >= self.settings.idle_unload && state.is_idle();
            state.retired = is_over;
            if !is_over && now.since(state.last_used) >= IDLE_ENOUGH_TO_SHRINK {
                state.shrink();
            }
            !is_over
        });
    }
}
