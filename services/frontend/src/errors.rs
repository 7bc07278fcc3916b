//! The one table from service errors to what goes over the wire: gRPC code, `errordetails` message and text.

use std::time::Duration;

use api::temporal::api::enums::v1::ResourceExhaustedScope;
use api::temporal::api::errordetails::v1 as details;
use api::temporal::api::errordetails::v1::multi_operation_execution_failure::OperationStatus;
use api::temporal::api::failure::v1::MultiOperationExecutionAborted;
use api::texts;
use bytes::Bytes;
use calls::{ResourceExhaustedCause, ServiceError};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::client_versions::Mismatch;
use crate::frontend::proto_duration;
use crate::validation::failures;

/// `google.rpc.Status`, which gRPC carries in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// The gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The text, the same as in `grpc-message`.
    #[prost(string, tag = "2")]
    pub message: String,
    /// What clients branch on.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// The failure inside an error may take this much: clients bound the whole block of trailers at 16 KiB.
const FAILURE_DETAIL_BYTES: usize = 3 * 1024;

/// The gRPC status of `error`, its text cut to `message_chars`.
pub fn to_status(error: &ServiceError, message_chars: usize) -> Status {
    let message = cut(&error.to_string(), message_chars);
    let (code, detail) = row(error);
    // SDKs branch on the first detail.
    status(code, message, detail.into_iter().chain(retry_after(error).map(retry_info)).collect())
}

/// The gRPC status of a client and a server that do not go together.
pub(crate) fn mismatch_to_status(mismatch: &Mismatch, message_chars: usize) -> Status {
    let message = cut(&mismatch.to_string(), message_chars);
    match mismatch {
        Mismatch::Unreadable(_) => Status::new(Code::InvalidArgument, message),
        Mismatch::Client { name, version, supported } => {
            let failure = details::ClientVersionNotSupportedFailure {
                client_version: cut(version, 1000),
                client_name: name.clone(),
                supported_versions: supported.clone(),
            };
            let detail = detail("ClientVersionNotSupportedFailure", &failure);
            status(Code::FailedPrecondition, message, detail.into_iter().collect())
        }
        Mismatch::Server { version, supported } => {
            let failure = details::ServerVersionNotSupportedFailure {
                server_version: version.clone(),
                client_supported_server_versions: cut(supported, 1000),
            };
            let detail = detail("ServerVersionNotSupportedFailure", &failure);
            status(Code::FailedPrecondition, message, detail.into_iter().collect())
        }
    }
}

fn status(code: Code, message: String, details: Vec<Any>) -> Status {
    if details.is_empty() {
        return Status::new(code, message);
    }
    let status = RpcStatus { code: code as i32, message: message.clone(), details };
    Status::with_details(code, message, Bytes::from(status.encode_to_vec()))
}

