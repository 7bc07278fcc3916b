//! What can happen to a backlog.

use bytes::Bytes;

use crate::stored::{Record, StoredChange, StoredPosition, StoredTask};
use crate::{Corrupt, Position, Task};

/// A durable fact about a partition.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A task waits. Takes the place of what stood there: the same task, with more known of it.
    Added {
        /// Its order within its level.
        order: u64,
        /// The task.
        task: Box<Task>,
    },
    /// Tasks no longer wait: history recorded their start, did not want them, or their time was over.
    Removed(Vec<Position>),
}

impl Change {
    /// As the log holds it.
    pub fn encode(&self) -> Bytes {
        let stored = match self {
            Self::Added { order, task } => {
                StoredChange { added: Some(StoredTask::from_task(*order, task)), ..Default::default() }
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
            return Ok(Self::Added { order: added.order, task: Box::new(added.into_task()) });
        }
        let positions = stored.removed.into_iter().map(StoredPosition::into_position);
        Ok(Self::Removed(positions.collect::<Result<_, _>>()?))
    }
}
