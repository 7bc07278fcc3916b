//! The shard's task: it owns all memory, never waits for storage, and does a bounded amount of everything per turn.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ids::{ShardId, Slot, Timestamp};
use runtime::{Backoff, Runtime};
use storage::{Epoch, LogId, OwnerNonce, StorageError, StorageResult, Store};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::arrival::Arrival;
use crate::checkpoint::Checkpoints;
use crate::entity_slot::Entities;
use crate::handle::{ShardHandle, StatsBoard, Wishes};
use crate::held_replies::FenceChecks;
use crate::inbox::Inbox;
use crate::job::Job;
use crate::loading::Loads;
use crate::log_writer::{LogWriter, REOPEN_BACKOFF};
use crate::measures::Measures;
use crate::memory_use::{Holding, Share};
use crate::outside::Outside;
use crate::quarantine::{SetAside, read_quarantined};
use crate::recovery;
use crate::request::Request;
use crate::wake_ups::{Index, WakeUps, ensure_watermark};
use crate::{EntityKey, Kinds, ShardSettings};

/// How many requests, and how many messages, one turn takes in before the group that they form may leave.
const PER_TURN: usize = 64;

/// Entities together may always be this large without calls being refused: some must be in memory to be worked on. Bytes.
const LEAST_ROOM: usize = 1 << 20;

/// How often a shard looks at what others hold while that may concern it and nothing happens to it.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(1);

/// Why a shard stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// Somebody else has opened the log.
    Fenced,
    /// By request, everything written.
    Closed,
    /// By request, in time rather than completely.
    ClosedEarly,
    /// By request, as it was.
    Abandoned,
}

/// Which shard of how many, and so which entities are its own.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

impl Place {
    pub(crate) fn holds(self, slot: Slot) -> bool {
        slot.shard(self.of) == ShardId(self.number)
    }
}

/// Opens shards.
pub struct Shard;

impl Shard {
    /// Takes over the log of a service's only shard, fencing every earlier owner, and serves as soon as its tail is read. Fails with
    /// [`StorageError::Corrupt`] if the tail has a hole or cannot be read, and with other errors when it makes sense to try
    /// again.
    pub async fn open(
        log: LogId,
        kinds: Kinds,
        store: Store,
        runtime: Runtime,
        settings: ShardSettings,
    ) -> StorageResult<ShardHandle> {
        let retry_after = settings.shed_age / 4;
        let message = format!("log {} was opened by somebody else meanwhile", log.0);
        let place = Place { number: 0, of: 1 };
        let opened = Self::open_unless_fenced(log, place, kinds, store, runtime, settings).await?;
        opened.ok_or(StorageError::Unavailable { message, retry_after })
    }

