//! What the shard has others do: plain values, carried out by [`Outside`](crate::outside::Outside), which answers each with an
//! [`Arrival`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::{Epoch, GroupId, PartitionCursor, PartitionKey, PartitionWrite, RowKey, Seq};

use crate::arrival::Arrival;
use crate::checkpoint::batch::{Batch, Part};
use crate::entity_slot::SlotId;
use crate::hosted::Opaque;
use crate::kinds::Entry;
use crate::request::{HeldReply, Waiter};
use crate::wake_ups::buckets::Bucket;
use crate::{EntityKey, ObligationId, RowAddress};

/// One piece of work. A delay comes before the work. What names an arrival is answered by it, everything else by none.
pub(crate) enum Job {
    /// Append a group: [`Arrival::Appended`].
    Append { epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes },
    /// Reopen the log as the owner that had `epoch`: [`Arrival::Reopened`].
    Reopen { epoch: Epoch, delay: Duration },
    /// Read the log's epoch: [`Arrival::Fence`].
    CheckFence { delay: Duration },
    /// Trim the log: [`Arrival::Trimmed`].
    Trim { epoch: Epoch, below: Seq },
    /// Load an entity to which the log's tail has done this: [`Arrival::Loaded`]. `again`: it was out of reach before.
    Load { slot: SlotId, again: bool, kind: Arc<Entry>, key: EntityKey, tail: Vec<(Seq, Bytes)> },
    /// Look up rows: [`Arrival::Fetched`].
    Fetch { slot: SlotId, rows: Vec<RowAddress>, delay: Duration },
    /// Write a batch of a checkpoint in one write: [`Arrival::Checkpointed`], or [`Arrival::BatchFailed`].
    WriteBatch(Batch),
    /// Write each part by itself: [`Arrival::Checkpointed`]. `batch`: the one that they are; `None` if they come from several.
    WriteParts { batch: Option<u64>, parts: Vec<Part>, delay: Duration },
    /// Read a page of a bucket's rows: [`Arrival::WakeUps`].
    ReadWakeUps { bucket: Bucket, from: RowKey, delay: Duration },
    /// Read a page of partitions' names: [`Arrival::Partitions`].
    ListPartitions { prefix: &'static [u8], from: Option<PartitionCursor>, delay: Duration },
    /// Write these rows, and then move the wake-up watermark to the start of a bucket: [`Arrival::Watermark`].
    MoveWatermark { epoch: Epoch, to: Bucket, rows: Vec<PartitionWrite>, delay: Duration },
    /// Drop the partitions of buckets, and then write to the index: [`Arrival::BucketsDropped`].
    DropBuckets { partitions: Vec<PartitionKey>, index: Option<PartitionWrite> },
    /// Hand an obligation to the host: [`Arrival::CarriedOut`].
    CarryOut { slot: SlotId, kind: Arc<Entry>, key: EntityKey, id: ObligationId, obligation: Opaque },
    /// Take back all that the host was handed. No answer comes to those.
    AbortObligations,
    /// Let an answer go.
    Reply(HeldReply),
    /// Let these answers go, in order.
    Release(Vec<HeldReply>),
    /// Notify the host that changes of an entity are durable.
    Committed { kind: Arc<Entry>, key: EntityKey },
    /// All that this one waits for is in the tables.
    Flushed(Waiter),
    /// Wait, and let this arrive.
    Sleep { delay: Duration, then: Arrival },
}
