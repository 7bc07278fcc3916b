//! The registry in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{CompareAndSet, Registry, RegistryEntry, StorageResult};

pub(super) struct MemoryRegistry {
    entries: Mutex<BTreeMap<String, RegistryEntry>>,
    changes: watch::Sender<u64>,
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self { entries: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl MemoryRegistry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RegistryEntry>> {
        // Nothing panics while holding the lock, and if it did, each entry would still be whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn get(&self, key: &str) -> StorageResult<Option<RegistryEntry>> {
        Ok(self.lock().get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> StorageResult<Vec<RegistryEntry>> {
        let entries = self.lock();
        let from_prefix = entries.range(prefix.to_owned()..);
        Ok(from_prefix.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, entry)| entry.clone()).collect())
    }

    async fn compare_and_set(&self, key: &str, expected: u64, value: Option<Bytes>) -> CompareAndSet {
        let mut entries = self.lock();
        if entries.get(key).map_or(0, |entry| entry.version) != expected {
            return CompareAndSet::Conflict;
        }
        match value {
            Some(value) => {
                let entry = RegistryEntry { key: key.to_owned(), value, version: expected + 1 };
                entries.insert(key.to_owned(), entry);
            }
            None => {
                entries.remove(key);
            }
        }
        self.changes.send_modify(|changes| *changes += 1);
        CompareAndSet::Applied
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