/// The row of the table that `error` belongs to.
fn row(error: &ServiceError) -> (Code, Option<Any>) {
    match error {
        ServiceError::InvalidArgument(_) => (Code::InvalidArgument, None),
        ServiceError::NotFound(_) => (Code::NotFound, detail("NotFoundFailure", &details::NotFoundFailure::default())),
        ServiceError::NamespaceNotFound(name) => {
            let failure = details::NamespaceNotFoundFailure { namespace: cut(name, 1000) };
            (Code::NotFound, detail("NamespaceNotFoundFailure", &failure))
        }
        ServiceError::NamespaceAlreadyExists(_) => {
            let failure = details::NamespaceAlreadyExistsFailure {};
            (Code::AlreadyExists, detail("NamespaceAlreadyExistsFailure", &failure))
        }
        ServiceError::WorkflowAlreadyStarted { start_request_id, run_id, first_execution_run_id, .. } => {
            let failure = details::WorkflowExecutionAlreadyStartedFailure {
                start_request_id: start_request_id.clone(),
                run_id: run_id.clone(),
                first_execution_run_id: first_execution_run_id.clone(),
            };
            (Code::AlreadyExists, detail("WorkflowExecutionAlreadyStartedFailure", &failure))
        }
        ServiceError::CancellationAlreadyRequested(_) => {
            let failure = details::CancellationAlreadyRequestedFailure {};
            (Code::AlreadyExists, detail("CancellationAlreadyRequestedFailure", &failure))
        }
        ServiceError::QueryFailed { failure, .. } => {
            let failure = failure.as_deref().map(|failure| failures::shortened(failure, FAILURE_DETAIL_BYTES));
            (Code::InvalidArgument, detail("QueryFailedFailure", &details::QueryFailedFailure { failure }))
        }
        ServiceError::WorkflowNotReady(_) => {
            (Code::FailedPrecondition, detail("WorkflowNotReadyFailure", &details::WorkflowNotReadyFailure {}))
        }
        ServiceError::FailedPrecondition(_) => (Code::FailedPrecondition, None),
        ServiceError::ResourceExhausted { cause, .. } => {
            let failure = details::ResourceExhaustedFailure { cause: *cause as i32, scope: scope(*cause) as i32 };
            (Code::ResourceExhausted, detail("ResourceExhaustedFailure", &failure))
        }
        ServiceError::MultiOperation { operation, count, error } => {
            let statuses = (0..*count).map(|at| if at == *operation { of_operation(error) } else { aborted() });
            let failure = details::MultiOperationExecutionFailure { statuses: statuses.collect() };
            (row(error).0, detail("MultiOperationExecutionFailure", &failure))
        }
        ServiceError::PermissionDenied(reason) => {
            let failure = details::PermissionDeniedFailure { reason: cut(reason, 1000) };
            (Code::PermissionDenied, detail("PermissionDeniedFailure", &failure))
        }
        ServiceError::NotOwner(_) => (Code::Unavailable, None),
        ServiceError::Unavailable(_) => (Code::Unavailable, None),
        ServiceError::DeadlineExceeded(_) => (Code::DeadlineExceeded, None),
        ServiceError::DataLoss(_) => (Code::DataLoss, None),
        ServiceError::Unimplemented(_) => (Code::Unimplemented, None),
        ServiceError::Internal(_) => (Code::Internal, None),
    }
}

/// The status of the operation that failed.
fn of_operation(error: &ServiceError) -> OperationStatus {
    let (code, detail) = row(error);
    OperationStatus { code: code as i32, message: cut(&error.to_string(), 1000), details: detail.into_iter().collect() }
}

/// That of one without a fault of its own.
fn aborted() -> OperationStatus {
    let aborted = MultiOperationExecutionAborted::default();
    let detail = Any {
        type_url: "type.googleapis.com/temporal.api.failure.v1.MultiOperationExecutionAborted".to_owned(),
        value: aborted.encode_to_vec(),
    };
    OperationStatus { code: Code::Aborted as i32, message: texts::OPERATION_ABORTED.to_owned(), details: vec![detail] }
}

/// The scope of the bound: everything that is not the whole server's business is the namespace's.
fn scope(cause: ResourceExhaustedCause) -> ResourceExhaustedScope {
    match cause {
        ResourceExhaustedCause::SystemOverloaded
        | ResourceExhaustedCause::PersistenceLimit
        | ResourceExhaustedCause::PersistenceStorageLimit => ResourceExhaustedScope::System,
        _ => ResourceExhaustedScope::Namespace,
    }
}

/// `google.rpc.RetryInfo`: when a retry makes sense.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// A shard that moves is served again in well under a second.
const MOVED_RETRY_AFTER: Duration = Duration::from_millis(200);

/// When a retry of what failed with `error` makes sense, where that is known.
fn retry_after(error: &ServiceError) -> Option<Duration> {
    match error {
        ServiceError::ResourceExhausted { retry_after, .. } => *retry_after,
        ServiceError::NotOwner(_) => Some(MOVED_RETRY_AFTER),
        ServiceError::MultiOperation { error, .. } => retry_after(error),
        _ => None,
    }
}

fn retry_info(after: Duration) -> Any {
    let info = RetryInfo { retry_delay: proto_duration(after) };
    Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() }
}

fn detail(name: &str, message: &impl Message) -> Option<Any> {
    let type_url = format!("type.googleapis.com/temporal.api.errordetails.v1.{name}");
    Some(Any { type_url, value: message.encode_to_vec() })
}

/// `text`, at most `chars` long. Text that is not plain ASCII is cut earlier: headers carry each of its bytes as three.
fn cut(text: &str, chars: usize) -> String {
    let mut weight = 0;
    for (position, character) in text.char_indices() {
        weight += if matches!(character, ' '..='~') { 1 } else { 2 * character.len_utf8() };
        if weight > chars {
            return text[..position].to_owned();
        }
    }
    text.to_owned()
}

#[cfg(test)]
#[path = "errors_test.rs"]
mod tests;
