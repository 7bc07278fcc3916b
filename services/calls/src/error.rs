//! The one error of the services. The frontend maps each variant to a gRPC status and `errordetails` in one table.

use std::time::Duration;

pub use api::temporal::api::enums::v1::ResourceExhaustedCause;
use api::temporal::api::failure::v1::Failure;

/// What a service call returns.
pub type ServiceResult<T> = Result<T, ServiceError>;

/// Why a call was refused or failed, by what the caller would do about it. Messages are shown to users.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ServiceError {
    /// The request is invalid in every state. INVALID_ARGUMENT.
    #[error("{0}")]
    InvalidArgument(String),
    /// The workflow, run, task or activity is not there (any more). NOT_FOUND with NotFoundFailure.
    #[error("{0}")]
    NotFound(String),
    /// There is no such namespace. NOT_FOUND with NamespaceNotFoundFailure.
    #[error("{}", api::texts::namespace_not_found(.0))]
    NamespaceNotFound(String),
    /// The namespace's name is taken. ALREADY_EXISTS with NamespaceAlreadyExistsFailure.
    #[error("{0}")]
    NamespaceAlreadyExists(String),
    /// A policy forbids another run. ALREADY_EXISTS with WorkflowExecutionAlreadyStartedFailure.
    #[error("{message}")]
    WorkflowAlreadyStarted {
        /// The message.
        message: String,
        /// The request id that started the run in the way.
        start_request_id: String,
        /// The run in the way.
        run_id: String,
        /// The first run of its chain.
        first_execution_run_id: String,
    },
    /// ALREADY_EXISTS with CancellationAlreadyRequestedFailure.
    #[error("{0}")]
    CancellationAlreadyRequested(String),
    /// The worker answered a query with a failure. INVALID_ARGUMENT with QueryFailedFailure.
    #[error("{message}")]
    QueryFailed {
        /// The message.
        message: String,
        /// The worker's failure.
        failure: Option<Box<Failure>>,
    },
    /// The workflow cannot do this yet (no completed first task to query, say). FAILED_PRECONDITION with
    /// WorkflowNotReadyFailure.
    #[error("{0}")]
    WorkflowNotReady(String),
    /// The state forbids it. FAILED_PRECONDITION.
    #[error("{0}")]
    FailedPrecondition(String),
    /// One of several operations that are carried out together or not at all. Its code, with MultiOperationExecutionFailure.
    #[error("{}", api::texts::MULTI_OPERATION_FAILED)]
    MultiOperation {
        /// Which one, from 0.
        operation: usize,
        /// Of how many.
        count: usize,
        /// Its error.
        error: Box<Self>,
    },
    /// A quota or bound. RESOURCE_EXHAUSTED with ResourceExhaustedFailure, and RetryInfo where the wait is known.
    #[error("{message}")]
    ResourceExhausted {
        /// Which bound.
        cause: ResourceExhaustedCause,
        /// The message.
        message: String,
        /// How long until the limiter expects room, as its state says. Clients wait at least as long before they retry.
        retry_after: Option<Duration>,
    },
    /// PERMISSION_DENIED with PermissionDeniedFailure.
    #[error("{0}")]
    PermissionDenied(String),
    /// The shard is not, or no longer, served by the node that was called. The call may or may not have taken effect: ask
    /// the owner, under the same request id. UNAVAILABLE.
    #[error("{0}")]
    NotOwner(String),
    /// Try again soon: shedding, lost ownership, storage away. UNAVAILABLE.
    #[error("{0}")]
    Unavailable(String),
    /// The caller's time ran out. DEADLINE_EXCEEDED.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The stored bytes cannot be used; operators have been alarmed. DATA_LOSS.
    #[error("{0}")]
    DataLoss(String),
    /// UNIMPLEMENTED.
    #[error("{0}")]
    Unimplemented(String),
    /// A bug in us. INTERNAL.
    #[error("{0}")]
    Internal(String),
}
