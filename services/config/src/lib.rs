//! The configuration of `outlast server start`: one YAML file, overridden by `OUTLAST__…` variables, as typed values.
//!
//! The structs under `section/` are the only place where a key is described: its name, meaning, unit, range and default.
//! From them comes the JSON schema ([`schema()`]), and the schema is what a file is held against, so that what is published
//! is what is enforced. Everything that is wrong is reported at once, each with the line or the variable it stands in.
//!
//! Absent on purpose: adapters and services. `server` turns these values into what they take. Not every number that a
//! setting is a key here; those are that an operator has a reason to change.
//!
//! Start at [`Config::read`], then `rules.rs` for what must hold between keys.

mod address;
mod byte_size;
mod check;
mod config;
mod format;
mod machine;
mod overrides;
mod problem;
mod reference;
mod rules;
mod schema;
mod secret;
mod section;
mod shares;
mod span;
mod suggest;
mod tree;

pub use address::{HostPort, ListenAddress};
pub use byte_size::ByteSize;
pub use config::Config;
pub use machine::default_memory_total;
pub use overrides::{Overrides, PREFIX};
pub use problem::{Origin, Problem};
pub use reference::reference;
pub use schema::{published_schema, schema};
pub use secret::Secret;
pub use section::{
    Cassandra, Cluster, Frontend, History, Http, InitialVoter, Internal, Log, LogFormat, Matching, Membership, Memory,
    Node, ProcessMemory, Remote, Role, Shards, Sqlite, Store, StoreChoice, Tls,
};
pub use span::Span;
