//! A backlog against a plain list, through checkpoints, shedding and recovery.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use api::temporal::api::common::v1::Priority;
use entities::Resident;
use ids::{TaskKey, TaskRef, WallClock};
use proptest::prelude::*;
use storage::{Row, Seq};
use taskqueue::{PerPriority, Position, PriorityLevel, Task};

use super::*;

pub(super) fn task(number: i64, level: u8, expires_at: Option<i64>) -> Task {
    Task {
        key: TaskKey {
            workflow_id: format!("workflow-{number}").into(),
            run_id: "r".into(),
            task: TaskRef { scheduled_event_id: number, attempt: 1, stamp: 2 },
        },
        priority: Some(Priority { priority_key: i32::from(level), ..Priority::default() }),
        scheduled_at: Timestamp::from_millis(number),
        expires_at: expires_at.map(Timestamp::from_millis),
        request_id: (number % 3 == 0).then(|| "again".to_owned()),
    }
}

/// A backlog in which nothing ever was, by its key.
pub(super) fn vacant() -> (EntityKey, Resident<PartitionKind>) {
    let key = EntityKey::of::<PartitionKind>("n", "w/0/q");
    let backlog = Resident::load(Arc::new(PartitionKind), &key, &[], |_| None).expect("nothing to be unsound");
    (key, backlog)
}

/// A backlog with its rows and the log since the last checkpoint, beside what it should hold.
struct World {
    key: EntityKey,
    backlog: Resident<PartitionKind>,
    rows: BTreeMap<Bytes, Row>,
    tail: Vec<(Seq, Bytes)>,
    last: u64,
    expected: BTreeMap<Position, Task>,
    order: VecDeque<Position>,
    now: i64,
    number: i64,
}

impl Default for World {
    fn default() -> Self {
        let (key, backlog) = vacant();
        Self {
            key,
            backlog,
            rows: BTreeMap::new(),
            tail: Vec::new(),
            last: 0,
            expected: BTreeMap::new(),
            order: VecDeque::new(),
            now: 0,
            number: 0,
        }
    }
}

impl World {
    fn ask(&mut self, mut input: Input) -> Reply {
        loop {
            let now = Timestamp::from_millis(self.now);
            let env = Env { now, wall: WallClock::in_step(now), seed: 0 };
            match self.backlog.step(&self.key, input, &env) {
                Ok(Transition { changes, reply, .. }) => {
                    self.last += u64::from(!changes.is_empty());
                    self.tail.extend(changes.iter().map(|change| (Seq(self.last), change.encode())));
                    return reply;
                }
                Err(Refusal::Needs(_, again)) => {
                    let needs = self.backlog.needs(&self.key);
                    let rows = needs.iter().map(|address| self.rows.get(&address.key).cloned()).collect();
                    self.backlog.supply(&self.key, rows).expect("sound rows");
                    input = again;
                }
                Err(Refusal::Rejected(never)) => match never {},
            }
        }
    }

    fn persist(&mut self, level: u8, expires_in: Option<i64>) {
        self.number += 1;
        let task = task(self.number, level, expires_in.map(|millis| self.now + millis));
        let Reply::Persisted(position) = self.ask(Input::Persist(Box::new(task.clone()))) else {
            panic!("not persisted")
        };
        assert_eq!(self.expected.insert(position, task), None, "positions are used once");
        self.order.push_back(position);
    }

    fn checkpoint(&mut self) {
        for write in self.backlog.take_dirty(&self.key, self.last) {
            for key in write.deletes {
                self.rows.remove(&key);
            }
            let rows = write.puts.into_iter().map(|(key, value)| (key.clone(), Row { key, value, version: self.last }));
            self.rows.extend(rows);
        }
        self.tail.clear();
        self.backlog.written();
    }

    fn recover(&mut self) {
        for page in self.backlog.state().evicted_pages() {
            assert_eq!(PageId::of_row_key(&page.row_key()), Some(page));
        }
        let find = |address: &RowAddress| self.rows.get(&address.key).cloned();
        self.backlog = Resident::load(Arc::new(PartitionKind), &self.key, &self.tail, find).expect("sound rows");
    }

