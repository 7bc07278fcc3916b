//! The traits on top of a fake, with answers that have something in them.

use api::temporal::api::common::v1::{Payload, Payloads};
use api::temporal::api::history::v1::{History as Events, HistoryEvent};
use api::temporal::api::query::v1::QueryRejected;
use api::temporal::api::taskqueue::v1::PollerInfo;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use cluster::token::{QueryTaskToken, WorkflowTaskToken};
use cluster::{
    ActivityRef, History, Matching, OfferOutcome, OfferedQuery, OfferedTask, QueryOutcome, RecordedStart,
    ServiceResult, TaskQueueKind, TaskStart, TenantCtx, UnwrittenEvents,
};
use ids::{NamespaceId, Timestamp, WorkflowId};

use crate::fake::Fake;

pub fn payloads() -> Payloads {
    let metadata = [("encoding".to_owned(), "json/plain".into()), ("a".to_owned(), "b".into())].into();
    Payloads { payloads: vec![Payload { metadata, data: vec![7; 300].into(), ..Payload::default() }; 2] }
}

pub fn history() -> Events {
    let event = |event_id| HistoryEvent { event_id, version: 3, task_id: 1 << 40, ..HistoryEvent::default() };
    Events { events: (1..=3).map(event).collect() }
}

pub fn workflow_task() -> wire::PollWorkflowTaskQueueResponse {
    wire::PollWorkflowTaskQueueResponse {
        task_token: "a task".into(),
        attempt: 2,
        started_event_id: 3,
        history: Some(history()),
        ..Default::default()
    }
}

pub fn activity_task() -> wire::PollActivityTaskQueueResponse {
    wire::PollActivityTaskQueueResponse {
        task_token: "a task".into(),
        activity_id: "a".to_owned(),
        input: Some(payloads()),
        ..Default::default()
    }
}

#[async_trait]
impl History for Fake {
    async fn start_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        let answer =
            wire::StartWorkflowExecutionResponse { run_id: "a run".to_owned(), started: true, ..Default::default() };
        self.answer("start_workflow", &(&ctx.namespace, request), None, answer).await
    }

    async fn signal_with_start(
        &self,
        ctx: &TenantCtx,
        request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
        let answer = wire::SignalWithStartWorkflowExecutionResponse {
            run_id: "a run".to_owned(),
            started: true,
            ..Default::default()
        };
        self.answer("signal_with_start", &(&ctx.namespace, request), None, answer).await
    }

    async fn signal_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
        let answer = Default::default();
        self.answer("signal_workflow", &(&ctx.namespace, request), None, answer).await
    }

    async fn request_cancel(
        &self,
        ctx: &TenantCtx,
        request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
        let answer = Default::default();
        self.answer("request_cancel", &(&ctx.namespace, request), None, answer).await
    }

    async fn terminate_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
        let answer = Default::default();
        self.answer("terminate_workflow", &(&ctx.namespace, request), None, answer).await
    }

    async fn describe_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        let answer = wire::DescribeWorkflowExecutionResponse {
            pending_activities: vec![Default::default(); 2],
            ..Default::default()
        };
        self.answer("describe_workflow", &(&ctx.namespace, request), None, answer).await
    }

    async fn get_history(
        &self,
        ctx: &TenantCtx,
        unwritten: UnwrittenEvents,
        request: wire::GetWorkflowExecutionHistoryRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let answer = wire::GetWorkflowExecutionHistoryResponse {
            next_page_token: "more".into(),
            history: Some(history()),
            ..Default::default()
        };
        self.answer("get_history", &(&ctx.namespace, unwritten, request), Some(deadline), answer).await
    }

    async fn get_history_reverse(
        &self,
        ctx: &TenantCtx,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
        let answer = wire::GetWorkflowExecutionHistoryReverseResponse {
            next_page_token: "less".into(),
            history: Some(history()),
        };
        self.answer("get_history_reverse", &(&ctx.namespace, request), None, answer).await
    }

    async fn query_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::QueryWorkflowRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::QueryWorkflowResponse> {
        let answer = wire::QueryWorkflowResponse { query_result: Some(payloads()), ..Default::default() };
        self.answer("query_workflow", &(&ctx.namespace, request), Some(deadline), answer).await
    }

    async fn reset_sticky_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse> {
        let answer = Default::default();
        self.answer("reset_sticky_task_queue", &(&ctx.namespace, request), None, answer).await
    }

    async fn complete_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        let answer =
            wire::RespondWorkflowTaskCompletedResponse { workflow_task: Some(workflow_task()), ..Default::default() };
        self.answer("complete_workflow_task", &(&ctx.namespace, token, request), None, answer).await
    }

    async fn fail_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskFailedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
        let answer = Default::default();
        self.answer("fail_workflow_task", &(&ctx.namespace, token, request), None, answer).await
    }

    async fn heartbeat_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RecordActivityTaskHeartbeatRequest,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
        let answer = wire::RecordActivityTaskHeartbeatResponse {
            cancel_requested: true,
            activity_paused: true,
            activity_reset: false,
        };
        self.answer("heartbeat_activity", &(&ctx.namespace, activity, request), None, answer).await
    }

    async fn complete_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        let answer = Default::default();
        self.answer("complete_activity", &(&ctx.namespace, activity, request), None, answer).await
    }

    async fn fail_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskFailedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        let answer = Default::default();
        self.answer("fail_activity", &(&ctx.namespace, activity, request), None, answer).await
    }

    async fn cancel_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCanceledRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
        let answer = Default::default();
        self.answer("cancel_activity", &(&ctx.namespace, activity, request), None, answer).await
    }

    async fn record_workflow_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>> {
        let is_stale = task.task.attempt > 1;
        let answer = if is_stale { RecordedStart::Stale } else { RecordedStart::Started(Box::new(workflow_task())) };
        self.answer("record_workflow_task_started", &(task, start), None, answer).await
    }

    async fn record_activity_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>> {
        let is_stale = task.task.attempt > 1;
        let answer = if is_stale { RecordedStart::Stale } else { RecordedStart::Started(Box::new(activity_task())) };
        self.answer("record_activity_task_started", &(task, start), None, answer).await
    }

    async fn tell_workflow(
        &self,
        namespace: &NamespaceId,
        workflow_id: &WorkflowId,
        message: Bytes,
    ) -> ServiceResult<Bytes> {
        // An empty answer is one as well.
        let answer = if message.is_empty() { Bytes::new() } else { "heard".into() };
        self.answer("tell_workflow", &(namespace, workflow_id, message), None, answer).await
    }

    async fn dump_workflow(&self, namespace: &NamespaceId, workflow_id: &WorkflowId) -> ServiceResult<String> {
        self.answer("dump_workflow", &(namespace, workflow_id), None, "{}".to_owned()).await
    }
}

