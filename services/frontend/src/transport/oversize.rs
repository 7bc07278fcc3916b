//! Messages that are too large.

use api::texts::MESSAGE_TOO_LARGE;
use tonic::Status;

/// A message that is announced or turns out to be longer than `limit`.
pub(super) fn status(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("{MESSAGE_TOO_LARGE} ({size} vs. {limit})"))
}

/// A message that would take more memory than `limit`; `size` is what was counted until then.
pub(super) fn decoded(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("{MESSAGE_TOO_LARGE} ({size} vs. {limit}) once decoded"))
}

/// A message with more elements than `limit` in its lists and maps.
pub(super) fn elements(count: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("{MESSAGE_TOO_LARGE} ({count} vs. {limit}) in elements of lists and maps"))
}
