//! The calls of history and matching between processes: carried to the node that the ring says owns their shard, over gRPC
//! where that is another.
//!
//! - [`Router`]s are what frontends, history and matching call: a `Router<dyn History>` has the trait `History`. They find the
//!   owner, call it directly if it is this process, and retry when it turns out to be another, is gone, or is not there
//!   yet, until the caller stops waiting. All attempts of a call carry one request id.
//! - [`calls_server`] is mounted on [`internal_server`], which peers reach. It carries out what is meant for the process that
//!   its [`Identity`] says, and nothing else.
//! - [`Channels`] are the connections to the peers of the ring.
//!
//! Nothing here names a call: crate `calls` has the table of them.
//!
//! Absent on purpose: ownership (the ring comes from membership, the truth from the logs' epochs), any service's logic,
//! and queues of calls: a call lives no longer than its caller's future. No TLS yet; `connection.rs` and `serving.rs` are where
//! it goes.
//!
//! Start at `router.rs`, then `retry.rs`.

mod channels;
mod connection;
mod endpoint;
mod identity;
mod measures;
mod retry;
mod router;
mod serving;
mod target;
mod wire;

pub use channels::Channels;
pub use endpoint::{Endpoint, calls_server};
pub use identity::Identity;
pub use router::Router;
pub use serving::internal_server;
