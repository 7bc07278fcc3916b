//! Errors to gRPC, for operators: the code that says what to do, and the text.

use calls::ServiceError;
use tonic::{Code, Status};

/// The status of an error.
pub(crate) fn status(error: &ServiceError) -> Status {
    let code = match error {
        ServiceError::InvalidArgument(_) | ServiceError::QueryFailed { .. } => Code::InvalidArgument,
        ServiceError::NotFound(_) | ServiceError::NamespaceNotFound(_) => Code::NotFound,
        ServiceError::NamespaceAlreadyExists(_)
        | ServiceError::WorkflowAlreadyStarted { .. }
        | ServiceError::CancellationAlreadyRequested(_) => Code::AlreadyExists,
        ServiceError::ResourceExhausted { .. } => Code::ResourceExhausted,
        ServiceError::DeadlineExceeded(_) => Code::DeadlineExceeded,
        ServiceError::DataLoss(_) => Code::DataLoss,
        ServiceError::Unimplemented(_) => Code::Unimplemented,
        ServiceError::Internal(_) => Code::Internal,
        ServiceError::Unavailable(_) | ServiceError::NotOwner(_) => Code::Unavailable,
        ServiceError::MultiOperation { error, .. } => return status(error),
        ServiceError::PermissionDenied(_) => Code::PermissionDenied,
        ServiceError::FailedPrecondition(_) | ServiceError::WorkflowNotReady(_) => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}
