//! A waiting task, and its position in its partition.

use api::Held;
use api::temporal::api::common::v1::Priority;
use ids::{TaskKey, Timestamp};

/// How many priority levels there are.
pub const PRIORITY_LEVELS: usize = 5;

/// A priority level: 1 is served first, 5 last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PriorityLevel(u8);

impl PriorityLevel {
    /// What a task without a priority gets.
    pub const DEFAULT: Self = Self(3);

    /// The level that a priority asks for: unset means 3, anything beyond 5 means 5.
    pub fn of(priority: Option<&Priority>) -> Self {
        match priority.map_or(0, |priority| priority.priority_key) {
            key if key <= 0 => Self::DEFAULT,
            key => Self(u8::try_from(key).unwrap_or(u8::MAX).min(PRIORITY_LEVELS as u8)),
        }
    }

    /// The level with this number, if it is one.
    pub fn numbered(number: u8) -> Option<Self> {
        (1..=PRIORITY_LEVELS as u8).contains(&number).then_some(Self(number))
    }

    /// 1 to 5.
    pub fn number(self) -> u8 {
        self.0
    }

    /// All levels, the first served first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=PRIORITY_LEVELS as u8).map(Self)
    }
}

/// One value per level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerPriority<T>([T; PRIORITY_LEVELS]);

impl<T> std::ops::Index<PriorityLevel> for PerPriority<T> {
    type Output = T;
    fn index(&self, level: PriorityLevel) -> &T {
        &self.0[usize::from(level.0) - 1]
    }
}

impl<T> std::ops::IndexMut<PriorityLevel> for PerPriority<T> {
    fn index_mut(&mut self, level: PriorityLevel) -> &mut T {
        &mut self.0[usize::from(level.0) - 1]
    }
}

/// Where a persisted task stands in its partition: by level, then by sequence. Sequences of one level count from 1 without gaps and
/// are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The level.
    pub level: PriorityLevel,
    /// The sequence within the level.
    pub sequence: u64,
}

/// A task that wants a poller.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Which one.
    pub key: TaskKey,
    /// As it was offered.
    pub priority: Option<Priority>,
    /// When history scheduled it.
    pub scheduled_at: Timestamp,
    /// After this it is stale.
    pub expires_at: Option<Timestamp>,
    /// The request id under which history may have recorded its start for a poller that then got nothing. The delivery that takes
    /// the task next uses the same id, so that history recognises it.
    pub request_id: Option<String>,
}

impl Task {
    /// Its level.
    pub fn level(&self) -> PriorityLevel {
        PriorityLevel::of(self.priority.as_ref())
    }

    /// Whether its time is over at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        // What a shared text needs beside it.
        const SHARED: usize = 2 * std::mem::size_of::<usize>();
        let names = self.key.workflow_id.as_str().len() + self.key.run_id.as_str().len() + 2 * SHARED;
        names + self.priority.heap_bytes() + self.request_id.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_means_three_and_beyond_five_means_five() {
        let level = |key| PriorityLevel::of(Some(&Priority { priority_key: key, ..Default::default() })).number();
        assert_eq!(PriorityLevel::of(None).number(), 3);
        for (key, expected) in [(0, 3), (1, 1), (2, 2), (5, 5), (6, 5), (1000, 5), (-1, 3)] {
            assert_eq!(level(key), expected, "{key}");
        }
    }
}
