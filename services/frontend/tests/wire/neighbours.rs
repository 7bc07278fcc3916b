//! History and matching as the frontend sees them: they record each call and answer by the names in it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Mutex;

use api::temporal::api::common::v1::{Payload, Payloads};
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use calls::token::{ActivityTaskToken, HistoryPageToken, QueryTaskToken, WorkflowTaskToken};
use calls::{ActivityReport, CallContext, GetHistory, History, Matching, Opened, Relayed, ServiceError, ServiceResult};
use ids::Timestamp;
use prost::Message;
use tokio_util::sync::CancellationToken;

pub const RUN: &str = "0190c6de-7f9c-7c6e-8f44-3b6f9a2b8c01";

/// One call that got through.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: &'static str,
    pub namespace_id: String,
    /// The request and what came with it, as text.
    pub request: String,
    pub deadline: Option<Timestamp>,
}

/// Both neighbours.
#[derive(Default)]
pub struct Neighbours {
    seen: Mutex<Vec<Seen>>,
    errors: Mutex<VecDeque<ServiceError>>,
    /// Starts of workflows whose id begins with `held` are answered once this is cancelled.
    held: CancellationToken,
}

impl Neighbours {
    /// The next call fails so.
    pub fn fail_next(&self, error: ServiceError) {
        self.errors.lock().unwrap().push_back(error);
    }

    /// Answers the starts that are held.
    pub fn let_go(&self) {
        self.held.cancel();
    }

    /// All calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last call, which must have been to this method.
    pub fn last(&self, method: &str) -> Seen {
        let last = self.seen().pop().expect("nothing got through");
        assert_eq!(last.method, method);
        last
    }

    fn note<R>(&self, method: &'static str, ctx: &CallContext, request: &impl Debug, answer: R) -> ServiceResult<R> {
        self.note_until(method, ctx, request, None, answer)
    }

    fn note_until<R>(
        &self,
        method: &'static str,
        ctx: &CallContext,
        request: &impl Debug,
        deadline: Option<Timestamp>,
        answer: R,
    ) -> ServiceResult<R> {
        let namespace_id = ctx.namespace.id.as_str().to_owned();
        let request = format!("{request:?}");
        self.seen.lock().unwrap().push(Seen { method, namespace_id, request, deadline });
        self.errors.lock().unwrap().pop_front().map_or(Ok(answer), Err)
    }
}

pub fn workflow_task(ctx: &CallContext) -> wire::PollWorkflowTaskQueueResponse {
    let namespace_id = ctx.namespace.id.as_str().to_owned();
    let token = WorkflowTaskToken {
        namespace_id: namespace_id.clone(),
        workflow_id: "order-1".to_owned(),
        run_id: RUN.to_owned(),
        scheduled_event_id: 2,
        started_event_id: 3,
        attempt: 1,
        stamp: 9,
    };
    let page = HistoryPageToken {
        namespace_id,
        workflow_id: "order-1".to_owned(),
        run_id: RUN.to_owned(),
        next_event_id: 2,
        end_event_id: 4,
        ..HistoryPageToken::default()
    };
    wire::PollWorkflowTaskQueueResponse {
        task_token: Bytes::from(token.encode_to_vec()),
        next_page_token: Bytes::from(page.encode_to_vec()),
        started_event_id: 3,
        attempt: 1,
        ..Default::default()
    }
}

pub fn activity_task(ctx: &CallContext) -> wire::PollActivityTaskQueueResponse {
    let token = ActivityTaskToken {
        namespace_id: ctx.namespace.id.as_str().to_owned(),
        workflow_id: "order-1".to_owned(),
        run_id: RUN.to_owned(),
        scheduled_event_id: 5,
        attempt: 1,
        activity_id: "charge".to_owned(),
    };
    wire::PollActivityTaskQueueResponse {
        task_token: Bytes::from(token.encode_to_vec()),
        activity_id: "charge".to_owned(),
        ..Default::default()
    }
}

fn query_task(ctx: &CallContext) -> wire::PollWorkflowTaskQueueResponse {
    let token = QueryTaskToken {
        namespace_id: ctx.namespace.id.as_str().to_owned(),
        task_queue: "queries".to_owned(),
        query_id: "q-1".to_owned(),
    };
    wire::PollWorkflowTaskQueueResponse {
        task_token: Bytes::from(token.encode_to_vec()),
        query: Some(WorkflowQuery { query_type: "state".to_owned(), ..WorkflowQuery::default() }),
        ..Default::default()
    }
}

/// Payloads whose one element has `bytes` bytes of data.
pub fn payloads(bytes: usize) -> Option<Payloads> {
    Some(Payloads { payloads: vec![Payload { data: Bytes::from(vec![b'x'; bytes]), ..Payload::default() }] })
}

#[async_trait]
impl History for Neighbours {
    async fn start_workflow(
        &self,
        ctx: &CallContext,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        let eager_workflow_task = request.request_eager_execution.then(|| workflow_task(ctx));
        let answer =
            wire::StartWorkflowExecutionResponse { run_id: RUN.to_owned(), eager_workflow_task, ..Default::default() };
        let answer = self.note("start_workflow", ctx, &request, answer);
        if request.workflow_id.starts_with("held") {
            self.held.cancelled().await;
        }
        answer
    }

    async fn signal_with_start(
        &self,
        ctx: &CallContext,
        request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
        self.note("signal_with_start", ctx, &request, Default::default())
    }

    async fn signal_workflow(
        &self,
        ctx: &CallContext,
        request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
        self.note("signal_workflow", ctx, &request.request_id, Default::default())
    }

    async fn request_cancel(
        &self,
        ctx: &CallContext,
        request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
        self.note("request_cancel", ctx, &request, Default::default())
    }

