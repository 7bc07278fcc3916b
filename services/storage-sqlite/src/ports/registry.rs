//! The registry port.

use async_trait::async_trait;
use bytes::Bytes;
use storage::{CompareAndSet, Registry, RegistryEntry, StorageResult};
use tokio::sync::watch;

use crate::command::Command;
use crate::reader::Request;
use crate::store::Shared;

#[async_trait]
impl Registry for Shared {
    async fn get(&self, key: &str) -> StorageResult<Option<RegistryEntry>> {
        self.request(|answer| Request::Entry { key: key.to_owned(), answer }).await
    }

    async fn list(&self, prefix: &str) -> StorageResult<Vec<RegistryEntry>> {
        self.request(|answer| Request::Entries { prefix: prefix.to_owned(), answer }).await
    }

    async fn compare_and_set(&self, key: &str, expected: u64, value: Option<Bytes>) -> CompareAndSet {
        let key = key.to_owned();
        let set = |answer| Command::CompareAndSet { key, expected, value, answer };
        self.command(set).await.unwrap_or(CompareAndSet::Unknown)
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.registry_changes.subscribe()
    }
}
