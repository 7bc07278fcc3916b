//! What drives a shard by hand: its jobs wait here until a test carries them out, and what comes of them until it is delivered.

use std::time::Duration;

use ids::{Timestamp, WallClock};
use storage::{Append, LogId, Reopen};
use tokio::sync::oneshot;

use super::store::{Fault, Store, key};
use super::tally::{Count, Input, Listener, Tally};
use crate::arrival::Arrival;
use crate::hosted::own;
use crate::job::Job;
use crate::moment::Moment;
use crate::place::Place;
use crate::request::{HeldReply, Origin, Outcome, Request};
use crate::shard_state::ShardState;
use crate::{Kinds, ShardSettings};

pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A job of one of the shard's owners, and the step in which it was asked for.
pub struct Pending {
    pub job: Job,
    pub owner: u64,
    began: u64,
}

struct Call {
    entity: String,
    is_read: bool,
    began: u64,
    waiting: Option<oneshot::Receiver<Outcome>>,
    number: Option<u64>,
}

pub struct World {
    pub state: ShardState,
    pub store: Store,
    memory_bytes: usize,
    /// Who the shard is for the store.
    owner: u64,
    /// The step after which the log belonged to another owner.
    stolen: Option<u64>,
    pub jobs: Vec<Pending>,
    /// Jobs of owners that are gone, which may still happen.
    pub late: Vec<Pending>,
    arrivals: Vec<(u64, Arrival)>,
    calls: Vec<Call>,
    now: Timestamp,
    step: u64,
    /// The latest step after which the shard was still ours, as far as it can know.
    proven: u64,
}

fn moment(now: Timestamp, step: u64) -> Moment {
    Moment { now, wall: WallClock::in_step(now), seed: u128::from(step) << 1 | 1, local_epoch: None }
}

fn open(store: &mut Store, memory_bytes: usize, now: Timestamp, step: u64) -> ShardState {
    let log = LogId("test/0".to_owned());
    let kinds = Kinds::default().with(std::sync::Arc::new(Tally), std::sync::Arc::new(Listener::default()));
    let settings = ShardSettings {
        checkpoint_age: Duration::from_secs(1),
        concurrent_loads: 4,
        background_loads: 2,
        memory_bytes,
        ..ShardSettings::default()
    };
    let place = Place { number: 0, of: 1 };
    let found = store.open(&log);
    ShardState::new(log, place, kinds, settings, found, moment(now, step))
}

impl World {
    pub fn new() -> Self {
        Self::with_memory(usize::MAX)
    }

    /// A world whose entities leave memory beyond these many bytes.
    pub fn with_memory(memory_bytes: usize) -> Self {
        let mut store = Store::new(START);
        let state = open(&mut store, memory_bytes, START, 0);
        let (jobs, late, arrivals, calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            owner: store.owner(),
            stolen: None,
            state,
            store,
            memory_bytes,
            jobs,
            late,
            arrivals,
            calls,
            now: START,
            step: 1,
            proven: 0,
        }
    }

