//! The laws of a queue, over arbitrary conversations of offerers, pollers, history and crashes: every task that was
//! offered is delivered or still there, none is handed out twice or to two at once, and sequences are respected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::temporal::api::common::v1::Priority;
use ids::{TaskKey, TaskRef, Timestamp};
use proptest::prelude::*;

use crate::{
    Backlog, Change, Decision, Input, ItemId, Match, Origin, PerPriority, PollerId, Position, Queue, QueueShape,
    ReadRequest, Reading, Reply, Settled, Task, Withdrawal,
};

/// What may happen next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Op {
    Offer {
        partition: u8,
        level: u8,
    },
    Poll {
        partition: u8,
    },
    Leave(usize),
    /// An offer has waited long enough.
    Persist(usize),
    /// An answer of the backlog to a `Persist` arrives, in any order.
    KeepAnswered(usize),
    BeginRead,
    EndRead {
        index: usize,
        fails: bool,
    },
    /// History records the start, or is found to have done so, and the poller gets it.
    Hand(usize),
    /// History records the start, but the poller is gone or the answer is lost.
    Lose(usize),
    Fail(usize),
    /// The workflow goes on without the task.
    Abandon(usize),
    Acknowledge(usize),
    /// A caller doubts that a backlog is empty.
    ReadAnew(u8),
    /// Matching dies: the volatile part is gone, the backlogs are rebuilt from their changes.
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let pick = || 0usize..64;
    prop_oneof![
        6 => (0u8..4, 1u8..=5).prop_map(|(partition, level)| Op::Offer { partition, level }),
        6 => (0u8..4).prop_map(|partition| Op::Poll { partition }),
        1 => pick().prop_map(Op::Leave),
        5 => pick().prop_map(Op::Persist),
        5 => pick().prop_map(Op::KeepAnswered),
        4 => Just(Op::BeginRead),
        4 => (pick(), prop::bool::weighted(0.2)).prop_map(|(index, fails)| Op::EndRead { index, fails }),
        4 => pick().prop_map(Op::Hand),
        1 => pick().prop_map(Op::Lose),
        1 => pick().prop_map(Op::Fail),
        1 => pick().prop_map(Op::Abandon),
        3 => pick().prop_map(Op::Acknowledge),
        1 => (0u8..4).prop_map(Op::ReadAnew),
        1 => Just(Op::Crash),
    ]
}

const NOW: Timestamp = Timestamp::from_millis(1_000);
const SHAPE: QueueShape = QueueShape { partitions: 1, fan_out: 2, window: 3, durable: true };

struct World {
    shape: QueueShape,
    queue: Queue,
    backlogs: Vec<Backlog>,
    /// The log of each backlog.
    logs: Vec<Vec<Change>>,
    pollers: Vec<PollerId>,
    offers: BTreeMap<ItemId, u32>,
    answers: Vec<(u32, Position, Arc<Task>)>,
    readings: Vec<(ReadRequest, Reading)>,
    deliveries: Vec<Match>,
    acknowledgements: Vec<(u32, Position)>,
    /// Tasks for which history still wants a worker.
    wanted: BTreeSet<i64>,
    /// Under which request history recorded a start.
    started: BTreeMap<i64, String>,
    delivered: BTreeSet<i64>,
    next: i64,
}

fn number(matched: &Match) -> i64 {
    matched.task.as_ref().expect("only tasks here").key.task.scheduled_event_id
}

impl World {
    fn new(partitions: u32) -> Self {
        let shape = QueueShape { partitions, ..SHAPE };
        Self {
            shape,
            queue: Queue::new(shape),
            backlogs: vec![Backlog::default(); partitions as usize],
            logs: vec![Vec::new(); partitions as usize],
            pollers: Vec::new(),
            offers: BTreeMap::new(),
            answers: Vec::new(),
            readings: Vec::new(),
            deliveries: Vec::new(),
            acknowledgements: Vec::new(),
            wanted: BTreeSet::new(),
            started: BTreeMap::new(),
            delivered: BTreeSet::new(),
            next: 0,
        }
    }

