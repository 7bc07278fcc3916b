//! The pure core of task queues: which task meets which poller, and which tasks must be persisted until one comes.
//!
//! Two values. A [`Backlog`] is the durable part of one partition: tasks that found no poller at once, in pages that become
//! rows. It decides and applies changes like any entity. A [`Queue`] is the volatile part of a whole queue: waiting
//! pollers, offers and queries, a window over each partition's backlog, and the rate limit. It may be lost at any moment;
//! what it knew is offered again by history or read again from the backlogs.
//!
//! Absent on purpose: tokio, clocks, randomness, I/O, logging, and asking history whether a task is still wanted.
//!
//! Start at [`Queue`] for matching, at [`Backlog`] for persistence.

mod backlog;
mod queue;
mod stored;
mod task;

pub use backlog::{Backlog, BacklogStats, Change, Input, PageId, Reading, Rejected, Reply, Touched};
pub use queue::{
    Decision, ItemId, Match, Origin, PollerId, Queue, QueueShape, ReadRequest, Separation, Settled, Withdrawal,
};
pub use task::{PRIORITY_LEVELS, PerPriority, Position, PriorityLevel, Task};

/// Bytes or changes that contradict what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

#[cfg(test)]
mod laws_test;
