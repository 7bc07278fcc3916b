//! Where requests wait to be decided: a weighted fair queue over namespaces, with room for calls and reserved room for calls
//! that are never shed.
//!
//! Deficit round robin: each turn of a namespace lets through as many requests as its weight. A namespace that floods
//! the shard waits behind itself, and cannot take the room in which others may queue.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ids::NamespaceId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Why a request was not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// There is no room for calls now.
    Overloaded,
    /// The shard is not served here any more.
    Closed,
}

/// Which room a request takes while it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// The room for calls, which is bounded by shedding.
    Call,
    /// The reserved room, which is bounded by waiting.
    Reserved,
}

/// Reserved room that an unshed call takes, until this is dropped.
pub(crate) struct ReservedRoom {
    _permit: OwnedSemaphorePermit,
}

/// The queue between handles and the shard's task.
pub(crate) struct Inbox<T> {
    lanes: Mutex<Lanes<T>>,
    call_room: usize,
    reserved_room: Arc<Semaphore>,
    shedding: AtomicBool,
    arrived: Notify,
}

impl<T> Inbox<T> {
    pub(crate) fn new(call_room: usize, reserved_room: usize) -> Self {
        Self {
            lanes: Mutex::new(Lanes::new()),
            call_room,
            reserved_room: Arc::new(Semaphore::new(reserved_room)),
            shedding: AtomicBool::new(false),
            arrived: Notify::new(),
        }
    }

    /// Puts a call in, unless the shard is overloaded.
    pub(crate) fn push_call(&self, namespace: &NamespaceId, request: T) -> Result<(), NotAdmitted> {
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(NotAdmitted::Closed);
        }
        if self.shedding.load(Ordering::Relaxed) || !lanes.has_call_room(namespace, self.call_room) {
            return Err(NotAdmitted::Overloaded);
        }
        lanes.push(namespace, Room::Call, request);
        drop(lanes);
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts an unshed call in, after waiting for reserved room if that is taken. It holds that room until it drops it.
    pub(crate) async fn push_unshed(
        &self,
        namespace: &NamespaceId,
        request: impl FnOnce(ReservedRoom) -> T,
    ) -> Result<(), NotAdmitted> {
        let room = Arc::clone(&self.reserved_room).acquire_owned().await;
        let Ok(permit) = room else { return Err(NotAdmitted::Closed) };
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(NotAdmitted::Closed);
        }
        lanes.push(namespace, Room::Reserved, request(ReservedRoom { _permit: permit }));
        drop(lanes);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes up to `most` requests out, in fair order; says whether more are waiting.
    pub(crate) fn drain(&self, most: usize, into: &mut Vec<T>) -> bool {
        let mut lanes = self.lock();
        for _ in 0..most {
            let Some((_, request)) = lanes.pop() else { break };
            into.push(request);
        }
        !lanes.ring.is_empty()
    }

    /// Refuses calls while set.
    pub(crate) fn set_shedding(&self, shedding: bool) {
        self.shedding.store(shedding, Ordering::Relaxed);
    }

    /// How many requests a namespace gets through per turn; 1 unless set.
    pub(crate) fn set_weight(&self, namespace: &NamespaceId, weight: u32) {
        let mut lanes = self.lock();
        let weight = weight.max(1);
        lanes.weights.insert(namespace.clone(), weight);
        if let Some(&index) = lanes.by_namespace.get(namespace)
            && let Some(lane) = &mut lanes.lanes[index]
        {
            lane.weight = weight;
        }
    }

    /// Refuses everything from now on, and drops what waits, which its senders get as an error.
    pub(crate) fn close(&self) {
        let mut lanes = self.lock();
        lanes.closed = true;
        let waiting = std::mem::take(&mut lanes.lanes);
        lanes.ring.clear();
        lanes.by_namespace.clear();
        lanes.calls = 0;
        drop(lanes);
        drop(waiting);
        self.reserved_room.close();
    }

