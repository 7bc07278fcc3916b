//! A task queue in memory: the pure core that decides, and the channels on which callers wait.
//!
//! Everything here happens under one lock, held for moments and never across an await. Code that changes the state calls
//! [`Core::advance`] before it unlocks, which carries out what has become possible.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{QueueName, Relayed, TaskQueueKind};
use ids::Timestamp;
use taskqueue::{
    Decision, Input, ItemId, Origin, PollerId, Position, Queue, QueueShape, ReadRequest, Reply, Settled, Task,
    Withdrawal,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::kind::ShardError;
use crate::observed::{PollerDescription, Rate, RecentPollers};
use crate::partition::PartitionName;
use crate::service::{BACKOFF, Core};

/// How many tasks of a level and partition are in memory to be delivered.
const WINDOW: usize = 256;

/// A task queue.
pub(crate) struct TaskQueue {
    pub(crate) name: QueueName,
    /// Cancelled when its shard is served here no longer.
    pub(crate) lost: CancellationToken,
    state: Mutex<QueueState>,
    /// Rung when a partition has nothing left to deliver.
    pub(crate) drained: Notify,
}

/// What the lock of a queue guards.
pub(crate) struct QueueState {
    pub(crate) queue: Queue,
    pub(crate) waiters: HashMap<PollerId, Waiter>,
    pub(crate) offers: HashMap<ItemId, PendingOffer>,
    pub(crate) queries: HashMap<ItemId, Box<PendingQuery>>,
    pub(crate) recent: RecentPollers,
    pub(crate) added: Rate,
    pub(crate) dispatched: Rate,
    pub(crate) last_used: Timestamp,
    /// When the last poll broke off without waiting for its answer, if none has come since.
    pub(crate) last_disconnect: Option<Timestamp>,
    /// Removed from the service: code that still holds it looks it up again.
    pub(crate) retired: bool,
    /// Deliveries that ended and whose acknowledgement is on its way or waits for the one that is.
    acknowledging: HashMap<u32, Vec<Position>>,
    /// Request ids that the backlog does not know yet.
    to_remember: Vec<(u32, Position, String)>,
    /// When the rate limit's timer rings.
    timer: Option<Timestamp>,
    poll_turn: u32,
    offer_turn: u32,
}

/// A poll that waits.
pub(crate) struct Waiter {
    pub(crate) to: oneshot::Sender<DeliveredItem>,
    pub(crate) description: Arc<PollerDescription>,
}

/// An offer that waits.
pub(crate) struct PendingOffer {
    pub(crate) to: oneshot::Sender<OfferEnd>,
    /// Of a sticky queue: the normal one's name.
    pub(crate) normal_name: String,
}

/// How an offer's wait ended.
pub(crate) enum OfferEnd {
    /// A poller has it, or it is stale.
    Taken,
    /// Its delivery failed when it was to be persisted already.
    Returned(Arc<Task>),
    /// The queue's worker has left.
    Refused,
    /// The queue is not served here any more.
    Moved,
}

/// A query that waits.
#[derive(Clone)]
pub(crate) struct PendingQuery {
    pub(crate) id: String,
    pub(crate) query: WorkflowQuery,
    pub(crate) response: Relayed<wire::PollWorkflowTaskQueueResponse>,
}

/// What a poller is given. The receiver reports it as delivered, or puts it back.
pub(crate) struct DeliveredItem {
    pub(crate) item: ItemId,
    pub(crate) partition: u32,
    /// Under which history recorded the start.
    pub(crate) request_id: Option<String>,
    pub(crate) content: Content,
}

/// The content of a poll's response.
pub(crate) enum Content {
    Workflow(Relayed<wire::PollWorkflowTaskQueueResponse>),
    Activity(Relayed<wire::PollActivityTaskQueueResponse>),
    Query(Box<PendingQuery>),
}

impl TaskQueue {
    pub(crate) fn new(name: QueueName, lost: CancellationToken, core: &Core) -> Self {
        let is_sticky = name.kind == TaskQueueKind::StickyWorkflow;
        let shape = QueueShape {
            partitions: if is_sticky { 1 } else { core.settings.partitions },
            fan_out: core.settings.fan_out,
            window: WINDOW,
            durable: name.kind.is_durable(),
        };
        let state = QueueState {
            queue: Queue::new(shape),
            waiters: HashMap::new(),
            offers: HashMap::new(),
            queries: HashMap::new(),
            recent: RecentPollers::default(),
            added: Rate::default(),
            dispatched: Rate::default(),
            last_used: core.runtime.now(),
            last_disconnect: None,
            retired: false,
            acknowledging: HashMap::new(),
            to_remember: Vec::new(),
            timer: None,
            poll_turn: 0,
            offer_turn: 0,
        };
        Self { name, lost, state: Mutex::new(state), drained: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A panic under the lock is a bug of one request; the queue is as it was between two of its steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_sticky(&self) -> bool {
        self.name.kind == TaskQueueKind::StickyWorkflow
    }

    /// Whether its shard is served here no longer.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    pub(crate) fn partition(&self, number: u32) -> PartitionName {
        PartitionName { queue: self.name.clone(), number }
    }
}

impl QueueState {
    /// Takes over the rate that a poll asks for. One that asks for none leaves the rate as it is for as long as a worker is
    /// there that asked for it.
    pub(crate) fn follow_rate(&mut self, asked: Option<f64>, now: Timestamp) {
        if asked.is_none() && self.queue.rate().is_none() {
            return;
        }
        match asked.or_else(|| self.recent.rate(now)) {
            Some(rate) => self.queue.set_rate(rate, now),
            None => self.queue.clear_rate(),
        }
    }

    /// The partition of the next poll: they take turns.
    pub(crate) fn partition_of_poll(&mut self, partitions: u32) -> u32 {
        self.poll_turn = (self.poll_turn + 1) % partitions.max(1);
        self.poll_turn
    }

    /// The partition of the next offer.
    pub(crate) fn partition_of_offer(&mut self, partitions: u32) -> u32 {
        self.offer_turn = (self.offer_turn + 1) % partitions.max(1);
        self.offer_turn
    }

    /// What was handed over did not arrive: it waits again in its old place. The caller advances the queue.
    pub(crate) fn take_back(&mut self, delivered: DeliveredItem) {
        let query = match delivered.content {
            Content::Query(query) => Some(query),
            Content::Workflow(_) | Content::Activity(_) => None,
        };
        self.take_back_item(delivered.item, delivered.request_id, query);
    }

    /// As [`QueueState::take_back`], for a task whose content is gone: history sends it again.
    pub(crate) fn take_back_item(
        &mut self,
        item: ItemId,
        request_id: Option<String>,
        query: Option<Box<PendingQuery>>,
    ) {
        if let Some(query) = query {
            self.queries.insert(item, query);
        }
        self.put_back(item, request_id);
    }

    /// Puts an item back in its old place, with `request_id` if history may have recorded a start. What
    /// was withdrawn meanwhile goes back to its caller. The caller of this advances the queue.
    pub(crate) fn put_back(&mut self, item: ItemId, request_id: Option<String>) {
        if let (Some((partition, Origin::Backlog(position))), Some(request_id)) = (self.queue.origin(item), &request_id)
        {
            self.to_remember.push((partition, position, request_id.clone()));
        }
        let Some((settled, task)) = self.queue.put_back(item, request_id) else { return };
        if let (Some(pending), Some(task)) = (self.offers.remove(&settled.item), task) {
            // An offerer that is gone has the task still, and offers it again.
            let _ = pending.to.send(OfferEnd::Returned(task));
        }
        self.queries.remove(&settled.item);
    }

    /// Whether this partition has nothing to deliver and nothing to acknowledge, as far as is known here.
    pub(crate) fn is_drained(&self, partition: u32) -> bool {
        self.queue.is_drained(partition) && !self.acknowledging.contains_key(&partition)
    }

    /// Gives back memory that was needed once and is not now.
    pub(crate) fn shrink(&mut self) {
        self.queue.shrink();
        self.waiters.shrink_to_fit();
        self.offers.shrink_to_fit();
        self.queries.shrink_to_fit();
        self.acknowledging.shrink_to_fit();
        self.to_remember.shrink_to_fit();
    }

    /// Whether nothing would be lost by forgetting the queue.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_idle() && self.acknowledging.is_empty()
    }

    /// Whether a poll, an offer or a query waits.
    pub(crate) fn has_waiters(&self) -> bool {
        !(self.waiters.is_empty() && self.offers.is_empty() && self.queries.is_empty())
    }

    /// Ends all waiting in a queue that is not served here any more. What is being delivered still reaches its poller.
    fn end_waiting(&mut self) {
        let queue = &self.queue;
        self.waiters.retain(|poller, _| !queue.is_waiting(*poller));
        for item in self.queue.items() {
            let Withdrawal::Withdrawn(_) = self.queue.withdraw(item) else { continue };
            if let Some(pending) = self.offers.remove(&item) {
                let _ = pending.to.send(OfferEnd::Moved);
            }
            // Its caller checks whether the queue is lost.
            self.queries.remove(&item);
        }
        self.to_remember.clear();
    }
}

/// Carrying out what a queue decides.
impl Core {
    /// Carries out all that has become possible. Must be called within the async runtime.
    pub(crate) fn advance(self: &Arc<Self>, queue: &Arc<TaskQueue>, state: &mut QueueState) {
        if queue.is_lost() {
            return state.end_waiting();
        }
        let now = self.runtime.now();
        while let Some(decision) = state.queue.decide(now) {
            match decision {
                Decision::Deliver(matched) => self.start_delivery(queue, state, matched),
                Decision::Expire(settled) => self.settle(queue, state, settled),
            }
        }
        for (partition, position, request_id) in std::mem::take(&mut state.to_remember) {
            let (core, queue) = (Arc::clone(self), Arc::clone(queue));
            let input = Input::Remember { position, request_id };
            self.spawn(async move { core.send_until_done(&queue, partition, input).await });
        }
        while let Some(request) = state.queue.next_read() {
            self.spawn(Arc::clone(self).read_backlog(Arc::clone(queue), request));
        }
        self.set_timer(queue, state, now);
    }

    /// Notifies the caller, or the backlog, that an item has left the queue for good.
    pub(crate) fn settle(self: &Arc<Self>, queue: &Arc<TaskQueue>, state: &mut QueueState, settled: Settled) {
        match settled.origin {
            Origin::Offer => {
                if let Some(pending) = state.offers.remove(&settled.item) {
                    // An offerer that is gone offers it again, and history answers that it is stale.
                    let _ = pending.to.send(OfferEnd::Taken);
                }
            }
            // The new owner delivers it again, and history answers that it is stale.
            Origin::Backlog(_) if queue.is_lost() => {}
            Origin::Backlog(position) => self.acknowledge(queue, state, settled.partition, position),
            Origin::Query => {
                state.queries.remove(&settled.item);
            }
        }
    }

    /// Acknowledgements of a partition go one after the other; those that come meanwhile go together.
    fn acknowledge(
        self: &Arc<Self>,
        queue: &Arc<TaskQueue>,
        state: &mut QueueState,
        partition: u32,
        position: Position,
    ) {
        if let Some(waiting) = state.acknowledging.get_mut(&partition) {
            waiting.push(position);
            return;
        }
        state.acknowledging.insert(partition, Vec::new());
        let (core, queue) = (Arc::clone(self), Arc::clone(queue));
        self.spawn(async move {
            let mut positions = vec![position];
            loop {
                core.send_until_done(&queue, partition, Input::Acknowledge(positions)).await;
                let mut state = queue.lock();
                positions = match state.acknowledging.get_mut(&partition) {
                    Some(waiting) if !waiting.is_empty() => std::mem::take(waiting),
                    _ => {
                        state.acknowledging.remove(&partition);
                        if state.is_drained(partition) {
                            queue.drained.notify_waiters();
                        }
                        return;
                    }
                };
            }
        });
    }

    /// Retries an input that a partition must not miss. If it does all the same, because the process ends or the queue
    /// moves away, the next reader of the backlog offers tasks that history answers to be stale.
    async fn send_until_done(&self, queue: &TaskQueue, partition: u32, input: Input) {
        let key = queue.partition(partition).key();
        let mut backoff = BACKOFF;
        while let Err(error) = self.partitions.call_unshed(&key, input.clone()).await {
            tracing::debug!(?key, %error, "cannot acknowledge a task");
            let is_over = self.closing.is_cancelled() || queue.is_lost();
            if is_over || matches!(error, ShardError::Quarantined(_)) {
                return;
            }
            tokio::select! {
                () = self.runtime.sleep(backoff.next_delay()) => {}
                () = queue.lost.cancelled() => return,
            }
        }
    }

    async fn read_backlog(self: Arc<Self>, queue: Arc<TaskQueue>, request: ReadRequest) {
        let key = queue.partition(request.partition).key();
        let ReadRequest { partition, after, limit } = request;
        let mut backoff = BACKOFF;
        loop {
            match self.partitions.call(&key, Input::Read { after, limit }).await {
                Ok(Reply::Read(reading)) => {
                    let mut state = queue.lock();
                    state.queue.read(partition, reading);
                    self.advance(&queue, &mut state);
                    return;
                }
                Ok(other) => tracing::error!(?key, ?other, "unexpected reply to reading a backlog"),
                Err(ShardError::Quarantined(reason)) => {
                    tracing::error!(?key, reason, "cannot read a backlog: it is quarantined");
                    backoff.go_to_longest();
                }
                Err(error) => tracing::debug!(?key, %error, "cannot read a backlog yet, retrying"),
            }
            tokio::select! {
                () = self.runtime.sleep(backoff.next_delay()) => {}
                () = queue.lost.cancelled() => return,
                () = self.closing.cancelled() => {
                    queue.lock().queue.read_failed(partition);
                    return;
                }
            }
        }
    }

    /// Advances the queue when its rate limit lets the next task pass.
    fn set_timer(self: &Arc<Self>, queue: &Arc<TaskQueue>, state: &mut QueueState, now: Timestamp) {
        let Some(at) = state.queue.next_token_at(now).filter(|at| *at > now) else { return };
        if state.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        state.timer = Some(at);
        let (core, queue) = (Arc::clone(self), Arc::clone(queue));
        self.spawn(async move {
            tokio::select! {
                () = core.runtime.sleep_until(at) => {}
                () = queue.lost.cancelled() => return,
                () = core.closing.cancelled() => return,
            }
            let mut state = queue.lock();
            if state.timer == Some(at) {
                state.timer = None;
            }
            core.advance(&queue, &mut state);
        });
    }
}
