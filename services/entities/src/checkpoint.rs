//! Writing dirty entities to their tables, so that the log can be trimmed.
//!
//! Entities are taken oldest first, since the oldest holds the log. What is taken is a snapshot of the rows with the
//! position of the entity's latest change as their version, or this owner's first position if that is later; it is written
//! only once that position is durable. The log is trimmed below the oldest change that no write acknowledged to this owner
//! carries.

mod batch;
mod out_of_reach;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::request::Waiter;
use ids::Timestamp;
use storage::{Append, Epoch, GroupId, PartitionWrite, Seq};

pub(crate) use self::batch::{Batch, Fate, Part, Written, writes_of};
use self::out_of_reach::{BACKOFF, OutOfReach};
use crate::ShardSettings;
use crate::entity_slot::{Residence, Slot, SlotId, Taken};
use crate::job::Job;
use crate::log_ownership::Verdict;
use crate::memory_use::Share;
use crate::panics::caught;
use crate::shard_state::ShardState;
use crate::stop::Stop;

/// One table write carries about this much at most.
const BATCH_BYTES: usize = 1 << 20;

/// How long to wait before a trim that failed is tried again.
const TRIM_REST: Duration = Duration::from_millis(200);

/// A group in the log's tail.
struct TailGroup {
    seq: Seq,
    /// Bytes of all groups up to and with this one, since the shard was opened.
    end: u64,
    landed: Timestamp,
}

/// What is dirty, what is being written, and how far the log may be trimmed.
pub(crate) struct Checkpoints {
    /// What may be taken, by its oldest change.
    dirty: BTreeSet<(Seq, SlotId)>,
    /// How many hold the log from which position.
    holds: BTreeMap<Seq, usize>,
    dirty_entities: usize,
    dirty_bytes: usize,
    /// While a round runs: it takes whatever is dirty since before this.
    round: Option<Seq>,
    waiting: VecDeque<Batch>,
    running: BTreeSet<u64>,
    out_of_reach: OutOfReach,
    next_batch: u64,
    trimmed_below: Seq,
    trimming: bool,
    no_trim_before: Timestamp,
    tail: VecDeque<TailGroup>,
    tail_start: u64,
    tail_end: u64,
    /// Who waits until everything below a position is written.
    flushes: Vec<(Seq, Waiter)>,
}

impl Checkpoints {
    pub(crate) fn new(trimmed_below: Seq) -> Self {
        Self {
            dirty: BTreeSet::new(),
            holds: BTreeMap::new(),
            dirty_entities: 0,
            dirty_bytes: 0,
            round: None,
            waiting: VecDeque::new(),
            running: BTreeSet::new(),
            out_of_reach: OutOfReach::default(),
            next_batch: 0,
            trimmed_below,
            trimming: false,
            no_trim_before: Timestamp::EPOCH,
            tail: VecDeque::new(),
            tail_start: 0,
            tail_end: 0,
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
        self.tail.len() as u64
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.tail_end - self.tail_start
    }

    /// When the oldest group of the tail became durable, or was found.
    pub(crate) fn log_since(&self) -> Option<Timestamp> {
        self.tail.front().map(|group| group.landed)
    }

    /// Hurries until everything below `end` is written, and then says so.
    pub(crate) fn flush(&mut self, end: Seq, waiter: Waiter) {
        self.flushes.push((end, waiter));
    }

    fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Those for whom enough is written. What has never been logged holds nothing, so it does not count.
    fn finished_flushes(&mut self) -> impl Iterator<Item = Waiter> {
        let written = self.holds.first_key_value().map(|(&seq, _)| seq);
        let finished = self.flushes.extract_if(.., move |(end, _)| written.is_none_or(|seq| seq >= *end));
        finished.map(|(_, waiter)| waiter)
    }

    /// Whether nothing is dirty or being written, and the log is trimmed up to `durable`.
    pub(crate) fn is_done(&self, durable: Seq) -> bool {
        let written = self.dirty_entities == 0 && self.finished_before(u64::MAX);
        written && !self.trimming && self.trim_bound(durable) <= self.trimmed_below
    }

    /// When a trim that failed may be tried again.
    pub(crate) fn next_trim(&self) -> Timestamp {
        self.no_trim_before
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
            self.out_of_reach.oldest_batch(),
        ];
        unfinished.into_iter().flatten().all(|oldest| oldest >= batch)
    }

