//! When entities must be looked at again: in memory what is due soon, in rows what is due later.
//!
//! Rows lie in buckets by log and time. A row goes into the bucket of its due time or of the watermark, whichever is
//! later; buckets are read ahead of time, once, and those without rows are skipped ([`buckets`]); a bucket is dropped only after a watermark beyond it is durable, and
//! before the watermark moves, the rows of whoever is still due or owes something, or was when the log last became durable,
//! are written again beyond it.
//!
//! A drop has no fence, and may come arbitrarily late from an owner that is none any more. It harms nobody: it names buckets
//! below a watermark that was durable when it was decided on. Watermarks never go back, so every later owner found that
//! one or a later one when it opened the log, reads from there on, and writes rows there or beyond. Nor do late rows of a
//! former owner: what they stand for is in the tail that the next owner recovered, since the log is trimmed only above
//! what was acknowledged to an owner that was not fenced yet.

mod buckets;
mod damaged;
mod rows;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ids::Timestamp;
use runtime::Backoff;
use storage::{Append, Epoch, Head, PartitionWrite, RowKey, Seq};

pub(crate) use self::buckets::{Bucket, Index};
use self::damaged::Damaged;
use self::rows::row_key;
pub(crate) use self::rows::{WakeUpPage, WakeUpsRead, check_row};
use crate::checkpoint::Part;
use crate::entity_slot::{Residence, Slot, SlotId};
use crate::job::Job;
use crate::log_ownership::Verdict;
use crate::moment::Moment;
use crate::obligations::BACKOFF;
use crate::panics::caught;
use crate::request::{Origin, Request};
use crate::shard_state::ShardState;
use crate::stop::Stop;
use crate::{EntityKey, Env, RowAddress};

/// The time in rows of entities that are to be looked at as soon as somebody reads them, whatever clock that is read by.
const AT_ONCE: Timestamp = Timestamp::EPOCH;
/// How many due wake-ups one turn of the shard's task delivers.
const PER_TURN: usize = 128;
/// How long to wait at most before looking again at what waits for the wall clock, which may be set meanwhile.
const HELD_REST: Duration = Duration::from_secs(5);
/// How long to wait before looking again at what does not match its checksums: only an operator mends it.
const CORRUPT_REST: Duration = Duration::from_secs(60);
/// Between the attempts to read what cannot be reached.
const READ_BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
/// How long to wait before trying again to move a watermark that could not be moved.
const WATERMARK_REST: Duration = Duration::from_secs(60);
/// How long to wait before a move of the watermark that failed is tried again.
const WATERMARK_RETRY: Duration = Duration::from_secs(1);

/// Buckets that may go once the writes that could still touch them are through.
struct Passed {
    buckets: Vec<Bucket>,
    /// Writes of checkpoints before this one may be into them.
    batch: u64,
}

