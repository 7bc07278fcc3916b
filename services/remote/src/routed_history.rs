//! History, wherever in the cluster the workflow's shard is.
//!
//! **Retries.** All attempts of a call carry one request id, drawn here where the caller has none, so a start, signal or
//! request to cancel takes effect once. Completions have no such id: their token stands for it. If a completion's first
//! attempt took effect and its answer was lost, the next one finds the task gone, and the caller hears NotFound. That is
//! what it would hear had another worker been quicker, and SDKs drop the task in both cases. The same goes for a second
//! TerminateWorkflow, whose NotFound says that the workflow is not running any more, which is true.

use std::sync::Arc;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use cluster::token::WorkflowTaskToken;
use cluster::{
    ActivityRef, History, Membership, NodeId, OfferedTask, RecordedStart, ServiceError, ServiceResult, Sharded,
    TaskStart, TenantCtx, UnwrittenEvents,
};
use ids::{NamespaceId, Slot, Timestamp, WorkflowId};
use runtime::Runtime;
use settings::RemoteSettings;

use crate::channels::Channels;
use crate::measures::Method;
use crate::remote_history::RemoteHistory;
use crate::retry::Bound;
use crate::router::{Route, Router};

/// History of the whole cluster.
pub struct RoutedHistory(Router<dyn History>);

impl RoutedHistory {
    /// Calls the owners that `membership` names; for those shards that `node`, this one, owns itself, `local`.
    #[must_use]
    pub fn new(
        membership: &Arc<dyn Membership>,
        node: NodeId,
        local: Option<Arc<dyn History>>,
        channels: Channels,
        runtime: Runtime,
        settings: RemoteSettings,
    ) -> Self {
        let remote = |target| Arc::new(RemoteHistory(target)) as Arc<dyn History>;
        Self(Router::new((Sharded::History, remote), membership, node, local, channels, (settings, runtime)))
    }

    fn usual(&self, method: Method, slot: Slot) -> Route {
        Route { method, slot, bound: self.0.usual() }
    }

    fn fill(&self, request_id: &mut String) {
        if request_id.is_empty() {
            *request_id = self.0.runtime().uuid();
        }
    }
}

fn slot(ctx: &TenantCtx, workflow_id: &str) -> Slot {
    Slot::of(&ctx.namespace.id, &WorkflowId::new(workflow_id))
}

fn slot_of(ctx: &TenantCtx, execution: Option<&WorkflowExecution>) -> Slot {
    slot(ctx, execution.map_or("", |execution| &execution.workflow_id))
}

fn slot_of_activity(ctx: &TenantCtx, activity: &ActivityRef) -> Slot {
    match activity {
        ActivityRef::Token(token) => slot(ctx, &token.workflow_id),
        ActivityRef::Id { workflow_id, .. } => slot(ctx, workflow_id),
    }
}

/// Calls a method of the owner, with a copy of each argument for every attempt.
macro_rules! routed {
    ($self:ident, $route:expr, $method:ident($ctx:expr $(, $argument:expr)*)) => {
        $self.0.route($route, |history| async move { history.$method($ctx $(, $argument.clone())*).await }).await
    };
}

#[async_trait]
impl History for RoutedHistory {
    async fn start_workflow(
        &self,
        ctx: &TenantCtx,
        mut request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        self.fill(&mut request.request_id);
        let (route, request) = (self.usual(Method::StartWorkflow, slot(ctx, &request.workflow_id)), &request);
        routed!(self, route, start_workflow(ctx, request))
    }

    async fn signal_with_start(
        &self,
        ctx: &TenantCtx,
        mut request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
        self.fill(&mut request.request_id);
        let (route, request) = (self.usual(Method::SignalWithStart, slot(ctx, &request.workflow_id)), &request);
        routed!(self, route, signal_with_start(ctx, request))
    }

    async fn signal_workflow(
        &self,
        ctx: &TenantCtx,
        mut request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
        self.fill(&mut request.request_id);
        let slot = slot_of(ctx, request.workflow_execution.as_ref());
        let (route, request) = (self.usual(Method::SignalWorkflow, slot), &request);
        routed!(self, route, signal_workflow(ctx, request))
    }

    async fn request_cancel(
        &self,
        ctx: &TenantCtx,
        mut request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
        self.fill(&mut request.request_id);
        let slot = slot_of(ctx, request.workflow_execution.as_ref());
        let (route, request) = (self.usual(Method::RequestCancel, slot), &request);
        routed!(self, route, request_cancel(ctx, request))
    }

