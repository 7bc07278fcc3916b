//! Whether the log is still ours: under which epoch, and what the outcome of something done under it means.

use std::time::Duration;

use runtime::Backoff;
use storage::{Append, Epoch};

/// Between the attempts to reopen a log.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// What an outcome means for the owner of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It has happened, and the log was ours.
    Done,
    /// Unknown, or fenced by ourselves as far as is known: to be retried.
    Retry,
    /// Another process owns the log.
    Fenced,
}

/// The epoch under which a shard writes.
pub(crate) struct LogOwnership {
    epoch: Epoch,
    /// While the log is being reopened after an unknown outcome: its epoch may be our own next one.
    resolving: bool,
    backoff: Backoff,
}

impl LogOwnership {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, resolving: false, backoff: BACKOFF }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn is_resolving(&self) -> bool {
        self.resolving
    }

    /// What the outcome of a write under `epoch` means.
    pub(crate) fn verdict(&self, epoch: Epoch, outcome: Append) -> Verdict {
        match outcome {
            Append::Appended => Verdict::Done,
            // Reopening by ourselves fences our own earlier epoch; the next attempt shows.
            Append::Fenced if self.resolving || epoch != self.epoch => Verdict::Retry,
            Append::Fenced => Verdict::Fenced,
            Append::Unknown => Verdict::Retry,
        }
    }

    /// What it means that the log has this epoch. Reopening by ourselves raises the epoch too, and proves nothing until it is done.
    pub(crate) fn verdict_of_epoch(&self, epoch: Epoch) -> Verdict {
        match epoch {
            epoch if epoch <= self.epoch => Verdict::Done,
            _ if self.resolving => Verdict::Retry,
            _ => Verdict::Fenced,
        }
    }

    /// The log is about to be reopened.
    pub(crate) fn begin_resolving(&mut self) {
        self.resolving = true;
        self.backoff.reset();
    }

    /// The delay before the next attempt to reopen it.
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay()
    }

    /// The log is reopened, under this epoch.
    pub(crate) fn resolved(&mut self, epoch: Epoch) {
        self.resolving = false;
        self.epoch = epoch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_epoch_that_cannot_be_our_own_fences_us() {
        let mut ownership = LogOwnership::new(Epoch(3));
        let rows = [
            (3, Append::Appended, Verdict::Done, Verdict::Done),
            (3, Append::Unknown, Verdict::Retry, Verdict::Retry),
            (3, Append::Fenced, Verdict::Fenced, Verdict::Retry),
            // Done under the epoch before we reopened the log.
            (2, Append::Fenced, Verdict::Retry, Verdict::Retry),
        ];
        for (epoch, outcome, settled, resolving) in rows {
            ownership.resolved(Epoch(3));
            assert_eq!(ownership.verdict(Epoch(epoch), outcome), settled, "{epoch} {outcome:?}");
            ownership.begin_resolving();
            assert_eq!(ownership.verdict(Epoch(epoch), outcome), resolving, "{epoch} {outcome:?}, resolving");
        }
        assert_eq!(ownership.verdict_of_epoch(Epoch(4)), Verdict::Retry);
        ownership.resolved(Epoch(4));
        assert_eq!(ownership.verdict_of_epoch(Epoch(4)), Verdict::Done);
        assert_eq!(ownership.verdict_of_epoch(Epoch(5)), Verdict::Fenced);
    }
}
