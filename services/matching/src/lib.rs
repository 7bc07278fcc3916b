//! Matching: task queues, where pollers meet tasks.
//!
//! Which task meets which poller is decided in memory by the pure core (crate `taskqueue`); a task that finds a poller at once touches no
//! log. What finds none within a moment is persisted by the partition's entity in a matching shard, and read back from there.
//! Handing a task out begins with asking history to record its start; one request id goes with a task until history has
//! answered and a poller has it, however many pollers that takes.
//!
//! A queue, with all its partitions, lives in one shard, and is served by the node that the ring gives the shard to.
//! Another node refuses a call at once with NotOwner. A call that waits when the shard moves ends with NotOwner too, and the
//! router retries it at the new owner.
//!
//! Absent on purpose: what a task means, tokens of workflow and activity tasks (history writes them, the frontend seals
//! them), finding the owner of a queue (crate `remote`), and queues that are spread over nodes.
//!
//! Start at [`MatchingService`]; `task_queue.rs` is a queue, `deliver.rs` the way of a task to a poller, `queues.rs` which
//! queues are served here.

mod counters;
mod deliver;
mod describe;
mod host;
mod kind;
mod observed;
mod offer;
mod partition;
mod poll;
mod query;
mod queues;
mod receipt;
mod service;
mod shutdown;
mod task_queue;
mod upkeep;
mod workers;

pub use kind::check_row;
pub use service::{InMemory, MatchingService};
