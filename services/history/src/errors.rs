//! What a refusal by a workflow, a shard or the store means to a caller.

use api::texts;
use calls::{ResourceExhaustedCause, ServiceError};
use entities::{CallError, Corrupt};
use execution::Rejection;
use storage::StorageError;

/// A workflow's no.
pub(crate) fn rejected(rejection: Rejection) -> ServiceError {
    match rejection {
        Rejection::NotFound(message) => ServiceError::NotFound(message),
        Rejection::AlreadyCompleted => ServiceError::NotFound(texts::ALREADY_COMPLETED.to_owned()),
        Rejection::AlreadyStarted { message, start_request_id, run_id, first_execution_run_id } => {
            ServiceError::WorkflowAlreadyStarted { message, start_request_id, run_id, first_execution_run_id }
        }
        Rejection::InvalidArgument(message) => ServiceError::InvalidArgument(message),
        // Not RESOURCE_EXHAUSTED, which clients try again and again.
        Rejection::LimitExceeded(message) => ServiceError::InvalidArgument(message),
        Rejection::NotReady(message) => ServiceError::WorkflowNotReady(message),
        Rejection::TooManyInFlight(message) => ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::ConcurrentLimit,
            message,
            // It depends on a worker.
            retry_after: None,
        },
        Rejection::NotYet(message) => ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::BusyWorkflow,
            message,
            // It depends on a worker.
            retry_after: None,
        },
    }
}

/// A shard's no.
pub(crate) fn refused(error: CallError<Rejection>) -> ServiceError {
    match error {
        CallError::Rejected(rejection) => rejected(rejection),
        CallError::NotOwner => ServiceError::NotOwner("the shard of this workflow is moving".to_owned()),
        CallError::Overloaded { retry_after } => ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::SystemOverloaded,
            message: format!("the shard of this workflow is behind, retry after {retry_after:?}"),
            retry_after: Some(retry_after),
        },
        CallError::Quarantined(reason) => ServiceError::DataLoss(format!("this workflow cannot be read: {reason}")),
        CallError::Unavailable(reason) => ServiceError::Unavailable(reason),
    }
}

/// A table that could not be read.
pub(crate) fn unreadable(error: StorageError) -> ServiceError {
    match error {
        StorageError::Corrupt(reason) => ServiceError::DataLoss(reason),
        StorageError::Invalid(reason) => ServiceError::Internal(reason),
        other => ServiceError::Unavailable(other.to_string()),
    }
}

/// Rows that make no sense.
pub(crate) fn corrupt(error: Corrupt) -> ServiceError {
    ServiceError::DataLoss(error.0)
}

/// An answer of another kind than the input has: a bug in us.
pub(crate) fn unexpected(input: &str) -> ServiceError {
    ServiceError::Internal(format!("the answer to {input} is of another kind"))
}