    /// The same; `None` when somebody else has opened the log before it was ready. Dropping the future leaves nothing
    /// behind but a higher epoch.
    pub(crate) async fn open_unless_fenced(
        log: LogId,
        place: Place,
        kinds: Kinds,
        store: Store,
        runtime: Runtime,
        settings: ShardSettings,
    ) -> StorageResult<Option<ShardHandle>> {
        let nonce = OwnerNonce(runtime.seed());
        let (mut head, tail) = recovery::open(&log, nonce, &*store.log, |kind| kinds.hosts(kind)).await?;
        if !ensure_watermark(&store, &log, &mut head, runtime.now()).await? {
            return Ok(None);
        }
        let quarantined = read_quarantined(&*store.table, &log).await?;
        let index = Index::read(&*store.table, &log).await?;
        tracing::info!(log = %log.0, epoch = head.epoch.0, last = head.last.0, tail = tail.len(), "shard opened");

        let inbox = Arc::new(Inbox::new(settings.inbox_calls, settings.inbox_tells));
        let lifeline = Lifeline { inbox, stopped: CancellationToken::new() };
        let handle = ShardHandle {
            inbox: Arc::clone(&lifeline.inbox),
            stopped: lifeline.stopped.clone(),
            why: Arc::new(OnceLock::new()),
            wishes: Arc::new(Wishes::default()),
            stats: Arc::new(StatsBoard::default()),
            retry_after: settings.shed_age / 4,
        };
        let mut task = ShardTask {
            metrics: Measures::new(&log),
            outside: Outside::new(store, log.clone(), nonce, runtime.clone()),
            log,
            place,
            kinds,
            share: settings.memory.join(),
            settings,
            epoch: head.epoch,
            resolving: false,
            reopen_backoff: REOPEN_BACKOFF,
            writer: LogWriter::new(head.last, 0),
            fences: FenceChecks::new(),
            entities: Entities::new(),
            quarantined,
            checkpoints: Checkpoints::new(head.trimmed_below),
            wake_ups: WakeUps::new(&head, index),
            loads: Loads::default(),
            mailboxed: 0,
            memory_is_short: false,
            encoded: Vec::new(),
            taken_in: Vec::new(),
            turn_began: runtime.now(),
            alarm: Alarm::default(),
            runtime: runtime.clone(),
            jobs: Vec::new(),
            wishes: Arc::clone(&handle.wishes),
            stats: Arc::clone(&handle.stats),
            closing: None,
            stopped: None,
            why: Arc::clone(&handle.why),
            lifeline,
        };
        task.writer = LogWriter::new(head.last, task.settings.group_bytes);
        task.recover(tail);
        task.publish_stats();
        runtime.spawn(task.run());
        Ok(Some(handle))
    }
}

/// Tells everyone that the shard is gone, however its task ended.
struct Lifeline {
    inbox: Arc<Inbox<Request>>,
    stopped: CancellationToken,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.inbox.close();
        self.stopped.cancel();
    }
}