    fn backlog(&mut self, partition: u32, input: Input) -> Reply {
        let at = partition as usize;
        let (changes, reply) = self.backlogs[at].step(input, NOW).expect("nothing was shed");
        self.logs[at].extend(changes);
        reply
    }

    fn offer(&mut self, partition: u32, task: Task) {
        let item = self.queue.offer(partition, Arc::new(task));
        self.offers.insert(item, partition);
    }

    fn settle(&mut self, settled: Option<Settled>) {
        let settled = settled.expect("it was in the queue");
        match settled.origin {
            Origin::Offer => assert!(self.offers.remove(&settled.item).is_some(), "an offer is answered once"),
            Origin::Backlog(position) => self.acknowledgements.push((settled.partition, position)),
            Origin::Query => unreachable!("no queries here"),
        }
    }

    fn persist(&mut self, partition: u32, task: Arc<Task>) {
        let Reply::Persisted(position) = self.backlog(partition, Input::Persist(Box::new((*task).clone()))) else {
            panic!("not persisted")
        };
        self.answers.push((partition, position, task));
    }

    /// What history answers to a start.
    fn record(&mut self, matched: &Match) -> Option<String> {
        let task = matched.task.as_ref().expect("only tasks here");
        self.next += 1;
        let request = task.request_id.clone().unwrap_or_else(|| format!("request-{}", self.next));
        if !self.wanted.contains(&task.key.task.scheduled_event_id) {
            return None;
        }
        let recorded = self.started.entry(task.key.task.scheduled_event_id).or_insert_with(|| request.clone());
        (*recorded == request).then_some(request)
    }

    fn do_next(&mut self, op: Op) {
        match op {
            Op::Offer { partition, level } => {
                self.next += 1;
                self.wanted.insert(self.next);
                let partition = u32::from(partition) % self.shape.partitions;
                self.offer(partition, task(self.next, level));
            }
            Op::Poll { partition } => {
                let poller = self.queue.poll(u32::from(partition) % self.shape.partitions, NOW);
                self.pollers.push(poller);
            }
            Op::Leave(index) => {
                if let Some(poller) = take(&mut self.pollers, index) {
                    self.queue.leave(poller, NOW);
                }
            }
            Op::Persist(index) => {
                let Some((item, partition)) = self.offers.iter().nth(index % self.offers.len().max(1)) else { return };
                let (item, partition) = (*item, *partition);
                if let Withdrawal::Withdrawn(task) = self.queue.withdraw(item) {
                    self.offers.remove(&item);
                    self.persist(partition, task.expect("a task"));
                }
            }
            Op::KeepAnswered(index) => {
                if let Some((partition, position, task)) = take(&mut self.answers, index) {
                    self.queue.persisted(partition, position, task);
                }
            }
            Op::BeginRead => {
                if let Some(request) = self.queue.next_read() {
                    let ReadRequest { partition, after, limit } = request;
                    let Reply::Read(reading) = self.backlog(partition, Input::Read { after, limit }) else { panic!() };
                    self.readings.push((request, reading));
                }
            }
            Op::EndRead { index, fails } => match take(&mut self.readings, index) {
                Some((request, _)) if fails => self.queue.read_failed(request.partition),
                Some((request, reading)) => self.queue.read(request.partition, reading),
                None => {}
            },
            Op::Hand(index) => {
                let Some(matched) = take(&mut self.deliveries, index) else { return };
                let settled = match self.record(&matched) {
                    Some(request) if !self.pollers.contains(&matched.poller) => {
                        return self.put_back(matched, Some(request));
                    }
                    Some(_) => {
                        assert!(self.delivered.insert(number(&matched)), "{matched:?} was delivered out before");
                        self.wanted.remove(&number(&matched));
                        self.pollers.retain(|poller| *poller != matched.poller);
                        self.queue.delivered(matched.item)
                    }
                    None => self.queue.stale(matched.item),
                };
                self.settle(settled);
            }
            Op::Lose(index) => {
                let Some(matched) = take(&mut self.deliveries, index) else { return };
                match self.record(&matched) {
                    Some(request) => self.put_back(matched, Some(request)),
                    None => {
                        let settled = self.queue.stale(matched.item);
                        self.settle(settled);
                    }
                }
            }
            Op::Fail(index) => {
                if let Some(matched) = take(&mut self.deliveries, index) {
                    let request = matched.task.as_ref().and_then(|task| task.request_id.clone());
                    self.put_back(matched, request);
                }
            }
            Op::Abandon(index) => {
                let numbers: Vec<_> = self.wanted.iter().copied().collect();
                if let Some(number) = numbers.get(index % numbers.len().max(1)) {
                    self.wanted.remove(number);
                }
            }
            Op::Acknowledge(index) => {
                if let Some((partition, position)) = take(&mut self.acknowledgements, index) {
                    self.backlog(partition, Input::Acknowledge(vec![position]));
                }
            }
            Op::ReadAnew(partition) => {
                let partition = u32::from(partition) % self.shape.partitions;
                if !self.acknowledgements.iter().any(|(of, _)| *of == partition) {
                    self.queue.reread(partition);
                }
            }
            Op::Crash => self.crash(),
        }
    }

