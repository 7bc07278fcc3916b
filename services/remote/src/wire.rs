//! Between what services say and what travels: every message of `proto/internal` made and read in one place.
//!
//! Whatever a field cannot say is an error of the peer, told as [`ServiceError::Internal`]; nothing is guessed.

mod activity;
mod error;
mod query;
mod reply;
mod task;
mod tenant;

use cluster::{ServiceError, ServiceResult, UnwrittenEvents};

pub(crate) use activity::{from_activity, to_activity};
pub(crate) use error::{from_error, to_error};
pub(crate) use query::{from_outcome, from_query, to_outcome, to_query};
pub(crate) use reply::Reply;
pub(crate) use task::{from_ending, from_start, from_task, to_ending, to_start, to_task};
pub(crate) use tenant::{from_tenant, to_tenant};

/// A field that a peer must set.
pub(crate) fn required<T>(field: Option<T>, name: &str) -> ServiceResult<T> {
    field.ok_or_else(|| unreadable(name))
}

/// The error for a message of a peer that this release cannot read.
pub(crate) fn unreadable(name: &str) -> ServiceError {
    ServiceError::Internal(format!("a call between nodes came without a {name} that this release knows"))
}

/// What is shown of events that are not written yet.
pub(crate) fn from_unwritten(shown: bool) -> ServiceResult<UnwrittenEvents> {
    Ok(if shown { UnwrittenEvents::Shown } else { UnwrittenEvents::Hidden })
}

/// A token in cluster's own encoding.
pub(crate) fn from_token<T: prost::Message + Default>(token: bytes::Bytes) -> ServiceResult<T> {
    T::decode(token).map_err(|error| ServiceError::Internal(format!("a token between nodes cannot be read: {error}")))
}
