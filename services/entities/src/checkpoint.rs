//! Writing dirty entities to their tables, so that the log can be trimmed.
//!
//! Entities are taken oldest first, since the oldest holds the log. What is taken is a snapshot of the rows with the
//! position of the entity's latest change as their version, or this owner's first position if that is later; it is written
//! only once that position is durable. The log is trimmed below the oldest change that no write acknowledged to this owner
//! carries.
//!
//! An entity at rest will hardly change again, so there is nothing to gain by waiting: it is taken soon, beside the others, which
//! lets it leave memory and the log.

pub(crate) mod batch;
mod log_tail;
mod retry_queue;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ids::Timestamp;
use storage::{PartitionWrite, Seq};

use self::batch::{Batch, Part, WriteOutcome, Written};
use self::log_tail::LogTail;
use self::retry_queue::{BACKOFF, RetryQueue};
use crate::ShardSettings;
use crate::entity_slot::{Residence, Slot, SlotId, Snapshot};
use crate::job::Job;
use crate::memory_use::Share;
use crate::request::Waiter;

/// What is at rest is taken this many times within the age at which everything is.
const AT_REST_ROUNDS: u32 = 5;

/// What is dirty, what is being written, and how far the log may be trimmed.
pub(crate) struct Checkpoints {
    /// What may be taken, by its oldest change.
    dirty: BTreeSet<(Seq, SlotId)>,
    /// Those of them that are at rest.
    at_rest: BTreeSet<(Seq, SlotId)>,
    /// When those may be taken again.
    next_at_rest: Timestamp,
    /// How many hold the log from which position.
    holds: BTreeMap<Seq, usize>,
    dirty_entities: usize,
    dirty_bytes: usize,
    /// The round that runs.
    round: Option<Round>,
    waiting: VecDeque<Batch>,
    running: BTreeSet<u64>,
    retry_queue: RetryQueue,
    next_batch: u64,
    tail: LogTail,
    /// Who waits until everything below a position is written.
    flushes: Vec<(Seq, Waiter)>,
}

/// What a round takes.
#[derive(Clone, Copy)]
struct Round {
    /// Only what is dirty since before this.
    below: Seq,
    /// Only what is at rest.
    at_rest: bool,
}

impl Checkpoints {
    pub(crate) fn new(trimmed_below: Seq) -> Self {
        Self {
            dirty: BTreeSet::new(),
            at_rest: BTreeSet::new(),
            next_at_rest: Timestamp::EPOCH,
            holds: BTreeMap::new(),
            dirty_entities: 0,
            dirty_bytes: 0,
            round: None,
            waiting: VecDeque::new(),
            running: BTreeSet::new(),
            retry_queue: RetryQueue::default(),
            next_batch: 0,
            tail: LogTail::new(trimmed_below),
            flushes: Vec::new(),
        }
    }

