//! The RPCs of WorkflowService that are served: one file each, and the one table that names them.
//!
//! Every file has `check`, which judges a request by itself and may tidy it up, and `serve`, which answers it.

mod activity;
mod decoded;
mod history_page;
mod namespace_config;
mod outgoing;

use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use calls::ServiceResult;
use decoded::message;
pub(crate) use decoded::{Decoded, MessageBytes};
use grpc::workflow_service_server::WorkflowService;
use prost::{DecodeError, Message};
use settings::RequestLimits;
use tonic::{Request, Response, Status};

use crate::Frontend;
use crate::errors::to_status;

/// The full name of the service.
pub(crate) const NAME: &str = "temporal.api.workflowservice.v1.WorkflowService";

/// Makes the modules, the trait, the list of names and the fuzz entry out of one table: RPC, its module, and the names
/// of its messages.
macro_rules! served {
    ($($rpc:ident: $module:ident($request:ident) -> $response:ident;)*) => {
        $(mod $module;)*

        /// The names of the RPCs that are served.
        pub(crate) const SERVED: &[&str] = &[$(stringify!($rpc)),*];

        #[tonic::async_trait]
        impl WorkflowService for Frontend {
            $(
                async fn $module(
                    &self,
                    request: Request<wire::$request>,
                ) -> Result<Response<wire::$response>, Status> {
                    let call = self.call(&request);
                    let (mut request, bytes) = message(request);
                    let answer = async {
                        self.quotas().admit(call.arrived)?;
                        $module::check(&mut request, &self.settings().limits)?;
                        let _turn = self.turn(&request, bytes).await?;
                        $module::serve(self, call, request).await
                    };
                    self.respond(answer.await)
                }
            )*
        }

        /// Decodes `bytes` as the request of the `number`th RPC. Its fields of type `bytes` share them.
        pub(crate) fn decode(number: usize, bytes: Bytes) -> Result<Decoded, DecodeError> {
            let rpcs: &[fn(Bytes) -> Result<Decoded, DecodeError>] =
                &[$(|bytes| wire::$request::decode(bytes).map(Decoded::new)),*];
            rpcs.get(number).map_or_else(|| Ok(Decoded::new(())), |rpc| rpc(bytes))
        }

        /// Decodes `bytes` as the request of the `number`th RPC and checks it. `None` when they are no such request.
        pub(crate) fn decode_and_check(
            number: usize,
            bytes: &[u8],
            limits: &RequestLimits,
        ) -> Option<ServiceResult<()>> {
            let rpcs: &[fn(&[u8], &RequestLimits) -> Option<ServiceResult<()>>] = &[$(
                |bytes, limits| {
                    let mut request = wire::$request::decode(bytes).ok()?;
                    Some($module::check(&mut request, limits))
                }
            ),*];
            rpcs.get(number % rpcs.len()).and_then(|rpc| rpc(bytes, limits))
        }
    };
}

