//! The shard: the one task that owns its entities' memory, decides, logs in groups, and lets nothing out before it is
//! durable. It hosts entities of any number of kinds ([`Kinds`]), each a [`Kind`]: a state, its inputs, a step, and nothing else.
//!
//! Absent on purpose: any knowledge of workflows or task queues, and any waiting for storage inside the shard's task.
//!
//! What it stores beside the rows of its kind: groups in its log, the partitions `wake-ups/<log>/<bucket>`, and the partition
//! `quarantine/<log>`. Kinds name their partitions differently.
//!
//! Start at [`Kind`] for what an entity is, at [`ShardHandle`] for how to talk to one, and at `shard.rs` for the task.

mod arrival;
mod checkpoint;
mod deciding;
mod entity_slot;
mod eviction;
mod group;
mod handle;
mod held_replies;
mod hosted;
mod inbox;
mod inspection;
mod kind;
mod kind_handle;
mod kinds;
mod loading;
mod log_writer;
mod measures;
mod memory_use;
mod obligation_id;
mod obligations;
mod packed_key;
mod panics;
mod quarantine;
mod recovery;
mod request;
mod resident;
mod settings;
mod shard;
mod shards;
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
    let is_sound = wake_ups::check_row(partition, key).or_else(|| quarantine::check_row(partition, key, value))?;
    Some(if is_sound { Ok(()) } else { Err(Corrupt("it is no row of a shard".to_owned())) })
}
