//! The store of a cluster: the ports on Cassandra or ScyllaDB.
//!
//! Logs are fenced by conditional writes (lightweight transactions), one for each group. Rows of tables are plain
//! writes whose timestamps are their versions, so the database itself lets the highest version win. The registry is one
//! small partition of conditional writes. How all of it lies in tables, and why, is in docs/decisions/cassandra-log.md.
//!
//! A request that times out, is refused or loses its connection may have taken effect; its caller gets
//! (`Unknown`). No append, creation or move to another segment is ever sent twice; what only goes forward may be.
//!
//! Absent on purpose: knowledge of what the bytes mean; creating or changing tables while serving (that is
//! [`schema::apply`], which an operator runs); work in the background, but for the registry's watch; a second
//! datacentre that takes over by itself.
//!
//! Start at [`CqlStore`], then `log`.

mod answer;
mod connect;
mod failure;
mod health;
mod log;
mod names;
mod registry;
mod requests;
pub mod schema;
mod sealed;
mod settings;
mod stats;
mod store;
mod table;
mod tls;

pub use connect::ConnectError;
pub use settings::{CqlSettings, Credentials, LogLimits, Password, ServerName, Timeouts, TlsSettings};
pub use stats::CqlStats;
pub use store::CqlStore;