    fn put_back(&mut self, matched: Match, request: Option<String>) {
        if let (Origin::Backlog(position), Some(request_id)) = (matched.origin, request.clone()) {
            self.backlog(matched.partition, Input::Remember { position, request_id });
        }
        if let Some((settled, task)) = self.queue.put_back(matched.item, request) {
            self.offers.remove(&settled.item).expect("it was offered");
            self.persist(settled.partition, task.expect("a task"));
        }
    }

    /// History offers again what was neither taken nor persisted; a start that it recorded for a request that is now forgotten
    /// runs into its timeout, upon which the task is dispatched again under another number.
    fn crash(&mut self) {
        let offered: Vec<_> = std::mem::take(&mut self.offers).into_values().collect();
        self.queue = Queue::new(self.shape);
        (self.pollers, self.deliveries) = (Vec::new(), Vec::new());
        (self.answers, self.readings, self.acknowledgements) = (Vec::new(), Vec::new(), Vec::new());
        for (backlog, log) in self.backlogs.iter_mut().zip(&self.logs) {
            let mut rebuilt = Backlog::default();
            for change in log {
                let change = Change::decode(&change.encode()).expect("a sound change");
                rebuilt.apply(&change).expect("an applicable change");
            }
            let everything = || Input::Read { after: PerPriority::default(), limit: usize::MAX };
            let was = backlog.decide(everything(), NOW);
            assert_eq!(rebuilt.decide(everything(), NOW), was, "the log rebuilds what was there");
            assert_eq!((rebuilt.stats(), rebuilt.owed()), (backlog.stats(), backlog.owed()));
            *backlog = rebuilt;
        }
        let persisted = self.persisted();
        for number in self.wanted.clone() {
            if persisted
                .iter()
                .any(|(_, _, task)| task.key.task.scheduled_event_id == number && self.is_recoverable(task))
            {
                continue;
            }
            self.wanted.remove(&number);
            self.next += 1;
            self.wanted.insert(self.next);
            let partition = offered.first().copied().unwrap_or(0);
            self.offer(partition, task(self.next, 1 + (number % 5) as u8));
        }
    }

    /// Whether history will recognise the request id of the task's next delivery.
    fn is_recoverable(&self, task: &Task) -> bool {
        let started = self.started.get(&task.key.task.scheduled_event_id);
        started.is_none_or(|request| task.request_id.as_ref() == Some(request))
    }

    fn persisted(&mut self) -> Vec<(u32, Position, Task)> {
        let mut persisted = Vec::new();
        for partition in 0..self.shape.partitions {
            let input = Input::Read { after: PerPriority::default(), limit: usize::MAX };
            let Reply::Read(reading) = self.backlog(partition, input) else { panic!("not read") };
            persisted.extend(reading.tasks.into_iter().map(|(position, task)| (partition, position, task)));
        }
        persisted
    }

