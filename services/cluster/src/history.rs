//! What history does for frontends and matching.

use api::temporal::api::common::v1::WorkerVersionCapabilities;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use ids::{NamespaceId, Timestamp, WorkflowId};

use crate::token::{ActivityTaskToken, WorkflowTaskToken};
use crate::{OfferedTask, ServiceResult, TenantCtx};

/// Which activity a worker speaks of.
#[derive(Clone, Debug, PartialEq)]
pub enum ActivityRef {
    /// By the (authenticated) token that it was handed out with.
    Token(ActivityTaskToken),
    /// By its id in a workflow; an empty run id means the current run.
    Id {
        /// The workflow.
        workflow_id: String,
        /// The run, or empty.
        run_id: String,
        /// The activity id.
        activity_id: String,
    },
}

/// To whom a task is about to be given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskStart {
    /// One id for all retries on behalf of the same poller and task.
    pub request_id: String,
    /// The poller's identity.
    pub identity: String,
    /// The queue that the poller polled (a sticky one by its own name).
    pub polled_queue: String,
    /// The poller's build, as it said.
    pub worker_version: Option<WorkerVersionCapabilities>,
    /// Names the worker process.
    pub worker_instance_key: String,
}

/// What becomes of the events of a workflow task that the history does not have yet, when somebody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwrittenEvents {
    /// They follow the last event: a worker that fetches the history of its task finds its end there.
    Shown,
    /// They are left out: they may never come to be.
    Hidden,
}

/// The answer to recording a task's start.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordedStart<T> {
    /// Durably started (or found started by this very request): hand this to the poller.
    Started(Box<T>),
    /// The task is no longer wanted: drop it and look for another.
    Stale,
}

/// History: durable workflow executions. Every request has been validated and its tokens opened by the frontend; an
/// empty run id means the current run. A `deadline` is when the answer must have left, the caller's less a margin.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// `request_id`, retry policy, timeouts and policies are as the caller sent them; defaults are history's.
    async fn start_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse>;

    /// Signals the open run, or starts one with the signal as its first event after the start.
    async fn signal_with_start(
        &self,
        ctx: &TenantCtx,
        request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse>;

    /// Signals an open run.
    async fn signal_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse>;

    /// Asks an open run to cancel itself.
    async fn request_cancel(
        &self,
        ctx: &TenantCtx,
        request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse>;

    /// Ends an open run at once.
    async fn terminate_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse>;

    /// Shows a run.
    async fn describe_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse>;

    /// Events from the first on; may wait for new ones until `deadline`.
    async fn get_history(
        &self,
        ctx: &TenantCtx,
        unwritten: UnwrittenEvents,
        request: wire::GetWorkflowExecutionHistoryRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse>;

    /// Events from the last on, backwards.
    async fn get_history_reverse(
        &self,
        ctx: &TenantCtx,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse>;

    /// Asks a worker about a run.
    async fn query_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::QueryWorkflowRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::QueryWorkflowResponse>;

    /// Forgets which worker has the run cached.
    async fn reset_sticky_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse>;

    /// A worker's decisions. `token` is the request's, opened.
    async fn complete_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse>;

    /// A worker could not make decisions.
    async fn fail_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskFailedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse>;

    /// An activity is alive. (The ById request is turned into this one.)
    async fn heartbeat_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RecordActivityTaskHeartbeatRequest,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse>;

    /// An activity's result.
    async fn complete_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse>;

    /// An activity's failure.
    async fn fail_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskFailedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse>;

    /// An activity accepted its cancellation.
    async fn cancel_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCanceledRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse>;

    /// From matching: a poller is about to be given this workflow task. The response's token is not yet sealed.
    async fn record_workflow_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>>;

    /// From matching: a poller is about to be given this activity task. The response's token is not yet sealed.
    async fn record_activity_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>>;

    /// From another workflow, perhaps of another node: what it owes to this one. Message and answer are in history's own
    /// encoding. Idempotent, and never refused as overload.
    async fn tell_workflow(
        &self,
        namespace: &NamespaceId,
        workflow_id: &WorkflowId,
        message: Bytes,
    ) -> ServiceResult<Bytes>;

    /// For operators: the state of a workflow ID and its unstored changes, as JSON.
    async fn dump_workflow(&self, namespace: &NamespaceId, workflow_id: &WorkflowId) -> ServiceResult<String>;
}
