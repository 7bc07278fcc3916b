//! What comes back to the shard's task from the work that it has others do.

use storage::{Append, Epoch, Opened, PartitionPage, Seq, StorageResult};

use crate::ObligationId;
use crate::checkpoint::Written;
use crate::entity_slot::SlotId;
use crate::hosted::Opaque;
use crate::loading::{Fetched, Loaded};
use crate::wake_ups::{Bucket, WakeUpPage};

/// The outcome of reopening a log, once it is known.
pub(crate) enum Resolved {
    /// Still ours, under a new epoch.
    Ours(Opened),
    /// Somebody else's.
    Fenced,
}

/// A message to the shard's task.
pub(crate) enum Arrival {
    /// The append in flight has an outcome.
    Appended(Append),
    /// The outcome of the append in flight was unknown; the log has been reopened.
    Resolved(Resolved),
    /// A fence check has an answer.
    Fence(StorageResult<Epoch>),
    /// An entity came from the tables, or did not; `again`: it had been out of reach before.
    Loaded { slot: SlotId, again: bool, loaded: Loaded },
    /// An entity that was out of reach may be loaded again.
    LoadAgain { slot: SlotId },
    /// Rows that a step needed.
    Fetched { slot: SlotId, fetched: Fetched },
    /// A checkpoint's write is acknowledged.
    Checkpointed(Written),
    /// A trim has an outcome.
    Trimmed { epoch: Epoch, below: Seq, outcome: Append },
    /// Wake-up rows.
    WakeUps(WakeUpPage),
    /// Partitions of entities, some of which may be the shard's.
    Partitions(PartitionPage),
    /// The rows that must outlive a bucket were written again, and the watermark has an outcome.
    Watermark { epoch: Epoch, at: Bucket, outcome: Append },
    /// Passed buckets are gone.
    BucketsDropped,
    /// The host is done with an obligation.
    CarriedOut { slot: SlotId, id: ObligationId, input: Option<Opaque> },
    /// An obligation carried out in vain may be tried again.
    Rested { slot: SlotId, id: ObligationId },
}
