//! A shard's task: it gives the state what comes, has the jobs that follow carried out, and waits for more. It never waits for
//! storage itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError};

use ids::Timestamp;
use runtime::Runtime;
use storage::{Epoch, LogId, OwnerNonce, StorageError, StorageResult, Store};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::arrival::Arrival;
use crate::handle::{ControlRequests, ShardHandle, StatsBoard};
use crate::inbox::Inbox;
use crate::inspection::Inspection;
use crate::moment::Moment;
use crate::opening;
use crate::outside::Outside;
use crate::panics::caught;
use crate::place::Place;
use crate::request::Request;
use crate::shard_state::ShardState;
use crate::stop::Stop;
use crate::{Kinds, ShardSettings};

/// How many requests, and how many messages, one turn takes in before the group that they form may leave.
const PER_TURN: usize = 64;

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
        let message = format!("log {} has been opened by another process meanwhile", log.0);
        let place = Place { number: 0, of: 1 };
        let opened = Self::open_unless_fenced(log, place, kinds, store, runtime, settings).await?;
        opened.ok_or(StorageError::Unavailable { message, retry_after })
    }

    /// The same; `None` when another process has opened the log before it was ready. Dropping the future leaves nothing
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
        let Some(found) = opening::open(&log, nonce, &store, |kind| kinds.hosts(kind), runtime.now()).await? else {
            return Ok(None);
        };
        tracing::info!(log = %log.0, epoch = found.head.epoch.0, last = found.head.last.0, tail = found.tail.len(), "shard opened");
        let inbox = Arc::new(Inbox::new(settings.inbox_calls, settings.inbox_unshed_calls));
        let lifeline = Lifeline { inbox, stopped: CancellationToken::new() };
        let handle = ShardHandle {
            inbox: Arc::clone(&lifeline.inbox),
            stopped: lifeline.stopped.clone(),
            why: Arc::new(OnceLock::new()),
            control: Arc::new(ControlRequests::default()),
            stats: Arc::new(StatsBoard::default()),
            retry_after: settings.shed_age / 4,
        };
        let outside = Outside::new(store, log.clone(), nonce, runtime.clone());
        let seed = runtime.seed();
        let moment = moment(&runtime, seed, outside.local_epoch());
        let task = ShardTask {
            state: ShardState::new(log.clone(), place, kinds, settings, found, moment),
            log,
            runtime: runtime.clone(),
            outside,
            seed,
            requests: Vec::new(),
            arrivals: Vec::new(),
            alarm: Alarm::default(),
            control: Arc::clone(&handle.control),
            stats: Arc::clone(&handle.stats),
            why: Arc::clone(&handle.why),
            lifeline,
        };
        task.publish_stats();
        runtime.spawn(task.run());
        Ok(Some(handle))
    }
}

/// Notifies all callers that the shard is gone, however its task ended.
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

/// The state, and what it takes to drive it.
struct ShardTask {
    state: ShardState,
    log: LogId,
    runtime: Runtime,
    outside: Outside,
    /// For the next moment, unless the state has drawn from it.
    seed: u128,
    /// Room for what one turn takes in.
    requests: Vec<Request>,
    arrivals: Vec<Arrival>,
    alarm: Alarm,
    control: Arc<ControlRequests>,
    stats: Arc<StatsBoard>,
    why: Arc<OnceLock<Stop>>,
    // Last, so that all that waits in the state's memory is gone before callers learn that the shard is.
    lifeline: Lifeline,
}

fn moment(runtime: &Runtime, seed: u128, local_epoch: Option<Epoch>) -> Moment {
    let (now, wall) = runtime.clocks();
    Moment { now, wall, seed, local_epoch }
}

