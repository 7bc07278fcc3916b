//! Pages: tasks of one level with neighbouring sequences, stored together in one row.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::stored::{Record, StoredPage, StoredTask};
use crate::{Corrupt, Position, PriorityLevel, Task};

/// How many sequences share a page. Part of the stored format.
const SEQUENCES_PER_PAGE: u64 = 32;

/// Names a page of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    /// The level.
    pub level: PriorityLevel,
    /// Counts from 0.
    pub number: u64,
}

impl PageId {
    /// The page of a position.
    pub fn of(position: Position) -> Self {
        Self { level: position.level, number: position.sequence / SEQUENCES_PER_PAGE }
    }

    /// Whether this is the first sequence of its page that is ever given out.
    pub(super) fn is_first(sequence: u64) -> bool {
        // Orders count from 1.
        sequence == 1 || sequence.is_multiple_of(SEQUENCES_PER_PAGE)
    }

    /// The key of its row within the partition's rows.
    pub fn row_key(self) -> Bytes {
        let mut key = BytesMut::with_capacity(10);
        key.put_u8(b'p');
        key.put_u8(self.level.number());
        key.put_u64(self.number);
        key.freeze()
    }

    /// The inverse of [`PageId::row_key`].
    pub fn of_row_key(key: &[u8]) -> Option<Self> {
        let [b'p', level, number @ ..] = key else { return None };
        Some(Self { level: PriorityLevel::numbered(*level)?, number: u64::from_be_bytes(number.try_into().ok()?) })
    }
}

/// A page: resident, or only in its row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Page {
    /// In memory: its tasks by sequence.
    Resident(BTreeMap<u64, Task>),
    /// Only in its row, which has this many tasks.
    Evicted(u32),
}

impl Page {
    /// A page without tasks.
    pub fn new() -> Self {
        Self::Resident(BTreeMap::new())
    }

    /// How many tasks it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Resident(tasks) => tasks.len(),
            Self::Evicted(tasks) => *tasks as usize,
        }
    }

    /// As its row holds it.
    pub fn encode(tasks: &BTreeMap<u64, Task>) -> Bytes {
        let tasks = tasks.iter().map(|(sequence, task)| StoredTask::from_task(*sequence, task)).collect();
        StoredPage { tasks, ..Default::default() }.to_bytes()
    }

    /// The inverse of [`Page::encode`], checked against where the row lies.
    pub fn decode(id: PageId, bytes: &[u8]) -> Result<BTreeMap<u64, Task>, Corrupt> {
        let mut tasks = BTreeMap::new();
        for stored in StoredPage::from_bytes(bytes)?.tasks {
            let sequence = stored.sequence;
            let task = stored.into_task();
            if PageId::of(Position { level: task.level(), sequence }) != id {
                return Err(Corrupt(format!("task {sequence} of level {} lies in page {id:?}", task.level().number())));
            }
            tasks.insert(sequence, task);
        }
        Ok(tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_with_the_first_order_that_it_can_have() {
        let page = |sequence| PageId::of(Position { level: PriorityLevel::DEFAULT, sequence }).number;
        for sequence in 1..200 {
            let begins = sequence == 1 || page(sequence) != page(sequence - 1);
            assert_eq!(PageId::is_first(sequence), begins, "{sequence}");
        }
    }
}