#[async_trait]
impl Matching for Fake {
    async fn offer(&self, task: OfferedTask) -> ServiceResult<OfferOutcome> {
        let answer = match task.queue.kind {
            TaskQueueKind::Workflow => OfferOutcome::Taken,
            TaskQueueKind::StickyWorkflow => OfferOutcome::Refused,
            TaskQueueKind::Activity | TaskQueueKind::Nexus => OfferOutcome::Kept,
        };
        self.answer("offer", &task, None, answer).await
    }

    async fn query(&self, query: OfferedQuery, deadline: Timestamp) -> ServiceResult<QueryOutcome> {
        let answer = match query.query.query_type.as_str() {
            "rejected" => QueryOutcome::Rejected(QueryRejected { status: 2 }),
            "refused" => QueryOutcome::Refused,
            _ => QueryOutcome::Answered(Box::new(wire::RespondQueryTaskCompletedRequest {
                query_result: Some(payloads()),
                ..Default::default()
            })),
        };
        self.answer("query", &query, Some(deadline), answer).await
    }

    async fn poll_workflow_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollWorkflowTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
        let answer = if self.has_tasks { workflow_task() } else { Default::default() };
        let arguments = (&ctx.namespace, request);
        let answer = self.answer("poll_workflow_task_queue", &arguments, Some(deadline), answer).await?;
        if self.has_tasks {
            self.hand_out();
        }
        Ok(answer)
    }

    async fn poll_activity_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollActivityTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollActivityTaskQueueResponse> {
        let answer = if self.has_tasks { activity_task() } else { Default::default() };
        let arguments = (&ctx.namespace, request);
        let answer = self.answer("poll_activity_task_queue", &arguments, Some(deadline), answer).await?;
        if self.has_tasks {
            self.hand_out();
        }
        Ok(answer)
    }

    async fn poll_nexus_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollNexusTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollNexusTaskQueueResponse> {
        self.answer("poll_nexus_task_queue", &(&ctx.namespace, request), Some(deadline), Default::default()).await
    }

    async fn respond_query_task_completed(
        &self,
        ctx: &TenantCtx,
        token: QueryTaskToken,
        request: wire::RespondQueryTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        let arguments = (&ctx.namespace, token, request);
        self.answer("respond_query_task_completed", &arguments, None, Default::default()).await
    }

    async fn describe_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        let pollers = vec![PollerInfo { identity: "a poller".to_owned(), ..Default::default() }];
        let answer = wire::DescribeTaskQueueResponse { pollers, ..Default::default() };
        self.answer("describe_task_queue", &(&ctx.namespace, request), None, answer).await
    }

    async fn shutdown_worker(
        &self,
        ctx: &TenantCtx,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse> {
        self.answer("shutdown_worker", &(&ctx.namespace, request), None, Default::default()).await
    }
}
