//! The sections of the file, one struct each. A doc comment here is what an operator reads in the schema and in
//! docs/configuration.md; `x-least` and `x-most` bound durations and sizes, `range` bounds numbers.

mod frontend;
mod history;
mod log;
mod matching;
mod membership;
mod memory;
mod node;
mod remote;
mod shards;
mod store;

pub use frontend::Frontend;
pub use history::History;
pub use log::{Log, LogFormat};
pub use matching::Matching;
pub use membership::{InitialVoter, Membership};
pub use memory::ProcessMemory;
pub use node::{Cluster, Http, Internal, Node, Role};
pub use remote::Remote;
pub use shards::Shards;
pub use store::{Cassandra, Memory, Sqlite, Store, StoreChoice, Tls};
