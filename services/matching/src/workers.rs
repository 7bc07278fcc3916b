//! Worker processes, by their instance keys: which poll now, and which have shut down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use calls::{QueueName, TaskQueueKind};
use ids::{NamespaceId, Timestamp};
use tokio_util::sync::CancellationToken;

/// How long a worker that has left is remembered: longer than any poll of it can still be on its way.
const MEMORY: Duration = Duration::from_secs(600);
/// How many of them; beyond it the longest gone are forgotten first.
const MOST: usize = 100_000;

/// A worker process: its namespace and the key that it names itself with.
type WorkerName = (NamespaceId, String);

/// Where a worker polls: a queue's name and kind.
type Place = (String, TaskQueueKind);

#[derive(Default)]
struct Known {
    /// Those with polls: where, and how many.
    polling: HashMap<WorkerName, HashMap<Place, (CancellationToken, usize)>>,
    /// Those that have left: one place, or (`None`) altogether.
    gone: HashMap<(WorkerName, Option<Place>), Timestamp>,
    /// In the order in which they left.
    order: VecDeque<(Timestamp, (WorkerName, Option<Place>))>,
}

/// All worker processes.
#[derive(Default)]
pub(crate) struct Workers(Arc<Mutex<Known>>);

/// A poll of a worker. Dropping it ends it.
pub(crate) struct Presence {
    workers: Arc<Mutex<Known>>,
    name: Option<(WorkerName, Place)>,
    leaves: CancellationToken,
}

impl Workers {
    /// A poll begins; `None` if the worker has left that queue. A worker without a key is never known to leave.
    pub(crate) fn enter(&self, queue: &QueueName, key: &str, now: Timestamp) -> Option<Presence> {
        let workers = Arc::clone(&self.0);
        if key.is_empty() {
            return Some(Presence { workers, name: None, leaves: CancellationToken::new() });
        }
        let worker = (queue.namespace.clone(), key.to_owned());
        let place = (queue.name.clone(), queue.kind);
        let mut known = lock(&self.0);
        known.forget(now);
        if known.has_left(&worker, &place) {
            return None;
        }
        let polls = known.polling.entry(worker.clone()).or_default();
        let (leaves, count) = polls.entry(place.clone()).or_default();
        *count += 1;
        let leaves = leaves.clone();
        drop(known);
        Some(Presence { workers, name: Some((worker, place)), leaves })
    }

    /// The worker leaves these queues, or, with `None`, altogether: its polls there end, and it gets no more.
    pub(crate) fn leave(&self, namespace: &NamespaceId, key: &str, places: Option<&[Place]>, now: Timestamp) {
        if key.is_empty() {
            return;
        }
        let worker = (namespace.clone(), key.to_owned());
        let mut known = lock(&self.0);
        known.forget(now);
        let Some(places) = places else {
            known.note((worker.clone(), None), now);
            let polls = known.polling.get(&worker);
            polls.into_iter().flat_map(HashMap::values).for_each(|(leaves, _)| leaves.cancel());
            return;
        };
        for place in places {
            known.note((worker.clone(), Some(place.clone())), now);
            if let Some((leaves, _)) = known.polling.get(&worker).and_then(|polls| polls.get(place)) {
                leaves.cancel();
            }
        }
    }
}

impl Known {
    fn has_left(&self, worker: &WorkerName, place: &Place) -> bool {
        let left = |place| self.gone.contains_key(&(worker.clone(), place));
        !self.gone.is_empty() && (left(None) || left(Some(place.clone())))
    }

    fn note(&mut self, departure: (WorkerName, Option<Place>), now: Timestamp) {
        if self.gone.insert(departure.clone(), now).is_none() {
            self.order.push_back((now, departure));
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, departure)) = self.order.front() {
            if now.since(*at) < MEMORY && self.order.len() <= MOST {
                return;
            }
            self.gone.remove(departure);
            self.order.pop_front();
        }
    }
}

impl Presence {
    /// Whether the worker has left while it polled.
    pub(crate) fn has_left(&self) -> bool {
        self.leaves.is_cancelled()
    }

    /// The worker's key; empty if it has none.
    pub(crate) fn key(&self) -> &str {
        self.name.as_ref().map_or("", |((_, key), _)| key)
    }

    /// Resolves when the worker leaves.
    pub(crate) async fn left(&self) {
        self.leaves.cancelled().await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some((worker, place)) = &self.name else { return };
        let mut known = lock(&self.workers);
        let Some(polls) = known.polling.get_mut(worker) else { return };
        if let Some((_, count)) = polls.get_mut(place) {
            *count -= 1;
            if *count == 0 {
                polls.remove(place);
            }
        }
        if polls.is_empty() {
            known.polling.remove(worker);
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(namespace: &str, name: &str, kind: TaskQueueKind) -> QueueName {
        QueueName { namespace: NamespaceId::new(namespace), name: name.to_owned(), kind }
    }

    #[test]
    fn a_worker_that_left_is_remembered_for_ten_minutes() {
        let (workers, namespace) = (Workers::default(), NamespaceId::new("n"));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let orders = queue("n", "orders", TaskQueueKind::Activity);
        let present = workers.enter(&orders, "k", at(0)).expect("it has not left");
        workers.leave(&namespace, "k", None, at(1));
        assert!(present.leaves.is_cancelled());
        assert!(workers.enter(&orders, "k", at(600)).is_none());
        assert!(workers.enter(&queue("other", "orders", TaskQueueKind::Activity), "k", at(600)).is_some());
        drop(present);
        assert!(lock(&workers.0).polling.is_empty());
        assert!(workers.enter(&orders, "k", at(602)).is_some());
        assert!(lock(&workers.0).gone.is_empty());
    }

    /// The TypeScript SDK 1.18 shuts a part of itself down that polls another queue under the same key.
    #[test]
    fn a_worker_that_leaves_one_queue_goes_on_polling_the_others() {
        let (workers, namespace, now) = (Workers::default(), NamespaceId::new("n"), Timestamp::EPOCH);
        let orders = |kind| queue("n", "orders", kind);
        let staying = workers.enter(&orders(TaskQueueKind::Workflow), "k", now).expect("it has not left");
        let leaving = workers.enter(&orders(TaskQueueKind::Activity), "k", now).expect("it has not left");
        workers.leave(&namespace, "k", Some(&[("orders".to_owned(), TaskQueueKind::Activity)]), now);
        assert!(leaving.leaves.is_cancelled());
        assert!(!staying.leaves.is_cancelled());
        assert!(workers.enter(&orders(TaskQueueKind::Activity), "k", now).is_none());
        assert!(workers.enter(&orders(TaskQueueKind::Workflow), "k", now).is_some());
        assert!(workers.enter(&queue("n", "others", TaskQueueKind::Activity), "k", now).is_some());
    }

    #[test]
    fn polls_without_a_key_never_end_together() {
        let (workers, namespace) = (Workers::default(), NamespaceId::new("n"));
        let orders = queue("n", "orders", TaskQueueKind::Activity);
        let present = workers.enter(&orders, "", Timestamp::EPOCH).expect("no key");
        workers.leave(&namespace, "", None, Timestamp::EPOCH);
        assert!(!present.leaves.is_cancelled());
    }
}
