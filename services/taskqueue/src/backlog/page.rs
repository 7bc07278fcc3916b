//! Pages: tasks of one level with neighbouring orders, stored together in one row.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::stored::{Record, StoredPage, StoredTask};
use crate::{Corrupt, Level, Position, Task};

/// How many orders share a page. Part of the stored format.
const ORDERS_PER_PAGE: u64 = 32;

/// Names a page of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    /// The level.
    pub level: Level,
    /// Counts from 0.
    pub number: u64,
}

impl PageId {
    /// The page of a position.
    pub fn of(position: Position) -> Self {
        Self { level: position.level, number: position.order / ORDERS_PER_PAGE }
    }

    /// The bit of an order of this page.
    pub(super) fn bit_of(order: u64) -> u32 {
        1 << (order % ORDERS_PER_PAGE)
    }

    /// The bits of the orders of this page that have been given out when `last` was the last one of the level.
    pub(super) fn bits_until(self, last: u64) -> u32 {
        let first = self.number * ORDERS_PER_PAGE;
        let ends = last.saturating_sub(first).min(ORDERS_PER_PAGE - 1);
        // Orders count from 1.
        let without_zero = if first == 0 { !1 } else { !0 };
        if last < first { 0 } else { u32::MAX >> (ORDERS_PER_PAGE - 1 - ends) & without_zero }
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
        Some(Self { level: Level::numbered(*level)?, number: u64::from_be_bytes(number.try_into().ok()?) })
    }
}

/// A page: here, or only in its row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Page {
    /// In memory.
    Here {
        /// By order.
        tasks: BTreeMap<u64, Task>,
        /// Whether its row is behind.
        dirty: bool,
        /// Whether a row of it may exist.
        stored: bool,
    },
    /// Only in its row.
    Away {
        /// How many tasks the row has, as far as the header knows.
        tasks: u32,
        /// What the row may lack.
        missed: Vec<Missed>,
        /// The orders that are named there, as bits.
        named: u32,
        /// Whether the header's row told some of it: then the log may have forgotten that.
        told: bool,
    },
}

/// What happened to a page that was in its row, and is to be made so once the page is brought in. It may have been made so
/// before, in part or wholly.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Missed {
    /// Where.
    pub order: u64,
    /// The task that was put there; `None` if it was removed.
    pub task: Option<Box<Task>>,
}

impl Page {
    /// A page that has no row yet.
    pub fn new() -> Self {
        Self::Here { tasks: BTreeMap::new(), dirty: true, stored: false }
    }

    /// A page of which only the row is known to exist.
    pub fn away(tasks: u32) -> Self {
        Self::Away { tasks, missed: Vec::new(), named: 0, told: false }
    }

    /// How many tasks it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Here { tasks, .. } => tasks.len(),
            Self::Away { tasks, .. } => *tasks as usize,
        }
    }

    /// As its row holds it.
    pub fn encode(tasks: &BTreeMap<u64, Task>) -> Bytes {
        let tasks = tasks.iter().map(|(order, task)| StoredTask::from_task(*order, task)).collect();
        StoredPage { tasks, ..Default::default() }.to_bytes()
    }

    /// The inverse of [`Page::encode`], checked against where the row lies.
    pub fn decode(id: PageId, bytes: &[u8]) -> Result<BTreeMap<u64, Task>, Corrupt> {
        let mut tasks = BTreeMap::new();
        for stored in StoredPage::from_bytes(bytes)?.tasks {
            let order = stored.order;
            let task = stored.into_task();
            if PageId::of(Position { level: task.level(), order }) != id {
                return Err(Corrupt(format!("task {order} of level {} lies in page {id:?}", task.level().number())));
            }
            tasks.insert(order, task);
        }
        Ok(tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_orders_that_were_given_out() {
        let bits = |number, last| PageId { level: Level::DEFAULT, number }.bits_until(last);
        for (number, last, expected) in [
            (0, 0, 0),
            (0, 1, 0b10),
            (0, 31, !1),
            (0, 32, !1),
            (1, 31, 0),
            (1, 32, 1),
            (1, 34, 0b111),
            (1, 63, !0),
            (1, 1000, !0),
        ] {
            assert_eq!(bits(number, last), expected, "page {number}, last order {last}");
        }
        assert_eq!(PageId::bit_of(34), 0b100);
    }
}
