//! The shard: the one task that owns its entities' memory, decides, logs in groups, and lets nothing out before it is
//! durable. It hosts entities of any number of kinds ([`Kinds`]), each a [`Kind`]: a state, its inputs, a step, and nothing else.
//!
//! Absent on purpose: any knowledge of workflows or task queues, and any waiting for storage inside the shard's task. The shard
//! itself is a state machine (`shard_state.rs`) that knows no tasks, no clock and no store at all.
//!
//! What it stores beside the rows of its kind: groups in its log, the partitions `wake-ups/<log>/<bucket>`, and the partition
//! `quarantine/<log>`. Kinds name their partitions differently.
//!
//! Start at [`Kind`] for what an entity is, at [`ShardHandle`] for how to talk to one, at `shard_state.rs` for what a shard does,
//! at `job.rs` for what it has others do, and at `outside.rs` for where that is done.

#[cfg(test)]
extern crate self as entities;

mod arrival;
mod checkpoint;
mod entity_slot;
mod fence_checks;
mod group;
mod handle;
mod hosted;
mod inbox;
mod inspection;
mod job;
mod kind;
mod kind_handle;
mod kinds;
mod loading;
mod log_ownership;
mod log_writer;
mod measures;
mod memory_use;
mod moment;
mod obligation_id;
mod obligations;
mod opening;
mod outside;
mod packed_key;
mod panics;
mod place;
mod quarantine;
mod request;
mod resident;
mod settings;
mod shard;
mod shard_state;
#[cfg(test)]
mod shard_state_test;
mod shards;
mod stop;
mod tail;
mod wake_ups;

pub use handle::{CallError, ShardHandle, ShardStats};
pub use inspection::{EntityView, SlotView};
pub use kind::{
    BoxFuture, Corrupt, EntityKey, Env, Host, Kind, OwedChanges, Refusal, Release, RowAddress, Touch, Transition,
};
pub use kind_handle::KindHandle;
pub use kinds::Kinds;
pub use memory_use::MemoryUse;
pub use obligation_id::ObligationId;
pub use resident::{Loading, Resident, Standing};
pub use settings::ShardSettings;
pub use shard::Shard;
pub use shards::{ShardOpener, Shards};

/// Holds a row of the shard's own against what it is by its address; `None` for one of a kind's.
pub fn check_row(partition: &[u8], key: &[u8], value: &bytes::Bytes) -> Option<Result<(), Corrupt>> {
    let is_sound =
        wake_ups::rows::check_row(partition, key).or_else(|| quarantine::check_row(partition, key, value))?;
    Some(if is_sound { Ok(()) } else { Err(Corrupt("it is no row of a shard".to_owned())) })
}