    /// Wakes the shard's task for something other than a request.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Returns when something may have arrived since the last drain.
    pub(crate) async fn wait(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lane<T> {
    namespace: NamespaceId,
    waiting: VecDeque<(Room, T)>,
    calls: usize,
    weight: u32,
    credit: u32,
}

struct Lanes<T> {
    lanes: Vec<Option<Lane<T>>>,
    by_namespace: HashMap<NamespaceId, usize>,
    weights: HashMap<NamespaceId, u32>,
    /// The lanes with something in them; the first has its turn.
    ring: VecDeque<usize>,
    vacant: Vec<usize>,
    calls: usize,
    closed: bool,
}

impl<T> Lanes<T> {
    fn new() -> Self {
        Self {
            lanes: Vec::new(),
            by_namespace: HashMap::new(),
            weights: HashMap::new(),
            ring: VecDeque::new(),
            vacant: Vec::new(),
            calls: 0,
            closed: false,
        }
    }

    fn has_call_room(&self, namespace: &NamespaceId, room: usize) -> bool {
        if self.calls < room {
            return true;
        }
        let own = self.by_namespace.get(namespace).and_then(|&lane| self.lanes[lane].as_ref()).map_or(0, |l| l.calls);
        let share = room / (self.ring.len() + 1);
        own < share && self.calls < room.saturating_mul(2)
    }

    fn push(&mut self, namespace: &NamespaceId, room: Room, request: T) {
        let index = match self.by_namespace.get(namespace) {
            Some(&index) => index,
            None => self.add_lane(namespace),
        };
        if let Some(lane) = &mut self.lanes[index] {
            lane.waiting.push_back((room, request));
            if room == Room::Call {
                lane.calls += 1;
                self.calls += 1;
            }
        }
    }

    fn add_lane(&mut self, namespace: &NamespaceId) -> usize {
        let weight = self.weights.get(namespace).copied().unwrap_or(1);
        let lane = Lane { namespace: namespace.clone(), waiting: VecDeque::new(), calls: 0, weight, credit: weight };
        let index = if let Some(index) = self.vacant.pop() {
            self.lanes[index] = Some(lane);
            index
        } else {
            self.lanes.push(Some(lane));
            self.lanes.len() - 1
        };
        self.by_namespace.insert(namespace.clone(), index);
        self.ring.push_back(index);
        index
    }

    fn pop(&mut self) -> Option<(Room, T)> {
        let &index = self.ring.front()?;
        let lane = self.lanes[index].as_mut()?;
        let taken = lane.waiting.pop_front()?;
        lane.credit -= 1;
        if taken.0 == Room::Call {
            lane.calls -= 1;
            self.calls -= 1;
        }
        if lane.waiting.is_empty() {
            self.by_namespace.remove(&lane.namespace);
            self.lanes[index] = None;
            self.vacant.push(index);
            self.ring.pop_front();
        } else if lane.credit == 0 {
            lane.credit = lane.weight;
            self.ring.rotate_left(1);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(inbox: &Inbox<&'static str>, most: usize) -> Vec<&'static str> {
        let mut taken = Vec::new();
        inbox.drain(most, &mut taken);
        taken
    }

    #[test]
    fn a_flood_of_one_namespace_delays_another_by_one_request() {
        let inbox = Inbox::new(100, 100);
        let (loud, quiet) = (NamespaceId::new("loud"), NamespaceId::new("quiet"));
        for _ in 0..50 {
            inbox.push_call(&loud, "loud").unwrap();
        }
        inbox.push_call(&quiet, "quiet").unwrap();
        assert_eq!(drained(&inbox, 3), ["loud", "quiet", "loud"]);
    }

    #[test]
    fn weights_share_the_turns() {
        let inbox = Inbox::new(1000, 100);
        let (gold, plain) = (NamespaceId::new("gold"), NamespaceId::new("plain"));
        inbox.set_weight(&gold, 3);
        for _ in 0..100 {
            inbox.push_call(&gold, "gold").unwrap();
            inbox.push_call(&plain, "plain").unwrap();
        }
        let taken = drained(&inbox, 40);
        assert_eq!(taken.iter().filter(|name| **name == "gold").count(), 30);
    }

    #[test]
    fn a_full_inbox_still_lets_in_a_namespace_below_its_share() {
        let inbox = Inbox::new(10, 10);
        let (loud, quiet) = (NamespaceId::new("loud"), NamespaceId::new("quiet"));
        for _ in 0..10 {
            inbox.push_call(&loud, "loud").unwrap();
        }
        assert_eq!(inbox.push_call(&loud, "loud"), Err(NotAdmitted::Overloaded));
        assert_eq!(inbox.push_call(&quiet, "quiet"), Ok(()));
    }

    type Holding = (&'static str, Option<ReservedRoom>);

    fn holding(inbox: &Inbox<Holding>) -> Vec<Holding> {
        let mut taken = Vec::new();
        inbox.drain(10, &mut taken);
        taken
    }

    #[tokio::test]
    async fn unshed_calls_are_let_in_when_calls_are_shed() {
        let inbox = Inbox::new(10, 10);
        let namespace = NamespaceId::new("n");
        inbox.set_shedding(true);
        assert_eq!(inbox.push_call(&namespace, "call"), Err(NotAdmitted::Overloaded));
        assert_eq!(inbox.push_unshed(&namespace, |_| "unshed").await, Ok(()));
        assert_eq!(drained(&inbox, 5), ["unshed"]);
    }

    #[tokio::test]
    async fn an_unshed_call_waits_for_reserved_room_which_the_one_before_it_takes_until_it_is_decided() {
        let inbox = Inbox::new(10, 1);
        let namespace = NamespaceId::new("n");
        inbox.push_unshed(&namespace, |room| ("first", Some(room))).await.unwrap();
        let second = inbox.push_unshed(&namespace, |room| ("second", Some(room)));
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        let taken_out = holding(&inbox);
        assert_eq!(taken_out[0].0, "first");
        assert!(futures::poll!(&mut second).is_pending(), "the first is not decided yet");
        drop(taken_out);
        second.await.unwrap();
        assert_eq!(holding(&inbox)[0].0, "second");
    }

    #[tokio::test]
    async fn a_closed_inbox_refuses_and_forgets() {
        let inbox = Inbox::new(10, 1);
        let namespace = NamespaceId::new("n");
        inbox.push_call(&namespace, "call").unwrap();
        inbox.close();
        assert_eq!(drained(&inbox, 5), Vec::<&str>::new());
        assert_eq!(inbox.push_call(&namespace, "call"), Err(NotAdmitted::Closed));
        assert_eq!(inbox.push_unshed(&namespace, |_| "unshed").await, Err(NotAdmitted::Closed));
    }
}
