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

    /// What it means for a read.
    pub(crate) fn of_read(self) -> StorageError {
        match self {
            Self::Refused(message) | Self::Lost(message) => unavailable(message),
            Self::Unreadable(message) => StorageError::Corrupt(message),
        }
    }

    /// What it means for a write.
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

/// Whether the node did not know the statement, and so has done nothing.
pub(crate) fn was_forgotten(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unprepared { .. }, _)))
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
    !matches!(
        error,
        RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_)
            | RequestAttemptError::UnableToAllocStreamId
            // Answered before anything is sent to a replica. (A conditional write can be unavailable half-way; what is said of
            // one is never distinguished, see `answer`.)
            | RequestAttemptError::DbError(
                DbError::Unavailable { .. }
                    | DbError::SyntaxError
                    | DbError::Invalid
                    | DbError::Unauthorized
                    | DbError::AuthenticationError
                    | DbError::ConfigError
                    | DbError::IsBootstrapping
                    | DbError::Unprepared { .. },
                _
            )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt_error(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    #[test]
    fn only_what_was_certainly_not_done_is_refused() {
        use scylla::errors::WriteType;
        use scylla::statement::Consistency::LocalQuorum;
        let unavailable = DbError::Unavailable { consistency: LocalQuorum, required: 2, alive: 1 };
        let timeout = |write_type| {
            attempt_error(DbError::WriteTimeout { consistency: LocalQuorum, received: 1, required: 2, write_type })
        };
        let refused = [attempt_error(unavailable), attempt_error(DbError::Invalid), ExecutionError::EmptyPlan];
        for error in refused {
            assert!(matches!(Failure::of(&error), Failure::Refused(_)), "{error}");
            assert!(matches!(Failure::of(&error).of_write(), StorageError::Unavailable { .. }));
        }
        let lost = [
            timeout(WriteType::Cas),
            timeout(WriteType::Simple),
            attempt_error(DbError::Overloaded),
            attempt_error(DbError::ServerError),
            ExecutionError::RequestTimeout(Duration::from_secs(1)),
        ];
        for error in lost {
            assert!(matches!(Failure::of(&error), Failure::Lost(_)), "{error}");
            assert!(matches!(Failure::of(&error).of_write(), StorageError::Unknown(_)));
            assert!(matches!(Failure::of(&error).of_read(), StorageError::Unavailable { .. }));
        }
    }
}
