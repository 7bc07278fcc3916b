//! One partition of a queue: its waiting pollers and items, and the window over its backlog.
//!
//! The window is exact: of each level it holds every waiting task up to its horizon and none beyond. So a task that was
//! persisted while a reading was under way is neither missed nor taken twice, and a removed one never comes back.

use std::collections::{BTreeMap, BTreeSet};

use super::{ItemId, PollerId};
use crate::{PerPriority, PriorityLevel};

/// In what order waiting things are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Its caller waits for the answer: first of all, in order of arrival.
    Query(ItemId),
    /// By level; in a level tasks of the backlog come before offers.
    Task(PriorityLevel, Turn),
}

/// The order within a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// By the backlog's sequence.
    Backlog(u64),
    /// By arrival.
    Offered(ItemId),
}

/// The window over a backlog.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Whether the backlog has been read at all: until then it may hold anything.
    pub known: bool,
    /// Whether a reading is under way.
    pub reading: bool,
    /// Up to here, per level, the window holds every waiting task.
    pub horizon: PerPriority<u64>,
    /// The highest sequence known to have been given out, per level.
    pub last: PerPriority<u64>,
    /// How many tasks the window holds, per level, waiting or in delivery.
    pub held: PerPriority<usize>,
}

impl Window {
    /// Whether the backlog may have tasks of this level that the window does not hold.
    pub fn is_behind(&self, level: PriorityLevel) -> bool {
        !self.known || self.horizon[level] < self.last[level]
    }
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// Waiting pollers; ids rise, so the first has waited longest.
    pub pollers: BTreeSet<PollerId>,
    /// Waiting items.
    pub waiting: BTreeMap<Rank, ItemId>,
    /// `None` for a queue without backlogs.
    pub window: Option<Window>,
}

impl Partition {
    pub fn new(durable: bool) -> Self {
        Self { window: durable.then(Window::default), ..Self::default() }
    }

    /// What is to be served first; nothing while an earlier task of the backlog has yet to be read.
    pub fn first(&self, capacity: usize) -> Option<(Rank, ItemId)> {
        let (rank, item) = self.waiting.first_key_value().map(|(rank, item)| (*rank, *item))?;
        let (Rank::Task(level, turn), Some(window)) = (rank, &self.window) else { return Some((rank, item)) };
        for earlier in PriorityLevel::all().take_while(|earlier| *earlier <= level) {
            let is_served = earlier == level && matches!(turn, Turn::Backlog(_));
            // A full window cannot be read further, so it does not hold others up.
            if !is_served && window.is_behind(earlier) && window.held[earlier] < capacity {
                return None;
            }
        }
        Some((rank, item))
    }

    /// Whether a level should be read: it is behind, and there is room or nothing of it left to serve.
    pub fn wants_reading(&self, capacity: usize) -> bool {
        let Some(window) = self.window.as_ref().filter(|window| !window.reading) else { return false };
        !window.known
            || PriorityLevel::all().any(|level| {
                let room = window.held[level] <= capacity / 2
                    || (window.held[level] < capacity && !self.has_backlog_waiting(level));
                window.is_behind(level) && room
            })
    }

    fn has_backlog_waiting(&self, level: PriorityLevel) -> bool {
        let from = Rank::Task(level, Turn::Backlog(0));
        let to = Rank::Task(level, Turn::Backlog(u64::MAX));
        self.waiting.range(from..=to).next().is_some()
    }

    /// Whether tasks of this level or before it wait in the backlog.
    pub fn is_behind_backlog(&self, level: PriorityLevel) -> bool {
        let window = self.window.as_ref().filter(|window| window.known);
        let mut levels = PriorityLevel::all().take_while(|earlier| *earlier <= level);
        window.is_some_and(|window| levels.any(|level| window.is_behind(level) || self.has_backlog_waiting(level)))
    }

    pub fn shrink(&mut self) {
        if self.pollers.is_empty() {
            self.pollers = BTreeSet::new();
        }
        if self.waiting.is_empty() {
            self.waiting = BTreeMap::new();
        }
    }

    pub fn is_drained(&self) -> bool {
        self.window.as_ref().is_none_or(|window| {
            window.known && PriorityLevel::all().all(|level| !window.is_behind(level) && window.held[level] == 0)
        })
    }

    pub fn is_idle(&self) -> bool {
        self.pollers.is_empty() && self.waiting.is_empty() && self.is_drained()
    }
}
