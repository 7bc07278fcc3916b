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

    /// Whether this is the first order of its page that is ever given out.
    pub(super) fn is_first(order: u64) -> bool {
        // Orders count from 1.
        order == 1 || order.is_multiple_of(ORDERS_PER_PAGE)
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
    /// In memory: its tasks by order.
    Here(BTreeMap<u64, Task>),
    /// Only in its row, which has this many tasks.
    Away(u32),
}

impl Page {
    /// A page without tasks.
    pub fn new() -> Self {
        Self::Here(BTreeMap::new())
    }

    /// How many tasks it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Here(tasks) => tasks.len(),
            Self::Away(tasks) => *tasks as usize,
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
    fn a_page_begins_with_the_first_order_that_it_can_have() {
        let page = |order| PageId::of(Position { level: Level::DEFAULT, order }).number;
        for order in 1..200 {
            let begins = order == 1 || page(order) != page(order - 1);
            assert_eq!(PageId::is_first(order), begins, "{order}");
        }
    }
}
