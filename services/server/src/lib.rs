//! The server: chooses a store, opens the roles on it, joins them and serves. The only crate that knows them all.
//!
//! Absent on purpose: flags and signals (crate `cli`), and any behaviour of a role. Roles call each other through the
//! traits of crate `cluster`: within a process directly, otherwise through crate `remote`.
//!
//! Start at [`Server::start`].

mod from_config;
mod front;
mod joined;
mod last_clock;
mod memory_bounds;
mod operating;
mod readiness;
mod retry_until_ready;
mod server;
mod services;
mod settings;
mod shard_numbers;
mod stop_time;
mod store;
mod store_owner;
mod verifying;

pub use from_config::cql_settings;
pub use joined::ClusterError;
pub use server::{Server, StartError};
pub use settings::{ClusterSettings, ServerSettings, StoreChoice};
pub use store_owner::StoreOwnerError;
pub use verifying::check_row;
