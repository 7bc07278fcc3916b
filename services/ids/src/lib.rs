//! Newtypes for identities and instants, the one list of kinds of entities, and the one hash that says where a workflow lives.
//!
//! Absent on purpose: anything that draws an id or reads a clock (crate `runtime`), and anything that does I/O.

mod kind;
mod names;
mod slot;
mod task;
mod timestamp;
mod wall_clock;

pub use kind::KindId;
pub use names::{NamespaceId, RunId, WorkflowId};
pub use slot::{SLOTS, ShardId, Slot};
pub use task::{TaskKey, TaskRef};
pub use timestamp::Timestamp;
pub use wall_clock::WallClock;
