//! History, for other nodes: the server of its service.

use std::sync::Arc;

use cluster::{History, RecordedStart};
use internal_api::history as proto;
use internal_api::history::history_server::{self, HistoryServer};
use runtime::Runtime;
use settings::RemoteSettings;
use tonic::{Request, Response, Status};

use crate::identity::Identity;
use crate::serving::{Door, serve};
use crate::wire::{from_activity, from_start, from_task, from_tenant, from_token, from_unwritten, required};

/// Serves a [`History`] to other nodes.
pub struct HistoryEndpoint {
    history: Arc<dyn History>,
    door: Door,
}

/// The tonic service for `history`, for calls that are meant for `identity`. When a caller goes away, its call is dropped.
#[must_use]
pub fn history_server(
    history: Arc<dyn History>,
    identity: Identity,
    runtime: Runtime,
    settings: &RemoteSettings,
) -> HistoryServer<HistoryEndpoint> {
    let door = Door { identity, runtime };
    HistoryServer::new(HistoryEndpoint { history, door }).max_decoding_message_size(settings.message_bytes)
}

/// Makes the server trait out of those methods that are like no other, and a table: method, its messages, which further
/// field goes between tenant and request, and whether the method takes a deadline.
macro_rules! serve_history {
    (
        { $($other:item)* }
        $($method:ident($message:ident) -> $reply:ident $({ $field:ident: $read:path })? $([$deadline:ident])?;)*
    ) => {
        #[tonic::async_trait]
        impl history_server::History for HistoryEndpoint {
            $(async fn $method(
                &self,
                request: Request<proto::$message>,
            ) -> Result<Response<proto::$reply>, Status> {
                let message = request.into_inner();
                let until = self.door.admit(message.call.as_ref())?;
                serve(message.call, until, async {
                    $(let $deadline = until;)?
                    let ctx = from_tenant(message.tenant)?;
                    let request = required(message.request, "request")?;
                    self.history.$method(&ctx, $($read(message.$field)?,)? request $(, $deadline)?).await
                })
                .await
            })*
            $($other)*
        }
    };
}

serve_history! {
    {
        async fn record_workflow_task_started(
            &self,
            request: Request<proto::RecordWorkflowTaskStartedRequest>,
        ) -> Result<Response<proto::RecordWorkflowTaskStartedReply>, Status> {
            let message = request.into_inner();
            let deadline = self.door.admit(message.call.as_ref())?;
            serve(message.call, deadline, async {
                let (task, start) = (from_task(message.task)?, from_start(message.start)?);
                let started = match self.history.record_workflow_task_started(&task, start).await? {
                    RecordedStart::Started(started) => Some(*started),
                    RecordedStart::Stale => None,
                };
                Ok(proto::WorkflowTaskRecorded { started })
            })
            .await
        }

        async fn record_activity_task_started(
            &self,
            request: Request<proto::RecordActivityTaskStartedRequest>,
        ) -> Result<Response<proto::RecordActivityTaskStartedReply>, Status> {
            let message = request.into_inner();
            let deadline = self.door.admit(message.call.as_ref())?;
            serve(message.call, deadline, async {
                let (task, start) = (from_task(message.task)?, from_start(message.start)?);
                let started = match self.history.record_activity_task_started(&task, start).await? {
                    RecordedStart::Started(started) => Some(*started),
                    RecordedStart::Stale => None,
                };
                Ok(proto::ActivityTaskRecorded { started })
            })
            .await
        }

        async fn tell_workflow(
            &self,
            request: Request<proto::TellWorkflowRequest>,
        ) -> Result<Response<proto::TellWorkflowReply>, Status> {
            let message = request.into_inner();
            let deadline = self.door.admit(message.call.as_ref())?;
            serve(message.call, deadline, async {
                let (namespace, workflow_id) = (message.namespace_id.into(), message.workflow_id.into());
                self.history.tell_workflow(&namespace, &workflow_id, message.message).await
            })
            .await
        }

        async fn dump_workflow(
            &self,
            request: Request<proto::DumpWorkflowRequest>,
        ) -> Result<Response<proto::DumpWorkflowReply>, Status> {
            let message = request.into_inner();
            let deadline = self.door.admit(message.call.as_ref())?;
            serve(message.call, deadline, async {
                let (namespace, workflow_id) = (message.namespace_id.into(), message.workflow_id.into());
                self.history.dump_workflow(&namespace, &workflow_id).await
            })
            .await
        }
    }
    start_workflow(StartWorkflowRequest) -> StartWorkflowReply;
    signal_with_start(SignalWithStartRequest) -> SignalWithStartReply;
    signal_workflow(SignalWorkflowRequest) -> SignalWorkflowReply;
    request_cancel(RequestCancelRequest) -> RequestCancelReply;
    terminate_workflow(TerminateWorkflowRequest) -> TerminateWorkflowReply;
    describe_workflow(DescribeWorkflowRequest) -> DescribeWorkflowReply;
    get_history(GetHistoryRequest) -> GetHistoryReply { unwritten: from_unwritten } [deadline];
    get_history_reverse(GetHistoryReverseRequest) -> GetHistoryReverseReply;
    query_workflow(QueryWorkflowRequest) -> QueryWorkflowReply [deadline];
    reset_sticky_task_queue(ResetStickyTaskQueueRequest) -> ResetStickyTaskQueueReply;
    complete_workflow_task(CompleteWorkflowTaskRequest) -> CompleteWorkflowTaskReply { token: from_token };
    fail_workflow_task(FailWorkflowTaskRequest) -> FailWorkflowTaskReply { token: from_token };
    heartbeat_activity(HeartbeatActivityRequest) -> HeartbeatActivityReply { activity: from_activity };
    complete_activity(CompleteActivityRequest) -> CompleteActivityReply { activity: from_activity };
    fail_activity(FailActivityRequest) -> FailActivityReply { activity: from_activity };
    cancel_activity(CancelActivityRequest) -> CancelActivityReply { activity: from_activity };
}
