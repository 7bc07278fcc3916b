//! The registry with faults.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{Fate, FaultControl, Method, refused};
use crate::{CompareAndSet, Registry, RegistryEntry, StorageResult};

pub(super) struct FaultyRegistry {
    pub(super) inner: Arc<dyn Registry>,
    pub(super) control: FaultControl,
}

#[async_trait]
impl Registry for FaultyRegistry {
    async fn get(&self, key: &str) -> StorageResult<Option<RegistryEntry>> {
        match self.control.meet(Method::RegistryGet).await.fate {
            Fate::Passes => self.inner.get(key).await,
            Fate::Fails | Fate::FailsAfterEffect => Err(refused(Method::RegistryGet)),
        }
    }

    async fn list(&self, prefix: &str) -> StorageResult<Vec<RegistryEntry>> {
        match self.control.meet(Method::RegistryList).await.fate {
            Fate::Passes => self.inner.list(prefix).await,
            Fate::Fails | Fate::FailsAfterEffect => Err(refused(Method::RegistryList)),
        }
    }

    async fn compare_and_set(&self, key: &str, expected: u64, value: Option<Bytes>) -> CompareAndSet {
        match self.control.meet(Method::CompareAndSet).await.fate {
            Fate::Passes => self.inner.compare_and_set(key, expected, value).await,
            Fate::Fails => CompareAndSet::Unknown,
            Fate::FailsAfterEffect => {
                self.inner.compare_and_set(key, expected, value).await;
                CompareAndSet::Unknown
            }
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.inner.watch()
    }
}