/// The task's own clock: rings no later than the earliest time it was set to.
#[derive(Default)]
struct Alarm {
    at: Timestamp,
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Alarm {
    fn set(&mut self, at: Timestamp, runtime: &Runtime) {
        if self.sleep.is_some() && self.at <= at {
            return;
        }
        let runtime = runtime.clone();
        self.at = at;
        self.sleep = Some(Box::pin(async move { runtime.sleep_until(at).await }));
    }

    async fn ring(&mut self) {
        match &mut self.sleep {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
        self.sleep = None;
    }
}

/// Everything that a shard is. Its parts are in the files named for them.
pub(crate) struct ShardTask {
    pub(crate) log: LogId,
    pub(crate) place: Place,
    pub(crate) kinds: Kinds,
    pub(crate) runtime: Runtime,
    pub(crate) settings: ShardSettings,
    pub(crate) metrics: Measures,
    pub(crate) epoch: Epoch,
    /// While the log is being reopened after an unknown outcome: its epoch may be our own next one.
    pub(crate) resolving: bool,
    pub(crate) reopen_backoff: Backoff,
    pub(crate) writer: LogWriter,
    pub(crate) fences: FenceChecks,
    pub(crate) entities: Entities,
    pub(crate) quarantined: HashMap<EntityKey, SetAside>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) wake_ups: WakeUps,
    pub(crate) loads: Loads,
    /// Requests in mailboxes.
    pub(crate) mailboxed: usize,
    pub(crate) memory_is_short: bool,
    /// What it holds, within what all shards of the process hold.
    pub(crate) share: Share,
    /// The changes of the step at hand, encoded.
    pub(crate) encoded: Vec<Bytes>,
    taken_in: Vec<Request>,
    pub(crate) turn_began: Timestamp,
    alarm: Alarm,
    /// What others are to do next.
    pub(crate) jobs: Vec<Job>,
    pub(crate) outside: Outside,
    wishes: Arc<Wishes>,
    stats: Arc<StatsBoard>,
    /// When a close that was asked for gives up on completeness.
    pub(crate) closing: Option<Timestamp>,
    stopped: Option<Stop>,
    why: Arc<OnceLock<Stop>>,
    lifeline: Lifeline,
}

impl ShardTask {
    async fn run(mut self) {
        loop {
            let more = self.turn();
            if let Some(stop) = self.stopped {
                tracing::info!(log = %self.log.0, epoch = self.epoch.0, ?stop, "shard stopped");
                self.why.get_or_init(|| stop);
                return;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            self.set_alarm();
            let arrival = tokio::select! {
                biased;
                arrival = self.outside.next() => Some(arrival),
                () = self.lifeline.inbox.wait() => None,
                () = self.alarm.ring() => None,
            };
            if let Some(arrival) = arrival {
                self.accept(arrival);
                self.start_jobs();
            }
        }
    }

    /// Stops the shard at the end of this turn. Whoever still waits learns of it when the memory is dropped.
    pub(crate) fn stop(&mut self, why: Stop) {
        self.stopped.get_or_insert(why);
    }

    /// A bounded amount of everything; says whether more is there to be done at once.
    fn turn(&mut self) -> bool {
        self.turn_began = self.runtime.now();
        let now = self.turn_began;
        self.obey_wishes(now);
        let mut more = self.take_arrivals();
        more |= self.take_requests();
        more |= self.fire_due(now);
        self.load_due();
        self.begin_loads();
        self.keep_wake_ups(now);
        more |= self.checkpoint(now);
        more |= self.evict();
        self.check_fence();
        self.flush();
        self.note_memory();
        self.note_pressure(now);
        self.finish_closing(now);
        self.publish_stats();
        self.start_jobs();
        more
    }

    fn take_arrivals(&mut self) -> bool {
        for _ in 0..PER_TURN {
            if self.stopped.is_some() {
                return false;
            }
            let Some(arrival) = self.outside.try_next() else { return false };
            self.accept(arrival);
        }
        true
    }

    fn take_requests(&mut self) -> bool {
        let mut requests = std::mem::take(&mut self.taken_in);
        let more = self.lifeline.inbox.drain(PER_TURN, &mut requests);
        for request in requests.drain(..) {
            if self.stopped.is_none() {
                self.give(request);
            }
        }
        self.taken_in = requests;
        more
    }

    fn accept(&mut self, arrival: Result<Arrival, JoinError>) {
        let arrival = match arrival {
            Ok(arrival) => arrival,
            // Every job catches the panics of what it calls, so only a job of a closing shard ends like this.
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(log = %self.log.0, %error, "a job of the shard panicked");
                return self.stop(Stop::Abandoned);
            }
        };
        match arrival {
            Arrival::Appended { epoch, outcome } => self.on_append(epoch, outcome),
            Arrival::Reopened(reopened) => self.on_reopened(reopened),
            Arrival::Fence(epoch) => self.on_fence(epoch),
            Arrival::Loaded { slot, again, loaded } => self.on_loaded(slot, again, loaded),
            Arrival::LoadAgain { slot } => self.on_load_again(slot),
            Arrival::Fetched { slot, fetched } => self.on_fetched(slot, fetched),
            Arrival::Checkpointed(written) => self.on_checkpointed(written),
            Arrival::BatchFailed(batch) => self.on_batch_failed(batch),
            Arrival::Trimmed { epoch, below, outcome } => self.on_trimmed(epoch, below, outcome),
            Arrival::WakeUps { bucket, read } => self.on_wake_ups(bucket, read),
            Arrival::Partitions(listed) => self.on_partitions(listed),
            Arrival::Watermark { epoch, at, outcome } => self.on_watermark(epoch, at, outcome),
            Arrival::BucketsDropped => self.on_buckets_dropped(),
            Arrival::CarriedOut { slot, id, input } => self.on_carried_out(slot, id, input),
            Arrival::Rested { slot, id } => self.on_rested(slot, id),
        }
    }

    fn start_jobs(&mut self) {
        for job in self.jobs.drain(..) {
            self.outside.start(job);
        }
    }

