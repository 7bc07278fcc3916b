//! Bringing entities, and rows that steps ask for, from the tables. The work is done outside the shard.
//!
//! Some rows may be out of reach for as long as too many of their replicas are away, while all others can be had. So an
//! entity that needs such rows waits by itself: it gives up its room to others, and retries later.

use std::collections::VecDeque;
use std::time::Duration;

use runtime::Backoff;
use storage::{Row, Version};

use crate::entity_slot::SlotId;
use crate::hosted::Entity;
use crate::{RowAddress, ShardSettings};

/// How often in a row rows are looked up before a load makes room for others.
pub(crate) const ATTEMPTS: u32 = 3;
/// Between the attempts to read rows that cannot be reached.
pub(crate) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));

/// How a load ended.
pub(crate) enum Loaded {
    /// The entity, and the highest version among its rows.
    Entity(Box<dyn Entity>, Version),
    /// What is stored makes no sense.
    Corrupt(String),
    /// Rows cannot be reached now.
    Unreachable,
}

/// How a fetch ended.
pub(crate) enum Fetched {
    /// The rows, found or not.
    Rows(Vec<Option<Row>>),
    /// What is stored makes no sense.
    Corrupt(String),
    /// Rows cannot be reached now.
    Unreachable(Vec<RowAddress>),
}

/// Entities that wait to be loaded.
#[derive(Default)]
pub(crate) struct Loads {
    /// A caller waits for these.
    wanted: VecDeque<SlotId>,
    /// These have changes in the log's tail that the tables may not show.
    background: VecDeque<SlotId>,
    /// These could not be reached before. They get a share of the room, since they take it for longer than others.
    again: VecDeque<SlotId>,
    running: usize,
    running_again: usize,
}

impl Loads {
    /// The entity is to be loaded though no caller waits for it.
    pub(crate) fn recover(&mut self, id: SlotId) {
        self.background.push_back(id);
    }

    /// A caller waits for the entity.
    pub(crate) fn want(&mut self, id: SlotId) {
        self.wanted.push_back(id);
    }

    /// An entity that was out of reach may be loaded again.
    pub(crate) fn want_again(&mut self, id: SlotId) {
        self.again.push_back(id);
    }

    /// The next to load, if another load may run, and whether it was out of reach before. What was gets its share, then come those
    /// that a caller waits for.
    pub(crate) fn next(&mut self, settings: &ShardSettings) -> Option<(SlotId, bool)> {
        if self.running >= settings.concurrent_loads {
            return None;
        }
        if self.running_again < settings.concurrent_loads / 4
            && let Some(id) = self.again.pop_front()
        {
            return Some((id, true));
        }
        if let Some(id) = self.wanted.pop_front() {
            return Some((id, false));
        }
        if self.running_again == 0
            && let Some(id) = self.again.pop_front()
        {
            return Some((id, true));
        }
        let id = self.background.pop_front_if(|_| self.running < settings.background_loads)?;
        Some((id, false))
    }

    /// A load has begun.
    pub(crate) fn begun(&mut self, again: bool) {
        self.running += 1;
        self.running_again += usize::from(again);
    }

    /// A load has ended.
    pub(crate) fn ended(&mut self, again: bool) {
        self.running -= 1;
        self.running_again -= usize::from(again);
    }

    /// Whether more loads wait than may run.
    pub(crate) fn is_saturated(&self, most: usize) -> bool {
        self.running + self.wanted.len() >= most
    }
}
