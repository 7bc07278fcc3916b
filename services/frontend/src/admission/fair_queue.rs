//! Which request is admitted next: a weighted fair queue over namespaces, in front of a bounded number that are under way. Pure.
//!
//! A namespace with less under way than its share does not wait at all. The others take turns, each turn worth its weight in
//! requests; a large request is worth several. Within a namespace, what finishes work goes before what begins some.

use std::collections::{HashMap, VecDeque};

use ids::NamespaceId;

/// What a request is for, in the order in which a namespace's requests are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Completions, failures and heartbeats: work that is under way comes to an end by them.
    Finishing,
    /// Everything else.
    Beginning,
}

const CLASSES: usize = 2;

/// A request that waits.
struct Waiting<W> {
    cost: usize,
    waiter: W,
}

struct Lane<W> {
    /// What its requests that are under way cost.
    running: usize,
    waiting: [VecDeque<Waiting<W>>; CLASSES],
    weight: usize,
    /// What may still be admitted of it during this turn; below zero after a request that was worth more.
    credit: isize,
}

impl<W> Lane<W> {
    fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}

/// The queue. `W` is a waiter.
pub(crate) struct FairQueue<W> {
    /// Those with something under way or waiting.
    lanes: HashMap<NamespaceId, Lane<W>>,
    /// Those with something waiting; the first has its turn.
    ring: VecDeque<NamespaceId>,
    running: usize,
    waiting: usize,
    limit: usize,
    weights: usize,
}

impl<W> FairQueue<W> {
    /// A queue that lets in requests until what is under way costs `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self { lanes: HashMap::new(), ring: VecDeque::new(), running: 0, waiting: 0, limit, weights: 0 }
    }

    /// Lets a request of this cost in, if it need not wait.
    pub(crate) fn try_enter(&mut self, namespace: &NamespaceId, weight: usize, cost: usize) -> bool {
        if self.waiting == 0 && self.running < self.limit || self.is_below_share(namespace, weight) {
            let lane = lane(&mut self.lanes, &mut self.weights, namespace, weight);
            lane.running += cost;
            self.running += cost;
            return true;
        }
        false
    }

    /// Whether a namespace has less under way than its share, with nothing of its own in front of it.
    fn is_below_share(&self, namespace: &NamespaceId, weight: usize) -> bool {
        let lane = self.lanes.get(namespace);
        let (running, waiting) = lane.map_or((0, 0), |lane| (lane.running, lane.len()));
        let weights = self.weights + if lane.is_none() { weight } else { 0 };
        waiting == 0 && running < (self.limit.saturating_mul(weight) / weights).max(1)
    }

    /// How many of a namespace wait.
    pub(crate) fn waiting(&self, namespace: &NamespaceId) -> usize {
        self.lanes.get(namespace).map_or(0, Lane::len)
    }

    /// The first in a namespace's line of this class.
    pub(crate) fn first(&self, namespace: &NamespaceId, class: Class) -> Option<&W> {
        self.lanes.get(namespace)?.waiting[class as usize].front().map(|waiting| &waiting.waiter)
    }

    /// Enqueues a request that was not admitted.
    pub(crate) fn wait(&mut self, namespace: &NamespaceId, weight: usize, class: Class, cost: usize, waiter: W) {
        let lane = lane(&mut self.lanes, &mut self.weights, namespace, weight);
        if lane.len() == 0 {
            lane.credit = weight as isize;
            self.ring.push_back(namespace.clone());
        }
        lane.waiting[class as usize].push_back(Waiting { cost, waiter });
        self.waiting += 1;
    }

    /// A request of this cost has ended.
    pub(crate) fn leave(&mut self, namespace: &NamespaceId, cost: usize) {
        self.running = self.running.saturating_sub(cost);
        if let Some(lane) = self.lanes.get_mut(namespace) {
            lane.running = lane.running.saturating_sub(cost);
        }
        self.forget_if_idle(namespace);
    }

    /// What may be under way from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Admits the next request, if there is room: its item, namespace and cost. To be called again
    /// until there is none. One that is `gone` leaves the queue without being admitted.
    pub(crate) fn next(&mut self, gone: impl Fn(&W) -> bool) -> Option<(NamespaceId, usize, W)> {
        while self.running < self.limit {
            let namespace = self.ring.front()?.clone();
            let lane = self.lanes.get_mut(&namespace)?;
            if lane.credit <= 0 {
                lane.credit += lane.weight as isize;
                self.ring.rotate_left(1);
                continue;
            }
            let first = lane.waiting.iter_mut().find_map(VecDeque::pop_front)?;
            self.waiting -= 1;
            if lane.len() == 0 {
                self.ring.pop_front();
            }
            if gone(&first.waiter) {
                self.forget_if_idle(&namespace);
                continue;
            }
            lane.credit -= first.cost as isize;
            lane.running += first.cost;
            self.running += first.cost;
            return Some((namespace, first.cost, first.waiter));
        }
        None
    }

    fn forget_if_idle(&mut self, namespace: &NamespaceId) {
        if let Some(lane) = self.lanes.get(namespace)
            && lane.running == 0
            && lane.len() == 0
        {
            self.weights -= lane.weight;
            self.lanes.remove(namespace);
        }
    }
}

/// The lane of a namespace, made if it has none.
fn lane<'a, W>(
    lanes: &'a mut HashMap<NamespaceId, Lane<W>>,
    weights: &mut usize,
    namespace: &NamespaceId,
    weight: usize,
) -> &'a mut Lane<W> {
    lanes.entry(namespace.clone()).or_insert_with(|| {
        *weights += weight;
        Lane { running: 0, waiting: Default::default(), weight, credit: 0 }
    })
}

#[cfg(test)]
#[path = "fair_queue_test.rs"]
mod tests;
