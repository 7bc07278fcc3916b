//! The namespaces of the cluster, for processes that serve no API: a snapshot that follows the registry.

use std::sync::Arc;

use calls::{Namespace, ServiceResult};
use ids::NamespaceId;
use runtime::Runtime;
use storage::Registry;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::namespaces::Namespaces;
use crate::stored::refresh_after_changes;

/// All namespaces, at most a few seconds old. Ends its background work when dropped.
pub struct Directory {
    namespaces: Arc<Namespaces>,
    _following: DropGuard,
}

impl Directory {
    /// Reads all namespaces, and again after each change.
    ///
    /// # Errors
    /// Unavailable when the registry cannot be read now.
    pub async fn follow(registry: Arc<dyn Registry>, runtime: Runtime) -> ServiceResult<Self> {
        // Watch first, then read: a change in between is seen by the watch.
        let changes = registry.watch();
        let namespaces = Arc::new(Namespaces::new(registry, runtime.clone()));
        namespaces.refresh().await?;
        let gone = CancellationToken::new();
        let followed = Arc::downgrade(&namespaces);
        let refresh = move || {
            let namespaces = followed.upgrade()?;
            Some(async move { namespaces.refresh().await })
        };
        runtime.spawn(refresh_after_changes(changes, gone.clone(), runtime.clone(), refresh));
        Ok(Self { namespaces, _following: gone.drop_guard() })
    }

    /// The namespace with this id, as far as it has been heard of.
    #[must_use]
    pub fn known(&self, id: &NamespaceId) -> Option<Arc<Namespace>> {
        self.namespaces.known(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
    use storage::memory::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_hears_of_namespaces_that_others_create() {
        let registry = MemoryStore::new().store().registry;
        let runtime = Runtime::virtual_from(ids::Timestamp::from_millis(1_000_000));
        let directory = Directory::follow(Arc::clone(&registry), runtime.clone()).await.unwrap();
        let elsewhere = Namespaces::new(registry, runtime.clone());
        let info = NamespaceInfo { name: "orders".to_owned(), ..NamespaceInfo::default() };
        let wanted =
            Namespace { id: NamespaceId::new(""), name: "orders".to_owned(), info, config: NamespaceConfig::default() };
        let created = elsewhere.create(wanted).await.unwrap();
        for _ in 0..50 {
            if directory.known(&created.id).is_some_and(|found| found.name == "orders") {
                return;
            }
            runtime.sleep(Duration::from_millis(100)).await;
        }
        panic!("nobody told it of the namespace within five seconds");
    }
}
