//! When entities must be looked at again: in memory what is due soon, in rows what is due later.
//!
//! Rows lie in buckets by log and time. A row goes into the bucket of its due time or of the watermark, whichever is
//! later; buckets are read ahead of time, once, and those without rows are skipped ([`buckets`]); a bucket is dropped only after a watermark beyond it is durable, and
//! before the watermark moves, the rows of entities that are still due or owe something, or were when the log last became durable,
//! are written again beyond it.
//!
//! A drop has no fence, and may come arbitrarily late from an owner that is none any more. It does no harm: it names buckets
//! below a watermark that was durable when it was decided on. Watermarks never go back, so every later owner found that
//! one or a later one when it opened the log, reads from there on, and writes rows there or beyond. Nor do late rows of a
//! former owner: what they stand for is in the tail that the next owner recovered, since the log is trimmed only above
//! what was acknowledged to an owner that was not fenced yet.

pub(crate) mod buckets;
mod damaged;
pub(crate) mod rows;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ids::Timestamp;
use runtime::Backoff;
use storage::{Head, LogId, PartitionPage, PartitionWrite, RowKey, Seq, StorageError};

use self::buckets::{Bucket, Index};
use self::damaged::Damaged;
use self::rows::{READ_BACKOFF, WakeUpPage, row_key};
use crate::entity_slot::{Residence, Slot};
use crate::job::Job;
use crate::kinds::Kinds;
use crate::moment::Moment;
use crate::obligations::BACKOFF;
use crate::panics::caught;
use crate::{EntityKey, Env, RowAddress};

/// The time in rows of entities that are to be looked at as soon as they are read, whatever clock that is read by.
const AT_ONCE: Timestamp = Timestamp::EPOCH;
/// How long to wait at most before looking again at what waits for the wall clock, which may be set meanwhile.
const HELD_REST: Duration = Duration::from_secs(5);
/// The place of an entity that is only looked at, among those to be loaded: behind those that are due.
const LAST: Timestamp = Timestamp::MAX;
/// How long to wait before trying again to move a watermark that could not be moved.
const WATERMARK_REST: Duration = Duration::from_secs(60);
/// How long to wait before a move of the watermark that failed is tried again.
pub(crate) const WATERMARK_RETRY: Duration = Duration::from_secs(1);

/// Buckets that may go once the writes that could still touch them are through.
struct Passed {
    buckets: Vec<Bucket>,
    /// Writes of checkpoints before this one may be into them.
    batch: u64,
}

/// The wake-ups of a shard.
pub(crate) struct WakeUps {
    log: LogId,
    pending: BTreeSet<(Timestamp, EntityKey)>,
    /// Due, but the entity is not in memory, and there was no room to load it.
    to_load: BTreeSet<(Timestamp, EntityKey)>,
    /// Rows go into this bucket or later ones.
    watermark: Bucket,
    index: Index,
    /// The next bucket to read, and the row in it.
    reading: Bucket,
    from: RowKey,
    /// Buckets below this are in memory or being read into it.
    horizon: Bucket,
    read_running: bool,
    read_backoff: Backoff,
    moving: bool,
    not_before: Timestamp,
    passed: VecDeque<Passed>,
    dropping: bool,
    damaged: Damaged,
}

