//! A backlog whose rows lie on replicas: a reader finds what was acknowledged, or anything of a higher rank that was written
//! ever, each row by itself; and the log holds what no acknowledged checkpoint of its present owner carries. Of two writes
//! the one of the higher version ranks higher; of one version a put, and of two puts the larger, as on Cassandra.

use std::collections::BTreeMap;
use std::sync::Arc;

use entities::Resident;
use ids::WallClock;
use proptest::prelude::*;
use storage::{Row, Seq};
use taskqueue::{PerPriority, Position};

use super::backlog_test::{task, vacant};
use super::*;

/// A write of a row: what ranks higher is greater. No value is a delete.
type Written = (u64, Option<Bytes>);

/// A row as its replicas have it: what all readers find, and what a reader may find that outranks it.
#[derive(Debug, Default)]
struct Replicas {
    acknowledged: Written,
    torn: Vec<Written>,
}

impl Replicas {
    fn write(&mut self, written: Written, is_acknowledged: bool) {
        if is_acknowledged {
            self.acknowledged = self.acknowledged.clone().max(written);
        } else {
            self.torn.push(written);
        }
        self.torn.retain(|torn| *torn > self.acknowledged);
    }
}

struct World {
    key: EntityKey,
    backlog: Resident<PartitionKind>,
    rows: BTreeMap<Bytes, Replicas>,
    tail: Vec<(Seq, Bytes)>,
    /// The last position of the log.
    last: u64,
    /// That of the backlog's latest change, and the first that its present owner appended at.
    last_change: u64,
    first: u64,
    expected: BTreeMap<Position, i64>,
    number: i64,
    luck: Vec<usize>,
    /// Rows that the present owner read when it took over.
    read: usize,
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
            last_change: 0,
            first: 0,
            expected: BTreeMap::new(),
            number: 0,
            luck: Vec::new(),
            read: 0,
        }
    }
}

/// What a reader finds, by luck.
fn find(rows: &BTreeMap<Bytes, Replicas>, key: &Bytes, luck: &mut dyn Iterator<Item = usize>) -> Option<Row> {
    let row = rows.get(key)?;
    let found: Vec<_> = std::iter::once(&row.acknowledged).chain(&row.torn).collect();
    let (version, value) = found[luck.next().unwrap_or(0) % found.len()].clone();
    Some(Row { key: key.clone(), value: value?, version })
}

impl World {
    fn ask(&mut self, mut input: Input) -> Reply {
        let env = Env { now: Timestamp::EPOCH, wall: WallClock::in_step(Timestamp::EPOCH), seed: 0 };
        loop {
            match self.backlog.step(&self.key, input, &env) {
                Ok(Transition { changes, reply, .. }) => {
                    if !changes.is_empty() {
                        self.last += 1;
                        self.last_change = self.last;
                    }
                    self.tail.extend(changes.iter().map(|change| (Seq(self.last), change.encode())));
                    return reply;
                }
                Err(Refusal::Needs(_, again)) => {
                    let mut rows = Vec::new();
                    for address in self.backlog.needs(&self.key) {
                        if !self.luck.is_empty() {
                            self.luck.rotate_left(1);
                        }
                        rows.push(find(&self.rows, &address.key, &mut self.luck.iter().copied()));
                    }
                    self.backlog.supply(&self.key, rows).expect("sound rows");
                    input = again;
                }
                Err(Refusal::Rejected(never)) => match never {},
            }
        }
    }

    fn persist(&mut self, level: u8) {
        self.number += 1;
        let Reply::Persisted(at) = self.ask(Input::Persist(Box::new(task(self.number, level, None)))) else {
            panic!("not persisted")
        };
        self.expected.insert(at, self.number);
    }

    fn acknowledge(&mut self, first: usize, step: usize, count: usize) {
        let positions: Vec<_> = self.expected.keys().copied().skip(first).step_by(step).take(count).collect();
        self.expected.retain(|at, _| !positions.contains(at));
        self.ask(Input::Acknowledge(positions));
    }

    /// Writes what is dirty. Unless all readers find it from now on, the log keeps everything.
    fn checkpoint(&mut self, is_acknowledged: bool, is_trimmed: bool) {
        let version = self.last_change.max(self.first);
        let writes = self.backlog.take_dirty(&self.key, version);
        if writes.is_empty() {
            return;
        }
        for write in writes {
            let deletes = write.deletes.into_iter().map(|key| (key, None));
            for (key, value) in write.puts.into_iter().map(|(key, value)| (key, Some(value))).chain(deletes) {
                self.rows.entry(key).or_default().write((version, value), is_acknowledged);
            }
        }
        if is_acknowledged {
            self.backlog.written();
        }
        if is_trimmed {
            self.tail.clear();
        }
    }

