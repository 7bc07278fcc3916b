//! Offers: a task waits a moment for a poller, and is then persisted; on a sticky queue it waits as long as its worker
//! is there, and is never persisted.

use std::sync::Arc;
use std::time::Duration;

use calls::{OfferOutcome, OfferedTask, ServiceError, ServiceResult, TaskQueueKind};
use ids::Timestamp;
use taskqueue::{Input, ItemId, Reply, Task, Withdrawal};
use tokio::sync::oneshot;

use crate::kind::ShardError;
use crate::queues::not_owner;
use crate::service::{BACKOFF, Core};
use crate::task_queue::{OfferEnd, PendingOffer, QueueState, TaskQueue};

/// How long a sticky queue is held open for a worker whose last poll broke off.
const DISCONNECT_GRACE: Duration = Duration::from_secs(1);

/// An offer in the queue. Dropping it takes it out.
struct Offer<'a> {
    core: &'a Arc<Core>,
    queue: Arc<TaskQueue>,
    partition: u32,
    item: ItemId,
    end: oneshot::Receiver<OfferEnd>,
}

/// What is known of an offer on arrival.
enum Arrival<'a> {
    Waits(Offer<'a>),
    /// It would have to wait behind tasks of the backlog.
    IsBehind(Arc<TaskQueue>, u32),
    Ends(OfferOutcome),
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        if state.offers.remove(&self.item).is_some() {
            // While it is being delivered this only forbids it to wait again.
            state.queue.withdraw(self.item);
        }
    }
}

impl Core {
    pub(crate) async fn offer(self: &Arc<Self>, offered: OfferedTask) -> ServiceResult<OfferOutcome> {
        if self.closing.is_cancelled() {
            return Err(closing());
        }
        if offered.queue.kind == TaskQueueKind::Nexus {
            return Err(no_nexus_tasks());
        }
        self.check_served(&offered.queue)?;
        let task = Arc::new(task_of(&offered));
        match self.arrive(&offered, &task)? {
            Arrival::Ends(outcome) => Ok(outcome),
            Arrival::IsBehind(queue, partition) => self.persist(&queue, partition, task).await,
            Arrival::Waits(offer) if offer.queue.is_sticky() => offer.wait_for_worker(task.expires_at).await,
            Arrival::Waits(mut offer) => match offer.wait_for_poller(self.settings.sync_match_timeout).await? {
                None => Ok(OfferOutcome::Taken),
                Some(task) => {
                    let (queue, partition) = (Arc::clone(&offer.queue), offer.partition);
                    drop(offer);
                    self.persist(&queue, partition, task).await
                }
            },
        }
    }

    fn arrive(self: &Arc<Self>, offered: &OfferedTask, task: &Arc<Task>) -> ServiceResult<Arrival<'_>> {
        let now = self.runtime.now();
        let is_sticky = offered.queue.kind == TaskQueueKind::StickyWorkflow;
        if task.is_expired(now) {
            return Ok(Arrival::Ends(if is_sticky { OfferOutcome::Refused } else { OfferOutcome::Taken }));
        }
        if is_sticky && self.find_queue(&offered.queue).is_none() {
            return Ok(Arrival::Ends(OfferOutcome::Refused));
        }
        self.with_queue(&offered.queue, |queue, state| {
            state.added.count(now);
            if is_sticky && self.has_no_live_worker(state, now) {
                return Arrival::Ends(OfferOutcome::Refused);
            }
            let partition = state.partition_of_offer(if is_sticky { 1 } else { self.settings.partitions });
            if state.queue.is_behind_backlog(partition, task.level()) && !state.queue.has_pollers() {
                return Arrival::IsBehind(Arc::clone(queue), partition);
            }
            let (to, end) = oneshot::channel();
            let item = state.queue.offer(partition, Arc::clone(task));
            state.offers.insert(item, PendingOffer { to, normal_name: offered.normal_name.clone() });
            self.advance(queue, state);
            Arrival::Waits(Offer { core: self, queue: Arc::clone(queue), partition, item, end })
        })
    }

    /// Whether a sticky queue's worker has left, or has not polled for too long.
    pub(crate) fn has_no_live_worker(&self, state: &QueueState, now: Timestamp) -> bool {
        state.queue.is_closed() || self.no_live_worker_at(state, now) <= now
    }

    /// When a sticky queue's worker counts as gone unless it polls before. A worker whose last poll broke off, rather
    /// than ended, has most likely died: it need not be waited for as long as one that is busy.
    pub(crate) fn no_live_worker_at(&self, state: &QueueState, now: Timestamp) -> Timestamp {
        let timeout = self.settings.sticky_worker_timeout;
        let silent = state.queue.last_poll(now).map_or(Timestamp::EPOCH, |at| at + timeout);
        match state.last_disconnect {
            Some(at) => silent.min(at + timeout.min(DISCONNECT_GRACE)),
            None => silent,
        }
    }

    /// When a caller that waits in a sticky queue should check again whether its worker is alive.
    pub(crate) fn next_liveness_check(&self, queue: &TaskQueue) -> Timestamp {
        let now = self.runtime.now();
        // Not only then: the worker's poll may break off meanwhile.
        self.no_live_worker_at(&queue.lock(), now).min(now + DISCONNECT_GRACE)
    }

    /// Makes the task durable in its partition.
    async fn persist(
        self: &Arc<Self>,
        queue: &Arc<TaskQueue>,
        partition: u32,
        task: Arc<Task>,
    ) -> ServiceResult<OfferOutcome> {
        let key = queue.partition(partition).key();
        let mut backoff = BACKOFF;
        loop {
            match self.partitions.call(&key, Input::Persist(Box::new((*task).clone()))).await {
                Ok(Reply::Persisted(position)) => {
                    self.counters.persisted.increment(1);
                    let mut state = queue.lock();
                    // A queue that was removed from memory meanwhile is read again when it is brought back.
                    if !state.retired && !queue.is_lost() {
                        state.last_used = self.runtime.now();
                        state.queue.persisted(partition, position, task);
                        self.advance(queue, &mut state);
                    }
                    return Ok(OfferOutcome::Persisted);
                }
                Ok(other) => {
                    return Err(ServiceError::Internal(format!("unexpected reply to persisting a task: {other:?}")));
                }
                Err(ShardError::Quarantined(reason)) => return Err(ServiceError::DataLoss(reason)),
                Err(ShardError::NotOwner) => return Err(not_owner(&queue.name)),
                // History may have recorded a start under this request id. Offered again, the task would lose it.
                Err(_) if task.request_id.is_some() && !self.closing.is_cancelled() => {}
                Err(error) => return Err(ServiceError::Unavailable(format!("cannot persist the task: {error}"))),
            }
            self.runtime.sleep(backoff.next_delay()).await;
        }
    }
}