    async fn terminate_workflow(
        &self,
        ctx: &CallContext,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
        self.note("terminate_workflow", ctx, &request, Default::default())
    }

    async fn describe_workflow(
        &self,
        ctx: &CallContext,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        self.note("describe_workflow", ctx, &request, Default::default())
    }

    async fn get_history(
        &self,
        ctx: &CallContext,
        GetHistory { unwritten, request }: GetHistory,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let page = HistoryPageToken::decode(request.next_page_token.clone()).expect("opened tokens can be read");
        let answer = wire::GetWorkflowExecutionHistoryResponse {
            next_page_token: workflow_task(ctx).next_page_token,
            ..Default::default()
        };
        let answer =
            self.note_until("get_history", ctx, &(&request.execution, page, unwritten), ctx.deadline, answer)?;
        if request.wait_new_event && request.history_event_filter_type == 2 {
            std::future::pending::<()>().await;
        }
        Ok(answer)
    }

    async fn get_history_reverse(
        &self,
        ctx: &CallContext,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
        let answer = wire::GetWorkflowExecutionHistoryReverseResponse {
            next_page_token: workflow_task(ctx).next_page_token,
            ..Default::default()
        };
        self.note("get_history_reverse", ctx, &request, answer)
    }

    async fn query_workflow(
        &self,
        ctx: &CallContext,
        request: wire::QueryWorkflowRequest,
    ) -> ServiceResult<wire::QueryWorkflowResponse> {
        let kind = request.query.as_ref().map_or("", |query| query.query_type.as_str());
        let query_result = payloads(if kind == "large" { 100_000 } else { 10 });
        let answer = wire::QueryWorkflowResponse { query_result, ..Default::default() };
        let unanswered = kind == "unanswered";
        let noted = self.note_until("query_workflow", ctx, &request, ctx.deadline, answer);
        if unanswered {
            std::future::pending::<()>().await;
        }
        noted
    }

    async fn reset_sticky_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse> {
        self.note("reset_sticky_task_queue", ctx, &request, Default::default())
    }

    async fn complete_workflow_task(
        &self,
        ctx: &CallContext,
        Opened { token, request }: Opened<WorkflowTaskToken, wire::RespondWorkflowTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        let answer = wire::RespondWorkflowTaskCompletedResponse {
            workflow_task: request.return_new_workflow_task.then(|| workflow_task(ctx)),
            activity_tasks: vec![activity_task(ctx)],
            ..Default::default()
        };
        self.note("complete_workflow_task", ctx, &token, answer)
    }

    async fn fail_workflow_task(
        &self,
        ctx: &CallContext,
        Opened { token, .. }: Opened<WorkflowTaskToken, wire::RespondWorkflowTaskFailedRequest>,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
        self.note("fail_workflow_task", ctx, &token, Default::default())
    }

    async fn heartbeat_activity(
        &self,
        ctx: &CallContext,
        ActivityReport { activity, request }: ActivityReport<wire::RecordActivityTaskHeartbeatRequest>,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
        self.note("heartbeat_activity", ctx, &(activity, request.identity), Default::default())
    }

    async fn complete_activity(
        &self,
        ctx: &CallContext,
        ActivityReport { activity, request }: ActivityReport<wire::RespondActivityTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        self.note("complete_activity", ctx, &(activity, request.identity), Default::default())
    }

    async fn fail_activity(
        &self,
        ctx: &CallContext,
        ActivityReport { activity, request }: ActivityReport<wire::RespondActivityTaskFailedRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        self.note("fail_activity", ctx, &(activity, request.failure), Default::default())
    }

    async fn cancel_activity(
        &self,
        ctx: &CallContext,
        ActivityReport { activity, request }: ActivityReport<wire::RespondActivityTaskCanceledRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
        self.note("cancel_activity", ctx, &(activity, request.identity), Default::default())
    }
}

#[async_trait]
impl Matching for Neighbours {
    async fn poll_workflow_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollWorkflowTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollWorkflowTaskQueueResponse>> {
        let queue = request.task_queue.as_ref().map_or("", |queue| queue.name.as_str());
        let answer = match queue {
            "queries" => query_task(ctx),
            "empty" => Default::default(),
            "panics" => panic!("a bug in matching"),
            _ => workflow_task(ctx),
        };
        let answer = self.note_until("poll_workflow_task_queue", ctx, &request, ctx.deadline, answer)?;
        if queue == "waits" {
            std::future::pending::<()>().await;
        }
        Ok(Relayed::new(answer))
    }

    async fn poll_activity_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollActivityTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollActivityTaskQueueResponse>> {
        self.note_until("poll_activity_task_queue", ctx, &request, ctx.deadline, Relayed::new(activity_task(ctx)))
    }

    async fn poll_nexus_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollNexusTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollNexusTaskQueueResponse>> {
        let answer = self.note_until("poll_nexus_task_queue", ctx, &request, ctx.deadline, Default::default())?;
        if request.task_queue.is_some_and(|queue| queue.name == "waits") {
            std::future::pending::<()>().await;
        }
        Ok(answer)
    }

    async fn respond_query_task_completed(
        &self,
        ctx: &CallContext,
        Opened { token, request }: Opened<QueryTaskToken, wire::RespondQueryTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        let seen = (token, request.completed_type, request.error_message);
        self.note("respond_query_task_completed", ctx, &seen, Default::default())
    }

    async fn describe_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        self.note("describe_task_queue", ctx, &request, Default::default())
    }

    async fn shutdown_worker(
        &self,
        ctx: &CallContext,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse> {
        self.note("shutdown_worker", ctx, &request, Default::default())
    }
}
