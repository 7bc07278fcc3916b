//! The messages of the Temporal API, as prost types. Payload bytes are [`bytes::Bytes`] and maps are ordered, so that
//! the same value always encodes to the same bytes.
//!
//! Absent on purpose: service traits and clients, which need tonic (crate `grpc`). Pure crates see only this one.

mod held;
mod requests;
pub mod texts;

#[allow(clippy::all, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

pub use generated::*;
pub use held::{Held, map_bytes, shared_bytes};
pub use requests::{HasTaskToken, InNamespace};

/// The encoded `FileDescriptorSet` of every file, with options (such as `google.api.http`) kept.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.bin"));
