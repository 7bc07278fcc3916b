//! The durable part of a partition: tasks that wait for a poller, by priority level and sequence.
//!
//! A page holds tasks of neighbouring sequences; a page is a row, and a header row lists the pages, so a partition is loaded
//! without a scan and one old task pins nothing but its page. A page is loaded when it is needed
//! ([`Rejected::Needs`]); one that is safe in its row and far from the front is evicted ([`Backlog::evict_clean`]).
//!
//! Which rows are dirty is not known here: the caller asks each change for what it touches ([`Change::touches`]).

mod change;
mod page;

use std::collections::{BTreeMap, BTreeSet};

use api::map_bytes;
use bytes::Bytes;
use ids::Timestamp;

use crate::stored::{Record, StoredHeader, StoredLevel, StoredRun};
use crate::{Corrupt, PerPriority, Position, PriorityLevel, Task};
pub use change::{Change, Touched};
use page::Page;
pub use page::PageId;

/// How many pages at the front of each level stay in memory: more than a queue's window reads ahead.
const FRONT_PAGES: usize = 12;

/// The inputs of a backlog.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Persist this task until it is acknowledged.
    Persist(Box<Task>),
    /// These tasks need not wait any longer. Unknown positions are ignored.
    Acknowledge(Vec<Position>),
    /// History may have recorded the task's start under this request id: keep it with the task.
    Remember {
        /// The task. An unknown position is ignored.
        position: Position,
        /// The request id.
        request_id: String,
    },
    /// Show up to `limit` tasks of each level that come after the given sequences.
    Read {
        /// The sequence after which to begin, per level.
        after: PerPriority<u64>,
        /// At most so many per level.
        limit: usize,
    },
    /// Say how much is waiting.
    Describe,
    /// The time has come to look for tasks that expired.
    WakeUp,
}

/// The answer to an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The task waits here.
    Persisted(Position),
    /// Acknowledged, or looked after.
    Done,
    /// What was read.
    Read(Reading),
    /// How much is waiting.
    Stats(BacklogStats),
}

/// Part of a backlog, as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The tasks, by position.
    pub tasks: Vec<(Position, Task)>,
    /// The last sequence that each level has given out.
    pub last: PerPriority<u64>,
    /// Whether the level has tasks after those that are in `tasks`.
    pub more: PerPriority<bool>,
}

/// How much is waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogStats {
    /// Tasks, per level.
    pub waiting: PerPriority<u64>,
    /// When the oldest task that is in memory was scheduled, per level: the front of each level is always in memory.
    pub oldest: PerPriority<Option<Timestamp>>,
}

impl BacklogStats {
    /// Tasks in all levels.
    pub fn total(&self) -> u64 {
        PriorityLevel::all().map(|level| self.waiting[level]).sum()
    }
}

/// Why an input did nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejected {
    /// These pages must be supplied first.
    Needs(Vec<PageId>, Input),
}

/// One level of a backlog.
#[derive(Clone, Debug, Default, PartialEq)]
struct PriorityBacklog {
    /// The last sequence given out.
    last: u64,
    /// Pages with tasks.
    pages: BTreeMap<u64, Page>,
    /// Tasks in all of them.
    waiting: u64,
}

/// The durable part of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    levels: PerPriority<PriorityBacklog>,
    /// Tasks in memory that expire, soonest first.
    expiries: BTreeSet<(Timestamp, Position)>,
    /// Rises each time that a task comes to an empty backlog.
    generation: u64,
    /// Bytes on the heap of tasks, and of the pages that hold them.
    weight: usize,
}

impl Backlog {
    /// The key of the header's row within the partition's rows.
    pub fn header_key() -> Bytes {
        Bytes::from_static(b"h")
    }

