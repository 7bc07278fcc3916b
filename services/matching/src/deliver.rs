//! The way of an item to a poller that it was matched with.
//!
//! History records the start first. Its answer decides: started, it is handed over; stale, it is dropped and the poller
//! waits on; no answer, the call is retried under the same request id, for a while on behalf of this poller, then on behalf
//! of the next poller that is matched. A delivery goes on when its queue moves to another node: the start that it has recorded is
//! this poller's, and to the new owner history would answer that the task is stale.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use calls::{CallContext, OfferedTask, RecordStart, RecordedStart, Relayed, ServiceError, TaskQueueKind, TaskStart};
use futures::FutureExt;
use prost::Message;
use runtime::Backoff;
use taskqueue::{Input, ItemId, Match, Origin, Position, Task};

use crate::kind::ShardError;
use crate::observed::PollerDescription;
use crate::offer::no_nexus_tasks;
use crate::service::Core;
use crate::task_queue::{Content, DeliveredItem, QueueState, TaskQueue};

/// Attempts to record the start while the poller waits.
const ATTEMPTS_PER_POLLER: u32 = 3;
/// Attempts if the queue has moved away meanwhile, so that there is no next poller.
const ATTEMPTS_AFTER_MOVE: u32 = 9;
/// Between these attempts, and those to acknowledge a task, for a poller that waits.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// How long a task waits after the attempts for one poller failed, while that poller gets another task.
const BACKOFF_DELAY: Duration = Duration::from_secs(1);
/// The timeout of one attempt to record a start.
const RECORD_START_TIMEOUT: Duration = Duration::from_secs(10);

/// A task on its way.
struct Delivery {
    item: ItemId,
    partition: u32,
    matched: Match,
    record: RecordStart,
    /// Under which history records the start.
    request_id: String,
}

impl Delivery {
    /// The task's position in the backlog, if a request id may be stored with it.
    fn position_with_request_id(&self) -> Option<Position> {
        match (self.matched.origin, &self.matched.task) {
            (Origin::Backlog(position), Some(task)) if task.request_id.is_some() => Some(position),
            _ => None,
        }
    }
}

enum Recorded {
    Started(Content),
    Stale,
    NoAnswer(ServiceError),
}

impl Core {
    pub(crate) fn start_delivery(self: &Arc<Self>, queue: &Arc<TaskQueue>, state: &mut QueueState, matched: Match) {
        let Match { item, partition, .. } = matched;
        let Some(task) = matched.task.clone() else {
            let Some(query) = state.queries.remove(&item) else {
                // Its caller is gone.
                state.queue.stale(item);
                return;
            };
            let delivered = DeliveredItem { item, partition, request_id: None, content: Content::Query(query) };
            return self.hand_over(queue, state, &matched, delivered);
        };
        let description = state.waiters.get(&matched.poller).map(|waiter| Arc::clone(&waiter.description));
        let normal_name = state.offers.get(&item).map(|pending| pending.normal_name.clone());
        let start = start_of(queue, &description.unwrap_or_default());
        let record = RecordStart { task: offered_task(queue, &task, normal_name.unwrap_or_default()), start };
        let request_id = task.request_id.clone().unwrap_or_else(|| self.runtime.uuid());
        let delivery = Delivery { item, partition, matched, record, request_id };
        self.spawn(Arc::clone(self).deliver(Arc::clone(queue), delivery));
    }

    async fn deliver(self: Arc<Self>, queue: Arc<TaskQueue>, delivery: Delivery) {
        let Delivery { item, partition, .. } = delivery;
        let request_id = Some(delivery.request_id.clone());
        let mut backoff = BACKOFF;
        for attempt in 1.. {
            match self.record_start(&delivery).await {
                Recorded::Started(content) => {
                    if let Some(position) = delivery.position_with_request_id()
                        && !self.acknowledge_before_handover(&queue, partition, position).await
                    {
                        break;
                    }
                    let mut state = queue.lock();
                    self.hand_over(
                        &queue,
                        &mut state,
                        &delivery.matched,
                        DeliveredItem { item, partition, request_id, content },
                    );
                    return;
                }
                Recorded::Stale => {
                    let mut state = queue.lock();
                    if let Some(settled) = state.queue.stale(item) {
                        self.settle(&queue, &mut state, settled);
                    }
                    self.advance(&queue, &mut state);
                    return;
                }
                Recorded::NoAnswer(error) => {
                    tracing::debug!(task = ?delivery.record.task.key, %error, attempt, "history did not record a start");
                }
            }
            let is_last = match queue.is_lost() {
                false => attempt >= ATTEMPTS_PER_POLLER,
                true => attempt >= ATTEMPTS_AFTER_MOVE || !queue.lock().waiters.contains_key(&delivery.matched.poller),
            };
            if is_last || self.closing.is_cancelled() {
                break;
            }
            self.runtime.sleep(backoff.next_delay()).await;
        }
        self.back_off_and_put_back(queue, item, request_id).await;
    }