    fn take_over(&mut self, luck: &[usize]) {
        let mut luck = luck.iter().copied().cycle();
        self.read = 0;
        let found = |address: &RowAddress| {
            self.read += 1;
            find(&self.rows, &address.key, &mut luck)
        };
        self.backlog = Resident::load(Arc::new(PartitionKind), &self.key, &self.tail, found).expect("sound rows");
        self.luck = luck.by_ref().take(8).collect();
        // A new owner writes at positions of its own.
        self.last += 1;
        self.first = self.last;
        assert_eq!(self.backlog.state().invariants(), Ok(()));
    }

    /// The rows that a checkpoint would put now.
    fn puts(&mut self) -> Vec<(Bytes, Bytes)> {
        let writes = self.backlog.take_dirty(&self.key, self.first);
        writes.into_iter().flat_map(|write| write.puts).collect()
    }

    fn check(&mut self) {
        let input = Input::Read { after: PerPriority::default(), limit: usize::MAX };
        let Reply::Read(read) = self.ask(input) else { panic!("not read") };
        let found: BTreeMap<_, _> =
            read.tasks.iter().map(|(at, task)| (*at, task.key.task.scheduled_event_id)).collect();
        assert_eq!(found, self.expected);
        assert_eq!(self.backlog.state().stats().total(), self.expected.len() as u64);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Persist(u8, u16),
    Acknowledge(usize, usize, usize),
    Checkpoint {
        is_trimmed: bool,
    },
    /// The owner dies, perhaps while it writes a checkpoint, and another one takes over.
    Die {
        is_writing: bool,
        luck: Vec<usize>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let luck = || prop::collection::vec(0usize..6, 1..8);
    prop_oneof![
        4 => (2u8..=3, 1u16..120).prop_map(|(level, count)| Op::Persist(level, count)),
        4 => (0usize..80, 1usize..9, 1usize..150).prop_map(|(first, step, count)| Op::Acknowledge(first, step, count)),
        2 => any::<bool>().prop_map(|is_trimmed| Op::Checkpoint { is_trimmed }),
        3 => (any::<bool>(), luck()).prop_map(|(is_writing, luck)| Op::Die { is_writing, luck }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whichever_replicas_a_new_owner_reads_it_finds_what_waits(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::default();
        for op in ops {
            match op {
                Op::Persist(level, count) => (0..count).for_each(|_| world.persist(level)),
                Op::Acknowledge(first, step, count) => world.acknowledge(first, step, count),
                Op::Checkpoint { is_trimmed } => world.checkpoint(true, is_trimmed),
                Op::Die { is_writing, luck } => {
                    if is_writing {
                        world.checkpoint(false, false);
                    }
                    world.take_over(&luck);
                    world.check();
                }
            }
        }
        world.check();
        world.acknowledge(0, 1, usize::MAX);
        world.checkpoint(true, true);
        let left: Vec<_> = world.rows.iter().filter(|(_, row)| std::iter::once(&row.acknowledged).chain(&row.torn).any(|(_, value)| value.is_some())).collect();
        prop_assert!(left.len() <= 1, "only the header is left, not {left:?}");
    }
}

#[test]
fn taking_over_writes_again_what_the_tail_touched_and_no_more() {
    let mut world = World::default();
    (0..1_000).for_each(|_| world.persist(3));
    world.checkpoint(true, true);
    world.persist(3);
    world.acknowledge(0, 1, 1);
    world.take_over(&[0]);
    assert_eq!(world.read, 3, "the header, the first page, and the last one");
    assert_eq!(world.puts().len(), 3, "the first page, the last one, and the header");
    world.take_over(&[0]);
    world.check();
}

#[test]
fn a_long_tail_whose_pages_were_written_makes_no_large_header() {
    let mut world = World::default();
    (0..50).for_each(|_| world.persist(3));
    world.checkpoint(true, true);
    (0..10_000).for_each(|_| world.persist(3));
    world.acknowledge(2_000, 2, 4_000);
    world.checkpoint(true, false);
    let total: usize = world.tail.iter().map(|(_, change)| change.len()).sum();
    world.take_over(&[0]);
    assert_eq!(world.read, 2, "the header, and the page that was there before: all others begin in the tail");
    let rows = world.puts();
    let (_, header) = rows.iter().find(|(key, _)| *key == Backlog::header_key()).expect("a header");
    assert!(header.len() < 4_000 && total > 250_000, "a header of {} bytes, after a tail of {total}", header.len());
    assert!(rows.iter().all(|(_, row)| row.len() < 4_000));
    world.check();
}
