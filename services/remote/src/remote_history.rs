//! History on another node. One of these is made for each attempt of a call.

use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use cluster::token::WorkflowTaskToken;
use cluster::{ActivityRef, History, OfferedTask, RecordedStart, ServiceResult, TaskStart, TenantCtx, UnwrittenEvents};
use ids::{NamespaceId, Timestamp, WorkflowId};
use internal_api::history as proto;
use internal_api::history::history_client::HistoryClient;
use prost::Message;

use crate::link::Link;
use crate::target::{Target, origin};
use crate::wire::{to_activity, to_start, to_task, to_tenant};

/// The trait, as a client of its service.
pub(crate) struct RemoteHistory(pub(crate) Target);

impl RemoteHistory {
    fn client(&self, link: Link) -> HistoryClient<Link> {
        HistoryClient::with_origin(link, origin()).max_decoding_message_size(self.0.settings.message_bytes)
    }
}

/// Sends a message with the given fields to a method, and waits until `until` (the call's own deadline, if none is given).
macro_rules! ask {
    ($self:ident.$method:ident($message:ident { $($field:ident: $value:expr),* })) => {
        ask!($self.$method($message { $($field: $value),* }) until $self.0.until)
    };
    ($self:ident.$method:ident($message:ident { $($field:ident: $value:expr),* }) until $until:expr) => {{
        let message = proto::$message { call: $self.0.call($until), $($field: $value),* };
        let request = $self.0.request(message);
        $self.0.ask(async |link| $self.client(link).$method(request).await).await
    }};
}

#[async_trait]
impl History for RemoteHistory {
    async fn start_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        ask!(self.start_workflow(StartWorkflowRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn signal_with_start(
        &self,
        ctx: &TenantCtx,
        request: wire::SignalWithStartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
        ask!(self.signal_with_start(SignalWithStartRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn signal_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::SignalWorkflowExecutionRequest,
    ) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
        ask!(self.signal_workflow(SignalWorkflowRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn request_cancel(
        &self,
        ctx: &TenantCtx,
        request: wire::RequestCancelWorkflowExecutionRequest,
    ) -> ServiceResult<wire::RequestCancelWorkflowExecutionResponse> {
        ask!(self.request_cancel(RequestCancelRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn terminate_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::TerminateWorkflowExecutionRequest,
    ) -> ServiceResult<wire::TerminateWorkflowExecutionResponse> {
        ask!(self.terminate_workflow(TerminateWorkflowRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn describe_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeWorkflowExecutionRequest,
    ) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        ask!(self.describe_workflow(DescribeWorkflowRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn get_history(
        &self,
        ctx: &TenantCtx,
        unwritten: UnwrittenEvents,
        request: wire::GetWorkflowExecutionHistoryRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let shown = unwritten == UnwrittenEvents::Shown;
        ask!(self.get_history(GetHistoryRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            unwritten: shown
        }) until deadline)
    }

    async fn get_history_reverse(
        &self,
        ctx: &TenantCtx,
        request: wire::GetWorkflowExecutionHistoryReverseRequest,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryReverseResponse> {
        ask!(self.get_history_reverse(GetHistoryReverseRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn query_workflow(
        &self,
        ctx: &TenantCtx,
        request: wire::QueryWorkflowRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::QueryWorkflowResponse> {
        ask!(self.query_workflow(QueryWorkflowRequest { tenant: to_tenant(ctx), request: Some(request) }) until deadline)
    }

    async fn reset_sticky_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::ResetStickyTaskQueueRequest,
    ) -> ServiceResult<wire::ResetStickyTaskQueueResponse> {
        ask!(
            self.reset_sticky_task_queue(ResetStickyTaskQueueRequest {
                tenant: to_tenant(ctx),
                request: Some(request)
            })
        )
    }

    async fn complete_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        ask!(self.complete_workflow_task(CompleteWorkflowTaskRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            token: token.encode_to_vec().into()
        }))
    }

    async fn fail_workflow_task(
        &self,
        ctx: &TenantCtx,
        token: WorkflowTaskToken,
        request: wire::RespondWorkflowTaskFailedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskFailedResponse> {
        ask!(self.fail_workflow_task(FailWorkflowTaskRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            token: token.encode_to_vec().into()
        }))
    }

    async fn heartbeat_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RecordActivityTaskHeartbeatRequest,
    ) -> ServiceResult<wire::RecordActivityTaskHeartbeatResponse> {
        ask!(self.heartbeat_activity(HeartbeatActivityRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            activity: to_activity(activity)
        }))
    }

    async fn complete_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        ask!(self.complete_activity(CompleteActivityRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            activity: to_activity(activity)
        }))
    }

    async fn fail_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskFailedRequest,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        ask!(self.fail_activity(FailActivityRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            activity: to_activity(activity)
        }))
    }

    async fn cancel_activity(
        &self,
        ctx: &TenantCtx,
        activity: ActivityRef,
        request: wire::RespondActivityTaskCanceledRequest,
    ) -> ServiceResult<wire::RespondActivityTaskCanceledResponse> {
        ask!(self.cancel_activity(CancelActivityRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            activity: to_activity(activity)
        }))
    }

    async fn record_workflow_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>> {
        let recorded = ask!(self.record_workflow_task_started(RecordWorkflowTaskStartedRequest {
            task: to_task(task.clone()),
            start: to_start(start)
        }))?;
        Ok(recorded.started.map_or(RecordedStart::Stale, |started| RecordedStart::Started(Box::new(started))))
    }

    async fn record_activity_task_started(
        &self,
        task: &OfferedTask,
        start: TaskStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>> {
        let recorded = ask!(self.record_activity_task_started(RecordActivityTaskStartedRequest {
            task: to_task(task.clone()),
            start: to_start(start)
        }))?;
        Ok(recorded.started.map_or(RecordedStart::Stale, |started| RecordedStart::Started(Box::new(started))))
    }

    async fn tell_workflow(
        &self,
        namespace: &NamespaceId,
        workflow_id: &WorkflowId,
        message: Bytes,
    ) -> ServiceResult<Bytes> {
        ask!(self.tell_workflow(TellWorkflowRequest {
            namespace_id: namespace.as_str().to_owned(),
            workflow_id: workflow_id.as_str().to_owned(),
            message: message
        }))
    }

    async fn dump_workflow(&self, namespace: &NamespaceId, workflow_id: &WorkflowId) -> ServiceResult<String> {
        ask!(self.dump_workflow(DumpWorkflowRequest {
            namespace_id: namespace.as_str().to_owned(),
            workflow_id: workflow_id.as_str().to_owned()
        }))
    }
}