    async fn terminate_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
        let slot = slot_of(ctx, request.workflow_execution.as_ref());
        let (route, request) = (self.usual(Method::TerminateWorkflow, slot), &request);
        routed!(self, route, terminate_workflow(ctx, request))
    }

    async fn describe_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        let slot = slot_of(ctx, request.execution.as_ref());
        let (route, request) = (self.usual(Method::DescribeWorkflow, slot), &request);
        routed!(self, route, describe_workflow(ctx, request))
    }

    /// A wait that ends because nobody could be asked shows an empty page, if there is one to go on from.
    async fn get_history(
        &self,
        ctx: &TenantCtx,
        unwritten: UnwrittenEvents,
        request: wire::GetWorkflowExecutionHistoryRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let slot = slot_of(ctx, request.execution.as_ref());
        let (route, request) = (Route { method: Method::GetHistory, slot, bound: Bound::Kept(deadline) }, &request);
        match routed!(self, route, get_history(ctx, unwritten, request, deadline)) {
            Err(ServiceError::NotOwner(_)) if request.wait_new_event && !request.next_page_token.is_empty() => {
                Ok(wire::GetWorkflowExecutionHistoryResponse {
                    history: Some(Default::default()),
                    next_page_token: request.next_page_token.clone(),
                    ..Default::default()
                })
            }
            answer => answer,
        }
    }

    async fn get_history_reverse(
        &self,
        ctx: &TenantCtx,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
        let slot = slot_of(ctx, request.execution.as_ref());
        let (route, request) = (self.usual(Method::GetHistoryReverse, slot), &request);
        routed!(self, route, get_history_reverse(ctx, request))
    }

    async fn query_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::QueryWorkflowRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::QueryWorkflowResponse> {
        let slot = slot_of(ctx, request.execution.as_ref());
        let (route, request) = (Route { method: Method::QueryWorkflow, slot, bound: Bound::Kept(deadline) }, &request);
        routed!(self, route, query_workflow(ctx, request, deadline))
    }

    async fn reset_sticky_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse> {
        let slot = slot_of(ctx, request.execution.as_ref());
        let (route, request) = (self.usual(Method::ResetStickyTaskQueue, slot), &request);
        routed!(self, route, reset_sticky_task_queue(ctx, request))
    }

    async fn complete_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        let route = self.usual(Method::CompleteWorkflowTask, slot(ctx, &token.workflow_id));
        let (token, request) = (&token, &request);
        routed!(self, route, complete_workflow_task(ctx, token, request))
    }

    async fn fail_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskFailedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
        let route = self.usual(Method::FailWorkflowTask, slot(ctx, &token.workflow_id));
        let (token, request) = (&token, &request);
        routed!(self, route, fail_workflow_task(ctx, token, request))
    }

    async fn heartbeat_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RecordActivityTaskHeartbeatRequest,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
        let route = self.usual(Method::HeartbeatActivity, slot_of_activity(ctx, &activity));
        let (activity, request) = (&activity, &request);
        routed!(self, route, heartbeat_activity(ctx, activity, request))
    }

    async fn complete_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        let route = self.usual(Method::CompleteActivity, slot_of_activity(ctx, &activity));
        let (activity, request) = (&activity, &request);
        routed!(self, route, complete_activity(ctx, activity, request))
    }

    async fn fail_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskFailedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        let route = self.usual(Method::FailActivity, slot_of_activity(ctx, &activity));
        let (activity, request) = (&activity, &request);
        routed!(self, route, fail_activity(ctx, activity, request))
    }

    async fn cancel_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCanceledRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
        let route = self.usual(Method::CancelActivity, slot_of_activity(ctx, &activity));
        let (activity, request) = (&activity, &request);
        routed!(self, route, cancel_activity(ctx, activity, request))
    }

    async fn record_workflow_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>> {
        let slot = Slot::of(&task.queue.namespace, &task.task.workflow_id);
        let (route, start) = (self.usual(Method::RecordWorkflowTaskStarted, slot), &start);
        routed!(self, route, record_workflow_task_started(task, start))
    }

    async fn record_activity_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>> {
        let slot = Slot::of(&task.queue.namespace, &task.task.workflow_id);
        let (route, start) = (self.usual(Method::RecordActivityTaskStarted, slot), &start);
        routed!(self, route, record_activity_task_started(task, start))
    }

    async fn tell_workflow(
        &self,
        namespace: &NamespaceId,
        workflow_id: &WorkflowId,
        message: Bytes,
    ) -> ServiceResult<Bytes> {
        let (route, message) = (self.usual(Method::TellWorkflow, Slot::of(namespace, workflow_id)), &message);
        self.0
            .route(route, |history| async move { history.tell_workflow(namespace, workflow_id, message.clone()).await })
            .await
    }

    async fn dump_workflow(&self, namespace: &NamespaceId, workflow_id: &WorkflowId) -> ServiceResult<String> {
        let route = self.usual(Method::DumpWorkflow, Slot::of(namespace, workflow_id));
        self.0.route(route, |history| async move { history.dump_workflow(namespace, workflow_id).await }).await
    }
}