    /// Decides, and applies what was decided.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Result<(Vec<Change>, Reply), Rejected> {
        let (changes, reply) = self.decide(input, now)?;
        for change in &changes {
            let applied = self.apply(change);
            debug_assert_eq!(applied, Ok(()), "what was decided can be applied");
        }
        Ok((changes, reply))
    }

    /// What an input changes. Pure.
    pub fn decide(&self, input: Input, now: Timestamp) -> Result<(Vec<Change>, Reply), Rejected> {
        match input {
            Input::Persist(task) => self.decide_persist(task),
            Input::Acknowledge(positions) => self.decide_acknowledge(positions),
            Input::Remember { position, request_id } => self.decide_remember(position, request_id),
            Input::Read { after, limit } => self.decide_read(after, limit).map(|read| (Vec::new(), Reply::Read(read))),
            Input::Describe => Ok((Vec::new(), Reply::Stats(self.stats()))),
            Input::WakeUp => {
                let expired: Vec<_> =
                    self.expiries.iter().take_while(|(at, _)| *at <= now).map(|(_, at)| *at).collect();
                let changes = if expired.is_empty() { Vec::new() } else { vec![Change::Removed(expired)] };
                Ok((changes, Reply::Done))
            }
        }
    }

    fn decide_persist(&self, task: Box<Task>) -> Result<(Vec<Change>, Reply), Rejected> {
        let position = Position { level: task.level(), sequence: self.levels[task.level()].last + 1 };
        let page = PageId::of(position);
        if self.is_evicted(page) {
            return Err(Rejected::Needs(vec![page], Input::Persist(task)));
        }
        Ok((vec![Change::Added { sequence: position.sequence, task }], Reply::Persisted(position)))
    }

    fn decide_acknowledge(&self, positions: Vec<Position>) -> Result<(Vec<Change>, Reply), Rejected> {
        let needs: BTreeSet<_> =
            positions.iter().map(|at| PageId::of(*at)).filter(|page| self.is_evicted(*page)).collect();
        if !needs.is_empty() {
            return Err(Rejected::Needs(needs.into_iter().collect(), Input::Acknowledge(positions)));
        }
        let present: BTreeSet<_> = positions.into_iter().filter(|at| self.task(*at).is_some()).collect();
        let changes =
            if present.is_empty() { Vec::new() } else { vec![Change::Removed(present.into_iter().collect())] };
        Ok((changes, Reply::Done))
    }

    fn decide_remember(&self, position: Position, request_id: String) -> Result<(Vec<Change>, Reply), Rejected> {
        let page = PageId::of(position);
        if self.is_evicted(page) {
            return Err(Rejected::Needs(vec![page], Input::Remember { position, request_id }));
        }
        let task = self.task(position).filter(|task| task.request_id.as_ref() != Some(&request_id));
        let change = task.map(|task| {
            let task = Task { request_id: Some(request_id), ..task.clone() };
            Change::Replaced { sequence: position.sequence, task: Box::new(task) }
        });
        Ok((change.into_iter().collect(), Reply::Done))
    }

    fn decide_read(&self, after: PerPriority<u64>, limit: usize) -> Result<Reading, Rejected> {
        let mut reading = Reading::default();
        let mut needs = Vec::new();
        for level in PriorityLevel::all() {
            let at_level = &self.levels[level];
            reading.last[level] = at_level.last;
            let first = PageId::of(Position { level, sequence: after[level] }).number;
            let mut taken = 0;
            for (number, page) in at_level.pages.range(first..) {
                match page {
                    Page::Evicted(tasks) => {
                        if taken < limit {
                            needs.push(PageId { level, number: *number });
                        } else {
                            reading.more[level] = true;
                            break;
                        }
                        taken += *tasks as usize;
                    }
                    Page::Resident(tasks) => {
                        let rest = tasks.range(after[level] + 1..);
                        for (sequence, task) in rest {
                            if taken == limit {
                                reading.more[level] = true;
                                break;
                            }
                            taken += 1;
                            reading.tasks.push((Position { level, sequence: *sequence }, task.clone()));
                        }
                    }
                }
                if reading.more[level] {
                    break;
                }
            }
        }
        if needs.is_empty() { Ok(reading) } else { Err(Rejected::Needs(needs, Input::Read { after, limit })) }
    }

    /// Applies a change. Applying it again makes no difference, so a log's tail may be applied over pages that hold
    /// a part of it, each another part. All pages that the change touches must be resident, unless they begin with it.
    pub fn apply(&mut self, change: &Change) -> Result<(), Corrupt> {
        match change {
            Change::Added { sequence, task } => {
                if self.is_empty() {
                    self.generation += 1;
                }
                let position = Position { level: task.level(), sequence: *sequence };
                if PageId::is_first(*sequence) && self.is_evicted(PageId::of(position)) {
                    // Only the log's tail begins a page that a header knows already, which a former owner wrote late.
                    self.load_page(PageId::of(position), None)?;
                }
                self.insert(position, (**task).clone())
            }
            Change::Replaced { sequence, task } => {
                self.insert(Position { level: task.level(), sequence: *sequence }, (**task).clone())
            }
            Change::Removed(positions) => positions.iter().try_for_each(|position| self.remove(*position)),
        }
    }

    fn insert(&mut self, position: Position, task: Task) -> Result<(), Corrupt> {
        let at_level = &mut self.levels[position.level];
        at_level.last = at_level.last.max(position.sequence);
        let page = at_level.pages.entry(PageId::of(position).number).or_insert_with(Page::new);
        let Page::Resident(tasks) = page else { return Err(not_resident(position)) };
        let (heap_bytes, expires_at) = (task.heap_bytes(), task.expires_at);
        self.weight -= map_bytes::<u64, Task>(tasks.len());
        if let Some(former) = tasks.insert(position.sequence, task) {
            self.weight -= former.heap_bytes();
            self.expiries.remove(&(former.expires_at.unwrap_or_default(), position));
        } else {
            at_level.waiting += 1;
        }
        self.weight += heap_bytes + map_bytes::<u64, Task>(tasks.len());
        self.expiries.extend(expires_at.map(|at| (at, position)));
        Ok(())
    }

    fn remove(&mut self, position: Position) -> Result<(), Corrupt> {
        let id = PageId::of(position);
        let at_level = &mut self.levels[id.level];
        let Some(page) = at_level.pages.get_mut(&id.number) else { return Ok(()) };
        let Page::Resident(tasks) = page else { return Err(not_resident(position)) };
        let Some(task) = tasks.remove(&position.sequence) else { return Ok(()) };
        self.weight -= map_bytes::<u64, Task>(tasks.len() + 1);
        self.weight += map_bytes::<u64, Task>(tasks.len());
        at_level.waiting -= 1;
        self.weight -= task.heap_bytes();
        if let Some(at) = task.expires_at {
            self.expiries.remove(&(at, position));
        }
        if tasks.is_empty() {
            at_level.pages.remove(&id.number);
        }
        Ok(())
    }

    fn task(&self, position: Position) -> Option<&Task> {
        let id = PageId::of(position);
        match self.levels[id.level].pages.get(&id.number)? {
            Page::Resident(tasks) => tasks.get(&position.sequence),
            Page::Evicted(_) => None,
        }
    }

    fn is_evicted(&self, id: PageId) -> bool {
        matches!(self.levels[id.level].pages.get(&id.number), Some(Page::Evicted(_)))
    }

    /// How much is waiting.
    pub fn stats(&self) -> BacklogStats {
        let mut stats = BacklogStats::default();
        for level in PriorityLevel::all() {
            let at_level = &self.levels[level];
            stats.waiting[level] = at_level.waiting;
            let here = at_level.pages.values().find_map(|page| match page {
                Page::Resident(tasks) => tasks.values().next(),
                Page::Evicted(_) => None,
            });
            stats.oldest[level] = here.map(|task| task.scheduled_at);
        }
        stats
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        PriorityLevel::all().all(|level| self.levels[level].waiting == 0)
    }

    /// While tasks wait: a number that is the same until none do, and another when some do again.
    pub fn owed(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.generation)
    }

    /// When the next task in memory expires.
    pub fn next_wake_up(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Bytes that it holds on the heap. Costs no more for a large one.
    pub fn weight(&self) -> usize {
        let pages: usize =
            PriorityLevel::all().map(|level| map_bytes::<u64, Page>(self.levels[level].pages.len())).sum();
        self.weight + pages + map_bytes::<(Timestamp, Position), ()>(self.expiries.len())
    }
}

