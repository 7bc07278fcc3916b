//! The bounds within which a shard works.

use std::time::Duration;

use crate::MemoryUse;

/// Bounds and ages of one shard. Bounds of memory are those of all shards whose settings are clones of each other. The
/// defaults suit a node with a gigabyte or two of memory.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// What these shards hold together.
    pub memory: MemoryUse,
    /// Memory for entities, as their kind weighs them; clean ones are evicted above it.
    pub memory_bytes: usize,
    /// Memory in entities that the tables do not show yet. Above it checkpoints hurry; at one and a half times it, calls
    /// are refused.
    pub dirty_bytes: usize,
    /// How many entities may wait for a checkpoint before one is due.
    pub dirty_entities: usize,
    /// How large the log's untrimmed tail may grow before a checkpoint is due. Bounds the work of recovery.
    pub tail_bytes: u64,
    /// How long a change may wait for a checkpoint. Long enough that a short execution is written once: an entity at rest is
    /// written within a fifth of it.
    pub checkpoint_age: Duration,
    /// How many entities one table write of a checkpoint carries. They are taken in one turn of the shard's task, and so
    /// everything that arrives meanwhile waits for it.
    pub checkpoint_batch: usize,
    /// How many table writes of checkpoints may run at once.
    pub concurrent_checkpoints: usize,
    /// A group is closed once it holds this many bytes. One transition is never split, so a group may be larger.
    pub group_bytes: usize,
    /// How many bytes may wait for the log before calls are refused.
    pub waiting_bytes: usize,
    /// When the oldest group has waited this long for the log, calls are refused.
    pub shed_age: Duration,
    /// How many calls may wait to be decided. A namespace that uses less than its share is let in up to twice this.
    pub inbox_calls: usize,
    /// How many unshed calls may wait to be decided; further ones wait outside. Apart from the room for calls.
    pub inbox_unshed_calls: usize,
    /// How many entities may be loading at once.
    pub concurrent_loads: usize,
    /// How many of those may be loads that no caller waits for, after a recovery.
    pub background_loads: usize,
    /// How far ahead wake-up rows are read into memory.
    pub wake_up_horizon: Duration,
    /// How long `close` tries to checkpoint before it leaves the rest to the log.
    pub close_deadline: Duration,
    /// How many shards of a service a node opens at once.
    pub concurrent_openings: usize,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            memory: MemoryUse::default(),
            memory_bytes: 256 << 20,
            dirty_bytes: 64 << 20,
            dirty_entities: 20_000,
            tail_bytes: 16 << 20,
            checkpoint_age: Duration::from_secs(10),
            checkpoint_batch: 32,
            concurrent_checkpoints: 4,
            group_bytes: 256 << 10,
            waiting_bytes: 32 << 20,
            shed_age: Duration::from_secs(2),
            inbox_calls: 10_000,
            inbox_unshed_calls: 10_000,
            concurrent_loads: 128,
            background_loads: 16,
            wake_up_horizon: Duration::from_secs(600),
            close_deadline: Duration::from_secs(20),
            concurrent_openings: 8,
        }
    }
}
