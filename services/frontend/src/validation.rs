//! What requests may say, before anything behind the frontend sees them. Each check names the field, what it holds and
//! what is allowed.
//!
//! Absent on purpose: anything that depends on state, and the attributes of commands, which the execution validates
//! because a bad one fails the workflow task, not the request.

pub(crate) mod durations;
pub(crate) mod failures;
pub(crate) mod fields;
pub(crate) mod labels;
pub(crate) mod payloads;
pub(crate) mod retry_policy;
pub(crate) mod search_attributes;
pub(crate) mod start;
pub(crate) mod task_queue;
pub(crate) mod versioning;

use calls::{ServiceError, ServiceResult};

/// An InvalidArgument.
pub(crate) fn invalid<T>(message: String) -> ServiceResult<T> {
    Err(ServiceError::InvalidArgument(message))
}