fn not_resident(position: Position) -> Corrupt {
    Corrupt(format!("a change touches {position:?}, whose page is not in memory"))
}

/// Rows.
impl Backlog {
    /// From the header's row: no page is resident yet.
    pub fn from_header(bytes: &[u8]) -> Result<Self, Corrupt> {
        let header = StoredHeader::from_bytes(bytes)?;
        let mut backlog = Self { generation: header.generation, ..Self::default() };
        for (level, stored) in PriorityLevel::all().zip(header.levels) {
            let at_level = &mut backlog.levels[level];
            at_level.last = stored.last;
            for run in stored.runs {
                let end = run.first.checked_add(run.pages).filter(|_| run.tasks_each > 0);
                let end = end.ok_or_else(|| Corrupt(format!("task queue header lists pages {run:?}")))?;
                at_level.waiting = at_level.waiting.saturating_add(u64::from(run.tasks_each).saturating_mul(run.pages));
                let away = || Page::Evicted(run.tasks_each);
                at_level.pages.extend((run.first..end).map(|number| (number, away())));
            }
        }
        Ok(backlog)
    }

    /// The pages that are only in their rows.
    pub fn evicted_pages(&self) -> Vec<PageId> {
        let away = |level| {
            let pages = self.levels[level].pages.iter();
            pages
                .filter(|(_, page)| matches!(page, Page::Evicted(_)))
                .map(move |(number, _)| PageId { level, number: *number })
        };
        PriorityLevel::all().flat_map(away).collect()
    }

