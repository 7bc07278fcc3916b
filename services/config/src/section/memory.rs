//! `memory`: one figure for the process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// Memory of this process. It is divided among requests (an eighth, `frontend.in_flight_bytes`), workflows and task queues
/// (three eighths, `shards.memory_bytes`), what waits for the logs (a sixteenth, `shards.waiting_bytes`) and the caches of
/// a SQLite store (a sixteenth); the rest is for what is not counted. When a part is full, calls are refused with
/// RESOURCE_EXHAUSTED.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessMemory {
    /// All of it. Without it: half of what the machine has, or of what the process's control group allows if that is less.
    #[schemars(extend("x-least" = "64MiB", "x-most" = "64TiB"))]
    pub total: Option<ByteSize>,
}
