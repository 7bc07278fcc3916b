//! The writer's commands, and how their results come back.

use std::vec;

use bytes::Bytes;
use ids::Timestamp;
use storage::{Append, CompareAndSet, Epoch, GroupId, Head, LogId, OwnerNonce, PartitionKey, PartitionWrite, Seq};
use tokio::sync::oneshot;

/// Answers a caller. It is dropped unanswered if the store fails first; then the caller must assume that the command may
/// have happened.
pub(crate) type Answer<T> = oneshot::Sender<T>;

/// A log as its opener found it, by which a reader then fetches the tail.
#[derive(Clone, Debug)]
pub(crate) struct OpenedHead {
    pub(crate) log_number: i64,
    pub(crate) head: Head,
}

/// The outcome of a reopen, short of its tail.
pub(crate) enum ReopenedHead {
    Reopened(OpenedHead),
    Fenced,
}

/// Something to be written.
pub(crate) enum Command {
    Open { log: LogId, owner: OwnerNonce, answer: Answer<OpenedHead> },
    Reopen { log: LogId, epoch: Epoch, owner: OwnerNonce, answer: Answer<ReopenedHead> },
    Append { log: LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes, answer: Answer<Append> },
    SetWatermark { log: LogId, epoch: Epoch, at: Timestamp, answer: Answer<Append> },
    Trim { log: LogId, epoch: Epoch, below: Seq, answer: Answer<Append> },
    CompareAndSet { key: String, expected: u64, value: Option<Bytes>, answer: Answer<CompareAndSet> },
    Bulk(Bulk),
}

impl Command {
    /// Whether a caller waits for it. Bulk is what checkpoints write in the background.
    pub(crate) fn is_urgent(&self) -> bool {
        !matches!(self, Self::Bulk(_))
    }
}

/// What may be large and need not hurry: it lets log and registry go first.
pub(crate) enum Bulk {
    /// What is left of a write: one that is too much for a transaction goes on in the next.
    Write {
        writes: vec::IntoIter<PartitionWrite>,
        answer: Answer<()>,
    },
    DropPartition {
        partition: PartitionKey,
        answer: Answer<()>,
    },
}

/// An answer that waits for the commit.
pub(crate) enum Reply {
    Opened(Answer<OpenedHead>, OpenedHead),
    Reopened(Answer<ReopenedHead>, ReopenedHead),
    Append(Answer<Append>, Append),
    CompareAndSet(Answer<CompareAndSet>, CompareAndSet),
    Done(Answer<()>),
}

impl Reply {
    /// Sends the answer. A caller that has gone away misses nothing it could use.
    pub(crate) fn send(self) {
        match self {
            Self::Opened(answer, opened) => drop(answer.send(opened)),
            Self::Reopened(answer, reopened) => drop(answer.send(reopened)),
            Self::Append(answer, outcome) => drop(answer.send(outcome)),
            Self::CompareAndSet(answer, outcome) => drop(answer.send(outcome)),
            Self::Done(answer) => drop(answer.send(())),
        }
    }
}
