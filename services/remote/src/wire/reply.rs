//! Replies: an error of the service, or what was asked for.

use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use cluster::ServiceResult;
use internal_api::{history, matching};

use super::{from_error, required, to_error};

/// A reply of one method.
pub(crate) trait Reply: Sized {
    /// What was asked for.
    type Response;
    /// As it travels.
    fn of(result: ServiceResult<Self::Response>) -> Self;
    /// What the service said.
    fn into_result(self) -> ServiceResult<Self::Response>;
}

macro_rules! replies {
    ($($package:ident::$reply:ident: $response:ty;)*) => {
        $(impl Reply for $package::$reply {
            type Response = $response;

            fn of(result: ServiceResult<$response>) -> Self {
                match result {
                    Ok(response) => Self { response: Some(response), ..Self::default() },
                    Err(error) => Self { error: Some(to_error(error)), ..Self::default() },
                }
            }

            fn into_result(self) -> ServiceResult<$response> {
                match self.error {
                    Some(error) => Err(from_error(error)),
                    None => required(self.response, concat!("response in ", stringify!($reply))),
                }
            }
        })*
    };
}

replies! {
    history::StartWorkflowReply: wire::StartWorkflowExecutionResponse;
    history::SignalWithStartReply: wire::SignalWithStartWorkflowExecutionResponse;
    history::SignalWorkflowReply: wire::SignalWorkflowExecutionResponse;
    history::RequestCancelReply: wire::RequestCancelWorkflowExecutionResponse;
    history::TerminateWorkflowReply: wire::TerminateWorkflowExecutionResponse;
    history::DescribeWorkflowReply: wire::DescribeWorkflowExecutionResponse;
    history::GetHistoryReply: wire::GetWorkflowExecutionHistoryResponse;
    history::GetHistoryReverseReply: wire::GetWorkflowExecutionHistoryReverseResponse;
    history::QueryWorkflowReply: wire::QueryWorkflowResponse;
    history::ResetStickyTaskQueueReply: wire::ResetStickyTaskQueueResponse;
    history::CompleteWorkflowTaskReply: wire::RespondWorkflowTaskCompletedResponse;
    history::FailWorkflowTaskReply: wire::RespondWorkflowTaskFailedResponse;
    history::HeartbeatActivityReply: wire::RecordActivityTaskHeartbeatResponse;
    history::CompleteActivityReply: wire::RespondActivityTaskCompletedResponse;
    history::FailActivityReply: wire::RespondActivityTaskFailedResponse;
    history::CancelActivityReply: wire::RespondActivityTaskCanceledResponse;
    history::RecordWorkflowTaskStartedReply: history::WorkflowTaskRecorded;
    history::RecordActivityTaskStartedReply: history::ActivityTaskRecorded;
    history::TellWorkflowReply: Bytes;
    history::DumpWorkflowReply: String;
    matching::OfferReply: matching::OfferOutcome;
    matching::QueryReply: matching::QueryOutcome;
    matching::PollWorkflowTaskQueueReply: wire::PollWorkflowTaskQueueResponse;
    matching::PollActivityTaskQueueReply: wire::PollActivityTaskQueueResponse;
    matching::PollNexusTaskQueueReply: wire::PollNexusTaskQueueResponse;
    matching::RespondQueryTaskCompletedReply: wire::RespondQueryTaskCompletedResponse;
    matching::DescribeTaskQueueReply: wire::DescribeTaskQueueResponse;
    matching::ShutdownWorkerReply: wire::ShutdownWorkerResponse;
}