/// The wake-ups of a shard.
pub(crate) struct WakeUps {
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
    pub(crate) fn new(head: &Head, mut index: Index) -> Self {
        let watermark = Bucket::of(head.watermark);
        let mut passed = VecDeque::new();
        if head.last > Seq(0) {
            passed.push_back(Passed { buckets: index.pass_left_behind(watermark), batch: 0 });
        }
        Self {
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

    /// Skips what has no rows; whether something is left to be read.
    fn wants_reading(&mut self) -> bool {
        if self.from.is_empty() {
            self.reading = self.index.first_from(self.reading, self.horizon);
        }
        self.reading < self.horizon
    }

    /// Rows of a checkpoint are durable.
    pub(crate) fn rows_written(&mut self, rows: &[RowAddress]) {
        self.index.written(rows);
    }
}

impl ShardState {
    /// Schedules the entity's next wake-up. `woken`: a wake-up has just been delivered; `changed`: the state is new.
    pub(crate) fn schedule_wake_up(&mut self, id: SlotId, woken: bool, changed: bool, now: Timestamp) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        if woken {
            slot.waking = false;
        }
        if slot.waking {
            return;
        }
        if changed {
            slot.idle_wake_ups = 0;
        }
        let mut at = slot.next_wake_up;
        let mut is_held = false;
        if woken && !changed && at.is_some_and(|at| at <= now) {
            // Due, and yet it did nothing: not again at once.
            slot.idle_wake_ups += 1;
            let held_until = held_until(slot, self.moment).filter(|until| *until > now);
            is_held = held_until.is_some();
            at = held_until.map(|until| until.min(now + HELD_REST)).or(Some(now + BACKOFF.after(slot.idle_wake_ups)));
        } else if woken && !changed {
            slot.idle_wake_ups = 0;
        }
        let is_in_vain = slot.idle_wake_ups > 0 && !is_held;
        let before = std::mem::replace(&mut slot.scheduled, at);
        self.wake_ups.reschedule(&slot.key, before, at);
        if is_in_vain {
            self.suspect_fence();
        }
    }

    /// Delivers what is due; says whether more is.
    pub(crate) fn fire_due(&mut self, now: Timestamp) -> bool {
        if self.closing.is_some() {
            return false;
        }
        for _ in 0..PER_TURN {
            match self.wake_ups.pending.first() {
                Some((due, _)) if *due <= now => {}
                _ => return false,
            }
            let Some((due, key)) = self.wake_ups.pending.pop_first() else { return false };
            let Some(id) = self.entities.find(&key) else {
                self.wake_ups.to_load.insert((due, key));
                continue;
            };
            let Some(slot) = self.entities.get_mut(id) else { continue };
            if matches!(slot.residence, Residence::Loading) {
                // Once loaded, it is scheduled for what its state says.
                slot.waking = true;
                continue;
            }
            // Otherwise a stale row: the state says another time, and is scheduled for that.
            if slot.scheduled == Some(due) {
                slot.scheduled = None;
                slot.waking = true;
                let input = slot.kind.kind.wake_up();
                self.give(Request { key, input, origin: Origin::WakeUp });
            }
        }
        true
    }

    /// Loads whoever is due and not in memory, as far as there is room. A load that ends brings the task back here.
    pub(crate) fn load_due(&mut self) {
        while self.closing.is_none()
            && !self.loads.is_saturated(self.settings.concurrent_loads)
            && let Some((_, key)) = self.wake_ups.to_load.pop_first()
        {
            // Once loaded, it is scheduled for what its state says; as is whoever is in memory by now.
            if let Some(id) = self.find_or_load(&key)
                && let Some(slot) = self.entities.get_mut(id)
                && matches!(slot.residence, Residence::Loading)
            {
                slot.waking = true;
            }
        }
    }

    /// When the task must look at wake-ups again without anything else happening.
    pub(crate) fn next_wake_up(&self, now: Timestamp) -> Option<Timestamp> {
        if self.closing.is_some() {
            return None;
        }
        let first = self.wake_ups.pending.first().map(|(due, _)| *due).filter(|due| *due > now);
        let read = self.wake_ups.horizon.start() - self.settings.wake_up_horizon;
        let moved = self.wake_ups.watermark.next().start().max(self.wake_ups.not_before);
        let upkeep = if self.wake_ups.moving { read } else { read.min(moved) };
        [first, (upkeep > now).then_some(upkeep)].into_iter().flatten().min()
    }

    /// Reads ahead, makes up for what cannot be read, moves the watermark, and drops what it has passed.
    pub(crate) fn keep_wake_ups(&mut self, now: Timestamp) {
        self.read_wake_ups(now);
        self.look_at_all_entities();
        self.move_watermark(now);
        self.drop_passed();
    }

    fn read_wake_ups(&mut self, now: Timestamp) {
        // Raised before the read begins: whatever leaves memory meanwhile keeps its wake-up if the read may have missed it.
        let horizon = Bucket::of(now + self.settings.wake_up_horizon).next();
        self.wake_ups.horizon = self.wake_ups.horizon.max(horizon);
        if self.wake_ups.read_running || !self.wake_ups.wants_reading() {
            return;
        }
        self.wake_ups.read_running = true;
        let (bucket, from) = (self.wake_ups.reading, self.wake_ups.from.clone());
        self.jobs.push(Job::ReadWakeUps { bucket, from, delay: Duration::ZERO });
    }

    pub(crate) fn on_wake_ups(&mut self, bucket: Bucket, read: WakeUpsRead) {
        let page = match read {
            WakeUpsRead::Page(page) => page,
            WakeUpsRead::Unreachable(error) => {
                tracing::warn!(log = %self.log.0, %error, "cannot read wake-ups yet");
                let (from, delay) = (self.wake_ups.from.clone(), self.wake_ups.read_backoff.next_delay());
                return self.jobs.push(Job::ReadWakeUps { bucket, from, delay });
            }
        };
        self.wake_ups.read_running = false;
        self.wake_ups.read_backoff.reset();
        if page.is_damaged {
            let (from, to) = (bucket.start(), bucket.next().start());
            tracing::error!(log = %self.log.0, %from, %to, "wake-ups are damaged: looking for their timers at all entities of the shard");
            self.wake_ups.damaged.add(bucket);
        }
        for (due, key) in page.due {
            let slot = self.entities.find(&key).and_then(|id| self.entities.get(id));
            // Who is in memory knows better; who is on its way may turn back.
            let is_here = slot.is_some_and(|slot| matches!(slot.residence, Residence::Ready(_)));
            if !self.kinds.hosts(key.kind) {
                tracing::error!(log = %self.log.0, ?key, %due, "ignoring a wake-up of a kind that is not served here");
            } else if !is_here && !self.quarantined.contains_key(&key) {
                self.wake_ups.pending.insert((due, key));
            }
        }
        match page.after {
            Some(after) => self.wake_ups.from = after,
            None => {
                self.wake_ups.reading = bucket.next();
                self.wake_ups.from = RowKey::new();
            }
        }
    }

    fn move_watermark(&mut self, now: Timestamp) {
        let wake_ups = &self.wake_ups;
        if wake_ups.moving
            || self.ownership.is_resolving()
            || now < wake_ups.not_before
            || now < wake_ups.watermark.next().start()
        {
            return;
        }
        let firsts = [wake_ups.pending.first(), wake_ups.to_load.first()];
        let first = firsts.into_iter().flatten().map(|(due, _)| *due).min().unwrap_or(Timestamp::MAX);
        let limit = Bucket::of(now.min(first)).min(wake_ups.reading);
        let limit = wake_ups.damaged.first().map_or(limit, |damaged| limit.min(damaged));
        let target = wake_ups.index.stride(wake_ups.watermark, limit);
        if target <= wake_ups.watermark {
            self.wake_ups.not_before = now + WATERMARK_REST;
            return;
        }
        let rows = self.standing_rows(target);
        self.wake_ups.moving = true;
        // From now on checkpoints write beyond it, whether or not the move succeeds.
        let batch = self.checkpoints.next_batch();
        let from = std::mem::replace(&mut self.wake_ups.watermark, target);
        let buckets = self.wake_ups.index.pass(from, target);
        self.wake_ups.passed.push_back(Passed { buckets, batch });
        let rows = self.rewritten(target, rows);
        self.jobs.push(Job::MoveWatermark { epoch: self.ownership.epoch(), to: target, rows, delay: Duration::ZERO });
    }

    /// Rows for whoever must be looked at although the bucket that says so is about to be passed. That is so too for whoever
    /// has changes that are not durable: they may come to nothing, and what a row in that bucket says is then true again.
    /// And for whoever is set aside: the next owner may be able to serve it. Looks at every slot; the watermark moves a few
    /// times an hour.
    fn standing_rows(&self, target: Bucket) -> Vec<(RowKey, Bytes)> {
        let durable = self.writer.durable();
        let standing = self.entities.iter().filter(|slot| {
            let is_due = slot.next_wake_up.is_some_and(|at| Bucket::of(at) < target);
            let is_loading = matches!(slot.residence, Residence::Loading);
            is_due || is_loading || slot.waking || !slot.owed.is_empty() || slot.last_change > durable
        });
        let keys = standing.map(|slot| &slot.key).chain(self.quarantined.keys());
        keys.map(|key| (row_key(AT_ONCE, key), Bytes::new())).collect()
    }

    /// What is to be written before the watermark moves to `target`.
    fn rewritten(&mut self, target: Bucket, rows: Vec<(RowKey, Bytes)>) -> Vec<PartitionWrite> {
        if rows.is_empty() {
            return Vec::new();
        }
        let version = self.writer.durable().0;
        let write = |partition, puts| PartitionWrite { partition, version, puts, deletes: Vec::new() };
        let index = self.wake_ups.index.add(target).map(|row| write(row.partition, vec![(row.key, Bytes::new())]));
        index.into_iter().chain([write(target.partition(&self.log), rows)]).collect()
    }

    pub(crate) fn on_watermark(&mut self, epoch: Epoch, at: Bucket, outcome: Append) {
        match self.ownership.judge(epoch, outcome) {
            Verdict::Done => {
                self.wake_ups.moving = false;
            }
            Verdict::Fenced => self.stop(Stop::Fenced),
            Verdict::Retry => {
                tracing::warn!(log = %self.log.0, "cannot move the wake-up watermark yet");
                let rows = self.rewritten(at, self.standing_rows(at));
                self.jobs.push(Job::MoveWatermark {
                    epoch: self.ownership.epoch(),
                    to: at,
                    rows,
                    delay: WATERMARK_RETRY,
                });
            }
        }
    }

    fn drop_passed(&mut self) {
        let wake_ups = &mut self.wake_ups;
        if wake_ups.dropping || wake_ups.moving {
            return;
        }
        let Some(passed) = wake_ups.passed.front() else { return };
        if !self.checkpoints.finished_before(passed.batch) {
            return;
        }
        let partitions: Vec<_> = passed.buckets.iter().map(|bucket| bucket.partition(&self.log)).collect();
        let index = wake_ups.index.without(&passed.buckets, self.writer.durable().0);
        wake_ups.passed.pop_front();
        if partitions.is_empty() {
            return;
        }
        wake_ups.dropping = true;
        self.jobs.push(Job::DropBuckets { partitions, index });
    }

    pub(crate) fn on_buckets_dropped(&mut self) {
        self.wake_ups.dropping = false;
    }

    /// The wake-up rows that go with a part of a checkpoint.
    pub(crate) fn wake_up_rows(&mut self, part: &Part) -> Vec<RowAddress> {
        let Some(slot) = part.slot.and_then(|id| self.entities.get(id)) else { return Vec::new() };
        let dues = part.wake_up.into_iter().chain(part.owes.then_some(AT_ONCE));
        let mut rows = Vec::new();
        for due in dues {
            let bucket = Bucket::of(due).max(self.wake_ups.watermark);
            rows.extend(self.wake_ups.index.add(bucket));
            rows.push(RowAddress { partition: bucket.partition(&self.log), key: row_key(due, &slot.key) });
        }
        rows
    }
}

/// When to look again at an entity for which something is due that waits for the wall clock.
fn held_until(slot: &Slot, Moment { now, wall, .. }: Moment) -> Option<Timestamp> {
    let Residence::Ready(entity) = &slot.residence else { return None };
    let env = Env { now, wall, seed: 0 };
    caught(|| entity.held_until(&env)).unwrap_or_default()
}
