//! What partitions need done: a backlog is to be delivered, polled or not, from the moment its shard opens.

use std::sync::{Arc, Weak};
use std::time::Duration;

use entities::{BoxFuture, EntityKey, Host};
use taskqueue::Input;

use crate::kind::{DeliverBacklog, PartitionKind};
use crate::partition::PartitionName;
use crate::service::Core;

/// How often a backlog is checked without a notification that it is empty.
const RECHECK_INTERVAL: Duration = Duration::from_secs(300);

/// The wait before a look at a queue whose shard is not open yet.
const SHARD_OPENING_DELAY: Duration = Duration::from_millis(10);

/// The wait before a look at a backlog of which the queue and the entity have different opinions.
const RECHECK_DELAY: Duration = Duration::from_millis(500);

/// The service as its shards see it.
pub(crate) struct PartitionHost(pub(crate) Weak<Core>);

impl Host<PartitionKind> for PartitionHost {
    /// Has the backlog's queue in memory, which reads and delivers it, until it is empty.
    fn carry_out(self: Arc<Self>, key: EntityKey, DeliverBacklog: DeliverBacklog) -> BoxFuture<Option<Input>> {
        Box::pin(async move {
            let core = self.0.upgrade()?;
            let Some(partition) = PartitionName::of_key(&key) else {
                tracing::error!(?key, "a backlog whose key names no task queue");
                return std::future::pending().await;
            };
            core.deliver_backlog(partition).await;
            None
        })
    }

    fn committed(&self, _key: &EntityKey) {}

    fn closed(&self, shard: u32) {
        if let Some(core) = self.0.upgrade() {
            core.lose_shard(shard);
        }
    }
}

impl Core {
    async fn deliver_backlog(self: Arc<Self>, partition: PartitionName) {
        let number = partition.number;
        let mut is_recheck = false;
        loop {
            let looked = self.with_queue(&partition.queue, |queue, state| {
                state.queue.ensure_partition(number);
                self.advance(queue, state);
                (Arc::clone(queue), state.is_drained(number))
            });
            let Ok((queue, is_drained)) = looked else {
                // A shard begins with its obligations before it admits calls.
                self.runtime.sleep(SHARD_OPENING_DELAY).await;
                continue;
            };
            if !is_drained {
                is_recheck = false;
                let drained = queue.drained.notified();
                if queue.lock().is_drained(number) {
                    continue;
                }
                tokio::select! {
                    _ = self.runtime.timeout(RECHECK_INTERVAL, drained) => {}
                    () = self.closing.cancelled() => return,
                }
                continue;
            }
            match self.backlog_stats(&partition).await {
                Ok(stats) if stats.total() == 0 => return,
                // A task that is being persisted right now may not be in the queue yet. What remains is a gap, to be closed.
                Ok(_) if is_recheck => queue.lock().queue.reread(number),
                Ok(_) => {
                    is_recheck = true;
                    self.runtime.sleep(RECHECK_DELAY).await;
                }
                Err(error) => {
                    tracing::debug!(?partition, %error, "cannot describe a backlog yet, retrying");
                    self.runtime.sleep(RECHECK_DELAY).await;
                }
            }
            if self.closing.is_cancelled() {
                return;
            }
        }
    }
}
