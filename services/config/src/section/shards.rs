//! `shards`: memory and checkpoints.

use entities::ShardSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frontend::count;
use crate::{ByteSize, Span};

/// Memory and checkpoints of the shards that this process serves. Bounds of memory are those of all of them together,
/// others those of each.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shards {
    /// Memory for workflows and task queues, of all shards: those that have closed leave it first, then those that were not
    /// used for longest. Without it: its part of `memory.total`.
    #[schemars(extend("x-least" = "1MiB", "x-most" = "1TiB"))]
    pub memory_bytes: Option<ByteSize>,
    /// The part of it that the tables need not show yet. Above it checkpoints hurry; at one and a half times it, calls are
    /// refused. At most `memory_bytes`; without it, a quarter of that or less.
    #[schemars(extend("x-least" = "256KiB", "x-most" = "1TiB"))]
    pub dirty_bytes: Option<ByteSize>,
    /// How many workflows or partitions may wait before a checkpoint is due.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub dirty_entities: u32,
    /// How large a log may grow before a checkpoint is due. A process that takes a shard over reads this much.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "1GiB"))]
    pub tail_bytes: ByteSize,
    /// How long a change may wait for a checkpoint; one of a closed workflow waits a fifth of it at most.
    #[schemars(extend("x-least" = "100ms", "x-most" = "10m"))]
    pub checkpoint_age: Span,
    /// Table writes of one shard's checkpoints that run at once.
    #[schemars(range(min = 1, max = 256))]
    pub concurrent_checkpoints: u32,
    /// Bytes that may wait for the logs of all shards before calls are refused. Without it: its part of `memory.total`.
    #[schemars(extend("x-least" = "1MiB", "x-most" = "4GiB"))]
    pub waiting_bytes: Option<ByteSize>,
    /// When something has waited this long for the log, calls are refused.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub shed_age: Span,
    /// Calls that may wait in one shard to be decided.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub inbox_calls: u32,
    /// Workflows or partitions that one shard loads at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_loads: u32,
    /// How long a shard that closes tries to write everything to its tables before it leaves the rest to the log.
    #[schemars(extend("x-least" = "0s", "x-most" = "10m"))]
    pub close_deadline: Span,
}

impl Default for Shards {
    fn default() -> Self {
        let settings = ShardSettings::default();
        Self {
            memory_bytes: None,
            dirty_bytes: None,
            dirty_entities: count(settings.dirty_entities),
            tail_bytes: settings.tail_bytes.into(),
            checkpoint_age: settings.checkpoint_age.into(),
            concurrent_checkpoints: count(settings.concurrent_checkpoints),
            waiting_bytes: None,
            shed_age: settings.shed_age.into(),
            inbox_calls: count(settings.inbox_calls),
            concurrent_loads: count(settings.concurrent_loads),
            close_deadline: settings.close_deadline.into(),
        }
    }
}

impl Shards {
    /// As shards take it.
    #[must_use]
    pub fn settings(&self) -> ShardSettings {
        let defaults = ShardSettings::default();
        ShardSettings {
            memory_bytes: self.memory_bytes.map_or(defaults.memory_bytes, ByteSize::in_memory),
            dirty_bytes: self.dirty_bytes.map_or(defaults.dirty_bytes, ByteSize::in_memory),
            dirty_entities: self.dirty_entities as usize,
            tail_bytes: self.tail_bytes.bytes(),
            checkpoint_age: self.checkpoint_age.into(),
            concurrent_checkpoints: self.concurrent_checkpoints as usize,
            waiting_bytes: self.waiting_bytes.map_or(defaults.waiting_bytes, ByteSize::in_memory),
            shed_age: self.shed_age.into(),
            inbox_calls: self.inbox_calls as usize,
            concurrent_loads: self.concurrent_loads as usize,
            close_deadline: self.close_deadline.into(),
            ..defaults
        }
    }
}
