//! Worker processes, by the key that they name themselves with: who polls now, and who has said that it leaves.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::{NamespaceId, Timestamp};
use tokio_util::sync::CancellationToken;

/// How long a worker that has left is remembered: longer than any poll of it can still be on its way.
const MEMORY: Duration = Duration::from_secs(600);
/// How many of them; beyond it the longest gone are forgotten first.
const MOST: usize = 100_000;

type WorkerName = (NamespaceId, String);

#[derive(Default)]
struct Known {
    /// Those with polls, and how many.
    polling: HashMap<WorkerName, (CancellationToken, usize)>,
    gone: HashMap<WorkerName, Timestamp>,
    /// In the order in which they left.
    order: VecDeque<(Timestamp, WorkerName)>,
}

/// All worker processes.
#[derive(Default)]
pub(crate) struct Workers(Arc<Mutex<Known>>);

/// A poll of a worker. Dropping it ends it.
pub(crate) struct Presence {
    workers: Arc<Mutex<Known>>,
    name: Option<WorkerName>,
    leaves: CancellationToken,
}

impl Workers {
    /// A poll begins; `None` if the worker has left. A worker without a key is never known to leave.
    pub(crate) fn enter(&self, namespace: &NamespaceId, key: &str, now: Timestamp) -> Option<Presence> {
        let workers = Arc::clone(&self.0);
        if key.is_empty() {
            return Some(Presence { workers, name: None, leaves: CancellationToken::new() });
        }
        let name = (namespace.clone(), key.to_owned());
        let mut known = lock(&self.0);
        known.forget(now);
        if known.gone.contains_key(&name) {
            return None;
        }
        let (leaves, polls) = known.polling.entry(name.clone()).or_default();
        *polls += 1;
        let leaves = leaves.clone();
        drop(known);
        Some(Presence { workers, name: Some(name), leaves })
    }

    /// The worker leaves: its polls end, and it gets no more.
    pub(crate) fn leave(&self, namespace: &NamespaceId, key: &str, now: Timestamp) {
        if key.is_empty() {
            return;
        }
        let name = (namespace.clone(), key.to_owned());
        let mut known = lock(&self.0);
        known.forget(now);
        if known.gone.insert(name.clone(), now).is_none() {
            known.order.push_back((now, name.clone()));
        }
        if let Some((leaves, _)) = known.polling.get(&name) {
            leaves.cancel();
        }
    }
}

impl Known {
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, name)) = self.order.front() {
            if now.since(*at) < MEMORY && self.order.len() <= MOST {
                return;
            }
            self.gone.remove(name);
            self.order.pop_front();
        }
    }
}

impl Presence {
    /// Resolves when the worker leaves.
    pub(crate) async fn left(&self) {
        self.leaves.cancelled().await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let mut known = lock(&self.workers);
        if let Some((_, polls)) = known.polling.get_mut(name) {
            *polls -= 1;
            if *polls == 0 {
                known.polling.remove(name);
            }
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_left_is_remembered_for_ten_minutes() {
        let (workers, namespace) = (Workers::default(), NamespaceId::new("n"));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let present = workers.enter(&namespace, "k", at(0)).expect("it has not left");
        workers.leave(&namespace, "k", at(1));
        assert!(present.leaves.is_cancelled());
        assert!(workers.enter(&namespace, "k", at(600)).is_none());
        assert!(workers.enter(&NamespaceId::new("other"), "k", at(600)).is_some());
        drop(present);
        assert!(lock(&workers.0).polling.is_empty());
        assert!(workers.enter(&namespace, "k", at(602)).is_some());
        assert!(lock(&workers.0).gone.is_empty());
    }

    #[test]
    fn polls_without_a_key_never_end_together() {
        let (workers, namespace) = (Workers::default(), NamespaceId::new("n"));
        let present = workers.enter(&namespace, "", Timestamp::EPOCH).expect("no key");
        workers.leave(&namespace, "", Timestamp::EPOCH);
        assert!(!present.leaves.is_cancelled());
    }
}
