//! What comes back to the shard from the work that it has others do.

use storage::{Append, Epoch, PartitionPage, Reopen, Seq, StorageResult};

use crate::ObligationId;
use crate::checkpoint::batch::{Batch, Written};
use crate::entity_slot::SlotId;
use crate::hosted::Opaque;
use crate::loading::{Fetched, Loaded};
use crate::request::{Request, Waiter};
use crate::wake_ups::buckets::Bucket;
use crate::wake_ups::rows::WakeUpsRead;

/// A message to the shard.
pub(crate) enum Arrival {
    /// An input for an entity.
    Request(Request),
    /// The append in flight has an outcome.
    Appended { epoch: Epoch, outcome: Append },
    /// The outcome of the append in flight was unknown; reopening the log has an outcome.
    Reopened(StorageResult<Reopen>),
    /// A fence check has an answer.
    Fence(StorageResult<Epoch>),
    /// An entity came from the tables, or did not; `again`: it had been out of reach before.
    Loaded { slot: SlotId, again: bool, loaded: Loaded },
    /// An entity that was out of reach may be loaded again.
    LoadAgain { slot: SlotId },
    /// Rows that a step needed.
    Fetched { slot: SlotId, fetched: Fetched },
    /// Parts of a checkpoint have been written, or not.
    Checkpointed(Written),
    /// A checkpoint's write has failed, or may have.
    BatchFailed(Batch),
    /// A trim has an outcome.
    Trimmed { epoch: Epoch, below: Seq, outcome: Append },
    /// Wake-up rows.
    WakeUps(WakeUpsRead),
    /// Partitions of entities, some of which may be the shard's.
    Partitions(StorageResult<PartitionPage>),
    /// The rows that must outlive a bucket were written again, and the watermark has an outcome.
    Watermark { epoch: Epoch, at: Bucket, outcome: Append },
    /// Passed buckets are gone.
    BucketsDropped,
    /// The host is done with an obligation.
    CarriedOut { slot: SlotId, id: ObligationId, input: Option<Opaque> },
    /// The backoff of an obligation has ended: it is to be retried.
    RetryDue { slot: SlotId, id: ObligationId },
    /// A caller waits until all that is decided by now is in the tables: [`Job::Flushed`](crate::job::Job::Flushed).
    Flush(Waiter),
    /// Write everything, then stop.
    Close,
    /// Stop as you are.
    Abandon,
}
