//! The volatile part of a queue: pollers, offers and queries that wait, and windows over the backlogs of its partitions.
//!
//! It decides which item meets which poller; its owner carries the decisions out and reports how they ended. A decision takes both sides
//! out of the queue, so nothing is delivered to two pollers and no poller is given two things. Partitions form a tree: within
//! a partition its own pollers and items meet first; what finds no counterpart there is forwarded to the parent and meets
//! what came up from the other branches.

mod partition;
mod rate;

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::Timestamp;

use crate::{PerPriority, Position, PriorityLevel, Reading, Task};
use partition::{Partition, Rank, Turn, Window};
use rate::TokenBucket;

/// Names a poll. Rises with arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollerId(u64);

/// Names an item: a task or query in this queue. Rises with arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(u64);

/// Sizes of a queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueShape {
    /// How many partitions polls and offers are spread over. There may be more, with backlogs of former times.
    pub partitions: u32,
    /// How many children a partition has in the forwarding tree.
    pub fan_out: u32,
    /// How many tasks of a level and partition the window holds.
    pub window: usize,
    /// Whether partitions have backlogs. A sticky queue's do not.
    pub durable: bool,
}

/// Where an item comes from, and so where its end is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An offer whose caller waits.
    Offer,
    /// The backlog of the item's partition.
    Backlog(Position),
    /// A query.
    Query,
}

/// A poller and an item that are matched. Both are out of the queue until the end is reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The poller.
    pub poller: PollerId,
    /// The item.
    pub item: ItemId,
    /// The item's partition.
    pub partition: u32,
    /// Where the item comes from.
    pub origin: Origin,
    /// The task; `None` for a query.
    pub task: Option<Arc<Task>>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Record the start with history, then hand it over.
    Deliver(Match),
    /// The item's time is over; it has left the queue.
    Expire(Settled),
}

/// An item that has left the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The item.
    pub item: ItemId,
    /// Its partition.
    pub partition: u32,
    /// Who is notified: an offer's caller gets an answer, a backlog an acknowledgement.
    pub origin: Origin,
}

/// Part of a backlog that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Of which partition.
    pub partition: u32,
    /// After which sequences.
    pub after: PerPriority<u64>,
    /// How many per level.
    pub limit: usize,
}

/// The answer to a withdrawal.
#[derive(Clone, Debug, PartialEq)]
pub enum Withdrawal {
    /// It is out of the queue.
    Withdrawn(Option<Arc<Task>>),
    /// It is being delivered. Should that fail, [`Queue::put_back`] will give it out instead of letting it wait again.
    InDelivery,
    /// It left before.
    Gone,
}

/// What became of a poller that was separated from its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separation {
    /// It waits again.
    Waits,
    /// It had left.
    HadLeft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Being delivered, perhaps by now without its poller. True when it took a token.
    Delivering {
        poller: Option<PollerId>,
        paid: bool,
    },
}

#[derive(Clone, Debug)]
struct Item {
    partition: u32,
    origin: Origin,
    task: Option<Arc<Task>>,
    stage: Stage,
    /// Not to wait again.
    withdrawn: bool,
}

