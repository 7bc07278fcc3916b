//! Rounds of checkpoints: what is taken of which entity, and what follows from what became of it.

use ids::Timestamp;
use storage::{Append, Epoch, GroupId, Seq};

use super::ShardState;
use crate::checkpoint::batch::{Batch, Part, WriteOutcome, Written};
use crate::entity_slot::{Residence, SlotId, Snapshot};
use crate::job::Job;
use crate::log_ownership::Verdict;
use crate::panics::caught;
use crate::stop::Stop;

/// One table write carries about this much at most.
const BATCH_BYTES: usize = 1 << 20;

impl ShardState {
    fn oldest_dirty(&self) -> Option<(Seq, Timestamp)> {
        self.entities.get(self.checkpoints.first_dirty()?)?.dirty_since
    }

    /// When a round is due by age.
    pub(super) fn next_checkpoint(&self) -> Option<Timestamp> {
        if self.checkpoints.is_in_round() {
            return None;
        }
        let durable = self.writer.durable();
        let (seq, since) = self.oldest_dirty()?;
        let by_age = (seq <= durable).then(|| since + self.settings.checkpoint_age);
        by_age.into_iter().chain(self.checkpoints.next_at_rest(durable)).min()
    }

    /// Begins and carries on rounds, and trims after them. Takes one batch at most: says whether there is room for another.
    pub(super) fn checkpoint(&mut self) -> bool {
        let (oldest, urgent) = (self.oldest_dirty(), self.closing.is_some() || self.memory_is_short);
        self.checkpoints.begin_round(&self.settings, &self.share, self.moment.now, oldest, urgent);
        if self.checkpoints.has_room(&self.settings) {
            self.take_batch();
        }
        let durable = self.writer.durable();
        self.jobs.extend(std::iter::from_fn(|| self.checkpoints.next_write(durable)));
        self.jobs.extend(self.checkpoints.write_again(self.settings.checkpoint_batch));
        self.trim(durable);
        self.jobs.extend(self.checkpoints.finished_flushes().map(Job::Flushed));
        self.checkpoints.has_room(&self.settings)
    }

    /// Takes the oldest dirty entities.
    fn take_batch(&mut self) {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while parts.len() < self.settings.checkpoint_batch
            && bytes < BATCH_BYTES
            && let Some(id) = self.checkpoints.next_of_round()
        {
            if let Some(part) = self.take(id) {
                bytes += part.value_bytes();
                parts.push(part);
            }
        }
        self.checkpoints.enqueue(parts);
    }

    /// Takes a snapshot of one entity's dirty rows.
    fn take(&mut self, id: SlotId) -> Option<Part> {
        let slot = self.entities.get_mut(id)?;
        let Residence::Ready(entity) = &mut slot.residence else { return None };
        let (since, _) = slot.dirty_since?;
        // What was recovered may have been written at its own position by another owner, and otherwise.
        let version = slot.last_change.max(self.writer.first());
        if version >= self.writer.open_position() {
            // A further change in the same group would have the same version and other rows.
            self.writer.seal(GroupId(self.seeds.draw()));
        }
        let writes = match caught(|| entity.take_dirty(&slot.key, version.0)) {
            Ok(writes) => writes,
            Err(panic) => {
                self.suspect_corrupt(id, format!("panicked in a checkpoint: {panic}"), None);
                return None;
            }
        };
        let is_stored = |at: &Timestamp| slot.stored_wake_up == Some(*at) && self.wake_ups.is_kept(*at);
        let wake_up = slot.next_wake_up.filter(|at| !is_stored(at));
        let wake_up_rows = self.wake_ups.rows_of(&slot.key, wake_up, !slot.owed.is_empty());
        let taken = Snapshot { since, version };
        slot.taken = Some(taken);
        slot.dirty_since = None;
        Some(Part { slot: Some(id), taken, wake_up, writes, wake_up_rows, batch: 0 })
    }

    /// Parts could not be written together.
    pub(super) fn on_batch_failed(&mut self, batch: Batch) {
        self.jobs.push(self.checkpoints.write_apart(batch));
    }

    /// Writes have ended: what is acknowledged need not stay in the log.
    pub(super) fn on_checkpointed(&mut self, written: Written) {
        self.metrics.checkpoints.increment(u64::from(written.batch.is_some()));
        for (part, outcome) in self.checkpoints.end_writes(written) {
            match (part.slot, outcome) {
                (_, WriteOutcome::Unknown) => {}
                (Some(id), WriteOutcome::Refused(reason)) => self.part_refused(id, part.taken, reason),
                (None, WriteOutcome::Refused(reason)) => {
                    self.checkpoints.release(part.taken.since);
                    tracing::error!(log = %self.log.0, reason, "quarantined changes cannot be written and are lost");
                }
                (slot, WriteOutcome::Written) => {
                    self.checkpoints.release(part.taken.since);
                    self.wake_ups.rows_written(&part.wake_up_rows);
                    if let Some(id) = slot {
                        self.part_written(id, &part);
                    }
                }
            }
        }
    }

    /// What was taken will never be in a row: it holds the log until it is copied into quarantine.
    fn part_refused(&mut self, id: SlotId, taken: Snapshot, reason: String) {
        match self.entities.get_mut(id) {
            Some(slot) => {
                self.checkpoints.give_back(id, slot, taken, self.moment.now);
                self.suspect_corrupt(id, format!("cannot be written: {reason}"), None);
            }
            None => self.checkpoints.release(taken.since),
        }
    }

    fn part_written(&mut self, id: SlotId, part: &Part) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        self.checkpoints.part_written(id, slot, part.taken, part.wake_up);
        let Residence::Ready(entity) = &mut slot.residence else { return };
        match caught(|| {
            entity.written();
            entity.weight()
        }) {
            Ok(weight) => {
                self.weigh(id, weight);
                self.note_rest(id);
            }
            Err(panic) => self.suspect_corrupt(id, format!("panicked after a checkpoint: {panic}"), None),
        }
    }

    /// Trims, if there is enough to trim.
    fn trim(&mut self, durable: Seq) {
        if self.ownership.is_resolving() {
            return;
        }
        if let Some(below) = self.checkpoints.begin_trim(self.moment.now, durable, self.settings.tail_bytes) {
            self.jobs.push(Job::Trim { epoch: self.ownership.epoch(), below });
        }
    }

    pub(super) fn on_trimmed(&mut self, epoch: Epoch, below: Seq, outcome: Append) {
        match self.ownership.verdict(epoch, outcome) {
            Verdict::Done => self.checkpoints.trimmed(below),
            Verdict::Fenced => self.stop(Stop::Fenced),
            Verdict::Retry => {
                tracing::warn!(log = %self.log.0, "cannot trim the log yet");
                self.checkpoints.trim_failed(self.moment.now);
            }
        }
    }
}