    pub(crate) fn dirty_entities(&self) -> usize {
        self.dirty_entities
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    pub(crate) fn log_depth(&self) -> u64 {
        self.tail.depth()
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.tail.bytes()
    }

    /// When the oldest group of the tail became durable, or was found.
    pub(crate) fn log_since(&self) -> Option<Timestamp> {
        self.tail.since()
    }

    /// Hurries until everything below `end` is written, and then says so.
    pub(crate) fn flush(&mut self, end: Seq, waiter: Waiter) {
        self.flushes.push((end, waiter));
    }

    /// Callers for which enough is written. What has never been logged holds nothing, so it does not count.
    pub(crate) fn finished_flushes(&mut self) -> impl Iterator<Item = Waiter> {
        let written = self.holds.first_key_value().map(|(&seq, _)| seq);
        let finished = self.flushes.extract_if(.., move |(end, _)| written.is_none_or(|seq| seq >= *end));
        finished.map(|(_, waiter)| waiter)
    }

    /// Whether nothing is dirty or being written, and the log is trimmed up to `durable`.
    pub(crate) fn is_done(&self, durable: Seq) -> bool {
        let written = self.dirty_entities == 0 && self.finished_before(u64::MAX);
        written && self.tail.is_trimmed(self.trim_bound(durable))
    }

    /// When a trim that failed may be tried again.
    pub(crate) fn next_trim(&self) -> Timestamp {
        self.tail.next_trim()
    }

    /// The id that the next write will have: every earlier one that still runs is below it.
    pub(crate) fn next_batch(&self) -> u64 {
        self.next_batch
    }

    /// Whether every write with an id below `batch` is acknowledged.
    pub(crate) fn finished_before(&self, batch: u64) -> bool {
        let unfinished = [
            self.running.first().copied(),
            self.waiting.front().map(|waiting| waiting.id),
            self.retry_queue.oldest_batch(),
        ];
        unfinished.into_iter().flatten().all(|oldest| oldest >= batch)
    }

    /// A group is durable.
    pub(crate) fn group_committed(&mut self, seq: Seq, bytes: usize, at: Timestamp) {
        self.tail.committed(seq, bytes, at);
    }

    /// The entity has changed at `seq`.
    pub(crate) fn mark_dirty(&mut self, id: SlotId, slot: &mut Slot, seq: Seq, now: Timestamp) {
        if slot.dirty_since.is_none() {
            if !slot.is_dirty() {
                self.dirty_entities += 1;
                self.dirty_bytes += slot.weight();
            }
            slot.dirty_since = Some((seq, now));
            self.hold(seq);
        }
        self.may_take(id, slot);
    }

    /// Lets rounds take the entity as it is now, if it is dirty and there to be taken.
    pub(crate) fn may_take(&mut self, id: SlotId, slot: &Slot) {
        if let (Some((seq, _)), None, Residence::Ready(entity)) = (slot.dirty_since, slot.taken, &slot.residence) {
            self.dirty.insert((seq, id));
            if entity.is_at_rest() {
                self.at_rest.insert((seq, id));
            } else {
                self.at_rest.remove(&(seq, id));
            }
        }
    }

    /// Rounds do not take the entity, which was dirty since `seq`.
    fn must_not_take(&mut self, seq: Seq, id: SlotId) {
        self.dirty.remove(&(seq, id));
        self.at_rest.remove(&(seq, id));
    }

    /// A dirty entity's weight has changed.
    pub(crate) fn reweigh(&mut self, before: usize, after: usize) {
        self.dirty_bytes = (self.dirty_bytes + after).saturating_sub(before);
    }

    fn hold(&mut self, seq: Seq) {
        *self.holds.entry(seq).or_insert(0) += 1;
    }

    /// What was held from this position is held no more.
    pub(crate) fn release(&mut self, seq: Seq) {
        if let Some(count) = self.holds.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.holds.remove(&seq);
            }
        }
    }

    /// The entity's memory is given up: what it held is released once `copy`, if there is one, is written, which waits for
    /// the copy's version to be durable.
    pub(crate) fn forget(&mut self, id: SlotId, slot: &Slot, copy: Option<PartitionWrite>) {
        let oldest = slot.taken.map(|taken| taken.since).or(slot.dirty_since.map(|(seq, _)| seq));
        if let (Some(since), Some(copy)) = (oldest, copy) {
            self.hold(since);
            let part = Part {
                slot: None,
                taken: Snapshot { since, version: Seq(copy.version) },
                wake_up: None,
                writes: vec![copy],
                wake_up_rows: Vec::new(),
                batch: 0,
            };
            self.enqueue(vec![part]);
        }
        if slot.is_dirty() {
            self.cleaned(slot);
        }
        if let Some((seq, _)) = slot.dirty_since {
            self.must_not_take(seq, id);
            self.release(seq);
        }
    }

    /// The entity is not dirty any more.
    fn cleaned(&mut self, slot: &Slot) {
        self.dirty_entities -= 1;
        self.dirty_bytes = self.dirty_bytes.saturating_sub(slot.weight());
    }

    /// What was taken is dirty again, together with what has changed since; the hold that `taken` has goes with it.
    pub(crate) fn give_back(&mut self, id: SlotId, slot: &mut Slot, taken: Snapshot, now: Timestamp) {
        slot.taken = None;
        if let Some((since, _)) = slot.dirty_since.replace((taken.since, now)) {
            self.must_not_take(since, id);
            self.release(since);
        }
    }

    /// The round that has something to do now, if one has.
    fn due(
        &self,
        settings: &ShardSettings,
        share: &Share,
        now: Timestamp,
        oldest: Option<(Seq, Timestamp)>,
        urgent: bool,
    ) -> Option<Round> {
        let (oldest, since) = oldest?;
        let last = self.tail.last()?;
        if oldest > last {
            return None;
        }
        let all = last.next();
        let whatever = |below| Some(Round { below, at_rest: false });
        // The bound of bytes is that of all shards: who has much of it hurries.
        let much = share.all().dirty > settings.dirty_bytes && self.dirty_bytes > share.fair(settings.dirty_bytes) / 2;
        if urgent || much || self.dirty_entities > settings.dirty_entities {
            return whatever(all);
        }
        if self.log_bytes() > settings.tail_bytes {
            let kept = self.tail.newest_within(settings.tail_bytes / 2);
            return whatever(kept.unwrap_or(all).max(oldest.next()));
        }
        if now.since(since) >= settings.checkpoint_age {
            // What is only half that old is left for the next round, so that short lives are written once.
            let young = now - settings.checkpoint_age / 2;
            let kept = self.tail.first_after(young);
            return whatever(kept.unwrap_or(all).max(oldest.next()));
        }
        let resting = self.at_rest.first().is_some_and(|&(seq, _)| seq <= last);
        (resting && now >= self.next_at_rest).then_some(Round { below: all, at_rest: true })
    }

    /// Below which position the log is not needed any more.
    fn trim_bound(&self, durable: Seq) -> Seq {
        self.holds.first_key_value().map_or(durable.next(), |(&seq, _)| seq.min(durable.next()))
    }

    /// When what is at rest may be taken, if anything is that was dirty at `durable`.
    pub(crate) fn next_at_rest(&self, durable: Seq) -> Option<Timestamp> {
        self.at_rest.first().filter(|(seq, _)| *seq <= durable).map(|_| self.next_at_rest)
    }

    /// What may be taken first, if a round runs.
    pub(crate) fn first_dirty(&self) -> Option<SlotId> {
        self.dirty.first().map(|&(_, id)| id)
    }

    /// Whether a round runs.
    pub(crate) fn is_in_round(&self) -> bool {
        self.round.is_some()
    }

    /// Begins a round if one is due: `oldest` is the oldest change that is dirty, `urgent` that whatever is dirty is to be written now.
    pub(crate) fn begin_round(
        &mut self,
        settings: &ShardSettings,
        share: &Share,
        now: Timestamp,
        oldest: Option<(Seq, Timestamp)>,
        urgent: bool,
    ) {
        if self.round.is_none() {
            self.round = self.due(settings, share, now, oldest, urgent || !self.flushes.is_empty());
            if self.round.is_some_and(|round| round.at_rest) {
                self.next_at_rest = now + settings.checkpoint_age / AT_REST_ROUNDS;
            }
        }
    }

    /// Whether a round runs and another batch may be under way.
    pub(crate) fn has_room(&self, settings: &ShardSettings) -> bool {
        self.round.is_some()
            && self.waiting.len() + self.running.len() < settings.concurrent_checkpoints
            && self.retry_queue.bytes() <= settings.dirty_bytes / 2
    }

    /// The next entity that the round takes; ends the round when nothing is left for it.
    pub(crate) fn next_of_round(&mut self) -> Option<SlotId> {
        let Round { below, at_rest } = self.round?;
        let first = if at_rest { self.at_rest.first() } else { self.dirty.first() };
        match first {
            Some(&(since, id)) if since < below => {
                self.must_not_take(since, id);
                Some(id)
            }
            _ => {
                self.round = None;
                None
            }
        }
    }

    /// Has parts written together, as soon as what they show is durable.
    pub(crate) fn enqueue(&mut self, mut parts: Vec<Part>) {
        let Some(needs) = parts.iter().map(|part| part.taken.version).max() else { return };
        let id = self.next_batch;
        parts.iter_mut().for_each(|part| part.batch = id);
        self.waiting.push_back(Batch { id, needs, parts });
        self.next_batch += 1;
    }

    /// The next batch of which everything is durable.
    pub(crate) fn next_write(&mut self, durable: Seq) -> Option<Job> {
        let index = self.waiting.iter().position(|batch| batch.needs <= durable)?;
        let batch = self.waiting.remove(index)?;
        self.running.insert(batch.id);
        Some(Job::WriteBatch(batch))
    }

    /// Parts that were perhaps not written together are written each by itself.
    pub(crate) fn write_apart(&self, Batch { id, parts, .. }: Batch) -> Job {
        Job::WriteParts { batch: Some(id), parts, delay: BACKOFF.delay() }
    }

    /// Tries again to write what was out of reach, if there is anything, after a delay.
    pub(crate) fn write_again(&mut self, most: usize) -> Option<Job> {
        let (parts, delay) = self.retry_queue.next_try(most)?;
        Some(Job::WriteParts { batch: None, parts, delay })
    }

    /// Writes have ended. What was written is no reason to hold the log any more, nor is what was refused of a quarantine's copy;
    /// what may not be written will be retried. Returns the others, which the shard must act on.
    pub(crate) fn end_writes(&mut self, Written { batch, parts }: Written) -> Vec<(Part, WriteOutcome)> {
        let parts = if let Some(id) = batch {
            self.running.remove(&id);
            parts
        } else {
            self.retry_queue.tried(parts)
        };
        let (unwritten, ended): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, outcome)| matches!(outcome, WriteOutcome::Unknown));
        unwritten.into_iter().for_each(|(part, _)| self.retry_queue.add(part));
        ended
    }

    /// What a part covers is in the tables.
    pub(crate) fn part_written(&mut self, id: SlotId, slot: &mut Slot, taken: Snapshot, wake_up: Option<Timestamp>) {
        slot.taken = None;
        slot.stored_wake_up = wake_up.or(slot.stored_wake_up);
        slot.forget_recent(taken.version);
        if slot.is_dirty() {
            self.may_take(id, slot);
        } else {
            self.cleaned(slot);
        }
    }

    /// Begins to trim the log, if there is enough to trim: below the position that is returned.
    pub(crate) fn begin_trim(&mut self, now: Timestamp, durable: Seq, tail_bytes: u64) -> Option<Seq> {
        let bound = self.trim_bound(durable);
        let is_quiet = self.running.is_empty() && self.waiting.is_empty() && self.round.is_none();
        self.tail.begin_trim(bound, is_quiet, tail_bytes / 8, now).then_some(bound)
    }

    /// The log is trimmed below this.
    pub(crate) fn trimmed(&mut self, below: Seq) {
        self.tail.trimmed(below);
    }

    /// A trim failed, and will be tried again.
    pub(crate) fn trim_failed(&mut self, now: Timestamp) {
        self.tail.trim_failed(now);
    }
}