impl Offer<'_> {
    /// `None` once it is taken; else the task, to be persisted.
    async fn wait_for_poller(&mut self, timeout: Duration) -> ServiceResult<Option<Arc<Task>>> {
        let waited = tokio::select! {
            end = self.core.runtime.timeout(timeout, &mut self.end) => end,
            () = self.core.closing.cancelled() => return Err(closing()),
        };
        let end = match waited {
            Some(end) => end,
            None => {
                let withdrawal = self.queue.lock().queue.withdraw(self.item);
                if let Withdrawal::Withdrawn(Some(task)) = withdrawal {
                    return Ok(Some(task));
                }
                // It is on its way to a poller: either it arrives, or it comes back to be persisted.
                tokio::select! {
                    end = &mut self.end => end,
                    () = self.core.closing.cancelled() => return Err(closing()),
                }
            }
        };
        match end {
            Ok(OfferEnd::Taken) => Ok(None),
            Ok(OfferEnd::Returned(task)) => Ok(Some(task)),
            Ok(OfferEnd::Moved) => Err(not_owner(&self.queue.name)),
            Ok(OfferEnd::Refused) | Err(_) => Err(closing()),
        }
    }

    /// Until the worker takes it, leaves, or has not polled for too long.
    async fn wait_for_worker(mut self, expires_at: Option<Timestamp>) -> ServiceResult<OfferOutcome> {
        let mut is_withdrawn = false;
        loop {
            let next_check = match is_withdrawn {
                true => Timestamp::MAX,
                false => self.core.next_liveness_check(&self.queue).min(expires_at.unwrap_or(Timestamp::MAX)),
            };
            let end = tokio::select! {
                end = &mut self.end => Some(end),
                () = self.core.closing.cancelled() => Some(Ok(OfferEnd::Refused)),
                () = self.core.runtime.sleep_until(next_check) => None,
            };
            match end {
                Some(Ok(OfferEnd::Taken)) => return Ok(OfferOutcome::Taken),
                Some(_) if self.queue.is_lost() => return Err(not_owner(&self.queue.name)),
                Some(_) => return Ok(OfferOutcome::Refused),
                None => {}
            }
            let now = self.core.runtime.now();
            let mut state = self.queue.lock();
            if expires_at.is_some_and(|at| at <= now) || self.core.has_no_live_worker(&state, now) {
                if let Withdrawal::Withdrawn(_) = state.queue.withdraw(self.item) {
                    state.offers.remove(&self.item);
                    return Ok(OfferOutcome::Refused);
                }
                // It is on its way to the worker, which has come back just in time; or comes back to be refused.
                is_withdrawn = true;
            }
        }
    }
}

/// The error for a Nexus task, which history never offers.
pub(crate) fn no_nexus_tasks() -> ServiceError {
    ServiceError::Unimplemented("Nexus tasks are not served".to_owned())
}

fn closing() -> ServiceError {
    ServiceError::Unavailable("matching is shutting down".to_owned())
}

fn task_of(offered: &OfferedTask) -> Task {
    Task {
        key: offered.key.clone(),
        priority: offered.priority.clone(),
        scheduled_at: offered.scheduled_at,
        expires_at: offered.expires_at,
        request_id: None,
    }
}
