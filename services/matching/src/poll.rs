//! Polls: each waits for a task, and leaves the queue at once when its wait ends or its future is dropped.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::enums::v1::TaskQueueKind as WireKind;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::QueryTaskToken;
use calls::{CallContext, QueueName, Relayed, ServiceError, ServiceResult, TaskQueueKind};
use ids::Timestamp;
use prost::Message;
use taskqueue::PollerId;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use crate::observed::PollerDescription;
use crate::queues::not_owner;
use crate::receipt::ack_on_write;
use crate::service::Core;
use crate::task_queue::{Content, DeliveredItem, PendingQuery, TaskQueue, Waiter};
use crate::workers::Presence;

/// The longest that a poll waits, whatever its deadline.
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// How long before its deadline a poll without a task ends, so that a task being delivered can still make it.
const MARGIN: Duration = Duration::from_millis(100);

/// How long the poll of a worker that has left waits for its empty answer.
const REFUSED_POLL: Duration = Duration::from_secs(1);

/// A poll in the queue. Dropping it, answered or not, takes it out.
struct Poll<'a> {
    core: &'a Arc<Core>,
    queue: Arc<TaskQueue>,
    id: PollerId,
    given: oneshot::Receiver<DeliveredItem>,
    /// Whether the caller gets an answer, empty or not. Otherwise it is gone.
    is_answered: bool,
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.core.counters.pollers.decrement(1);
        let mut state = self.queue.lock();
        state.waiters.remove(&self.id);
        state.queue.leave(self.id, self.core.runtime.now());
        state.last_used = self.core.runtime.now();
        if !self.is_answered && !state.queue.has_pollers() {
            state.last_disconnect = Some(state.last_used);
        }
        self.given.close();
        if let Ok(delivered) = self.given.try_recv() {
            state.take_back(delivered);
            // Nothing can be started from here: the async runtime itself may be going down.
            let _ = self.core.wake_queue.send(Arc::clone(&self.queue));
        }
    }
}

