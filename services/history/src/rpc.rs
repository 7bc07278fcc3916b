//! The RPCs, one file each.

mod cancel_activity;
mod complete_activity;
mod complete_workflow_task;
mod describe_workflow;
mod execute_multi_operation;
mod fail_activity;
mod fail_workflow_task;
mod get_history;
mod get_history_reverse;
mod heartbeat_activity;
mod poll_update;
mod query_workflow;
mod record_activity_task_started;
mod record_workflow_task_started;
mod request_cancel;
mod reset_sticky_task_queue;
mod reset_workflow;
mod signal_with_start;
mod signal_workflow;
mod start_workflow;
mod terminate_workflow;
mod update_workflow;

use api::temporal::api::common::v1::{WorkerVersionStamp, WorkflowExecution};
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use calls::token::WorkflowTaskToken;
use calls::{
    ActivityRef, ActivityReport, CallContext, DumpWorkflow, GetHistory, History, Opened, RecordStart, RecordedStart,
    SendToWorkflow, ServiceResult,
};
use entities::EntityKey;
use execution::{ActivityResult, ActivitySelector};

use crate::HistoryService;
use crate::dump;
use crate::kind::WorkflowKind;

#[async_trait]
impl History for HistoryService {
    async fn start_workflow(
        &self,
        ctx: &CallContext,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        start_workflow::start_workflow(self, ctx, request).await
    }

    async fn signal_with_start(
        &self,
        ctx: &CallContext,
        request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
        signal_with_start::signal_with_start(self, ctx, request).await
    }

    async fn signal_workflow(
        &self,
        ctx: &CallContext,
        request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
        signal_workflow::signal_workflow(self, ctx, request).await
    }

    async fn request_cancel(
        &self,
        ctx: &CallContext,
        request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
        request_cancel::request_cancel(self, ctx, request).await
    }

    async fn update_workflow(
        &self,
        ctx: &CallContext,
        request: wire::UpdateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::UpdateWorkflowExecutionResponse> {
        update_workflow::update_workflow(self, ctx, request).await
    }

    async fn poll_update(
        &self,
        ctx: &CallContext,
        request: wire::PollWorkflowExecutionUpdateRequest,
    ) -> ServiceResult<wire::PollWorkflowExecutionUpdateResponse> {
        poll_update::poll_update(self, ctx, request).await
    }

    async fn execute_multi_operation(
        &self,
        ctx: &CallContext,
        request: wire::ExecuteMultiOperationRequest,
    ) -> ServiceResult<wire::ExecuteMultiOperationResponse> {
        execute_multi_operation::execute_multi_operation(self, ctx, request).await
    }

    async fn terminate_workflow(
        &self,
        ctx: &CallContext,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
        terminate_workflow::terminate_workflow(self, ctx, request).await
    }

    async fn reset_workflow(
        &self,
        ctx: &CallContext,
        request: wire::ResetWorkflowExecutionRequest,
    ) -> ServiceResult<wire::ResetWorkflowExecutionResponse> {
        reset_workflow::reset_workflow(self, ctx, request).await
    }

    async fn describe_workflow(
        &self,
        ctx: &CallContext,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        describe_workflow::describe_workflow(self, ctx, request).await
    }

    async fn get_history(
        &self,
        ctx: &CallContext,
        request: GetHistory,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        get_history::get_history(self, ctx, request).await
    }

    async fn get_history_reverse(
        &self,
        ctx: &CallContext,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
        get_history_reverse::get_history_reverse(self, ctx, request).await
    }

    async fn query_workflow(
        &self,
        ctx: &CallContext,
        request: wire::QueryWorkflowRequest,
    ) -> ServiceResult<wire::QueryWorkflowResponse> {
        query_workflow::query_workflow(self, ctx, request).await
    }

    async fn reset_sticky_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse> {
        reset_sticky_task_queue::reset_sticky_task_queue(self, ctx, request).await
    }

    async fn complete_workflow_task(
        &self,
        ctx: &CallContext,
        request: Opened<WorkflowTaskToken, wire::RespondWorkflowTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        complete_workflow_task::complete_workflow_task(self, ctx, request).await
    }

    async fn fail_workflow_task(
        &self,
        ctx: &CallContext,
        request: Opened<WorkflowTaskToken, wire::RespondWorkflowTaskFailedRequest>,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
        fail_workflow_task::fail_workflow_task(self, ctx, request).await
    }

    async fn heartbeat_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RecordActivityTaskHeartbeatRequest>,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
        heartbeat_activity::heartbeat_activity(self, ctx, request).await
    }

    async fn complete_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RespondActivityTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        complete_activity::complete_activity(self, ctx, request).await
    }

    async fn fail_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RespondActivityTaskFailedRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        fail_activity::fail_activity(self, ctx, request).await
    }

    async fn cancel_activity(
        &self,
        ctx: &CallContext,
        request: ActivityReport<wire::RespondActivityTaskCanceledRequest>,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
        cancel_activity::cancel_activity(self, ctx, request).await
    }

    async fn record_workflow_task_started(
        &self,
        ctx: &CallContext,
        request: RecordStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>> {
        record_workflow_task_started::record_workflow_task_started(self, ctx, request).await
    }

    async fn record_activity_task_started(
        &self,
        ctx: &CallContext,
        request: RecordStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>> {
        record_activity_task_started::record_activity_task_started(self, ctx, request).await
    }

    async fn send_to_workflow(&self, ctx: &CallContext, sent: SendToWorkflow) -> ServiceResult<Bytes> {
        self.handle_peer_message(&entity(ctx, &sent.workflow_id), sent.message).await
    }

    async fn dump_workflow(&self, ctx: &CallContext, dump: DumpWorkflow) -> ServiceResult<String> {
        dump::dump(self, &entity(ctx, &dump.workflow_id)).await
    }
}

fn entity(ctx: &CallContext, workflow_id: &str) -> EntityKey {
    EntityKey::of::<WorkflowKind>(ctx.namespace.id.clone(), workflow_id)
}

/// What a worker says of an activity, and of which run's.
fn activity_result<T>(
    activity: ActivityRef,
    identity: String,
    worker_version: Option<WorkerVersionStamp>,
    outcome: T,
) -> (WorkflowExecution, ActivityResult<T>) {
    let (workflow_id, run_id, activity) = match activity {
        ActivityRef::Token(token) => {
            let selector =
                ActivitySelector::Attempt { scheduled_event_id: token.scheduled_event_id, attempt: token.attempt };
            (token.workflow_id, token.run_id, selector)
        }
        ActivityRef::Id { workflow_id, run_id, activity_id } => {
            (workflow_id, run_id, ActivitySelector::Id(activity_id))
        }
    };
    let named = WorkflowExecution { workflow_id, run_id };
    (named, ActivityResult { activity, identity, worker_version, outcome })
}
