//! Who waits for a workflow to change: long polls and queries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entities::EntityKey;
use tokio::sync::watch;

/// Waiters, by workflow. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Watchers(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    by_key: HashMap<EntityKey, watch::Sender<u64>>,
    count: usize,
}

/// Waits for changes of one workflow.
pub(crate) struct Watcher {
    key: EntityKey,
    changes: Option<watch::Receiver<u64>>,
    watchers: Watchers,
}

impl Watchers {
    /// Waits for changes from now on; `None` when `most` wait already.
    pub(crate) fn watch(&self, key: &EntityKey, most: usize) -> Option<Watcher> {
        let mut waiting = self.lock();
        if waiting.count >= most {
            return None;
        }
        waiting.count += 1;
        let sender = waiting.by_key.entry(key.clone()).or_insert_with(|| watch::Sender::new(0));
        let changes = Some(sender.subscribe());
        Some(Watcher { key: key.clone(), changes, watchers: self.clone() })
    }

    /// The workflow has changed.
    pub(crate) fn wake(&self, key: &EntityKey) {
        if let Some(sender) = self.lock().by_key.get(key) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Wakes the callers that wait for one of these workflows.
    pub(crate) fn wake_all(&self, is_meant: impl Fn(&EntityKey) -> bool) {
        let waiting = self.lock();
        let meant = waiting.by_key.iter().filter(|(key, _)| is_meant(key));
        meant.for_each(|(_, sender)| sender.send_modify(|count| *count = count.wrapping_add(1)));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Returns once the workflow has changed since the last call, or since the watcher was made.
    pub(crate) async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            // The sender lives as long as a watcher does.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.watchers.lock();
        self.changes = None;
        waiting.count -= 1;
        if waiting.by_key.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::WorkflowKind;

    #[tokio::test]
    async fn a_change_between_watching_and_waiting_is_not_missed_and_nothing_stays_behind() {
        let watchers = Watchers::default();
        let key = EntityKey::of::<WorkflowKind>("n", "w");
        let mut watcher = watchers.watch(&key, 1).unwrap();
        assert!(watchers.watch(&key, 1).is_none());
        watchers.wake(&key);
        watcher.changed().await;
        drop(watcher);
        assert!(watchers.lock().by_key.is_empty());
        assert!(watchers.watch(&key, 1).is_some());
    }
}