    fn check(&mut self) {
        assert_eq!(self.backlog.state().invariants(), Ok(()));
        let limit = usize::MAX;
        let Reply::Read(read) = self.ask(Input::Read { after: PerPriority::default(), limit }) else {
            panic!("not read")
        };
        let expected: Vec<_> = self.expected.iter().map(|(position, task)| (*position, task.clone())).collect();
        assert_eq!(read.tasks, expected);
        assert_eq!(self.backlog.state().stats().total(), expected.len() as u64);
        assert_eq!(self.backlog.state().owed().is_some(), !expected.is_empty());
        assert_eq!(self.backlog.state().invariants(), Ok(()));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Persist(u8, u16),
    PersistExpiring(u8, i64),
    AcknowledgeFirst(u16),
    AcknowledgeAny(prop::sample::Index),
    Advance(i64),
    Checkpoint,
    Recover,
    Check,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1u8..=5, 1u16..300).prop_map(|(level, count)| Op::Persist(level, count)),
        2 => (1u8..=5, 1i64..50).prop_map(|(level, millis)| Op::PersistExpiring(level, millis)),
        2 => (1u16..400).prop_map(Op::AcknowledgeFirst),
        3 => any::<prop::sample::Index>().prop_map(Op::AcknowledgeAny),
        1 => (1i64..40).prop_map(Op::Advance),
        3 => Just(Op::Checkpoint),
        2 => Just(Op::Recover),
        1 => Just(Op::Check),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_kept_and_not_acknowledged_is_there_whatever_happens(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::default();
        for op in ops {
            match op {
                Op::Persist(level, count) => (0..count).for_each(|_| world.persist(level, None)),
                Op::PersistExpiring(level, millis) => world.persist(level, Some(millis)),
                Op::AcknowledgeFirst(count) => {
                    let count = usize::from(count).min(world.order.len());
                    let first: Vec<_> = world.order.drain(..count).collect();
                    world.expected.retain(|position, _| !first.contains(position));
                    world.ask(Input::Acknowledge(first));
                }
                Op::AcknowledgeAny(index) if !world.order.is_empty() => {
                    let at = index.index(world.order.len());
                    let position = world.order.remove(at).expect("in range");
                    world.expected.remove(&position);
                    world.ask(Input::Acknowledge(vec![position, position]));
                    let Reply::Done = world.ask(Input::Acknowledge(vec![position])) else { panic!("not done") };
                }
                Op::AcknowledgeAny(_) => {}
                Op::Advance(millis) => {
                    world.now += millis;
                    let now = Timestamp::from_millis(world.now);
                    // Tasks in evicted pages expire once they are loaded.
                    world.check_in_everything();
                    while world.backlog.state().next_wake_up().is_some_and(|at| at <= now) {
                        world.ask(Input::WakeUp);
                    }
                    world.expected.retain(|_, task| !task.is_expired(now));
                    world.order.retain(|position| world.expected.contains_key(position));
                }
                Op::Checkpoint => world.checkpoint(),
                Op::Recover => world.recover(),
                Op::Check => world.check(),
            }
            prop_assert_eq!(world.backlog.state().invariants(), Ok(()));
        }
        world.recover();
        world.check();
        world.ask(Input::Acknowledge(world.expected.keys().copied().collect()));
        world.checkpoint();
        prop_assert_eq!(world.rows.len(), usize::from(world.number > 0), "only the header is left");
        prop_assert_eq!(world.backlog.state().weight(), Backlog::default().weight());
    }
}

impl World {
    fn check_in_everything(&mut self) {
        self.ask(Input::Read { after: PerPriority::default(), limit: usize::MAX });
    }
}

#[test]
fn a_long_backlog_takes_little_memory_once_it_is_in_its_rows() {
    let mut world = World::default();
    for _ in 0..20_000 {
        world.persist(3, None);
    }
    let full = world.backlog.state().weight();
    world.checkpoint();
    let shed = world.backlog.state().weight();
    assert!(shed * 20 < full, "{shed} of {full} bytes stayed");
    let header = world.rows[&Backlog::header_key()].value.len();
    assert!(header < 100, "a header of {header} bytes for a backlog without gaps");
    world.check();
}

#[test]
fn reading_goes_on_where_the_last_reading_ended() {
    let mut world = World::default();
    for number in 0..1_000 {
        world.persist(1 + (number % 2) as u8, None);
    }
    world.checkpoint();
    let mut after = PerPriority::default();
    let mut seen = 0;
    loop {
        let Reply::Read(read) = world.ask(Input::Read { after, limit: 64 }) else { panic!("not read") };
        for (position, _) in &read.tasks {
            assert_eq!(position.sequence, after[position.level] + 1);
            after[position.level] = position.sequence;
            seen += 1;
        }
        if PriorityLevel::all().all(|level| !read.more[level]) {
            break;
        }
    }
    assert_eq!(seen, 1_000);
}

#[test]
fn a_change_applied_twice_makes_no_difference() {
    let mut world = World::default();
    world.persist(3, Some(5));
    world.persist(2, None);
    let mut again = Backlog::default();
    for (_, change) in world.tail.iter().chain(&world.tail) {
        again.apply(&Change::decode(change).expect("a sound change")).expect("an applicable change");
    }
    assert_eq!(again, *world.backlog.state());
    world.check();
}
