//! The log port: fenced, append-only sequences of groups.

use async_trait::async_trait;
use bytes::Bytes;
use ids::Timestamp;

use crate::StorageResult;

/// Names a log, for example `history/3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub String);

/// Rises by one each time a log is opened. The epoch fences; it does not order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A position in a log. The first group has 1. `Seq` alone orders what is in a log and is the version of table rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A random name for a group, by which its writer recognises it after an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub u128);

/// A random name that an opener chooses for itself, once per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerNonce(pub u128);

/// What one append wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its position.
    pub seq: Seq,
    /// Its name.
    pub id: GroupId,
    /// The epoch under which it was written.
    pub epoch: Epoch,
    /// Its content.
    pub bytes: Bytes,
}

/// The state of a log as its opener found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The opener's epoch.
    pub epoch: Epoch,
    /// The position of the last group ever appended; 0 for an empty log. Groups at or below `trimmed` are gone.
    pub last: Seq,
    /// Everything below this position has been trimmed. 1 for a log that was never trimmed.
    pub trimmed_below: Seq,
    /// The wake-up watermark: buckets of wake-up rows before it may have been dropped.
    pub watermark: Timestamp,
}

/// What `open` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The log's state.
    pub head: Head,
    /// Every group from the trim point to the last, contiguous and in order.
    pub tail: Vec<Group>,
}

/// The outcome of `reopen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reopen {
    /// Still ours: the epoch has risen by one, and this is the tail now.
    Reopened(Opened),
    /// Another process opened the log meanwhile.
    Fenced,
    /// It may have happened; call again with the same epoch and nonce.
    Unknown,
}

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// The group is durable at its position.
    Appended,
    /// A higher epoch was seen: this owner is deposed. The group is not in the log.
    Fenced,
    /// The group may or may not be durable: `reopen` and look for its id.
    Unknown,
}

/// Fenced, append-only logs.
///
/// One owner has one append in flight per log. The last opener of a log wins: earlier openers' appends, trims and
/// watermarks are `Fenced` from then on.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Takes over the log (creating it at first), fencing every earlier opener.
    async fn open(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Opened>;

    /// After an unknown outcome: raises the epoch on the condition that `epoch` and `owner` are still the log's (or
    /// that a reopen of ours with just that epoch has already raised it).
    async fn reopen(&self, log: &LogId, epoch: Epoch, owner: OwnerNonce) -> StorageResult<Reopen>;

    /// Appends one group at `seq`, which must be the last position plus one: under the log's own epoch any other position
    /// is `Unknown`, since what took the place can only be an earlier append of the same owner. `Fenced` always means that
    /// the log has a higher epoch.
    async fn append(&self, log: &LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes) -> Append;

    /// The log's epoch now, by a read as strong as an append. 0 for a log never opened.
    async fn epoch(&self, log: &LogId) -> StorageResult<Epoch>;

    /// The log's epoch, where the process holds the whole store for itself and need not ask; `None` elsewhere.
    fn epoch_if_local(&self, log: &LogId) -> Option<Epoch> {
        let _ = log;
        None
    }

    /// Moves the wake-up watermark forward; `Fenced` for a deposed owner. Never moves it back.
    async fn set_watermark(&self, log: &LogId, epoch: Epoch, at: Timestamp) -> Append;

    /// Forgets the groups below `below`; `Fenced` for a deposed owner. A lower trim point than the present one changes
    /// nothing, and one beyond the end means the end.
    async fn trim(&self, log: &LogId, epoch: Epoch, below: Seq) -> Append;
}