impl Core {
    pub(crate) async fn poll_workflow_task_queue(
        self: &Arc<Self>,
        ctx: &CallContext,
        request: wire::PollWorkflowTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollWorkflowTaskQueueResponse>> {
        let asked = request.task_queue.unwrap_or_default();
        let is_sticky = asked.kind == WireKind::Sticky as i32;
        let kind = if is_sticky { TaskQueueKind::StickyWorkflow } else { TaskQueueKind::Workflow };
        let name = queue_name(ctx, asked.name, kind)?;
        let poller = PollerDescription {
            identity: request.identity,
            worker_instance_key: request.worker_instance_key,
            capabilities: request.worker_version_capabilities,
            deployment: request.deployment_options,
            rate: None,
        };
        let Some((delivered, waiting)) = self.poll(ctx, &name, poller).await? else { return Ok(Relayed::default()) };
        let mut response = match delivered {
            Content::Workflow(response) => response,
            Content::Query(query) => query_response(&name, *query),
            Content::Activity(_) => {
                return Err(ServiceError::Internal("an activity task came from a workflow task queue".to_owned()));
            }
        };
        if waiting > 0 {
            response.add(&wire::PollWorkflowTaskQueueResponse { backlog_count_hint: waiting, ..Default::default() });
        }
        Ok(response)
    }

    pub(crate) async fn poll_activity_task_queue(
        self: &Arc<Self>,
        ctx: &CallContext,
        request: wire::PollActivityTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollActivityTaskQueueResponse>> {
        let name = queue_name(ctx, request.task_queue.unwrap_or_default().name, TaskQueueKind::Activity)?;
        let poller = PollerDescription {
            identity: request.identity,
            worker_instance_key: request.worker_instance_key,
            capabilities: request.worker_version_capabilities,
            deployment: request.deployment_options,
            rate: request.task_queue_metadata.and_then(|metadata| metadata.max_tasks_per_second),
        };
        match self.poll(ctx, &name, poller).await? {
            None => Ok(Relayed::default()),
            Some((Content::Activity(response), _)) => Ok(response),
            Some(_) => Err(ServiceError::Internal("a workflow task came from an activity task queue".to_owned())),
        }
    }

    /// Always ends empty: there are no Nexus tasks yet.
    pub(crate) async fn poll_nexus_task_queue(
        self: &Arc<Self>,
        ctx: &CallContext,
        request: wire::PollNexusTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollNexusTaskQueueResponse>> {
        let name = queue_name(ctx, request.task_queue.unwrap_or_default().name, TaskQueueKind::Nexus)?;
        let poller = PollerDescription {
            identity: request.identity,
            worker_instance_key: request.worker_instance_key,
            capabilities: request.worker_version_capabilities,
            deployment: request.deployment_options,
            rate: None,
        };
        match self.poll(ctx, &name, poller).await? {
            None => Ok(Relayed::default()),
            Some(_) => Err(ServiceError::Internal("a task of another kind came from a Nexus task queue".to_owned())),
        }
    }

    /// Waits for something to do; also returns how much more waits in the partition.
    async fn poll(
        self: &Arc<Self>,
        ctx: &CallContext,
        name: &QueueName,
        poller: PollerDescription,
    ) -> ServiceResult<Option<(Content, i64)>> {
        self.check_served(name)?;
        self.counters.polls.increment(1);
        let now = self.runtime.now();
        let deadline = ctx.waits_until(now);
        let Some(presence) = self.workers.enter(name, &poller.worker_instance_key, now) else {
            // A worker that polls on would otherwise do so as fast as it can.
            self.runtime.sleep(deadline.since(now).min(REFUSED_POLL)).await;
            return Ok(None);
        };
        let mut poll = self.join(name, poller, now)?;

        let given = poll.wait(&presence, deadline).await;
        poll.is_answered = true;
        if presence.has_left() {
            poll.forget_rate(&presence);
        }
        Ok(given?.map(|delivered| poll.accept(ctx, delivered)))
    }

    fn join(self: &Arc<Self>, name: &QueueName, poller: PollerDescription, now: Timestamp) -> ServiceResult<Poll<'_>> {
        let description = Arc::new(poller);
        let (to, given) = oneshot::channel();
        let (queue, id) = self.with_queue(name, |queue, state| {
            state.last_disconnect = None;
            state.recent.saw(&description, now);
            state.follow_rate(description.rate, now);
            let partition = state.partition_of_poll(if queue.is_sticky() { 1 } else { self.settings.partitions });
            let id = state.queue.poll(partition, now);
            state.waiters.insert(id, Waiter { to, description });
            self.advance(queue, state);
            (Arc::clone(queue), id)
        })?;
        self.counters.pollers.increment(1);
        Ok(Poll { core: self, queue, id, given, is_answered: false })
    }
}

impl Poll<'_> {
    /// Until it is given something, its time is nearly over, or it is to end for another reason: with an error only if the
    /// queue has moved, so that it can wait on there.
    async fn wait(&mut self, worker: &Presence, deadline: Timestamp) -> ServiceResult<Option<DeliveredItem>> {
        let runtime = &self.core.runtime;
        let wait = deadline.since(runtime.now()).saturating_sub(MARGIN).min(LONGEST_POLL);
        tokio::select! {
            biased;
            given = &mut self.given => return self.given_or_moved(given),
            () = worker.left() => {}
            () = self.core.closing.cancelled() => {}
            () = runtime.sleep(wait) => {}
        }
        if self.is_waiting() {
            return Ok(None);
        }
        // Something is on its way, and history may have recorded that this poll has it. A worker that leaves keeps its
        // polls until they are answered, so it still gets what was meant for it; and so does one whose node closes.
        match runtime.timeout(deadline.since(runtime.now()), &mut self.given).await {
            Some(given) => self.given_or_moved(given),
            None => Ok(None),
        }
    }

    fn given_or_moved(&self, given: Result<DeliveredItem, RecvError>) -> ServiceResult<Option<DeliveredItem>> {
        match given {
            Ok(delivered) => Ok(Some(delivered)),
            Err(_) if self.core.closing.is_cancelled() => Ok(None),
            Err(_) => Err(not_owner(&self.queue.name)),
        }
    }

    fn forget_rate(&self, worker: &Presence) {
        let now = self.core.runtime.now();
        let mut state = self.queue.lock();
        state.recent.forget_rate_of(worker.key());
        state.follow_rate(None, now);
        self.core.advance(&self.queue, &mut state);
    }

    fn is_waiting(&self) -> bool {
        self.queue.lock().queue.is_waiting(self.id)
    }

    /// From here to the answer nothing waits. The task counts as given once the answer is written.
    fn accept(&self, ctx: &CallContext, delivered: DeliveredItem) -> (Content, i64) {
        // What was only offered has a poller in a moment; SDKs take the hint of a sticky queue for tasks that lie there, and
        // send it all their polls.
        let waiting = if self.queue.is_sticky() { 0 } else { self.queue.lock().queue.waiting_in(delivered.partition) };
        ack_on_write(ctx, self.core, &self.queue, &delivered);
        (delivered.content, i64::try_from(waiting).unwrap_or(i64::MAX))
    }
}

fn queue_name(ctx: &CallContext, name: String, kind: TaskQueueKind) -> ServiceResult<QueueName> {
    if name.is_empty() {
        return Err(ServiceError::InvalidArgument("task_queue.name is empty".to_owned()));
    }
    Ok(QueueName { namespace: ctx.namespace.id.clone(), name, kind })
}

fn query_response(queue: &QueueName, query: PendingQuery) -> Relayed<wire::PollWorkflowTaskQueueResponse> {
    let token = QueryTaskToken {
        namespace_id: queue.namespace.as_str().to_owned(),
        task_queue: queue.name.clone(),
        query_id: query.id,
    };
    let mut response = query.response;
    response.add(&wire::PollWorkflowTaskQueueResponse {
        task_token: token.encode_to_vec().into(),
        query: Some(query.query),
        ..Default::default()
    });
    response
}