impl WakeUps {
    pub(crate) fn new(log: LogId, head: &Head, mut index: Index) -> Self {
        let watermark = Bucket::of(head.watermark);
        let mut passed = VecDeque::new();
        if head.last > Seq(0) {
            passed.push_back(Passed { buckets: index.pass_left_behind(watermark), batch: 0 });
        }
        Self {
            log,
            pending: BTreeSet::new(),
            to_load: BTreeSet::new(),
            watermark,
            index,
            reading: watermark,
            from: RowKey::new(),
            // The watermark's bucket has what was due before, and is read at once even if the clock has been set back.
            horizon: watermark.next(),
            read_running: false,
            read_backoff: READ_BACKOFF,
            moving: false,
            not_before: Timestamp::EPOCH,
            passed,
            dropping: false,
            damaged: Damaged::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.to_load.len()
    }

    /// Whether a row written for this time is still there.
    pub(crate) fn is_kept(&self, due: Timestamp) -> bool {
        Bucket::of(due) >= self.watermark
    }

    fn reschedule(&mut self, key: &EntityKey, from: Option<Timestamp>, to: Option<Timestamp>) {
        if from == to {
            return;
        }
        if let Some(at) = from {
            self.pending.remove(&(at, key.clone()));
        }
        if let Some(at) = to {
            self.pending.insert((at, key.clone()));
        }
    }

    /// The entity leaves memory: what is due beyond the horizon will be read again in time.
    pub(crate) fn forget_far(&mut self, key: &EntityKey, scheduled: Option<Timestamp>) {
        if let Some(at) = scheduled
            && Bucket::of(at) >= self.horizon
        {
            self.pending.remove(&(at, key.clone()));
        }
    }

    /// The entity leaves memory for good.
    pub(crate) fn forget(&mut self, key: &EntityKey, scheduled: Option<Timestamp>) {
        self.reschedule(key, scheduled, None);
    }

    /// Schedules the entity's next wake-up. `woken`: a wake-up has just been delivered; `changed`: the state is new. Says whether
    /// the entity was woken for nothing.
    pub(crate) fn schedule(&mut self, slot: &mut Slot, woken: bool, changed: bool, moment: Moment) -> bool {
        let now = moment.now;
        if woken {
            slot.waking = false;
        }
        if slot.waking {
            return false;
        }
        if changed {
            slot.idle_wake_ups = 0;
        }
        let mut at = slot.next_wake_up;
        let mut is_held = false;
        if woken && !changed && at.is_some_and(|at| at <= now) {
            // Due, and yet it did nothing: not again at once.
            slot.idle_wake_ups += 1;
            let held_until = held_until(slot, moment).filter(|until| *until > now);
            is_held = held_until.is_some();
            at = held_until.map(|until| until.min(now + HELD_REST)).or(Some(now + BACKOFF.after(slot.idle_wake_ups)));
        } else if woken && !changed {
            slot.idle_wake_ups = 0;
        }
        let before = std::mem::replace(&mut slot.scheduled, at);
        self.reschedule(&slot.key, before, at);
        slot.idle_wake_ups > 0 && !is_held
    }

    /// Takes out the first that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, EntityKey)> {
        self.pending.first().filter(|(due, _)| *due <= now)?;
        self.pending.pop_first()
    }

    /// What is due is not in memory: it is to be loaded when there is room.
    pub(crate) fn load_later(&mut self, due: Timestamp, key: EntityKey) {
        self.to_load.insert((due, key));
    }

    /// Takes out the first that is to be loaded.
    pub(crate) fn next_to_load(&mut self) -> Option<EntityKey> {
        Some(self.to_load.pop_first()?.1)
    }

    /// When something is to be done although nothing comes.
    pub(crate) fn next_turn(&self, now: Timestamp, ahead: Duration) -> Option<Timestamp> {
        let first = self.pending.first().map(|(due, _)| *due).filter(|due| *due > now);
        let read = self.horizon.start() - ahead;
        let moved = self.watermark.next().start().max(self.not_before);
        let upkeep = if self.moving { read } else { read.min(moved) };
        [first, (upkeep > now).then_some(upkeep)].into_iter().flatten().min()
    }

    /// Reads on, so far `ahead`, if that is not done and not being done.
    pub(crate) fn read(&mut self, now: Timestamp, ahead: Duration) -> Option<Job> {
        // Raised before the read begins: whatever leaves memory meanwhile keeps its wake-up if the read may have missed it.
        self.horizon = self.horizon.max(Bucket::of(now + ahead).next());
        if self.read_running {
            return None;
        }
        if self.from.is_empty() {
            // What has no rows is skipped.
            self.reading = self.index.first_from(self.reading, self.horizon);
        }
        if self.reading >= self.horizon {
            return None;
        }
        self.read_running = true;
        Some(Job::ReadWakeUps { bucket: self.reading, from: self.from.clone(), delay: Duration::ZERO })
    }

    /// The rows cannot be reached now: tries again, after a delay.
    pub(crate) fn read_again(&mut self) -> Job {
        Job::ReadWakeUps { bucket: self.reading, from: self.from.clone(), delay: self.read_backoff.next_delay() }
    }

    /// Rows have been read: schedules those that are `wanted`.
    pub(crate) fn take_page(&mut self, page: WakeUpPage, mut is_wanted: impl FnMut(Timestamp, &EntityKey) -> bool) {
        self.read_running = false;
        self.read_backoff.reset();
        if page.is_damaged {
            let (from, to) = (self.reading.start(), self.reading.next().start());
            tracing::error!(log = %self.log.0, %from, %to, "wake-ups are damaged: looking for their timers at all entities of the shard");
            self.damaged.add(self.reading);
        }
        self.pending.extend(page.due.into_iter().filter(|(due, key)| is_wanted(*due, key)));
        match page.after {
            Some(after) => self.from = after,
            None => {
                self.reading = self.reading.next();
                self.from = RowKey::new();
            }
        }
    }