    /// A group is durable.
    pub(crate) fn group_landed(&mut self, seq: Seq, bytes: usize, at: Timestamp) {
        self.tail_end += bytes as u64;
        self.tail.push_back(TailGroup { seq, end: self.tail_end, landed: at });
    }

    /// The entity has changed at `seq`.
    pub(crate) fn mark_dirty(&mut self, id: SlotId, slot: &mut Slot, seq: Seq, now: Timestamp) {
        if slot.dirty_since.is_some() {
            return;
        }
        if !slot.is_dirty() {
            self.dirty_entities += 1;
            self.dirty_bytes += slot.weight();
        }
        slot.dirty_since = Some((seq, now));
        self.hold(seq);
        self.may_take(id, slot);
    }

    /// Lets rounds take the entity, if it is dirty and there to be taken.
    pub(crate) fn may_take(&mut self, id: SlotId, slot: &Slot) {
        if let (Some((seq, _)), None, Residence::Ready(_)) = (slot.dirty_since, slot.taken, &slot.residence) {
            self.dirty.insert((seq, id));
        }
    }

    /// A dirty entity's weight has changed.
    pub(crate) fn reweigh(&mut self, before: usize, after: usize) {
        self.dirty_bytes = (self.dirty_bytes + after).saturating_sub(before);
    }

    fn hold(&mut self, seq: Seq) {
        *self.holds.entry(seq).or_insert(0) += 1;
    }

    fn release(&mut self, seq: Seq) {
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
                taken: Taken { since, version: Seq(copy.version) },
                wake_up: None,
                owes: false,
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
            self.dirty.remove(&(seq, id));
            self.release(seq);
        }
    }

    /// The entity is not dirty any more.
    fn cleaned(&mut self, slot: &Slot) {
        self.dirty_entities -= 1;
        self.dirty_bytes = self.dirty_bytes.saturating_sub(slot.weight());
    }

    /// What was taken is dirty again, together with what has changed since; the hold that `taken` has goes with it.
    fn give_back(&mut self, id: SlotId, slot: &mut Slot, taken: Taken, now: Timestamp) {
        slot.taken = None;
        if let Some((since, _)) = slot.dirty_since.replace((taken.since, now)) {
            self.dirty.remove(&(since, id));
            self.release(since);
        }
    }

    fn enqueue(&mut self, mut parts: Vec<Part>) {
        let needs = parts.iter().map(|part| part.taken.version).max().unwrap_or_default();
        let id = self.next_batch;
        parts.iter_mut().for_each(|part| part.batch = id);
        self.waiting.push_back(Batch { id, needs, parts });
        self.next_batch += 1;
    }

    /// The position below which a round has something to do now, if it has.
    fn due(
        &self,
        settings: &ShardSettings,
        share: &Share,
        now: Timestamp,
        oldest: Option<(Seq, Timestamp)>,
        urgent: bool,
    ) -> Option<Seq> {
        let (oldest, since) = oldest?;
        let last = self.tail.back()?.seq;
        if oldest > last {
            return None;
        }
        let all = last.next();
        // The bound of bytes is that of all shards: who has much of it hurries.
        let much = share.all().dirty > settings.dirty_bytes && self.dirty_bytes > share.fair(settings.dirty_bytes) / 2;
        if urgent || much || self.dirty_entities > settings.dirty_entities {
            return Some(all);
        }
        if self.log_bytes() > settings.tail_bytes {
            let keep_from = self.tail_end - settings.tail_bytes / 2;
            let kept = self.tail.partition_point(|group| group.end <= keep_from);
            return Some(self.tail.get(kept).map_or(all, |group| group.seq).max(oldest.next()));
        }
        if now.since(since) >= settings.checkpoint_age {
            // What is only half that old is left for the next round, so that short lives are written once.
            let young = now - settings.checkpoint_age / 2;
            let kept = self.tail.partition_point(|group| group.landed <= young);
            return Some(self.tail.get(kept).map_or(all, |group| group.seq).max(oldest.next()));
        }
        None
    }

    /// Below which position the log is not needed any more.
    fn trim_bound(&self, durable: Seq) -> Seq {
        self.holds.first_key_value().map_or(durable.next(), |(&seq, _)| seq.min(durable.next()))
    }

    fn trimmed(&mut self, below: Seq) {
        self.trimmed_below = self.trimmed_below.max(below);
        while let Some(group) = self.tail.front()
            && group.seq < below
        {
            self.tail_start = group.end;
            self.tail.pop_front();
        }
    }
}

