//! The shard as a state machine: something comes to it, it changes, and says what others are to do.
//!
//! Absent on purpose: clocks, randomness, storage, tasks, and any waiting. What it knows of the world comes with each
//! arrival ([`Moment`]), and what it wants done is a value ([`Job`]). So its driver decides in which order jobs end, and
//! whether they do.

mod carrying_out;
mod checkpointing;
mod committing;
mod deciding;
mod eviction;
mod loading;
mod quarantining;
mod recovering;
mod waking;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ids::Timestamp;
use storage::LogId;

use crate::arrival::Arrival;
use crate::checkpoint::Checkpoints;
use crate::entity_slot::Entities;
use crate::fence_checks::FenceChecks;
use crate::job::Job;
use crate::loading::Loads;
use crate::log_ownership::LogOwnership;
use crate::log_writer::LogWriter;
use crate::measures::Measures;
use crate::memory_use::{Holding, Share};
use crate::moment::{Moment, Seeds};
use crate::opening::Opening;
use crate::place::Place;
use crate::quarantine::Quarantined;
use crate::stop::Stop;
use crate::wake_ups::WakeUps;
use crate::{EntityKey, EntityView, Kinds, ShardSettings, ShardStats, SlotView};

/// Entities together may always be this large without calls being refused: some must be in memory to be worked on. Bytes.
const LEAST_ROOM: usize = 1 << 20;

/// How often a shard looks at what others hold while that may concern it and nothing happens to it.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(1);

/// Everything that a shard is.
pub(crate) struct ShardState {
    log: LogId,
    place: Place,
    kinds: Kinds,
    settings: ShardSettings,
    metrics: Measures,
    ownership: LogOwnership,
    writer: LogWriter,
    fences: FenceChecks,
    entities: Entities,
    quarantined: HashMap<EntityKey, Quarantined>,
    checkpoints: Checkpoints,
    wake_ups: WakeUps,
    loads: Loads,
    /// Requests in mailboxes.
    mailboxed: usize,
    memory_is_short: bool,
    /// Whether calls are to be refused.
    shedding: bool,
    /// What it holds, within what all shards of the process hold.
    share: Share,
    /// The changes of the step at hand, encoded.
    encoded: Vec<Bytes>,
    moment: Moment,
    seeds: Seeds,
    /// What others are to do, in order.
    pub(crate) jobs: Vec<Job>,
    /// When a close that was asked for gives up on completeness.
    closing: Option<Timestamp>,
    stopped: Option<Stop>,
}

impl ShardState {
    /// A shard whose log was just opened.
    pub(crate) fn new(
        log: LogId,
        place: Place,
        kinds: Kinds,
        settings: ShardSettings,
        found: Opening,
        moment: Moment,
    ) -> Self {
        let Opening { head, tail, quarantined, index } = found;
        let mut state = Self {
            metrics: Measures::new(&log),
            wake_ups: WakeUps::new(log.clone(), &head, index),
            log,
            place,
            kinds,
            share: settings.memory.join(),
            ownership: LogOwnership::new(head.epoch),
            writer: LogWriter::new(head.last, settings.group_bytes),
            settings,
            fences: FenceChecks::default(),
            entities: Entities::new(),
            quarantined,
            checkpoints: Checkpoints::new(head.trimmed_below),
            loads: Loads::default(),
            mailboxed: 0,
            memory_is_short: false,
            shedding: false,
            encoded: Vec::new(),
            moment,
            seeds: Seeds::of(moment.seed),
            jobs: Vec::new(),
            closing: None,
            stopped: None,
        };
        state.recover(tail);
        state
    }

    /// Something has come. The jobs that follow from it at once are added to [`ShardState::jobs`].
    pub(crate) fn on(&mut self, arrival: Arrival, moment: Moment) {
        self.begin(moment);
        match arrival {
            Arrival::Request(request) => self.give(request),
            Arrival::Appended { epoch, outcome } => self.on_append(epoch, outcome),
            Arrival::Reopened(reopened) => self.on_reopened(reopened),
            Arrival::Fence(epoch) => self.on_fence(epoch),
            Arrival::Loaded { slot, again, loaded } => self.on_loaded(slot, again, loaded),
            Arrival::LoadAgain { slot } => self.loads.want_again(slot),
            Arrival::Fetched { slot, fetched } => self.on_fetched(slot, fetched),
            Arrival::Checkpointed(written) => self.on_checkpointed(written),
            Arrival::BatchFailed(batch) => self.on_batch_failed(batch),
            Arrival::Trimmed { epoch, below, outcome } => self.on_trimmed(epoch, below, outcome),
            Arrival::WakeUps(read) => self.on_wake_ups(read),
            Arrival::Partitions(listed) => self.on_partitions(listed),
            Arrival::Watermark { epoch, at, outcome } => self.on_watermark(epoch, at, outcome),
            Arrival::BucketsDropped => self.wake_ups.dropped(),
            Arrival::CarriedOut { slot, id, input } => self.on_carried_out(slot, id, input),
            Arrival::RetryDue { slot, id } => self.on_retry_due(slot, id),
            // All that is decided by now, the open group included.
            Arrival::Flush(waiter) => self.checkpoints.flush(self.writer.open_position().next(), waiter),
            Arrival::Close => self.on_close(),
            Arrival::Abandon => self.stop(Stop::Abandoned),
        }
    }