    fn obey_wishes(&mut self, now: Timestamp) {
        if self.wishes.abandon.is_cancelled() {
            self.stop(Stop::Abandoned);
        } else if self.closing.is_none() && self.wishes.close.is_cancelled() {
            self.closing = Some(now + self.settings.close_deadline);
            self.lifeline.inbox.close();
            // Whoever owns the shard next computes them again.
            self.jobs.push(Job::AbortObligations);
        }
        let flushes = std::mem::take(&mut *self.wishes.flushes.lock().unwrap_or_else(PoisonError::into_inner));
        // All that is decided by now, the group that forms included.
        let end = self.writer.open_position().next();
        flushes.into_iter().for_each(|waiter| self.checkpoints.flush(end, waiter));
        let inspections = std::mem::take(&mut *self.wishes.inspections.lock().unwrap_or_else(PoisonError::into_inner));
        inspections.into_iter().for_each(|inspection| self.inspect(inspection));
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
    fn note_pressure(&mut self, now: Timestamp) {
        let log_wait = self.writer.oldest_waiting().map_or(Duration::ZERO, |begun| now.since(begun));
        self.stats.log_wait.store(u64::try_from(log_wait.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let log_is_slow = log_wait > self.settings.shed_age;
        let shedding = log_is_slow
            || self.share.all().waiting > self.settings.waiting_bytes
            || self.mailboxed > self.settings.inbox_calls
            || self.share.all().dirty > self.settings.dirty_bytes / 2 * 3
            || self.share.all().entities
                > self.settings.memory_bytes.saturating_add(self.settings.memory_bytes / 4).max(LEAST_ROOM);
        if shedding != self.lifeline.inbox.is_shedding() {
            tracing::info!(log = %self.log.0, shedding, log_is_slow, "refusing calls");
            self.lifeline.inbox.set_shedding(shedding);
        }
    }

    fn set_alarm(&mut self) {
        let now = self.turn_began;
        let shedding = self.lifeline.inbox.is_shedding();
        let shed = self.writer.oldest_waiting().filter(|_| !shedding);
        let times = [
            self.next_wake_up(now),
            self.next_checkpoint(),
            shed.map(|begun| begun + self.settings.shed_age + Duration::from_millis(1)),
            Some(self.checkpoints.next_trim()).filter(|at| *at > now),
            self.closing,
            // What other shards hold may have made it refuse calls, or may make it evict.
            shedding.then(|| now + LOOK_AT_OTHERS / 10),
            self.holds_more_than_its_part().then(|| now + LOOK_AT_OTHERS),
        ];
        if let Some(at) = times.into_iter().flatten().min() {
            self.alarm.set(at, &self.runtime);
        }
    }

    /// Notes what it holds for all shards to see.
    pub(crate) fn note_memory(&mut self) {
        let holding = Holding {
            entities: self.entities.bytes(),
            dirty: self.checkpoints.dirty_bytes(),
            waiting: self.writer.waiting_bytes(),
        };
        self.share.note(holding);
    }

    fn publish_stats(&self) {
        let (stats, checkpoints, metrics) = (&self.stats, &self.checkpoints, &self.metrics);
        stats.log_depth.store(checkpoints.log_depth(), Ordering::Relaxed);
        stats.log_bytes.store(checkpoints.log_bytes(), Ordering::Relaxed);
        stats.dirty_entities.store(checkpoints.dirty_entities(), Ordering::Relaxed);
        stats.dirty_bytes.store(checkpoints.dirty_bytes(), Ordering::Relaxed);
        stats.loaded_entities.store(self.entities.len(), Ordering::Relaxed);
        stats.loaded_bytes.store(self.entities.bytes(), Ordering::Relaxed);
        stats.log_since.store(checkpoints.log_since().map_or(0, Timestamp::nanos), Ordering::Relaxed);
        stats.last.store(self.writer.durable().0, Ordering::Relaxed);
        stats.epoch.store(self.epoch.0, Ordering::Relaxed);
        metrics.dirty_entities.set(checkpoints.dirty_entities() as f64);
        metrics.dirty_bytes.set(checkpoints.dirty_bytes() as f64);
        metrics.loaded_entities.set(self.entities.len() as f64);
        metrics.loaded_bytes.set(self.entities.bytes() as f64);
        metrics.log_bytes.set(checkpoints.log_bytes() as f64);
        metrics.wake_ups.set(self.wake_ups.len() as f64);
        self.share.publish();
    }
}