impl ShardTask {
    async fn run(mut self) {
        loop {
            let more = self.turn();
            if let Some(stop) = self.state.stopped() {
                let epoch = self.state.stats().epoch;
                tracing::info!(log = %self.log.0, epoch = epoch.0, ?stop, "shard stopped");
                self.why.get_or_init(|| stop);
                return;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            if let Some(at) = self.state.next_turn() {
                self.alarm.set(at, &self.runtime);
            }
            let arrival = tokio::select! {
                biased;
                arrival = self.outside.next() => Some(arrival),
                () = self.lifeline.inbox.wait() => None,
                () = self.alarm.ring() => None,
            };
            if let Some(arrival) = arrival.and_then(|arrival| self.accepted(arrival)) {
                self.give(arrival);
            }
        }
    }

    /// A bounded amount of everything; says whether more is there to be done at once.
    fn turn(&mut self) -> bool {
        self.take_control_requests();
        let mut more = self.take_arrivals();
        more |= self.take_requests();
        let moment = self.moment(self.outside.local_epoch());
        more |= self.state.turn(moment);
        self.start_jobs();
        self.lifeline.inbox.set_shedding(self.state.is_shedding());
        self.publish_stats();
        more
    }

    fn moment(&mut self, local_epoch: Option<Epoch>) -> Moment {
        if self.state.has_drawn_seed() {
            self.seed = self.runtime.seed();
        }
        moment(&self.runtime, self.seed, local_epoch)
    }

    fn give(&mut self, arrival: Arrival) {
        self.give_under(arrival, self.outside.local_epoch());
    }

    /// `local_epoch` was read after the arrival had come.
    fn give_under(&mut self, arrival: Arrival, local_epoch: Option<Epoch>) {
        if self.state.stopped().is_none() {
            let moment = self.moment(local_epoch);
            self.state.on(arrival, moment);
            self.start_jobs();
        }
    }

    fn start_jobs(&mut self) {
        if self.state.jobs.is_empty() {
            return;
        }
        for job in self.state.jobs.drain(..) {
            self.outside.start(job);
        }
    }

    fn take_control_requests(&mut self) {
        if self.control.abandon.is_cancelled() {
            self.give(Arrival::Abandon);
        } else if self.control.close.is_cancelled() {
            self.lifeline.inbox.close();
            self.give(Arrival::Close);
        }
        let flushes = std::mem::take(&mut *self.control.flushes.lock().unwrap_or_else(PoisonError::into_inner));
        flushes.into_iter().for_each(|waiter| self.give(Arrival::Flush(waiter)));
        let inspections = std::mem::take(&mut *self.control.inspections.lock().unwrap_or_else(PoisonError::into_inner));
        inspections.into_iter().for_each(|inspection| self.inspect(inspection));
    }

    fn inspect(&self, Inspection { key, look }: Inspection) {
        if let Err(panic) = caught(|| look(self.state.view(&key))) {
            tracing::error!(log = %self.log.0, ?key, panic, "inspecting an entity panicked");
        }
    }

    fn take_arrivals(&mut self) -> bool {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        while arrivals.len() < PER_TURN
            && let Some(arrival) = self.outside.try_next()
        {
            arrivals.extend(self.accepted(arrival));
        }
        let more = arrivals.len() == PER_TURN;
        let local_epoch = self.outside.local_epoch();
        for arrival in arrivals.drain(..) {
            self.give_under(arrival, local_epoch);
        }
        self.arrivals = arrivals;
        more
    }

    fn take_requests(&mut self) -> bool {
        let mut requests = std::mem::take(&mut self.requests);
        let more = self.lifeline.inbox.drain(PER_TURN, &mut requests);
        let local_epoch = self.outside.local_epoch();
        for request in requests.drain(..) {
            self.give_under(Arrival::Request(request), local_epoch);
        }
        self.requests = requests;
        more
    }

    fn accepted(&self, arrival: Result<Arrival, JoinError>) -> Option<Arrival> {
        match arrival {
            Ok(arrival) => Some(arrival),
            // Every job catches the panics of what it calls, so only a job of a closing shard ends like this.
            Err(error) if error.is_cancelled() => None,
            Err(error) => {
                tracing::error!(log = %self.log.0, %error, "a job of the shard panicked");
                Some(Arrival::Abandon)
            }
        }
    }

    fn publish_stats(&self) {
        self.stats.publish(&self.state.stats(), self.state.log_wait());
    }
}
