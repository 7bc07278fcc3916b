//! What can happen to a backlog.

use bytes::Bytes;

use super::PageId;
use crate::stored::{Record, StoredChange, StoredPosition, StoredTask};
use crate::{Corrupt, Position, Task};

/// A durable fact about a partition.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A task waits.
    Added {
        /// Its sequence within its level: the next one.
        sequence: u64,
        /// The task.
        task: Box<Task>,
    },
    /// More is known of a task that waits.
    Replaced {
        /// Its sequence within its level.
        sequence: u64,
        /// The task as it is now.
        task: Box<Task>,
    },
    /// Tasks no longer wait: history recorded their start, did not want them, or their time was over.
    Removed(Vec<Position>),
}

/// A page that a change touches, beside the header, which each change touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Which page.
    pub page: PageId,
    /// Whether there was no such page before.
    pub begins: bool,
}

impl Change {
    /// The pages that it touches, each once.
    pub fn touches(&self) -> Vec<Touched> {
        match self {
            Self::Added { sequence, task } => {
                let page = PageId::of(Position { level: task.level(), sequence: *sequence });
                vec![Touched { page, begins: PageId::is_first(*sequence) }]
            }
            Self::Replaced { sequence, task } => {
                let page = PageId::of(Position { level: task.level(), sequence: *sequence });
                vec![Touched { page, begins: false }]
            }
            Self::Removed(positions) => {
                let mut pages: Vec<_> = positions.iter().map(|at| PageId::of(*at)).collect();
                pages.sort_unstable();
                pages.dedup();
                pages.into_iter().map(|page| Touched { page, begins: false }).collect()
            }
        }
    }

    /// As the log holds it.
    pub fn encode(&self) -> Bytes {
        let stored = match self {
            Self::Added { sequence, task } => {
                StoredChange { added: Some(StoredTask::from_task(*sequence, task)), ..Default::default() }
            }
            Self::Replaced { sequence, task } => {
                StoredChange { replaced: Some(StoredTask::from_task(*sequence, task)), ..Default::default() }
            }
            Self::Removed(positions) => {
                let removed = positions.iter().copied().map(StoredPosition::from_position);
                StoredChange { removed: removed.collect(), ..Default::default() }
            }
        };
        stored.to_bytes()
    }

    /// The inverse of [`Change::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let stored = StoredChange::from_bytes(bytes)?;
        if let Some(added) = stored.added {
            return Ok(Self::Added { sequence: added.sequence, task: Box::new(added.into_task()) });
        }
        if let Some(replaced) = stored.replaced {
            return Ok(Self::Replaced { sequence: replaced.sequence, task: Box::new(replaced.into_task()) });
        }
        let positions = stored.removed.into_iter().map(StoredPosition::into_position);
        Ok(Self::Removed(positions.collect::<Result<_, _>>()?))
    }
}
