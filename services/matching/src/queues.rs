//! The queues in memory, by the shards that they live in. Only a shard that is served here has any.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use calls::{QueueName, ServiceError, ServiceResult};
use tokio_util::sync::CancellationToken;

use crate::service::Core;
use crate::task_queue::{QueueState, TaskQueue};

/// A shard for as long as it is served.
#[derive(Default)]
struct Served {
    /// Cancelled when it is served no longer.
    lost: CancellationToken,
    queues: HashMap<QueueName, Arc<TaskQueue>>,
}

/// All queues in memory.
#[derive(Default)]
pub(crate) struct Queues(RwLock<HashMap<u32, Served>>);

impl Queues {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<u32, Served>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u32, Served>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn serves(&self, shard: u32) -> bool {
        self.read().contains_key(&shard)
    }

    /// Notes that a shard is served, if it is. Its loss is reported after it has stopped being open, and so after this.
    fn begin(&self, shard: u32, is_open: impl FnOnce() -> bool) -> bool {
        let mut shards = self.write();
        let is_open = shards.contains_key(&shard) || is_open();
        if is_open {
            shards.entry(shard).or_default();
        }
        is_open
    }

    fn find(&self, shard: u32, name: &QueueName) -> Option<Arc<TaskQueue>> {
        self.read().get(&shard)?.queues.get(name).cloned()
    }

    /// The queue, brought into memory if need be; `None` if its shard is not served.
    fn find_or_add(
        &self,
        shard: u32,
        name: &QueueName,
        make: impl FnOnce(CancellationToken) -> TaskQueue,
    ) -> Option<Arc<TaskQueue>> {
        if let Some(queue) = self.find(shard, name) {
            return Some(queue);
        }
        let mut shards = self.write();
        let served = shards.get_mut(&shard)?;
        let queue = served.queues.entry(name.clone()).or_insert_with(|| Arc::new(make(served.lost.clone())));
        Some(Arc::clone(queue))
    }

    /// Takes out the queues of a shard, which from now on are lost.
    fn lose(&self, shard: u32) -> Vec<Arc<TaskQueue>> {
        let Some(served) = self.write().remove(&shard) else { return Vec::new() };
        served.lost.cancel();
        served.queues.into_values().collect()
    }

    /// Forgets the queues that are over.
    pub(crate) fn retain(&self, mut is_needed: impl FnMut(&TaskQueue) -> bool) {
        for served in self.write().values_mut() {
            served.queues.retain(|_, queue| is_needed(queue));
            if served.queues.capacity() > 4 * served.queues.len().max(64) {
                served.queues.shrink_to_fit();
            }
        }
    }

    /// Of each shard a queue with waiters, if there is one.
    pub(crate) fn with_waiters(&self) -> Vec<Arc<TaskQueue>> {
        let has_waiters = |queue: &&Arc<TaskQueue>| queue.lock().has_waiters();
        self.read().values().filter_map(|served| served.queues.values().find(has_waiters).cloned()).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<TaskQueue>> {
        self.read().values().flat_map(|served| served.queues.values().cloned()).collect()
    }
}

/// The error for a queue that is not served here, or no longer.
pub(crate) fn not_owner(name: &QueueName) -> ServiceError {
    ServiceError::NotOwner(format!("task queue {} is not served by this node", name.name))
}

impl Core {
    fn shard_of(&self, name: &QueueName) -> Option<u32> {
        let shards = u32::try_from(self.shards.count()).ok().filter(|count| *count > 0)?;
        Some(name.slot().shard(shards).0)
    }

    /// The shard of a queue, if it is served here now.
    fn served_shard(&self, name: &QueueName) -> ServiceResult<u32> {
        let shard = self.shard_of(name).ok_or_else(|| not_owner(name))?;
        if self.queues.serves(shard) {
            return Ok(shard);
        }
        let is_open = || self.shards.stats().iter().any(|(number, _)| *number == shard);
        if is_open() && self.queues.begin(shard, is_open) { Ok(shard) } else { Err(not_owner(name)) }
    }

    /// Refuses what is meant for the node that serves the queue.
    pub(crate) fn check_served(&self, name: &QueueName) -> ServiceResult<()> {
        self.served_shard(name).map(|_| ())
    }

    /// The queue, if it is in memory.
    pub(crate) fn find_queue(&self, name: &QueueName) -> Option<Arc<TaskQueue>> {
        self.queues.find(self.shard_of(name)?, name)
    }

    /// Does something with a queue, brought into memory if need be; refused if it is not served here.
    pub(crate) fn with_queue<R>(
        &self,
        name: &QueueName,
        act: impl FnOnce(&Arc<TaskQueue>, &mut QueueState) -> R,
    ) -> ServiceResult<R> {
        loop {
            let shard = self.served_shard(name)?;
            let make = |lost| TaskQueue::new(name.clone(), lost, self);
            let Some(queue) = self.queues.find_or_add(shard, name, make) else { continue };
            let mut state = queue.lock();
            if !state.retired && !queue.is_lost() {
                state.last_used = self.runtime.now();
                return Ok(act(&queue, &mut state));
            }
        }
    }

    /// A shard is served no longer. Its waiters are sent to the new owner; what is being handed to a poller
    /// still reaches it, since history may have recorded that; and that is all that is left of them.
    pub(crate) fn lose_shard(self: &Arc<Self>, shard: u32) {
        let queues = self.queues.lose(shard);
        if !queues.is_empty() {
            tracing::info!(shard, queues = queues.len(), "task queues are not served here any more");
        }
        for queue in queues {
            self.advance(&queue, &mut queue.lock());
            queue.drained.notify_waiters();
        }
    }
}
