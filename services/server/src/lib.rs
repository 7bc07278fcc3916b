//! The server: chooses a store, opens the roles on it, joins them and serves. The only crate that knows them all.
//!
//! Absent on purpose: flags and signals (crate `cli`), and any behaviour of a role. In this process the roles call each
//! other through the traits of crate `cluster`, without serialization between them.
//!
//! Start at [`Server::start`].

mod server;
mod settings;
mod shard_numbers;
mod store;

pub use server::{Server, StartError};
pub use settings::{ServerSettings, StoreChoice};
