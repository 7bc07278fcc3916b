//! What a failed request means: whether it may have taken effect.

use std::time::Duration;

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use storage::StorageError;

/// A request without an answer that says what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing was sent, or the coordinator refused before doing anything.
    Refused(String),
    /// It may or may not have happened.
    Lost(String),
    /// The answer was not what the statement must give.
    Unreadable(String),
}

impl Failure {
    pub(crate) fn of(error: &ExecutionError) -> Self {
        let message = error.to_string();
        if may_have_happened(error) { Self::Lost(message) } else { Self::Refused(message) }
    }

    pub(crate) fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::Unreadable(error.to_string())
    }

    /// What it means to someone who only read.
    pub(crate) fn of_read(self) -> StorageError {
        match self {
            Self::Refused(message) | Self::Lost(message) => unavailable(message),
            Self::Unreadable(message) => StorageError::Corrupt(message),
        }
    }

    /// What it means to someone who wrote.
    pub(crate) fn of_write(self) -> StorageError {
        match self {
            Self::Refused(message) => unavailable(message),
            Self::Lost(message) | Self::Unreadable(message) => StorageError::Unknown(message),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(message) | Self::Lost(message) | Self::Unreadable(message) => f.write_str(message),
        }
    }
}

pub(crate) fn unavailable(message: impl Into<String>) -> StorageError {
    StorageError::Unavailable { message: message.into(), retry_after: Duration::from_millis(100) }
}

fn may_have_happened(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::UseKeyspaceError(_) => false,
        ExecutionError::LastAttemptError(attempt) => attempt_may_have_happened(attempt),
        // Timeouts, and whatever a later driver adds.
        _ => true,
    }
}

fn attempt_may_have_happened(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_)
        | RequestAttemptError::UnableToAllocStreamId => false,
        RequestAttemptError::DbError(error, _) => match error {
            // Looked at before anything is sent to a replica. (A conditional write can be unavailable half-way; it is
            // never told apart from the others, see `answer`.)
            DbError::Unavailable { .. }
            | DbError::SyntaxError
            | DbError::Invalid
            | DbError::Unauthorized
            | DbError::AuthenticationError
            | DbError::ConfigError
            | DbError::IsBootstrapping
            | DbError::Unprepared { .. } => false,
            _ => true,
        },
        _ => true,
    }
}