    /// Goes on with the walk over all entities that damaged buckets ask for, if there are any.
    pub(crate) fn walk(&mut self, kinds: &Kinds) -> Option<Job> {
        if self.to_load.last().is_some_and(|(at, _)| *at == LAST) {
            return None;
        }
        self.damaged.finish_walk(&self.log);
        self.damaged.next_listing(kinds)
    }

    /// Partitions were named: those of their entities that are not in memory are loaded once nothing that is due waits for that.
    pub(crate) fn take_partitions(&mut self, page: PartitionPage, entities: usize, missing: Vec<EntityKey>) {
        self.to_load.extend(missing.into_iter().map(|key| (LAST, key)));
        self.damaged.listed(page, entities);
    }

    /// Partitions could not be named: tries again, after a delay.
    pub(crate) fn list_again(&mut self, error: &StorageError) -> Option<Job> {
        self.damaged.list_again(&self.log, error)
    }

    /// Moves the watermark as far as it may go, if it may; from then on rows are written beyond it, whether or not the move succeeds.
    /// `batch`: writes of checkpoints before this one may still be into buckets that it passes.
    pub(crate) fn advance(&mut self, now: Timestamp, batch: u64) -> Option<Bucket> {
        if self.moving || now < self.not_before || now < self.watermark.next().start() {
            return None;
        }
        let firsts = [self.pending.first(), self.to_load.first()];
        let first = firsts.into_iter().flatten().map(|(due, _)| *due).min().unwrap_or(Timestamp::MAX);
        let limit = Bucket::of(now.min(first)).min(self.reading);
        let limit = self.damaged.first().map_or(limit, |damaged| limit.min(damaged));
        let target = self.index.stride(self.watermark, limit);
        if target <= self.watermark {
            self.not_before = now + WATERMARK_REST;
            return None;
        }
        self.moving = true;
        let from = std::mem::replace(&mut self.watermark, target);
        let buckets = self.index.pass(from, target);
        self.passed.push_back(Passed { buckets, batch });
        Some(target)
    }

    /// The watermark has moved.
    pub(crate) fn advanced(&mut self) {
        self.moving = false;
    }

    /// What is to be written before the watermark moves to `target`: rows for these entities, to be looked at at once.
    pub(crate) fn rewritten<'a>(
        &mut self,
        target: Bucket,
        standing: impl Iterator<Item = &'a EntityKey>,
        version: Seq,
    ) -> Vec<PartitionWrite> {
        let rows: Vec<_> = standing.map(|key| (row_key(AT_ONCE, key), Bytes::new())).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let write = |partition, puts| PartitionWrite { partition, version: version.0, puts, deletes: Vec::new() };
        let index = self.index.add(target).map(|row| write(row.partition, vec![(row.key, Bytes::new())]));
        index.into_iter().chain([write(target.partition(&self.log), rows)]).collect()
    }

    /// Drops what the watermark has passed, once all writes that could touch it have `finished`.
    pub(crate) fn drop_passed(&mut self, have_finished: impl Fn(u64) -> bool, durable: Seq) -> Option<Job> {
        if self.dropping || self.moving {
            return None;
        }
        let passed = self.passed.pop_front_if(|passed| have_finished(passed.batch))?;
        let partitions: Vec<_> = passed.buckets.iter().map(|bucket| bucket.partition(&self.log)).collect();
        let index = self.index.without(&passed.buckets, durable.0);
        self.dropping = !partitions.is_empty();
        self.dropping.then_some(Job::DropBuckets { partitions, index })
    }

    /// What was passed is dropped.
    pub(crate) fn dropped(&mut self) {
        self.dropping = false;
    }

    /// The rows of an entity's wake-ups: at a time, and at once if it owes anything.
    pub(crate) fn rows_of(&mut self, key: &EntityKey, wake_up: Option<Timestamp>, owes: bool) -> Vec<RowAddress> {
        let mut rows = Vec::new();
        for due in wake_up.into_iter().chain(owes.then_some(AT_ONCE)) {
            let bucket = Bucket::of(due).max(self.watermark);
            rows.extend(self.index.add(bucket));
            rows.push(RowAddress { partition: bucket.partition(&self.log), key: row_key(due, key) });
        }
        rows
    }

    /// Rows of a checkpoint are durable.
    pub(crate) fn rows_written(&mut self, rows: &[RowAddress]) {
        self.index.written(rows);
    }
}

/// When to look again at an entity for which something is due that waits for the wall clock.
fn held_until(slot: &Slot, Moment { now, wall, .. }: Moment) -> Option<Timestamp> {
    let Residence::Ready(entity) = &slot.residence else { return None };
    let env = Env { now, wall, seed: 0 };
    caught(|| entity.held_until(&env)).unwrap_or_default()
}