    fn decide_all(&mut self) {
        while let Some(decision) = self.queue.decide(NOW) {
            let Decision::Deliver(matched) = decision else { panic!("nothing expires here") };
            let number = number(&matched);
            let twice = self.deliveries.iter().any(|other| {
                other.poller == matched.poller
                    || other.task.as_ref().is_some_and(|t| t.key.task.scheduled_event_id == number)
            });
            assert!(!twice, "{matched:?} beside {:?}", self.deliveries);
            if let Origin::Backlog(position) = matched.origin {
                self.check_order(matched.partition, position);
            }
            self.deliveries.push(matched);
        }
    }

    /// Nothing that stands before `position` in the partition is waiting, as far as the queue can know; except that a
    /// level whose whole window is being delivered does not hold up the levels after it.
    fn check_order(&mut self, partition: u32, position: Position) {
        let under_way = |at: Position| {
            let delivered = |d: &Match| d.partition == partition && d.origin == Origin::Backlog(at);
            self.deliveries.iter().any(delivered)
                || self.acknowledgements.contains(&(partition, at))
                || self.answers.iter().any(|(of, persisted, _)| (*of, *persisted) == (partition, at))
        };
        let input = Input::Read { after: PerPriority::default(), limit: usize::MAX };
        let (_, reply) = self.backlogs[partition as usize].decide(input, NOW).expect("nothing was shed");
        let Reply::Read(reading) = reply else { panic!("not read") };
        let is_full = |level| {
            let of_level =
                |d: &&Match| d.partition == partition && matches!(d.origin, Origin::Backlog(at) if at.level == level);
            level < position.level && self.deliveries.iter().filter(of_level).count() >= SHAPE.window
        };
        let overtaken = reading.tasks.iter().find(|(at, _)| *at < position && !under_way(*at) && !is_full(at.level));
        assert_eq!(overtaken, None, "overtaken by {position:?}");
    }

    /// Every wanted task is in the queue, in a backlog, or in delivery.
    fn check_nothing_is_lost(&mut self) {
        let mut there: BTreeSet<_> =
            self.persisted().iter().map(|(_, _, task)| task.key.task.scheduled_event_id).collect();
        let offered = self.offers.len();
        let mut queue = self.queue.clone();
        let items: Vec<_> = self.offers.keys().copied().collect();
        for item in items {
            match queue.withdraw(item) {
                Withdrawal::Withdrawn(task) => {
                    there.insert(task.expect("a task").key.task.scheduled_event_id);
                }
                Withdrawal::InDelivery => {}
                Withdrawal::Gone => panic!("{item:?} is gone and was never answered"),
            }
        }
        assert!(self.deliveries.len() + offered < usize::MAX);
        there.extend(self.deliveries.iter().map(number));
        let lost: Vec<_> = self.wanted.iter().filter(|number| !there.contains(number)).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
    }

    /// With pollers enough and no more faults, all that is wanted is delivered.
    fn drain(&mut self) {
        let partitions = self.shape.partitions as usize;
        for round in 0.. {
            assert!(round < 10_000, "never drained: {:?}", self.wanted);
            if self.wanted.is_empty() && self.offers.is_empty() && self.deliveries.is_empty() {
                break;
            }
            self.do_next(Op::Poll { partition: (round % partitions) as u8 });
            self.decide_all();
            for op in [Op::Hand(0), Op::KeepAnswered(0), Op::BeginRead, Op::EndRead { index: 0, fails: false }] {
                self.do_next(op);
                self.decide_all();
            }
        }
    }
}

fn task(number: i64, level: u8) -> Task {
    Task {
        key: TaskKey {
            workflow_id: "w".into(),
            run_id: "r".into(),
            task: TaskRef { scheduled_event_id: number, attempt: 1, stamp: 0 },
        },
        priority: Some(Priority { priority_key: i32::from(level), ..Priority::default() }),
        scheduled_at: NOW,
        expires_at: None,
        request_id: None,
    }
}

fn take<T>(from: &mut Vec<T>, index: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(index % from.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_task_is_delivered_once_or_still_there(partitions in 1u32..5, ops in prop::collection::vec(op(), 1..150)) {
        let mut world = World::new(partitions);
        for op in ops {
            world.do_next(op);
            world.decide_all();
            world.check_nothing_is_lost();
        }
        world.drain();
    }
}