impl ShardState {
    fn oldest_dirty(&self) -> Option<(Seq, Timestamp)> {
        let &(_, id) = self.checkpoints.dirty.first()?;
        self.entities.get(id)?.dirty_since
    }

    /// When a round is due by age.
    pub(crate) fn next_checkpoint(&self) -> Option<Timestamp> {
        if self.checkpoints.round.is_some() {
            return None;
        }
        let (seq, since) = self.oldest_dirty()?;
        (seq <= self.writer.durable()).then(|| since + self.settings.checkpoint_age)
    }

    /// Begins and carries on rounds, and trims after them. Takes one batch at most: says whether there is room for another.
    pub(crate) fn checkpoint(&mut self, now: Timestamp) -> bool {
        if self.checkpoints.round.is_none() {
            let urgent = self.closing.is_some() || self.memory_is_short || self.checkpoints.is_flushing();
            self.checkpoints.round =
                self.checkpoints.due(&self.settings, &self.share, now, self.oldest_dirty(), urgent);
        }
        if let Some(below) = self.round_with_room() {
            self.take_batch(below);
        }
        self.write_batches();
        self.try_again();
        self.trim(now);
        self.jobs.extend(self.checkpoints.finished_flushes().map(Job::Flushed));
        self.round_with_room().is_some()
    }

    /// The position below which the round takes entities, if one runs and another batch may be under way.
    fn round_with_room(&self) -> Option<Seq> {
        let checkpoints = &self.checkpoints;
        let has_room = checkpoints.waiting.len() + checkpoints.running.len() < self.settings.concurrent_checkpoints
            && checkpoints.out_of_reach.bytes() <= self.settings.dirty_bytes / 2;
        checkpoints.round.filter(|_| has_room)
    }

