//! A backlog against a plain list, through checkpoints, shedding and recovery.

use std::collections::{BTreeMap, VecDeque};

use api::temporal::api::common::v1::Priority;
use proptest::prelude::*;

use super::*;

fn task(number: i64, level: u8, expires_at: Option<i64>) -> Task {
    Task {
        workflow_id: format!("workflow-{number}").into(),
        run_id: "r".into(),
        scheduled_event_id: number,
        attempt: 1,
        stamp: 2,
        priority: Some(Priority { priority_key: i32::from(level), ..Priority::default() }),
        scheduled_at: Timestamp::from_millis(number),
        expires_at: expires_at.map(Timestamp::from_millis),
        request_id: (number % 3 == 0).then(|| "again".to_owned()),
    }
}

/// A backlog with its rows and the log since the last checkpoint, beside what it should hold.
#[derive(Default)]
struct World {
    backlog: Backlog,
    rows: BTreeMap<Bytes, Bytes>,
    tail: Vec<Bytes>,
    expected: BTreeMap<Position, Task>,
    order: VecDeque<Position>,
    now: i64,
    number: i64,
}

impl World {
    fn ask(&mut self, mut input: Input) -> Reply {
        loop {
            match self.backlog.step(input, Timestamp::from_millis(self.now)) {
                Ok((changes, reply)) => {
                    self.tail.extend(changes.iter().map(Change::encode));
                    return reply;
                }
                Err(Rejected::Needs(pages, again)) => {
                    for page in pages {
                        self.backlog
                            .supply(page, self.rows.get(&page.row_key()).map(|row| &**row))
                            .expect("a sound row");
                    }
                    input = again;
                }
            }
        }
    }

    fn keep(&mut self, level: u8, expires_in: Option<i64>) {
        self.number += 1;
        let task = task(self.number, level, expires_in.map(|millis| self.now + millis));
        let Reply::Kept(position) = self.ask(Input::Keep(Box::new(task.clone()))) else { panic!("not kept") };
        assert_eq!(self.expected.insert(position, task), None, "positions are used once");
        self.order.push_back(position);
    }

    fn checkpoint(&mut self) {
        let Some(rows) = self.backlog.take_dirty() else { return };
        for key in rows.deletes {
            self.rows.remove(&key);
        }
        self.rows.extend(rows.puts);
        self.tail.clear();
        self.backlog.shed();
    }

    fn recover(&mut self) {
        let header = self.rows.get(&Backlog::header_key());
        self.backlog = header.map_or_else(Backlog::default, |row| Backlog::from_header(row).expect("a sound header"));
        for page in self.backlog.pages_away() {
            assert_eq!(PageId::of_row_key(&page.row_key()), Some(page));
        }
        for change in &self.tail {
            self.backlog.apply(&Change::decode(change).expect("a sound change")).expect("an applicable change");
        }
        self.backlog.distrust_header();
    }

    fn check(&mut self) {
        assert_eq!(self.backlog.invariants(), Ok(()));
        let limit = usize::MAX;
        let Reply::Read(read) = self.ask(Input::Read { after: Levels::default(), limit }) else { panic!("not read") };
        let expected: Vec<_> = self.expected.iter().map(|(position, task)| (*position, task.clone())).collect();
        assert_eq!(read.tasks, expected);
        assert_eq!(self.backlog.standing().total(), expected.len() as u64);
        assert_eq!(self.backlog.owed().is_some(), !expected.is_empty());
        assert_eq!(self.backlog.invariants(), Ok(()));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Keep(u8, u16),
    KeepExpiring(u8, i64),
    AcknowledgeFirst(u16),
    AcknowledgeAny(prop::sample::Index),
    Advance(i64),
    Checkpoint,
    Recover,
    Check,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1u8..=5, 1u16..300).prop_map(|(level, count)| Op::Keep(level, count)),
        2 => (1u8..=5, 1i64..50).prop_map(|(level, millis)| Op::KeepExpiring(level, millis)),
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
                Op::Keep(level, count) => (0..count).for_each(|_| world.keep(level, None)),
                Op::KeepExpiring(level, millis) => world.keep(level, Some(millis)),
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
                    // Tasks in pages that are away expire once they are brought in.
                    world.check_in_everything();
                    while world.backlog.next_wake_up().is_some_and(|at| at <= now) {
                        world.ask(Input::WakeUp);
                    }
                    world.expected.retain(|_, task| !task.is_expired(now));
                    world.order.retain(|position| world.expected.contains_key(position));
                }
                Op::Checkpoint => world.checkpoint(),
                Op::Recover => world.recover(),
                Op::Check => world.check(),
            }
            prop_assert_eq!(world.backlog.invariants(), Ok(()));
        }
        world.recover();
        world.check();
        world.ask(Input::Acknowledge(world.expected.keys().copied().collect()));
        world.checkpoint();
        prop_assert_eq!(world.rows.len(), 1, "only the header is left");
        prop_assert_eq!(world.backlog.weight(), Backlog::default().weight());
    }
}

impl World {
    fn check_in_everything(&mut self) {
        for page in self.backlog.pages_away() {
            self.backlog.supply(page, self.rows.get(&page.row_key()).map(|row| &**row)).expect("a sound row");
        }
    }
}

#[test]
fn a_long_backlog_takes_little_memory_once_it_is_in_its_rows() {
    let mut world = World::default();
    for _ in 0..20_000 {
        world.keep(3, None);
    }
    let full = world.backlog.weight();
    world.checkpoint();
    let shed = world.backlog.weight();
    assert!(shed * 20 < full, "{shed} of {full} bytes stayed");
    let header = world.rows[&Backlog::header_key()].len();
    assert!(header < 100, "a header of {header} bytes for a backlog without gaps");
    world.check();
}

#[test]
fn reading_goes_on_where_the_last_reading_ended() {
    let mut world = World::default();
    for number in 0..1_000 {
        world.keep(1 + (number % 2) as u8, None);
    }
    world.checkpoint();
    let mut after = Levels::default();
    let mut seen = 0;
    loop {
        let Reply::Read(read) = world.ask(Input::Read { after, limit: 64 }) else { panic!("not read") };
        for (position, _) in &read.tasks {
            assert_eq!(position.order, after[position.level] + 1);
            after[position.level] = position.order;
            seen += 1;
        }
        if Level::all().all(|level| !read.more[level]) {
            break;
        }
    }
    assert_eq!(seen, 1_000);
}

#[test]
fn a_change_applied_twice_makes_no_difference() {
    let mut world = World::default();
    world.keep(3, Some(5));
    world.keep(2, None);
    let tail = world.tail.clone();
    for change in tail {
        world.backlog.apply(&Change::decode(&change).expect("a sound change")).expect("an applicable change");
    }
    world.check();
}
