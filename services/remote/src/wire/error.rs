//! [`ServiceError`], without loss.

use std::time::Duration;

use calls::{ResourceExhaustedCause, ServiceError};
use internal_api::calls as proto;
use proto::error::Kind;

/// As it travels.
pub(crate) fn to_error(error: ServiceError) -> proto::Error {
    let is_retryable = matches!(error, ServiceError::NotOwner(_) | ServiceError::Unavailable(_));
    let reply = |kind: Kind, text| proto::Error { kind: kind.into(), text, is_retryable, ..proto::Error::default() };
    match error {
        ServiceError::InvalidArgument(text) => reply(Kind::InvalidArgument, text),
        ServiceError::NotFound(text) => reply(Kind::NotFound, text),
        ServiceError::NamespaceNotFound(name) => reply(Kind::NamespaceNotFound, name),
        ServiceError::NamespaceAlreadyExists(text) => reply(Kind::NamespaceAlreadyExists, text),
        ServiceError::WorkflowAlreadyStarted { message, start_request_id, run_id, first_execution_run_id } => {
            let error_reply = reply(Kind::WorkflowAlreadyStarted, message);
            proto::Error { start_request_id, run_id, first_execution_run_id, ..error_reply }
        }
        ServiceError::CancellationAlreadyRequested(text) => reply(Kind::CancellationAlreadyRequested, text),
        ServiceError::QueryFailed { message, failure } => {
            proto::Error { failure: failure.map(|failure| *failure), ..reply(Kind::QueryFailed, message) }
        }
        ServiceError::WorkflowNotReady(text) => reply(Kind::WorkflowNotReady, text),
        ServiceError::FailedPrecondition(text) => reply(Kind::FailedPrecondition, text),
        ServiceError::ResourceExhausted { cause, message, retry_after } => {
            let retry_after = retry_after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
            proto::Error { cause: cause.into(), retry_after, ..reply(Kind::ResourceExhausted, message) }
        }
        ServiceError::MultiOperation { operation, count, error } => {
            let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let of_operation = Some(Box::new(to_error(*error)));
            let error_reply = reply(Kind::MultiOperation, String::new());
            proto::Error { operation: number(operation), operations: number(count), of_operation, ..error_reply }
        }
        ServiceError::PermissionDenied(text) => reply(Kind::PermissionDenied, text),
        ServiceError::NotOwner(text) => reply(Kind::NotOwner, text),
        ServiceError::Unavailable(text) => reply(Kind::Unavailable, text),
        ServiceError::DeadlineExceeded(text) => reply(Kind::DeadlineExceeded, text),
        ServiceError::DataLoss(text) => reply(Kind::DataLoss, text),
        ServiceError::Unimplemented(text) => reply(Kind::Unimplemented, text),
        ServiceError::Internal(text) => reply(Kind::Internal, text),
    }
}

/// As it was. A kind that only a newer release knows becomes Unavailable or Internal, as that release advises.
pub(crate) fn from_error(error: proto::Error) -> ServiceError {
    let text = error.text;
    match Kind::try_from(error.kind).unwrap_or(Kind::Unknown) {
        Kind::Unknown if error.is_retryable => ServiceError::Unavailable(text),
        Kind::Unknown | Kind::Internal => ServiceError::Internal(text),
        Kind::InvalidArgument => ServiceError::InvalidArgument(text),
        Kind::NotFound => ServiceError::NotFound(text),
        Kind::NamespaceNotFound => ServiceError::NamespaceNotFound(text),
        Kind::NamespaceAlreadyExists => ServiceError::NamespaceAlreadyExists(text),
        Kind::WorkflowAlreadyStarted => ServiceError::WorkflowAlreadyStarted {
            message: text,
            start_request_id: error.start_request_id,
            run_id: error.run_id,
            first_execution_run_id: error.first_execution_run_id,
        },
        Kind::CancellationAlreadyRequested => ServiceError::CancellationAlreadyRequested(text),
        Kind::QueryFailed => ServiceError::QueryFailed { message: text, failure: error.failure.map(Box::new) },
        Kind::WorkflowNotReady => ServiceError::WorkflowNotReady(text),
        Kind::FailedPrecondition => ServiceError::FailedPrecondition(text),
        Kind::ResourceExhausted => ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::try_from(error.cause).unwrap_or(ResourceExhaustedCause::Unspecified),
            message: text,
            retry_after: error.retry_after.map(Duration::from_nanos),
        },
        Kind::MultiOperation => ServiceError::MultiOperation {
            operation: error.operation as usize,
            count: error.operations as usize,
            error: Box::new(from_error(error.of_operation.map(|error| *error).unwrap_or_default())),
        },
        Kind::PermissionDenied => ServiceError::PermissionDenied(text),
        Kind::NotOwner => ServiceError::NotOwner(text),
        Kind::Unavailable => ServiceError::Unavailable(text),
        Kind::DeadlineExceeded => ServiceError::DeadlineExceeded(text),
        Kind::DataLoss => ServiceError::DataLoss(text),
        Kind::Unimplemented => ServiceError::Unimplemented(text),
    }
}

#[cfg(test)]
#[path = "error_test.rs"]
mod tests;
