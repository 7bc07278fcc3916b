//! History and matching between processes: the traits of `cluster`, served and called over gRPC, and the routing of every
//! call to the node that the ring says owns its shard.
//!
//! - [`RoutedHistory`] and [`RoutedMatching`] are what frontends, history and matching call. They find the owner, call it
//!   directly if it is this process, and ask again when it turns out to be another, is gone, or is not there yet, until
//!   the caller stops waiting. All attempts of a call carry one request id.
//! - [`history_server`] and [`matching_server`] are mounted on [`internal_server`], which peers reach. They carry out what
//!   is meant for the process that their [`Identity`] tells, and nothing else.
//! - [`Channels`] are the connections to the peers of the ring.
//!
//! Absent on purpose: who owns what (the ring comes from membership, the truth from the logs' epochs), any service's logic,
//! and queues of calls: a call lives no longer than its caller's future. No TLS yet; `link.rs` and `serving.rs` are where
//! it goes.
//!
//! Start at `router.rs`, then `retry.rs`.

mod channels;
mod history_endpoint;
mod identity;
mod link;
mod matching_endpoint;
mod measures;
mod remote_history;
mod remote_matching;
mod retry;
mod routed_history;
mod routed_matching;
mod router;
mod serving;
mod target;
mod wire;

pub use channels::Channels;
pub use history_endpoint::{HistoryEndpoint, history_server};
pub use identity::Identity;
pub use matching_endpoint::{MatchingEndpoint, matching_server};
pub use routed_history::RoutedHistory;
pub use routed_matching::RoutedMatching;
pub use serving::internal_server;