    /// A bounded amount of everything that is not begun by an arrival; says whether more is there to be done at once. What was
    /// decided since the turn before this forms one group.
    pub(crate) fn turn(&mut self, moment: Moment) -> bool {
        self.begin(moment);
        let now = moment.now;
        let mut more = self.fire_due();
        self.load_due();
        self.begin_loads();
        self.keep_wake_ups();
        more |= self.checkpoint();
        more |= self.evict();
        self.check_fence();
        self.flush();
        self.note_memory();
        self.note_pressure();
        self.finish_closing(now);
        self.publish_metrics();
        more
    }

    fn begin(&mut self, moment: Moment) {
        self.moment = moment;
        self.seeds = Seeds::of(moment.seed);
    }

    /// Whether it has drawn from the seed of the last moment: then the next one needs another.
    pub(crate) fn has_drawn_seed(&self) -> bool {
        self.seeds.are_drawn()
    }

    /// Stops the shard. Waiting callers get an error when the state is dropped.
    fn stop(&mut self, why: Stop) {
        self.stopped.get_or_insert(why);
    }

    /// Why the shard has stopped, if it has: then nothing more is to be given to it.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    fn on_close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(self.moment.now + self.settings.close_deadline);
            // The next owner of the shard computes them again.
            self.jobs.push(Job::AbortObligations);
        }
    }

    fn finish_closing(&mut self, now: Timestamp) {
        let Some(deadline) = self.closing else { return };
        let answered = self.writer.is_idle() && self.fences.is_idle() && self.mailboxed == 0;
        if answered && self.checkpoints.is_done(self.writer.durable()) {
            self.stop(Stop::Closed);
        } else if now >= deadline {
            tracing::warn!(log = %self.log.0, dirty = self.checkpoints.dirty_entities(), "closing before all is checkpointed");
            self.stop(Stop::ClosedEarly);
        }
    }

    /// Refuses calls while the shard is behind: with the log, with loads, or with checkpoints.
    fn note_pressure(&mut self) {
        let log_is_slow = self.log_wait() > self.settings.shed_age;
        let shedding = log_is_slow
            || self.share.all().waiting > self.settings.waiting_bytes
            || self.mailboxed > self.settings.inbox_calls
            || self.share.all().dirty > self.settings.dirty_bytes / 2 * 3
            || self.share.all().entities
                > self.settings.memory_bytes.saturating_add(self.settings.memory_bytes / 4).max(LEAST_ROOM);
        if shedding != self.shedding {
            tracing::info!(log = %self.log.0, shedding, log_is_slow, "refusing calls");
            self.shedding = shedding;
        }
    }

    /// Whether calls are to be refused.
    pub(crate) fn is_shedding(&self) -> bool {
        self.shedding
    }

    /// How long the oldest group has waited for the log.
    pub(crate) fn log_wait(&self) -> Duration {
        self.writer.oldest_waiting().map_or(Duration::ZERO, |begun| self.moment.now.since(begun))
    }

    /// When it wants a turn though nothing comes.
    pub(crate) fn next_turn(&self) -> Option<Timestamp> {
        let now = self.moment.now;
        let shed = self.writer.oldest_waiting().filter(|_| !self.shedding);
        let times = [
            self.wake_ups.next_turn(now, self.settings.wake_up_horizon).filter(|_| self.closing.is_none()),
            self.next_checkpoint(),
            shed.map(|begun| begun + self.settings.shed_age + Duration::from_millis(1)),
            Some(self.checkpoints.next_trim()).filter(|at| *at > now),
            self.closing,
            // What other shards hold may have made it refuse calls, or may make it evict.
            self.shedding.then(|| now + LOOK_AT_OTHERS / 10),
            self.holds_more_than_its_part().then(|| now + LOOK_AT_OTHERS),
        ];
        times.into_iter().flatten().min()
    }

    /// Notes what it holds for all shards to see.
    fn note_memory(&mut self) {
        let holding = Holding {
            entities: self.entities.bytes(),
            dirty: self.checkpoints.dirty_bytes(),
            waiting: self.writer.waiting_bytes(),
        };
        self.share.note(holding);
    }

    /// What it looks like from outside.
    pub(crate) fn stats(&self) -> ShardStats {
        ShardStats {
            log_depth: self.checkpoints.log_depth(),
            log_bytes: self.checkpoints.log_bytes(),
            dirty_entities: self.checkpoints.dirty_entities(),
            dirty_bytes: self.checkpoints.dirty_bytes(),
            loaded_entities: self.entities.len(),
            loaded_bytes: self.entities.bytes(),
            log_since: self.checkpoints.log_since(),
            last: self.writer.durable(),
            epoch: self.ownership.epoch(),
        }
    }

    /// An entity as it is now.
    pub(crate) fn view(&self, key: &EntityKey) -> EntityView<'_> {
        EntityView {
            log: &self.log.0,
            epoch: self.ownership.epoch(),
            last: self.writer.durable(),
            quarantined: self.quarantined.get(key).map(|entry| Arc::clone(&entry.reason)),
            slot: self.entities.find(key).and_then(|id| self.entities.get(id)).map(SlotView::of),
        }
    }

    fn publish_metrics(&self) {
        let metrics = &self.metrics;
        metrics.dirty_entities.set(self.checkpoints.dirty_entities() as f64);
        metrics.dirty_bytes.set(self.checkpoints.dirty_bytes() as f64);
        metrics.loaded_entities.set(self.entities.len() as f64);
        metrics.loaded_bytes.set(self.entities.bytes() as f64);
        metrics.log_bytes.set(self.checkpoints.log_bytes() as f64);
        metrics.wake_ups.set(self.wake_ups.len() as f64);
        self.share.publish();
    }
}
