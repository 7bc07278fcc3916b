//! What matching does for frontends and history.

use api::temporal::api::common::v1::Priority;
use api::temporal::api::query::v1::{QueryRejected, WorkflowQuery};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use ids::{NamespaceId, RunId, Slot, TaskKey, Timestamp, WorkflowId};
use prost::Message;

use crate::history::Opened;
use crate::table::calls;
use crate::token::QueryTaskToken;
use crate::{Relayed, ServiceError, ServiceResult};

calls! {
    /// Matching: task queues, where pollers meet tasks.
    Matching("matching") {
        /// Offers a task; returns once a poller took it or it is durable in its partition.
        Offer: offer(OfferedTask) -> OfferOutcome, AtOnce, |task| &task.queue.name;

        /// Gives a query to a poller and waits for the answer. `DeadlineExceeded` when there was none in time.
        Query: query(OfferedQuery) -> QueryOutcome, Waits, |query| &query.queue.name;

        /// Waits for a workflow task; an empty response (no token) if none came. Dropping the future cancels the poll; what
        /// was matched to it is offered again.
        PollWorkflowTaskQueue: poll_workflow_task_queue(wire::PollWorkflowTaskQueueRequest)
            -> Relayed<wire::PollWorkflowTaskQueueResponse>,
            Poll, |poll| of(&poll.task_queue),
            { fn unserved(_: &Self::Request, error: ServiceError) -> ServiceResult<Self::Reply> { or_empty(error) } };

        /// Waits for an activity task; likewise.
        PollActivityTaskQueue: poll_activity_task_queue(wire::PollActivityTaskQueueRequest)
            -> Relayed<wire::PollActivityTaskQueueResponse>,
            Poll, |poll| of(&poll.task_queue),
            { fn unserved(_: &Self::Request, error: ServiceError) -> ServiceResult<Self::Reply> { or_empty(error) } };

        /// Waits for a Nexus task; likewise.
        PollNexusTaskQueue: poll_nexus_task_queue(wire::PollNexusTaskQueueRequest)
            -> Relayed<wire::PollNexusTaskQueueResponse>,
            Poll, |poll| of(&poll.task_queue),
            { fn unserved(_: &Self::Request, error: ServiceError) -> ServiceResult<Self::Reply> { or_empty(error) } };

        /// A worker's answer to a query task. If the queue has moved since, so has the query, and this is NotFound.
        RespondQueryTaskCompleted:
            respond_query_task_completed(Opened<QueryTaskToken, wire::RespondQueryTaskCompletedRequest>)
            -> wire::RespondQueryTaskCompletedResponse,
            AtOnce, |answer| &answer.token.task_queue;

        /// Pollers, and how much is waiting.
        DescribeTaskQueue: describe_task_queue(wire::DescribeTaskQueueRequest) -> wire::DescribeTaskQueueResponse,
            AtOnce, |describe| of(&describe.task_queue);

        /// A worker leaves: its polls (by worker_instance_key, in every partition and its sticky queue) return empty at once,
        /// later ones too. A worker polls queues anywhere, so all nodes are called; one that cannot be reached holds no polls.
        ShutdownWorker: shutdown_worker(wire::ShutdownWorkerRequest) -> wire::ShutdownWorkerResponse,
            Everywhere, |shutdown| &shutdown.task_queue;
    }
}

/// The queue of a request. All kinds of a queue live in one place.
fn of(queue: &Option<TaskQueue>) -> &str {
    queue.as_ref().map_or("", |queue| &queue.name)
}

/// A poll that was not served until its time was over is one without a task: its worker polls again in any case.
fn or_empty<T: Message + Default>(error: ServiceError) -> ServiceResult<Relayed<T>> {
    match error {
        ServiceError::NotOwner(_) | ServiceError::DeadlineExceeded(_) => Ok(Relayed::default()),
        error => Err(error),
    }
}

/// What a queue holds, and whether it belongs to one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskQueueKind {
    /// Workflow tasks for any worker.
    Workflow,
    /// Workflow tasks for the one worker that has the run cached. In memory only.
    StickyWorkflow,
    /// Activity tasks.
    Activity,
    /// Nexus tasks. Nothing offers any yet: polls end empty. In memory only.
    Nexus,
}

impl TaskQueueKind {
    /// Whether what waits in such a queue is persisted.
    #[must_use]
    pub fn is_durable(self) -> bool {
        match self {
            Self::Workflow | Self::Activity => true,
            Self::StickyWorkflow | Self::Nexus => false,
        }
    }
}

/// Names a task queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName {
    /// The tenant.
    pub namespace: NamespaceId,
    /// The user's name for it; for a sticky queue the worker's own.
    pub name: String,
    /// Its kind.
    pub kind: TaskQueueKind,
}

impl QueueName {
    /// Where the queue lives, with all its partitions. Part of the stored format.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of(&self.namespace, &WorkflowId::new(&*self.name))
    }
}

/// A task that history wants a poller to take.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedTask {
    /// The queue.
    pub queue: QueueName,
    /// The task.
    pub key: TaskKey,
    /// For a sticky queue, the normal queue's name; else empty.
    pub normal_name: String,
    /// Level 1 (first) to 5; unset means 3.
    pub priority: Option<Priority>,
    /// When history scheduled it.
    pub scheduled_at: Timestamp,
    /// After this the task is stale and may be dropped; `None` keeps it until a poller takes it.
    pub expires_at: Option<Timestamp>,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferOutcome {
    /// A poller took it, and history has recorded the start (or answered that the task is stale).
    Taken,
    /// It waits durably in the queue; history need not offer it again.
    Persisted,
    /// Sticky queues only: no poller has been seen lately, or its worker has shut down. Offer it on the normal queue.
    Refused,
}

/// A query for a worker, outside any workflow task.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedQuery {
    /// The queue to offer it on: sticky first, then the normal one.
    pub queue: QueueName,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The run.
    pub run_id: RunId,
    /// The query.
    pub query: WorkflowQuery,
    /// The poll response to hand out: history filled in everything but token and query.
    pub response: Relayed<wire::PollWorkflowTaskQueueResponse>,
}

/// A worker's answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryOutcome {
    /// What the worker sent: result, or error message and failure.
    Answered(Box<wire::RespondQueryTaskCompletedRequest>),
    /// Sticky queues only: its worker does not poll; offer it on the normal queue.
    Refused,
    /// The workflow's state forbids the query.
    Rejected(QueryRejected),
}
