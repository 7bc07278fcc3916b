//! Messages that are too large. SDKs know the words of grpc-go for those, and fail a workflow task with that cause
//! instead of sending it again.

use tonic::Status;

/// A message that is announced or turns out to be longer than `limit`.
pub(super) fn status(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("grpc: received message larger than max ({size} vs. {limit})"))
}

/// A message that would take more memory than `limit`; `size` is what was counted until then.
pub(super) fn decoded(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("grpc: received message larger than max ({size} vs. {limit}) once decoded"))
}

/// A message with more elements than `limit` in its lists and maps.
pub(super) fn elements(count: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({count} vs. {limit}) in elements of lists and maps"
    ))
}
