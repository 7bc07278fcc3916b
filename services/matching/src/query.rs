//! Queries outside any workflow task: matched with a poller like a task, answered by the worker, never durable.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use api::temporal::api::workflowservice::v1 as wire;
use calls::token::QueryTaskToken;
use calls::{CallContext, OfferedQuery, Opened, QueryOutcome, QueueName, ServiceError, ServiceResult, TaskQueueKind};
use ids::{NamespaceId, Timestamp};
use taskqueue::{ItemId, Withdrawal};
use tokio::sync::oneshot;

use crate::queues::not_owner;
use crate::service::Core;
use crate::task_queue::{PendingQuery, TaskQueue};

/// Queries without an answer, by their ids.
pub(crate) type PendingQueries = HashMap<String, QueryCaller>;

/// The caller that waits for an answer.
pub(crate) struct QueryCaller {
    namespace: NamespaceId,
    to: oneshot::Sender<QueryOutcome>,
}

/// A query under way. Dropping it takes it out of the queue, and makes its answer unknown.
struct Query<'a> {
    core: &'a Arc<Core>,
    queue: Arc<TaskQueue>,
    item: ItemId,
    id: String,
    answer: oneshot::Receiver<QueryOutcome>,
}

impl Drop for Query<'_> {
    fn drop(&mut self) {
        self.core.pending_queries().remove(&self.id);
        let mut state = self.queue.lock();
        state.queue.withdraw(self.item);
        state.queries.remove(&self.item);
    }
}

impl Core {
    pub(crate) fn pending_queries(&self) -> MutexGuard<'_, PendingQueries> {
        self.pending_queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn query(
        self: &Arc<Self>,
        ctx: &CallContext,
        offered: OfferedQuery,
    ) -> ServiceResult<QueryOutcome> {
        let deadline = ctx.waits_until(self.runtime.now());
        self.check_served(&offered.queue)?;
        let is_sticky = offered.queue.kind == TaskQueueKind::StickyWorkflow;
        if is_sticky && self.find_queue(&offered.queue).is_none() {
            return Ok(QueryOutcome::Refused);
        }
        let name = offered.queue.clone();
        let Some(mut query) = self.enqueue_query(offered)? else { return Ok(QueryOutcome::Refused) };
        let mut may_be_refused = is_sticky;
        loop {
            let next_check = match may_be_refused {
                true => self.next_liveness_check(&query.queue).min(deadline),
                false => deadline,
            };
            tokio::select! {
                answer = &mut query.answer => {
                    return answer.map_err(|_| ServiceError::Unavailable("the query was cancelled".to_owned()));
                }
                // Its answer will be sent to the new owner, which does not have it.
                () = query.queue.lost.cancelled() => return Err(not_owner(&name)),
                () = self.closing.cancelled() => {
                    return Err(ServiceError::Unavailable("matching is shutting down".to_owned()));
                }
                () = self.runtime.sleep_until(next_check) => {}
            }
            let now = self.runtime.now();
            if now >= deadline {
                return Err(self.query_timed_out(&name, &query.queue, now));
            }
            let mut state = query.queue.lock();
            if may_be_refused && self.has_no_live_worker(&state, now) {
                if let Withdrawal::Withdrawn(_) = state.queue.withdraw(query.item) {
                    return Ok(QueryOutcome::Refused);
                }
                // The worker has it: nothing to do but wait for its answer.
                may_be_refused = false;
            }
        }
    }

    /// Puts the query in the queue; `None` if that is a sticky one whose worker is gone.
    fn enqueue_query(self: &Arc<Self>, offered: OfferedQuery) -> ServiceResult<Option<Query<'_>>> {
        let (to, answer) = oneshot::channel();
        let id = self.runtime.uuid();
        let caller = QueryCaller { namespace: offered.queue.namespace.clone(), to };
        let now = self.runtime.now();
        self.with_queue(&offered.queue, |queue, state| {
            if queue.is_sticky() && self.has_no_live_worker(state, now) {
                return None;
            }
            self.pending_queries().insert(id.clone(), caller);
            let partition = state.partition_of_offer(if queue.is_sticky() { 1 } else { self.settings.partitions });
            let item = state.queue.query(partition);
            let query = PendingQuery { id: id.clone(), query: offered.query, response: offered.response };
            state.queries.insert(item, Box::new(query));
            self.advance(queue, state);
            Some(Query { core: self, queue: Arc::clone(queue), item, id, answer })
        })
    }

    fn query_timed_out(&self, name: &QueueName, queue: &TaskQueue, now: Timestamp) -> ServiceError {
        let recently = self.settings.poller_history;
        let last = queue.lock().queue.last_poll(now);
        let name = &name.name;
        ServiceError::DeadlineExceeded(match last {
            Some(at) if now.since(at) < recently => {
                format!("no worker of task queue {name} answered the query in time")
            }
            _ => format!("no worker has polled task queue {name} recently, so none could answer the query"),
        })
    }

    pub(crate) fn respond_query_task_completed(
        &self,
        ctx: &CallContext,
        Opened { token, request }: Opened<QueryTaskToken, wire::RespondQueryTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        let name = token.task_queue.clone();
        let kind = TaskQueueKind::Workflow;
        self.check_served(&QueueName { namespace: ctx.namespace.id.clone(), name, kind })?;
        let unknown = || ServiceError::NotFound(format!("query task {} is not found or has expired", token.query_id));
        let mut queries = self.pending_queries();
        if queries.get(&token.query_id).ok_or_else(unknown)?.namespace != ctx.namespace.id {
            return Err(unknown());
        }
        let caller = queries.remove(&token.query_id).ok_or_else(unknown)?;
        caller.to.send(QueryOutcome::Answered(Box::new(request))).map_err(|_| unknown())?;
        Ok(wire::RespondQueryTaskCompletedResponse {})
    }

    /// Answers a caller that the queue's worker has left.
    pub(crate) fn refuse_query(&self, query: &PendingQuery) {
        if let Some(caller) = self.pending_queries().remove(&query.id) {
            // Its time may just have run out.
            let _ = caller.to.send(QueryOutcome::Refused);
        }
    }
}