served! {
    GetSystemInfo: get_system_info(GetSystemInfoRequest) -> GetSystemInfoResponse;
    GetClusterInfo: get_cluster_info(GetClusterInfoRequest) -> GetClusterInfoResponse;
    RegisterNamespace: register_namespace(RegisterNamespaceRequest) -> RegisterNamespaceResponse;
    DescribeNamespace: describe_namespace(DescribeNamespaceRequest) -> DescribeNamespaceResponse;
    ListNamespaces: list_namespaces(ListNamespacesRequest) -> ListNamespacesResponse;
    UpdateNamespace: update_namespace(UpdateNamespaceRequest) -> UpdateNamespaceResponse;
    StartWorkflowExecution: start_workflow_execution(StartWorkflowExecutionRequest) -> StartWorkflowExecutionResponse;
    SignalWorkflowExecution:
        signal_workflow_execution(SignalWorkflowExecutionRequest) -> SignalWorkflowExecutionResponse;
    SignalWithStartWorkflowExecution:
        signal_with_start_workflow_execution(SignalWithStartWorkflowExecutionRequest)
        -> SignalWithStartWorkflowExecutionResponse;
    RequestCancelWorkflowExecution:
        request_cancel_workflow_execution(RequestCancelWorkflowExecutionRequest)
        -> RequestCancelWorkflowExecutionResponse;
    TerminateWorkflowExecution:
        terminate_workflow_execution(TerminateWorkflowExecutionRequest) -> TerminateWorkflowExecutionResponse;
    DescribeWorkflowExecution:
        describe_workflow_execution(DescribeWorkflowExecutionRequest) -> DescribeWorkflowExecutionResponse;
    GetWorkflowExecutionHistory:
        get_workflow_execution_history(GetWorkflowExecutionHistoryRequest) -> GetWorkflowExecutionHistoryResponse;
    GetWorkflowExecutionHistoryReverse:
        get_workflow_execution_history_reverse(GetWorkflowExecutionHistoryReverseRequest)
        -> GetWorkflowExecutionHistoryReverseResponse;
    QueryWorkflow: query_workflow(QueryWorkflowRequest) -> QueryWorkflowResponse;
    PollWorkflowTaskQueue: poll_workflow_task_queue(PollWorkflowTaskQueueRequest) -> PollWorkflowTaskQueueResponse;
    PollActivityTaskQueue: poll_activity_task_queue(PollActivityTaskQueueRequest) -> PollActivityTaskQueueResponse;
    PollNexusTaskQueue: poll_nexus_task_queue(PollNexusTaskQueueRequest) -> PollNexusTaskQueueResponse;
    RespondWorkflowTaskCompleted:
        respond_workflow_task_completed(RespondWorkflowTaskCompletedRequest) -> RespondWorkflowTaskCompletedResponse;
    RespondWorkflowTaskFailed:
        respond_workflow_task_failed(RespondWorkflowTaskFailedRequest) -> RespondWorkflowTaskFailedResponse;
    RespondQueryTaskCompleted:
        respond_query_task_completed(RespondQueryTaskCompletedRequest) -> RespondQueryTaskCompletedResponse;
    RecordActivityTaskHeartbeat:
        record_activity_task_heartbeat(RecordActivityTaskHeartbeatRequest) -> RecordActivityTaskHeartbeatResponse;
    RecordActivityTaskHeartbeatById:
        record_activity_task_heartbeat_by_id(RecordActivityTaskHeartbeatByIdRequest)
        -> RecordActivityTaskHeartbeatByIdResponse;
    RespondActivityTaskCompleted:
        respond_activity_task_completed(RespondActivityTaskCompletedRequest) -> RespondActivityTaskCompletedResponse;
    RespondActivityTaskCompletedById:
        respond_activity_task_completed_by_id(RespondActivityTaskCompletedByIdRequest)
        -> RespondActivityTaskCompletedByIdResponse;
    RespondActivityTaskFailed:
        respond_activity_task_failed(RespondActivityTaskFailedRequest) -> RespondActivityTaskFailedResponse;
    RespondActivityTaskFailedById:
        respond_activity_task_failed_by_id(RespondActivityTaskFailedByIdRequest)
        -> RespondActivityTaskFailedByIdResponse;
    RespondActivityTaskCanceled:
        respond_activity_task_canceled(RespondActivityTaskCanceledRequest) -> RespondActivityTaskCanceledResponse;
    RespondActivityTaskCanceledById:
        respond_activity_task_canceled_by_id(RespondActivityTaskCanceledByIdRequest)
        -> RespondActivityTaskCanceledByIdResponse;
    ResetStickyTaskQueue: reset_sticky_task_queue(ResetStickyTaskQueueRequest) -> ResetStickyTaskQueueResponse;
    ShutdownWorker: shutdown_worker(ShutdownWorkerRequest) -> ShutdownWorkerResponse;
    DescribeTaskQueue: describe_task_queue(DescribeTaskQueueRequest) -> DescribeTaskQueueResponse;
}

impl Frontend {
    /// What goes over the wire. Small messages travel as they are: compressing them costs more than it saves.
    fn respond<T: Message>(&self, answer: ServiceResult<T>) -> Result<Response<T>, Status> {
        let transport = &self.settings().transport;
        match answer {
            Ok(message) => {
                let small = message.encoded_len() < transport.compress_from_bytes;
                let mut response = Response::new(message);
                if small {
                    response.disable_compression();
                }
                Ok(response)
            }
            Err(error) => {
                if matches!(error, calls::ServiceError::Internal(_) | calls::ServiceError::DataLoss(_)) {
                    tracing::error!(%error, "a request failed through no fault of its caller");
                }
                Err(to_status(&error, transport.error_message_chars))
            }
        }
    }
}
