//! What surrounds a call on its way: its context, and its answer or error. What is in a request or response is crate `calls`'
//! own.

mod context;
mod error;

use bytes::Bytes;
use calls::{ServiceError, ServiceResult};
use internal_api::calls as proto;

pub(crate) use context::{from_context, to_context};
pub(crate) use error::{from_error, to_error};

/// A field that a peer must set.
pub(crate) fn required<T>(field: Option<T>, name: &str) -> ServiceResult<T> {
    let unreadable = || ServiceError::Internal(format!("a call between nodes came without a {name}"));
    field.ok_or_else(unreadable)
}

/// An answer as it travels.
pub(crate) fn to_reply(result: ServiceResult<Bytes>) -> proto::CallReply {
    match result {
        Ok(response) => proto::CallReply { error: None, response: Some(response) },
        Err(error) => proto::CallReply { error: Some(to_error(error)), response: None },
    }
}

/// An answer as it was.
pub(crate) fn from_reply(reply: proto::CallReply) -> ServiceResult<Bytes> {
    match reply.error {
        Some(error) => Err(from_error(error)),
        None => required(reply.response, "response"),
    }
}
