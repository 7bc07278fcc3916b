//! What can go wrong in a store, by what the caller would do about it.

use std::time::Duration;

/// The result of a storage call.
pub type StorageResult<T> = Result<T, StorageError>;

/// A failed storage call. Fencing and conflicts are outcomes, not errors: see the ports.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The store cannot be reached or refused the call before doing anything; try again after the given time.
    #[error("storage unavailable: {message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// When a retry makes sense.
        retry_after: Duration,
    },
    /// The store has no room or no budget left.
    #[error("storage exhausted: {0}")]
    Exhausted(String),
    /// The call is invalid (an empty group, a row over the limit): a bug in the caller.
    #[error("invalid storage call: {0}")]
    Invalid(String),
    /// What is stored contradicts itself.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// The call may or may not have taken effect.
    #[error("storage call has an unknown outcome: {0}")]
    Unknown(String),
}
