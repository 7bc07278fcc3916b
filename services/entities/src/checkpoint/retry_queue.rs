//! What checkpoints could not write: parts are written together while that works, and each by itself when it does not. So an
//! entity whose rows are out of reach, since too many of their replicas are away, holds up neither the others nor the log above
//! its own changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use runtime::Backoff;

use super::batch::{Part, WriteOutcome};

/// Between the attempts to write what is out of reach.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));

/// What could not be written with its batch, and is retried until it can.
#[derive(Default)]
pub(super) struct RetryQueue {
    waiting: VecDeque<Part>,
    /// The batches from which these and those being tried come, with how many of each.
    batches: BTreeMap<u64, usize>,
    bytes: usize,
    is_trying: bool,
    /// Tries in a row that wrote nothing.
    failed_tries: u32,
}

impl RetryQueue {
    /// The oldest batch of which something is not written.
    pub(super) fn oldest_batch(&self) -> Option<u64> {
        self.batches.first_key_value().map(|(&id, _)| id)
    }

    /// Bytes in rows that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, part: Part) {
        *self.batches.entry(part.batch).or_insert(0) += 1;
        self.bytes += part.bytes();
        self.waiting.push_back(part);
    }

    /// These have been tried again: those that are through leave, the others wait for their next turn.
    pub(super) fn tried(&mut self, parts: Vec<(Part, WriteOutcome)>) -> Vec<(Part, WriteOutcome)> {
        let (still, through): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, outcome)| matches!(outcome, WriteOutcome::Unknown));
        self.is_trying = false;
        self.failed_tries = if through.is_empty() { self.failed_tries + 1 } else { 0 };
        self.waiting.extend(still.into_iter().map(|(part, _)| part));
        for (part, _) in &through {
            self.bytes = self.bytes.saturating_sub(part.bytes());
            if let Some(count) = self.batches.get_mut(&part.batch) {
                *count -= 1;
                if *count == 0 {
                    self.batches.remove(&part.batch);
                }
            }
        }
        through
    }

    /// What to try again next, and after what delay.
    pub(super) fn next_try(&mut self, most: usize) -> Option<(Vec<Part>, Duration)> {
        if self.is_trying || self.waiting.is_empty() {
            return None;
        }
        self.is_trying = true;
        let count = self.waiting.len().min(most);
        Some((self.waiting.drain(..count).collect(), BACKOFF.after(self.failed_tries + 1)))
    }
}
