//! What the nodes of one cluster say to each other: messages, tonic clients and server traits of the internal services.
//!
//! Not for users: it changes from release to release, so that neighbouring releases understand each other and no others.
//! Start at the `.proto` files in `proto/internal/outlast`.

#[allow(clippy::all, rustdoc::all, missing_docs)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

pub use generated::outlast::internal::*;