    /// Takes the oldest dirty entities; ends the round when nothing dirty is left below `below`.
    fn take_batch(&mut self, below: Seq) {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while parts.len() < self.settings.checkpoint_batch && bytes < BATCH_BYTES {
            let id = match self.checkpoints.dirty.first() {
                Some(&(since, id)) if since < below => id,
                _ => {
                    self.checkpoints.round = None;
                    break;
                }
            };
            self.checkpoints.dirty.pop_first();
            if let Some(mut part) = self.take(id) {
                part.wake_up_rows = self.wake_up_rows(&part);
                bytes += part.writes.iter().flat_map(|write| &write.puts).map(|(_, value)| value.len()).sum::<usize>();
                parts.push(part);
            }
        }
        if !parts.is_empty() {
            self.checkpoints.enqueue(parts);
        }
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
            self.writer.close_forming(GroupId(self.seeds.draw()));
        }
        let writes = match caught(|| entity.take_dirty(&slot.key, version.0)) {
            Ok(writes) => writes,
            Err(panic) => {
                self.accuse(id, format!("panicked in a checkpoint: {panic}"), None);
                return None;
            }
        };
        let is_stored = |at: &Timestamp| slot.stored_wake_up == Some(*at) && self.wake_ups.is_kept(*at);
        let wake_up = slot.next_wake_up.filter(|at| !is_stored(at));
        let owes = !slot.owed.is_empty();
        let taken = Taken { since, version };
        slot.taken = Some(taken);
        slot.dirty_since = None;
        Some(Part { slot: Some(id), taken, wake_up, owes, writes, wake_up_rows: Vec::new(), batch: 0 })
    }

    fn write_batches(&mut self) {
        let durable = self.writer.durable();
        let mut index = 0;
        while index < self.checkpoints.waiting.len() {
            if self.checkpoints.waiting[index].needs > durable {
                index += 1;
                continue;
            }
            let Some(batch) = self.checkpoints.waiting.remove(index) else { return };
            self.checkpoints.running.insert(batch.id);
            self.jobs.push(Job::WriteBatch(batch));
        }
    }

    /// Parts could not be written together, as far as anybody knows.
    pub(crate) fn on_batch_failed(&mut self, Batch { id, parts, .. }: Batch) {
        self.jobs.push(Job::WriteParts { batch: Some(id), parts, delay: BACKOFF.delay() });
    }

    /// Tries again to write what was out of reach, if there is anything, after a delay.
    fn try_again(&mut self) {
        let most = self.settings.checkpoint_batch;
        let Some((parts, delay)) = self.checkpoints.out_of_reach.next_try(most) else { return };
        self.jobs.push(Job::WriteParts { batch: None, parts, delay });
    }

    /// Writes have ended: what is acknowledged need not stay in the log.
    pub(crate) fn on_checkpointed(&mut self, Written { batch, parts }: Written) {
        let parts = if let Some(id) = batch {
            self.checkpoints.running.remove(&id);
            self.metrics.checkpoints.increment(1);
            parts
        } else {
            self.checkpoints.out_of_reach.tried(parts)
        };
        for (part, fate) in parts {
            match (part.slot, fate) {
                (_, Fate::OutOfReach) => self.checkpoints.out_of_reach.add(part),
                (Some(id), Fate::Refused(reason)) => self.part_refused(id, part.taken, reason),
                (None, Fate::Refused(reason)) => {
                    self.checkpoints.release(part.taken.since);
                    tracing::error!(log = %self.log.0, reason, "quarantined changes cannot be written and are lost");
                }
                (slot, Fate::Written) => {
                    self.checkpoints.release(part.taken.since);
                    self.wake_ups.rows_written(&part.wake_up_rows);
                    if let Some(id) = slot {
                        self.part_written(id, part.taken, part.wake_up);
                    }
                }
            }
        }
    }

    /// What was taken will never be in a row: it holds the log until it is copied aside.
    fn part_refused(&mut self, id: SlotId, taken: Taken, reason: String) {
        match self.entities.get_mut(id) {
            Some(slot) => {
                self.checkpoints.give_back(id, slot, taken, self.moment.now);
                self.accuse(id, format!("cannot be written: {reason}"), None);
            }
            None => self.checkpoints.release(taken.since),
        }
    }

    fn part_written(&mut self, id: SlotId, taken: Taken, wake_up: Option<Timestamp>) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        slot.taken = None;
        slot.stored_wake_up = wake_up.or(slot.stored_wake_up);
        slot.forget_recent(taken.version);
        if slot.is_dirty() {
            self.checkpoints.may_take(id, slot);
        } else {
            self.checkpoints.cleaned(slot);
        }
        let Residence::Ready(entity) = &mut slot.residence else { return };
        match caught(|| {
            entity.written();
            entity.weight()
        }) {
            Ok(weight) => {
                self.weigh(id, weight);
                self.note_rest(id);
            }
            Err(panic) => self.accuse(id, format!("panicked after a checkpoint: {panic}"), None),
        }
    }

    /// Trims, if there is enough to trim.
    fn trim(&mut self, now: Timestamp) {
        if now < self.checkpoints.no_trim_before {
            return;
        }
        let durable = self.writer.durable();
        let bound = self.checkpoints.trim_bound(durable);
        let quiet = self.checkpoints.running.is_empty() && self.checkpoints.waiting.is_empty();
        if self.checkpoints.trimming || self.ownership.is_resolving() || bound <= self.checkpoints.trimmed_below {
            return;
        }
        let freed = self.checkpoints.tail.partition_point(|group| group.seq < bound);
        let bytes =
            freed.checked_sub(1).map_or(0, |last| self.checkpoints.tail[last].end - self.checkpoints.tail_start);
        // One trim per round is enough, unless much can go.
        if !(quiet && self.checkpoints.round.is_none() || bytes > self.settings.tail_bytes / 8) {
            return;
        }
        self.checkpoints.trimming = true;
        self.jobs.push(Job::Trim { epoch: self.ownership.epoch(), below: bound });
    }

    pub(crate) fn on_trimmed(&mut self, epoch: Epoch, below: Seq, outcome: Append) {
        self.checkpoints.trimming = false;
        match self.ownership.judge(epoch, outcome) {
            Verdict::Done => self.checkpoints.trimmed(below),
            Verdict::Fenced => self.stop(Stop::Fenced),
            // The next one goes at least as far.
            Verdict::Retry => {
                tracing::warn!(log = %self.log.0, "cannot trim the log yet");
                self.checkpoints.no_trim_before = self.moment.now + TRIM_REST;
            }
        }
    }
}