    /// Takes the task out of the backlog before it is handed over: the next owner would find it there and hand it over too, since
    /// history recognises the request id that is stored with it. False if it stays there, for the next owner.
    async fn acknowledge_before_handover(&self, queue: &TaskQueue, partition: u32, position: Position) -> bool {
        let key = queue.partition(partition).key();
        let mut backoff = BACKOFF;
        loop {
            match self.partitions.call_unshed(&key, Input::Acknowledge(vec![position])).await {
                Ok(_) | Err(ShardError::Quarantined(_)) => return true,
                Err(_) if queue.is_lost() || self.closing.is_cancelled() => return false,
                Err(error) => tracing::debug!(?key, %error, "cannot acknowledge a task yet, retrying"),
            }
            self.runtime.sleep(backoff.next_delay()).await;
        }
    }

    /// The poller gets another task while this one waits out its backoff.
    async fn back_off_and_put_back(self: Arc<Self>, queue: Arc<TaskQueue>, item: ItemId, request_id: Option<String>) {
        {
            let mut state = queue.lock();
            state.queue.separate(item);
            self.advance(&queue, &mut state);
        }
        tokio::select! {
            () = self.runtime.sleep(BACKOFF_DELAY) => {}
            () = queue.lost.cancelled() => {}
            () = self.closing.cancelled() => {}
        }
        let mut state = queue.lock();
        state.put_back(item, request_id);
        self.advance(&queue, &mut state);
    }

    async fn record_start(&self, delivery: &Delivery) -> Recorded {
        let history = &self.history;
        let (record, queue) = (delivery.record.clone(), &delivery.record.task.queue);
        let ctx = CallContext::internal(&queue.namespace).under(&delivery.request_id);
        let ctx = ctx.until(self.runtime.now() + RECORD_START_TIMEOUT);
        let recording = async {
            match queue.kind {
                TaskQueueKind::Workflow | TaskQueueKind::StickyWorkflow => {
                    recorded(history.record_workflow_task_started(&ctx, record).await, Content::Workflow)
                }
                TaskQueueKind::Activity => {
                    recorded(history.record_activity_task_started(&ctx, record).await, Content::Activity)
                }
                TaskQueueKind::Nexus => Recorded::NoAnswer(no_nexus_tasks()),
            }
        };
        // A panic is history's bug; here it must not lose a task.
        let recording = AssertUnwindSafe(recording).catch_unwind();
        match self.runtime.timeout(RECORD_START_TIMEOUT, recording).await {
            Some(Ok(recorded)) => recorded,
            Some(Err(_)) => Recorded::NoAnswer(ServiceError::Internal("recording a start panicked".to_owned())),
            None => Recorded::NoAnswer(ServiceError::DeadlineExceeded("history took too long".to_owned())),
        }
    }

    /// Gives it to the poller, if that is still there.
    fn hand_over(
        self: &Arc<Self>,
        queue: &Arc<TaskQueue>,
        state: &mut QueueState,
        matched: &Match,
        delivered: DeliveredItem,
    ) {
        let refused = match state.waiters.remove(&matched.poller) {
            Some(waiter) => waiter.to.send(delivered).err(),
            None => Some(delivered),
        };
        if let Some(delivered) = refused {
            // It is about to leave; matched again before that, it would be given the same thing again.
            state.queue.leave(matched.poller, self.runtime.now());
            state.take_back(delivered);
            self.advance(queue, state);
        }
    }

    /// The poller has it.
    pub(crate) fn report_delivered(self: &Arc<Self>, queue: &Arc<TaskQueue>, state: &mut QueueState, item: ItemId) {
        state.dispatched.count(self.runtime.now());
        if let Some(settled) = state.queue.delivered(item) {
            if settled.origin == Origin::Offer {
                self.counters.sync_match.increment(1);
            }
            self.settle(queue, state, settled);
        }
    }
}

fn recorded<T: Message + Default + Clone>(
    answer: Result<RecordedStart<T>, ServiceError>,
    content: impl Fn(Relayed<T>) -> Content,
) -> Recorded {
    match answer {
        Ok(RecordedStart::Started(response)) => Recorded::Started(content(response)),
        Ok(RecordedStart::Stale) => Recorded::Stale,
        // There is no such run or namespace any more, so the task is stale.
        Err(ServiceError::NotFound(_) | ServiceError::NamespaceNotFound(_)) => Recorded::Stale,
        Err(error) => Recorded::NoAnswer(error),
    }
}

fn start_of(queue: &TaskQueue, poller: &PollerDescription) -> TaskStart {
    TaskStart {
        identity: poller.identity.clone(),
        polled_queue: queue.name.name.clone(),
        worker_version: poller.capabilities.clone(),
        worker_instance_key: poller.worker_instance_key.clone(),
    }
}

fn offered_task(queue: &TaskQueue, task: &Task, normal_name: String) -> OfferedTask {
    OfferedTask {
        queue: queue.name.clone(),
        key: task.key.clone(),
        normal_name,
        priority: task.priority.clone(),
        scheduled_at: task.scheduled_at,
        expires_at: task.expires_at,
    }
}