    /// A world in which this entity is in memory, and nothing is to be done.
    pub fn loaded(entity: &str) -> Self {
        let mut world = Self::new();
        assert_eq!(world.read(entity), 0);
        world
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The owner crashes, and another one opens the log.
    pub fn crash(&mut self) {
        self.late.append(&mut self.jobs);
        self.arrivals.clear();
        self.state = open(&mut self.store, self.memory_bytes, self.now, self.step);
        self.owner = self.store.owner();
        for call in &mut self.calls {
            call.waiting = None;
        }
    }

    /// Another owner opens the log, of which this one learns nothing.
    pub fn steal(&mut self) {
        self.store.steal();
        self.stolen = Some(self.step);
    }

    pub fn give(&mut self, arrival: Arrival) {
        // As the shard's task does: what comes to a shard that has stopped is dropped.
        if self.state.stopped().is_none() {
            self.step += 1;
            self.state.on(arrival, moment(self.now, self.step));
            self.take_jobs();
        }
    }

    /// Says whether the shard wants another turn at once.
    pub fn turn(&mut self) -> bool {
        if self.state.stopped().is_some() {
            return false;
        }
        self.step += 1;
        let more = self.state.turn(moment(self.now, self.step));
        self.take_jobs();
        more
    }

    fn take_jobs(&mut self) {
        for job in std::mem::take(&mut self.state.jobs) {
            match job {
                Job::Reply(reply) => reply.send(),
                Job::Release(replies) => replies.into_iter().for_each(HeldReply::send),
                Job::Flushed(waiter) => drop(waiter.send(())),
                Job::Committed { .. } => {}
                Job::AbortObligations => self.jobs.retain(|pending| !matches!(pending.job, Job::CarryOut { .. })),
                job => self.jobs.push(Pending { job, owner: self.owner, began: self.step }),
            }
        }
        self.listen();
    }

    /// Looks who has an answer, and whether it may have left.
    fn listen(&mut self) {
        for call in &mut self.calls {
            let Some(outcome) = call.waiting.as_mut().map(oneshot::Receiver::try_recv) else { continue };
            match outcome {
                Err(oneshot::error::TryRecvError::Empty) => continue,
                Ok(Ok(reply)) => {
                    let Count { number, .. } = own(reply);
                    let logged = self.store.logged(&call.entity).number;
                    assert!(number <= logged, "{number} is answered for {}, and {logged} is durable", call.entity);
                    assert!(!call.is_read || self.proven > call.began, "a read is answered without a fence check");
                    let from_the_past = call.is_read && self.stolen.is_some_and(|stolen| call.began > stolen);
                    assert!(!from_the_past, "a read is answered by an owner that was deposed before it came");
                    call.number = Some(number);
                }
                Ok(Err(_)) => {}
                Err(oneshot::error::TryRecvError::Closed) => panic!("a call is dropped while the shard is served"),
            }
            call.waiting = None;
        }
    }

    /// A call, by the number under which to ask for its answer.
    pub fn call(&mut self, entity: &str, input: Input) -> usize {
        let (to, waiting) = oneshot::channel();
        let is_read = matches!(input, Input::Read);
        let (entity, waiting) = (entity.to_owned(), Some(waiting));
        let request = Request::of::<Tally>(key(&entity), input, Origin::Call(to));
        self.calls.push(Call { entity, is_read, began: self.step + 1, waiting, number: None });
        self.give(Arrival::Request(request));
        self.calls.len() - 1
    }

    pub fn answer(&self, call: usize) -> Option<u64> {
        self.calls[call].number
    }

    pub fn is_waiting(&self, call: usize) -> bool {
        self.calls[call].waiting.is_some()
    }

    pub fn calls_waiting(&self) -> usize {
        self.calls.iter().filter(|call| call.waiting.is_some()).count()
    }

    /// Carries out a job; what comes of it waits to be delivered.
    pub fn perform_at(&mut self, index: usize, fault: Fault) {
        let Pending { job, owner, began } = self.jobs.remove(index);
        let arrival = self.store.perform(job, owner, fault);
        self.arrivals.push((began, arrival));
    }

    /// Carries out a job of an owner that is gone.
    pub fn perform_late(&mut self, index: usize) {
        let Pending { job, owner, .. } = self.late.remove(index);
        self.store.perform(job, owner, Fault::None);
    }

    pub fn arrivals(&self) -> usize {
        self.arrivals.len()
    }

    pub fn deliver_at(&mut self, index: usize) {
        let (began, arrival) = self.arrivals.remove(index);
        let is_proof = match &arrival {
            Arrival::Appended { outcome, .. } => *outcome == Append::Appended,
            Arrival::Reopened(reopened) => matches!(reopened, Ok(Reopen::Reopened(_))),
            Arrival::Fence(epoch) => epoch.is_ok(),
            _ => false,
        };
        if is_proof {
            self.proven = self.proven.max(began);
        }
        self.give(arrival);
    }

    pub fn deliver(&mut self) {
        while !self.arrivals.is_empty() {
            self.deliver_at(0);
        }
    }

    fn find(&self, name: &str) -> usize {
        let found = self.jobs.iter().position(|pending| name_of(&pending.job) == name);
        found.unwrap_or_else(|| panic!("no job named {name}, but {:?}", self.names()))
    }

    /// The names of the jobs that wait.
    pub fn names(&self) -> Vec<&'static str> {
        self.jobs.iter().map(|pending| name_of(&pending.job)).collect()
    }

    pub fn count(&self, name: &str) -> usize {
        self.names().into_iter().filter(|found| *found == name).count()
    }

    pub fn take(&mut self, name: &str) -> Job {
        let index = self.find(name);
        self.jobs.remove(index).job
    }

    pub fn perform(&mut self, name: &str, fault: Fault) {
        let index = self.find(name);
        self.perform_at(index, fault);
    }

    pub fn finish_with(&mut self, name: &str, fault: Fault) {
        self.perform(name, fault);
        self.deliver();
    }

    pub fn finish(&mut self, name: &str) {
        self.finish_with(name, Fault::None);
    }

    pub fn delay_of(&self, name: &str) -> Duration {
        match &self.jobs[self.find(name)].job {
            Job::Reopen { delay, .. } | Job::CheckFence { delay } | Job::Sleep { delay, .. } => *delay,
            _ => Duration::ZERO,
        }
    }

    /// Gives it turns and carries out its jobs until there are no more.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            while !self.jobs.is_empty() {
                self.perform_at(0, Fault::None);
            }
            self.deliver();
            if !self.turn() && self.jobs.is_empty() {
                return;
            }
        }
        panic!("it has always more to do: {:?}", self.names());
    }

    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    pub fn advance_to(&mut self, at: Timestamp) {
        self.now = at;
        self.settle();
    }

    pub fn read(&mut self, entity: &str) -> u64 {
        let call = self.call(entity, Input::Read);
        self.settle();
        self.answer(call).expect("it answers")
    }
}

fn name_of(job: &Job) -> &'static str {
    match job {
        Job::Append { .. } => "append",
        Job::Reopen { .. } => "reopen",
        Job::CheckFence { .. } => "fence",
        Job::Trim { .. } => "trim",
        Job::Load { .. } => "load",
        Job::Fetch { .. } => "fetch",
        Job::WriteBatch(_) => "write",
        Job::WriteParts { .. } => "write apart",
        Job::ReadWakeUps { .. } => "read wake-ups",
        Job::ListPartitions { .. } => "list",
        Job::MoveWatermark { .. } => "move watermark",
        Job::DropBuckets { .. } => "drop",
        Job::CarryOut { .. } => "carry out",
        Job::Sleep { .. } => "sleep",
        Job::AbortObligations => "abort",
        Job::Reply(_) | Job::Release(_) => "reply",
        Job::Committed { .. } => "committed",
        Job::Flushed(_) => "flushed",
    }
}
