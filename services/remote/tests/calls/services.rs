//! The traits on top of a fake, with answers that have something in them.

use api::temporal::api::common::v1::{Payload, Payloads};
use api::temporal::api::history::v1::{History as Events, HistoryEvent};
use api::temporal::api::query::v1::QueryRejected;
use api::temporal::api::taskqueue::v1::PollerInfo;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use calls::token::{QueryTaskToken, WorkflowTaskToken};
use calls::{
    ActivityReport, CallContext, DumpWorkflow, GetHistory, History, Matching, OfferOutcome, OfferedQuery, OfferedTask,
    Opened, QueryOutcome, RecordStart, RecordedStart, Relayed, SendToWorkflow, ServiceResult, TaskQueueKind,
};

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
        ctx: &CallContext,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        let answer =
            wire::StartWorkflowExecutionResponse { run_id: "a run".to_owned(), started: true, ..Default::default() };
        self.answer("start_workflow", ctx, &request, answer).await
    }

    async fn signal_with_start(
        &self,
        ctx: &CallContext,
        request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
        let answer = wire::SignalWithStartWorkflowExecutionResponse {
            run_id: "a run".to_owned(),
            started: true,
            ..Default::default()
        };
        self.answer("signal_with_start", ctx, &request, answer).await
    }

    async fn signal_workflow(
        &self,
        ctx: &CallContext,
        request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
        let answer = Default::default();
        self.answer("signal_workflow", ctx, &request, answer).await
    }

    async fn request_cancel(
        &self,
        ctx: &CallContext,
        request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
        let answer = Default::default();
        self.answer("request_cancel", ctx, &request, answer).await
    }

    async fn update_workflow(
        &self,
        ctx: &CallContext,
        request: wire::UpdateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::UpdateWorkflowExecutionResponse> {
        let answer = wire::UpdateWorkflowExecutionResponse { stage: 3, ..Default::default() };
        self.answer("update_workflow", ctx, &request, answer).await
    }

    async fn poll_update(
        &self,
        ctx: &CallContext,
        request: wire::PollWorkflowExecutionUpdateRequest,
    ) -> ServiceResult<wire::PollWorkflowExecutionUpdateResponse> {
        let answer = wire::PollWorkflowExecutionUpdateResponse { stage: 2, ..Default::default() };
        self.answer("poll_update", ctx, &request, answer).await
    }

    async fn execute_multi_operation(
        &self,
        ctx: &CallContext,
        request: wire::ExecuteMultiOperationRequest,
    ) -> ServiceResult<wire::ExecuteMultiOperationResponse> {
        let answer = wire::ExecuteMultiOperationResponse { responses: vec![Default::default(); 2] };
        self.answer("execute_multi_operation", ctx, &request, answer).await
    }

    async fn terminate_workflow(
        &self,
        ctx: &CallContext,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
        let answer = Default::default();
        self.answer("terminate_workflow", ctx, &request, answer).await
    }

    async fn reset_workflow(
        &self,
        ctx: &CallContext,
        request: wire::ResetWorkflowExecutionRequest,
    ) -> ServiceResult<wire::ResetWorkflowExecutionResponse> {
        let answer = wire::ResetWorkflowExecutionResponse { run_id: "new".to_owned() };
        self.answer("reset_workflow", ctx, &request, answer).await
    }

    async fn describe_workflow(
        &self,
        ctx: &CallContext,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        let answer = wire::DescribeWorkflowExecutionResponse {
            pending_activities: vec![Default::default(); 2],
            ..Default::default()
        };
        self.answer("describe_workflow", ctx, &request, answer).await
    }

    async fn get_history(
        &self,
        ctx: &CallContext,
        request: GetHistory,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let answer = wire::GetWorkflowExecutionHistoryResponse {
            next_page_token: "more".into(),
            history: Some(history()),
            ..Default::default()
        };
        self.answer("get_history", ctx, &request, answer).await
    }

    async fn get_history_reverse(
        &self,
        ctx: &CallContext,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
        let answer = wire::GetWorkflowExecutionHistoryReverseResponse {
            next_page_token: "less".into(),
            history: Some(history()),
        };
        self.answer("get_history_reverse", ctx, &request, answer).await
    }

    async fn query_workflow(
        &self,
        ctx: &CallContext,
        request: wire::QueryWorkflowRequest,
    ) -> ServiceResult<wire::QueryWorkflowResponse> {
        let answer = wire::QueryWorkflowResponse { query_result: Some(payloads()), ..Default::default() };
        self.answer("query_workflow", ctx, &request, answer).await
    }

    async fn reset_sticky_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse> {
        let answer = Default::default();
        self.answer("reset_sticky_task_queue", ctx, &request, answer).await
    }

    async fn complete_workflow_task(
        &self,
        ctx: &CallContext,
        request: Opened<WorkflowTaskToken, wire::RespondWorkflowTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        let answer =
            wire::RespondWorkflowTaskCompletedResponse { workflow_task: Some(workflow_task()), ..Default::default() };
        self.answer("complete_workflow_task", ctx, &request, answer).await
    }

    async fn fail_workflow_task(
        &self,
        ctx: &CallContext,
        request: Opened<WorkflowTaskToken, wire::RespondWorkflowTaskFailedRequest>,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
        let answer = Default::default();
        self.answer("fail_workflow_task", ctx, &request, answer).await
    }

    async fn heartbeat_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RecordActivityTaskHeartbeatRequest>,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
        let answer = wire::RecordActivityTaskHeartbeatResponse {
            cancel_requested: true,
            activity_paused: true,
            activity_reset: false,
        };
        self.answer("heartbeat_activity", ctx, &request, answer).await
    }

    async fn complete_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RespondActivityTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        let answer = Default::default();
        self.answer("complete_activity", ctx, &request, answer).await
    }

    async fn fail_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RespondActivityTaskFailedRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        let answer = Default::default();
        self.answer("fail_activity", ctx, &request, answer).await
    }

    async fn cancel_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RespondActivityTaskCanceledRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
        let answer = Default::default();
        self.answer("cancel_activity", ctx, &request, answer).await
    }

    async fn record_workflow_task_started(
        &self,
        ctx: &CallContext,
        request: RecordStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>> {
        let is_stale = request.task.key.task.attempt > 1;
        let answer =
            if is_stale { RecordedStart::Stale } else { RecordedStart::Started(Relayed::new(workflow_task())) };
        self.answer("record_workflow_task_started", ctx, &request, answer).await
    }

    async fn record_activity_task_started(
        &self,
        ctx: &CallContext,
        request: RecordStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>> {
        let is_stale = request.task.key.task.attempt > 1;
        let answer =
            if is_stale { RecordedStart::Stale } else { RecordedStart::Started(Relayed::new(activity_task())) };
        self.answer("record_activity_task_started", ctx, &request, answer).await
    }

    async fn send_to_workflow(&self, ctx: &CallContext, request: SendToWorkflow) -> ServiceResult<Bytes> {
        // An empty answer is one as well.
        let answer = if request.message.is_empty() { Bytes::new() } else { "heard".into() };
        self.answer("send_to_workflow", ctx, &request, answer).await
    }

    async fn dump_workflow(&self, ctx: &CallContext, request: DumpWorkflow) -> ServiceResult<String> {
        self.answer("dump_workflow", ctx, &request, "{}".to_owned()).await
    }
}

#[async_trait]
impl Matching for Fake {
    async fn offer(&self, ctx: &CallContext, task: OfferedTask) -> ServiceResult<OfferOutcome> {
        let answer = match task.queue.kind {
            TaskQueueKind::Workflow => OfferOutcome::Taken,
            TaskQueueKind::StickyWorkflow => OfferOutcome::Refused,
            TaskQueueKind::Activity | TaskQueueKind::Nexus => OfferOutcome::Persisted,
        };
        self.answer("offer", ctx, &task, answer).await
    }

    async fn query(&self, ctx: &CallContext, query: OfferedQuery) -> ServiceResult<QueryOutcome> {
        let answer = match query.query.query_type.as_str() {
            "rejected" => QueryOutcome::Rejected(QueryRejected { status: 2 }),
            "refused" => QueryOutcome::Refused,
            _ => QueryOutcome::Answered(Box::new(wire::RespondQueryTaskCompletedRequest {
                query_result: Some(payloads()),
                ..Default::default()
            })),
        };
        self.answer("query", ctx, &query, answer).await
    }

    async fn poll_workflow_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollWorkflowTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollWorkflowTaskQueueResponse>> {
        let answer = if self.has_tasks { Relayed::new(workflow_task()) } else { Relayed::default() };
        let answer = self.answer("poll_workflow_task_queue", ctx, &request, answer).await?;
        if self.has_tasks {
            self.hand_out(ctx);
        }
        Ok(answer)
    }

    async fn poll_activity_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollActivityTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollActivityTaskQueueResponse>> {
        let answer = if self.has_tasks { Relayed::new(activity_task()) } else { Relayed::default() };
        let answer = self.answer("poll_activity_task_queue", ctx, &request, answer).await?;
        if self.has_tasks {
            self.hand_out(ctx);
        }
        Ok(answer)
    }

    async fn poll_nexus_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollNexusTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollNexusTaskQueueResponse>> {
        self.answer("poll_nexus_task_queue", ctx, &request, Default::default()).await
    }

    async fn respond_query_task_completed(
        &self,
        ctx: &CallContext,
        request: Opened<QueryTaskToken, wire::RespondQueryTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        self.answer("respond_query_task_completed", ctx, &request, Default::default()).await
    }

    async fn describe_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        let pollers = vec![PollerInfo { identity: "a poller".to_owned(), ..Default::default() }];
        let answer = wire::DescribeTaskQueueResponse { pollers, ..Default::default() };
        self.answer("describe_task_queue", ctx, &request, answer).await
    }

    async fn shutdown_worker(
        &self,
        ctx: &CallContext,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse> {
        self.answer("shutdown_worker", ctx, &request, Default::default()).await
    }
}