impl Item {
    fn rank(&self, id: ItemId) -> Rank {
        let level = self.task.as_ref().map_or(PriorityLevel::DEFAULT, |task| task.level());
        match self.origin {
            Origin::Query => Rank::Query(id),
            Origin::Backlog(position) => Rank::Task(position.level, Turn::Backlog(position.sequence)),
            Origin::Offer => Rank::Task(level, Turn::Offered(id)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Poller {
    partition: u32,
    is_waiting: bool,
}

/// The volatile part of a queue.
#[derive(Clone, Debug)]
pub struct Queue {
    shape: QueueShape,
    partitions: Vec<Partition>,
    items: BTreeMap<ItemId, Item>,
    pollers: BTreeMap<PollerId, Poller>,
    limit: Option<TokenBucket>,
    closed: bool,
    last_id: u64,
    last_poll: Option<Timestamp>,
    /// When the limit last held something up.
    last_throttled: Option<Timestamp>,
}

/// Arrivals and departures.
impl Queue {
    /// An empty queue.
    pub fn new(shape: QueueShape) -> Self {
        let count = shape.partitions.max(1);
        Self {
            shape,
            partitions: (0..count).map(|_| Partition::new(shape.durable)).collect(),
            items: BTreeMap::new(),
            pollers: BTreeMap::new(),
            limit: None,
            closed: false,
            last_id: 0,
            last_poll: None,
            last_throttled: None,
        }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// Makes sure that this partition is there: one of former times may still have a backlog.
    pub fn ensure_partition(&mut self, partition: u32) {
        while self.partitions() <= partition {
            self.partitions.push(Partition::new(self.shape.durable));
        }
    }

    /// A poller arrives.
    pub fn poll(&mut self, partition: u32, now: Timestamp) -> PollerId {
        let id = PollerId(self.next_id());
        self.last_poll = self.last_poll.max(Some(now));
        self.pollers.insert(id, Poller { partition, is_waiting: true });
        self.partitions[partition as usize].pollers.insert(id);
        id
    }

    /// A poller leaves, empty-handed or not. What is being delivered to it goes on until its end is reported.
    pub fn leave(&mut self, poller: PollerId, now: Timestamp) {
        self.last_poll = self.last_poll.max(Some(now));
        if let Some(Poller { partition, .. }) = self.pollers.remove(&poller) {
            self.partitions[partition as usize].pollers.remove(&poller);
        }
    }

    /// A task is offered.
    pub fn offer(&mut self, partition: u32, task: Arc<Task>) -> ItemId {
        self.add(partition, Origin::Offer, Some(task))
    }

    /// A query arrives.
    pub fn query(&mut self, partition: u32) -> ItemId {
        self.add(partition, Origin::Query, None)
    }

    /// An offer or query is taken back.
    pub fn withdraw(&mut self, id: ItemId) -> Withdrawal {
        let Some(item) = self.items.get_mut(&id) else { return Withdrawal::Gone };
        if item.stage != Stage::Waiting {
            item.withdrawn = true;
            return Withdrawal::InDelivery;
        }
        let Some(item) = self.remove(id) else { return Withdrawal::Gone };
        Withdrawal::Withdrawn(item.task)
    }

    /// The queue's worker has left: nothing is matched any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether [`Queue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn add(&mut self, partition: u32, origin: Origin, task: Option<Arc<Task>>) -> ItemId {
        let id = ItemId(self.next_id());
        let item = Item { partition, origin, task, stage: Stage::Waiting, withdrawn: false };
        self.partitions[partition as usize].waiting.insert(item.rank(id), id);
        self.items.insert(id, item);
        id
    }

    fn remove(&mut self, id: ItemId) -> Option<Item> {
        let item = self.items.remove(&id)?;
        let partition = &mut self.partitions[item.partition as usize];
        partition.waiting.remove(&item.rank(id));
        if let (Origin::Backlog(position), Some(window)) = (item.origin, &mut partition.window) {
            window.held[position.level] -= 1;
        }
        Some(item)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// Meeting.
impl Queue {
    /// The next decision; call until there is none, after every arrival and every reported end.
    pub fn decide(&mut self, now: Timestamp) -> Option<Decision> {
        if self.closed {
            return None;
        }
        for partition in 0..self.partitions() {
            let Some(poller) = self.partitions[partition as usize].pollers.first().copied() else { continue };
            let Some(item) = self.find_item_for(partition) else { continue };
            return self.pair(poller, item, now);
        }
        None
    }

    /// The item that a poller of this partition should get: of its own partition if there is one, else of what the others
    /// below the nearest ancestor forward.
    fn find_item_for(&self, partition: u32) -> Option<ItemId> {
        let mut scope = partition;
        loop {
            let inside = (0..self.partitions()).filter(|other| self.is_below(*other, scope));
            let first = inside.filter_map(|other| self.partitions[other as usize].first(self.shape.window)).min();
            if let Some((_, item)) = first {
                return Some(item);
            }
            scope = self.parent(scope)?;
        }
    }

    fn pair(&mut self, poller: PollerId, id: ItemId, now: Timestamp) -> Option<Decision> {
        let item = self.items.get_mut(&id)?;
        if item.task.as_ref().is_some_and(|task| task.is_expired(now)) {
            return self.finish(id).map(Decision::Expire);
        }
        let paid = match (&item.task, &mut self.limit) {
            (Some(_), Some(limit)) => {
                if !limit.take(now) {
                    self.last_throttled = Some(now);
                    return None;
                }
                true
            }
            _ => false,
        };
        item.stage = Stage::Delivering { poller: Some(poller), paid };
        let (partition, origin, task) = (item.partition, item.origin, item.task.clone());
        let rank = item.rank(id);
        self.partitions[partition as usize].waiting.remove(&rank);
        let waiting = self.pollers.get_mut(&poller)?;
        waiting.is_waiting = false;
        self.partitions[waiting.partition as usize].pollers.remove(&poller);
        Some(Decision::Deliver(Match { poller, item: id, partition, origin, task }))
    }

    fn parent(&self, partition: u32) -> Option<u32> {
        partition.checked_sub(1).map(|before| before / self.shape.fan_out.max(1))
    }

    fn is_below(&self, partition: u32, ancestor: u32) -> bool {
        let mut at = Some(partition);
        while let Some(now) = at {
            if now == ancestor {
                return true;
            }
            at = self.parent(now);
        }
        false
    }
}

/// Ends of deliveries.
impl Queue {
    /// The poller has it.
    pub fn delivered(&mut self, item: ItemId) -> Option<Settled> {
        if let Some(Stage::Delivering { poller: Some(poller), .. }) = self.items.get(&item).map(|item| item.stage) {
            self.pollers.remove(&poller);
        }
        self.finish(item)
    }

    /// History does not want it any more: it is gone, its token is given back, and the poller waits on.
    pub fn stale(&mut self, item: ItemId) -> Option<Settled> {
        self.separate(item);
        self.finish(item)
    }

    /// Separates an item from its poller, which waits on in its old place; the item waits until it is put back.
    pub fn separate(&mut self, item: ItemId) -> Separation {
        let Some(found) = self.items.get_mut(&item) else { return Separation::HadLeft };
        let Stage::Delivering { poller, paid } = found.stage else { return Separation::HadLeft };
        found.stage = Stage::Delivering { poller: None, paid: false };
        if let (true, Some(limit)) = (paid, &mut self.limit) {
            limit.refund();
        }
        let Some((id, poller)) = poller.and_then(|id| Some((id, self.pollers.get_mut(&id)?))) else {
            return Separation::HadLeft;
        };
        poller.is_waiting = true;
        self.partitions[poller.partition as usize].pollers.insert(id);
        Separation::Waits
    }

    /// It could not be handed over: it waits again in its old place, to be recorded under `request_id`. A withdrawn item
    /// leaves instead, and is returned.
    pub fn put_back(&mut self, id: ItemId, request_id: Option<String>) -> Option<(Settled, Option<Arc<Task>>)> {
        self.separate(id);
        let item = self.items.get_mut(&id)?;
        item.stage = Stage::Waiting;
        if let (Some(task), Some(_)) = (&mut item.task, &request_id) {
            Arc::make_mut(task).request_id = request_id;
        }
        if item.withdrawn {
            let task = item.task.clone();
            return Some((self.finish(id)?, task));
        }
        let rank = item.rank(id);
        self.partitions[item.partition as usize].waiting.insert(rank, id);
        None
    }

    fn finish(&mut self, item: ItemId) -> Option<Settled> {
        let Item { partition, origin, .. } = self.remove(item)?;
        Some(Settled { item, partition, origin })
    }
}

/// The windows over the backlogs.
impl Queue {
    /// A task was persisted at this position: it enters the window if the window has all before it.
    pub fn persisted(&mut self, partition: u32, position: Position, task: Arc<Task>) {
        let Some(window) = &mut self.partitions[partition as usize].window else { return };
        let level = position.level;
        window.last[level] = window.last[level].max(position.sequence);
        let is_next = window.known && window.horizon[level] + 1 == position.sequence;
        if is_next && window.held[level] < self.shape.window {
            window.horizon[level] = position.sequence;
            window.held[level] += 1;
            self.add(partition, Origin::Backlog(position), Some(task));
        }
    }

    /// What should be read now. The reading then counts as under way until it is reported.
    pub fn next_read(&mut self) -> Option<ReadRequest> {
        let limit = self.shape.window;
        let wants = self.partitions.iter().position(|partition| partition.wants_reading(limit))?;
        let window = self.partitions[wants].window.as_mut()?;
        window.reading = true;
        Some(ReadRequest { partition: wants as u32, after: window.horizon, limit })
    }

    /// A reading came back.
    pub fn read(&mut self, partition: u32, reading: Reading) {
        let capacity = self.shape.window;
        let Some(window) = &mut self.partitions[partition as usize].window else { return };
        (window.reading, window.known) = (false, true);
        let mut entering = Vec::new();
        let mut is_full = PerPriority::<bool>::default();
        for (position, task) in reading.tasks {
            let level = position.level;
            // What was persisted while the reading was under way may have come, and even gone, before.
            if position.sequence <= window.horizon[level] || is_full[level] {
                continue;
            }
            if window.held[level] >= capacity {
                is_full[level] = true;
                continue;
            }
            window.horizon[level] = position.sequence;
            window.held[level] += 1;
            entering.push((position, task));
        }
        for level in PriorityLevel::all() {
            window.last[level] = window.last[level].max(reading.last[level]);
            if !reading.more[level] && !is_full[level] {
                window.horizon[level] = window.horizon[level].max(reading.last[level]);
            }
        }
        for (position, task) in entering {
            self.add(partition, Origin::Backlog(position), Some(Arc::new(task)));
        }
    }

    /// The backlog of a drained partition turns out to hold tasks all the same: it is read again from its beginning. A
    /// task that was delivered and whose acknowledgement was lost comes again, and history will not want it.
    pub fn reread(&mut self, partition: u32) {
        let Some(partition) = self.partitions.get_mut(partition as usize) else { return };
        if partition.is_drained()
            && let Some(window) = &mut partition.window
        {
            *window = Window { reading: window.reading, last: window.last, ..Window::default() };
        }
    }

    /// A reading failed; it will be wanted again.
    pub fn read_failed(&mut self, partition: u32) {
        if let Some(window) = &mut self.partitions[partition as usize].window {
            window.reading = false;
        }
    }
}

/// Rate, and what can be seen from outside.
impl Queue {
    /// Sets how many tasks a second may be dispatched; the last setting wins.
    pub fn set_rate(&mut self, per_second: f64, now: Timestamp) {
        match &mut self.limit {
            Some(limit) if limit.per_second() == per_second => {}
            Some(limit) => limit.set(per_second, now),
            None => self.limit = Some(TokenBucket::new(per_second, now)),
        }
    }

    /// Tasks may be dispatched as fast as pollers come.
    pub fn clear_rate(&mut self) {
        self.limit = None;
    }

    /// Tasks a second, if limited.
    pub fn rate(&self) -> Option<f64> {
        self.limit.as_ref().map(TokenBucket::per_second)
    }

    /// When the rate limit lets the next task pass; `None` if it never does, or if nothing waits for it.
    pub fn next_token_at(&self, now: Timestamp) -> Option<Timestamp> {
        let waits = self.has_pollers() && self.partitions.iter().any(|partition| !partition.waiting.is_empty());
        self.limit.as_ref().filter(|_| waits && !self.closed).and_then(|limit| limit.ready_at(now))
    }

    /// When the rate limit last held a task up that a poller was waiting for.
    pub fn last_throttled(&self) -> Option<Timestamp> {
        self.last_throttled
    }

    /// Whether a poller waits for a task.
    pub fn has_pollers(&self) -> bool {
        self.partitions.iter().any(|partition| !partition.pollers.is_empty())
    }

    /// When the latest poll began or ended; a poll that goes on now counts as now.
    pub fn last_poll(&self, now: Timestamp) -> Option<Timestamp> {
        if self.pollers.is_empty() { self.last_poll } else { Some(now) }
    }

    /// Offers that wait in memory, per level.
    pub fn offers_waiting(&self) -> PerPriority<u64> {
        let mut count = PerPriority::default();
        for item in self.items.values().filter(|item| item.origin == Origin::Offer) {
            count[item.task.as_ref().map_or(PriorityLevel::DEFAULT, |task| task.level())] += 1;
        }
        count
    }

    /// A hint at how many tasks wait in a partition's memory.
    pub fn waiting_in(&self, partition: u32) -> usize {
        self.partitions[partition as usize].waiting.len()
    }

    /// Whether an offer of this level could not be served before tasks of the backlog.
    pub fn is_behind_backlog(&self, partition: u32, level: PriorityLevel) -> bool {
        self.partitions[partition as usize].is_behind_backlog(level)
    }

    /// Whether a partition's backlog is known to be empty, as far as this queue knows.
    pub fn is_drained(&self, partition: u32) -> bool {
        self.partitions.get(partition as usize).is_some_and(Partition::is_drained)
    }

    /// Whether the poller still waits: neither gone nor being given something.
    pub fn is_waiting(&self, poller: PollerId) -> bool {
        self.pollers.get(&poller).is_some_and(|poller| poller.is_waiting)
    }

    /// Where an item comes from, and its partition.
    pub fn origin(&self, item: ItemId) -> Option<(u32, Origin)> {
        self.items.get(&item).map(|item| (item.partition, item.origin))
    }

    /// Offers and queries that have not ended.
    pub fn items(&self) -> Vec<ItemId> {
        self.items.keys().copied().collect()
    }

    /// Gives back memory that was needed once and is not now. Empty maps keep a node otherwise, which adds up over many
    /// queues that are hardly used.
    pub fn shrink(&mut self) {
        if self.items.is_empty() {
            self.items = BTreeMap::new();
        }
        if self.pollers.is_empty() {
            self.pollers = BTreeMap::new();
        }
        self.partitions.iter_mut().for_each(Partition::shrink);
    }

    /// Whether the queue could be forgotten: nothing waits, nothing is under way, no backlog is known of or unread.
    pub fn is_idle(&self) -> bool {
        self.pollers.is_empty() && self.items.is_empty() && self.partitions.iter().all(Partition::is_idle)
    }
}

#[cfg(test)]
#[path = "queue/queue_test.rs"]
mod queue_test;