    /// Loads a page from its row; a resident page stays as it is. A page without a row is an empty one. A page
    /// that the header does not list is taken all the same: the header's row may be newer than the page's, or older.
    pub fn load_page(&mut self, id: PageId, row: Option<&[u8]>) -> Result<(), Corrupt> {
        let tasks = row.map_or(Ok(BTreeMap::new()), |bytes| Page::decode(id, bytes))?;
        let at_level = &mut self.levels[id.level];
        let before = match at_level.pages.get(&id.number) {
            Some(Page::Resident(_)) => return Ok(()),
            Some(Page::Evicted(tasks)) => u64::from(*tasks),
            None => 0,
        };
        at_level.waiting = at_level.waiting.saturating_sub(before) + tasks.len() as u64;
        if tasks.is_empty() {
            at_level.pages.remove(&id.number);
            return Ok(());
        }
        for (sequence, task) in &tasks {
            at_level.last = at_level.last.max(*sequence);
            self.weight += task.heap_bytes();
            self.expiries.extend(task.expires_at.map(|at| (at, Position { level: id.level, sequence: *sequence })));
        }
        self.weight += map_bytes::<u64, Task>(tasks.len());
        at_level.pages.insert(id.number, Page::Resident(tasks));
        Ok(())
    }

    /// A page as its row holds it; `None` for one without tasks, which has no row, or that is only in its row.
    pub fn encode_page(&self, id: PageId) -> Option<Bytes> {
        match self.levels[id.level].pages.get(&id.number)? {
            Page::Resident(tasks) => Some(Page::encode(tasks)),
            Page::Evicted(_) => None,
        }
    }

    /// The header as its row holds it.
    pub fn encode_header(&self) -> Bytes {
        let levels = PriorityLevel::all().map(|level| {
            let at_level = &self.levels[level];
            let mut runs: Vec<StoredRun> = Vec::new();
            for (number, page) in &at_level.pages {
                let tasks_each = page.len() as u32;
                match runs.last_mut() {
                    Some(run) if run.first + run.pages == *number && run.tasks_each == tasks_each => run.pages += 1,
                    _ => runs.push(StoredRun { first: *number, pages: 1, tasks_each }),
                }
            }
            StoredLevel { last: at_level.last, runs }
        });
        StoredHeader { levels: levels.collect(), generation: self.generation, ..Default::default() }.to_bytes()
    }

    /// Evicts pages that are safe in their rows, except those at the front and the last, to which tasks are added.
    pub fn evict_clean(&mut self, is_safe: impl Fn(PageId) -> bool) {
        for level in PriorityLevel::all() {
            let at_level = &mut self.levels[level];
            let last = PageId::of(Position { level, sequence: at_level.last + 1 }).number;
            for (number, page) in at_level.pages.iter_mut().skip(FRONT_PAGES) {
                let Page::Resident(tasks) = page else { continue };
                if *number == last || !is_safe(PageId { level, number: *number }) {
                    continue;
                }
                for (sequence, task) in tasks.iter() {
                    self.weight -= task.heap_bytes();
                    if let Some(at) = task.expires_at {
                        self.expiries.remove(&(at, Position { level, sequence: *sequence }));
                    }
                }
                self.weight -= map_bytes::<u64, Task>(tasks.len());
                *page = Page::Evicted(tasks.len() as u32);
            }
        }
    }

    /// Checks what must always hold; the error names what does not.
    pub fn invariants(&self) -> Result<(), String> {
        let mut weight = 0;
        let mut expiries = BTreeSet::new();
        for level in PriorityLevel::all() {
            let at_level = &self.levels[level];
            let waiting: usize = at_level.pages.values().map(Page::len).sum();
            if waiting as u64 != at_level.waiting {
                return Err(format!("level {level:?} counts {} tasks and has {waiting}", at_level.waiting));
            }
            for (number, page) in &at_level.pages {
                if page.len() == 0 {
                    return Err(format!("page {number} of {level:?} is empty"));
                }
                let Page::Resident(tasks) = page else { continue };
                weight += map_bytes::<u64, Task>(tasks.len());
                for (sequence, task) in tasks {
                    let position = Position { level, sequence: *sequence };
                    if *sequence > at_level.last || PageId::of(position).number != *number || task.level() != level {
                        return Err(format!("task {position:?} is out of place"));
                    }
                    weight += task.heap_bytes();
                    expiries.extend(task.expires_at.map(|at| (at, position)));
                }
            }
        }
        if weight != self.weight || expiries != self.expiries {
            return Err("weight or expiries do not fit the tasks in memory".to_owned());
        }
        Ok(())
    }
}
