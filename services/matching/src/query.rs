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
use crate::task_queue::{Question, TaskQueue};

/// Queries without an answer, by their ids.
pub(crate) type Questions = HashMap<String, Asker>;

/// Who waits for an answer.
pub(crate) struct Asker {
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
        self.core.questions().remove(&self.id);
        let mut state = self.queue.lock();
        state.queue.withdraw(self.item);
        state.questions.remove(&self.item);
    }
}

impl Core {
    pub(crate) fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Some(mut query) = self.ask(offered)? else { return Ok(QueryOutcome::Refused) };
        let mut may_be_refused = is_sticky;
        loop {
            let look_again = match may_be_refused {
                true => self.look_again_at(&query.queue).min(deadline),
                false => deadline,
            };
            tokio::select! {
                answer = &mut query.answer => {
                    return answer.map_err(|_| ServiceError::Unavailable("the query was given up".to_owned()));
                }
                // Its answer will be sent to the new owner, which has not heard of it.
                () = query.queue.lost.cancelled() => return Err(not_owner(&name)),
                () = self.closing.cancelled() => {
                    return Err(ServiceError::Unavailable("matching is shutting down".to_owned()));
                }
                () = self.runtime.sleep_until(look_again) => {}
            }
            let now = self.runtime.now();
            if now >= deadline {
                return Err(self.nobody_answered(&name, &query.queue, now));
            }
            let mut state = query.queue.lock();
            if may_be_refused && self.is_deserted(&state, now) {
                if let Withdrawal::Withdrawn(_) = state.queue.withdraw(query.item) {
                    return Ok(QueryOutcome::Refused);
                }
                // The worker has it: nothing to do but wait for its answer.
                may_be_refused = false;
            }
        }
    }

    /// Puts the query in the queue; `None` if that is a sticky one whose worker is gone.
    fn ask(self: &Arc<Self>, offered: OfferedQuery) -> ServiceResult<Option<Query<'_>>> {
        let (to, answer) = oneshot::channel();
        let id = self.runtime.uuid();
        let asker = Asker { namespace: offered.queue.namespace.clone(), to };
        let now = self.runtime.now();
        self.with_queue(&offered.queue, |queue, state| {
            if queue.is_sticky() && self.is_deserted(state, now) {
                return None;
            }
            self.questions().insert(id.clone(), asker);
            let partition = state.partition_of_offer(if queue.is_sticky() { 1 } else { self.settings.partitions });
            let item = state.queue.ask(partition);
            let question = Question { id: id.clone(), query: offered.query, response: offered.response };
            state.questions.insert(item, Box::new(question));
            self.advance(queue, state);
            Some(Query { core: self, queue: Arc::clone(queue), item, id, answer })
        })
    }

    fn nobody_answered(&self, name: &QueueName, queue: &TaskQueue, now: Timestamp) -> ServiceError {
        let recently = self.settings.poller_history;
        let last = queue.lock().queue.last_attended(now);
        let name = &name.name;
        ServiceError::DeadlineExceeded(match last {
            Some(at) if now.since(at) < recently => {
                format!("no worker of task queue {name} answered the query in time")
            }
            _ => format!("no worker has polled task queue {name} recently, so nobody could answer the query"),
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
        let mut questions = self.questions();
        if questions.get(&token.query_id).ok_or_else(unknown)?.namespace != ctx.namespace.id {
            return Err(unknown());
        }
        let asker = questions.remove(&token.query_id).ok_or_else(unknown)?;
        asker.to.send(QueryOutcome::Answered(Box::new(request))).map_err(|_| unknown())?;
        Ok(wire::RespondQueryTaskCompletedResponse {})
    }

    /// Tells an asker that the queue's worker has left.
    pub(crate) fn refuse_question(&self, question: &Question) {
        if let Some(asker) = self.questions().remove(&question.id) {
            // Its time may just have run out.
            let _ = asker.to.send(QueryOutcome::Refused);
        }
    }
}
