//! What matching does for frontends and history.

use api::temporal::api::common::v1::Priority;
use api::temporal::api::query::v1::{QueryRejected, WorkflowQuery};
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use ids::{NamespaceId, RunId, Slot, Timestamp, WorkflowId};

use crate::token::QueryTaskToken;
use crate::{ServiceResult, TenantCtx};

/// What a queue holds, and whether it belongs to one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskQueueKind {
    /// Workflow tasks for any worker.
    Workflow,
    /// Workflow tasks for the one worker that has the run cached. In memory only.
    StickyWorkflow,
    /// Activity tasks.
    Activity,
    /// Nexus tasks. Nothing offers any yet: who polls waits in vain. In memory only.
    Nexus,
}

impl TaskQueueKind {
    /// Whether what waits in such a queue is kept durably.
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

/// Names a task within history; also what history checks staleness by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The run.
    pub run_id: RunId,
    /// The event that scheduled it.
    pub scheduled_event_id: i64,
    /// The attempt, from 1.
    pub attempt: i32,
    /// Rises with each dispatch of the same attempt.
    pub stamp: i64,
}

/// A task that history wants a poller to take.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedTask {
    /// The queue.
    pub queue: QueueName,
    /// The task.
    pub task: TaskKey,
    /// For a sticky queue, the normal queue's name; else empty.
    pub normal_name: String,
    /// Level 1 (first) to 5; unset means 3.
    pub priority: Option<Priority>,
    /// When history scheduled it.
    pub scheduled_at: Timestamp,
    /// After this the task is of no use and may be dropped; `None` keeps it until somebody takes it.
    pub expires_at: Option<Timestamp>,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferOutcome {
    /// A poller took it, and history has recorded the start (or said that the task is stale).
    Taken,
    /// It waits durably in the queue; history need not offer it again.
    Kept,
    /// Sticky queues only: no poller has been seen lately, or its worker has shut down. Offer it on the normal queue.
    Refused,
}

/// A query for a worker, outside any workflow task.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedQuery {
    /// The queue to ask on: sticky first, then the normal one.
    pub queue: QueueName,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The run.
    pub run_id: RunId,
    /// The query.
    pub query: WorkflowQuery,
    /// The poll response to hand out: history filled in everything but token and query.
    pub response: Box<wire::PollWorkflowTaskQueueResponse>,
}

/// A worker's answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryOutcome {
    /// What the worker sent: result, or error message and failure.
    Answered(Box<wire::RespondQueryTaskCompletedRequest>),
    /// Sticky queues only: nobody is there; ask on the normal queue.
    Refused,
    /// The workflow's state forbids the query.
    Rejected(QueryRejected),
}

/// Matching: task queues, where pollers meet tasks. Deadlines are when the answer must have left.
#[async_trait]
pub trait Matching: Send + Sync + 'static {
    /// Offers a task; returns once somebody took it or it is durable in its partition.
    async fn offer(&self, task: OfferedTask) -> ServiceResult<OfferOutcome>;

    /// Gives a query to a poller and waits for the answer. `DeadlineExceeded` when there was none in time.
    async fn query(&self, query: OfferedQuery, deadline: Timestamp) -> ServiceResult<QueryOutcome>;

    /// Waits for a workflow task; an empty response (no token) if none came by `deadline`. Dropping the future gives the
    /// poll up; what was matched to it is offered again.
    async fn poll_workflow_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollWorkflowTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollWorkflowTaskQueueResponse>;

    /// Waits for an activity task; likewise.
    async fn poll_activity_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollActivityTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollActivityTaskQueueResponse>;

    /// Waits for a Nexus task; likewise.
    async fn poll_nexus_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollNexusTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollNexusTaskQueueResponse>;

    /// A worker's answer to a query task. `token` is the request's, opened.
    async fn respond_query_task_completed(
        &self,
        ctx: &TenantCtx,
        token: QueryTaskToken,
        request: wire::RespondQueryTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse>;

    /// Pollers, and how much is waiting.
    async fn describe_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse>;

    /// A worker leaves: its polls (by worker_instance_key, in every partition and its sticky queue) return empty at once,
    /// later ones too.
    async fn shutdown_worker(
        &self,
        ctx: &TenantCtx,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse>;
}
