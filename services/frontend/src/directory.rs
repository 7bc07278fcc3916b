//! The namespaces of the cluster: a snapshot that follows the registry, one for all services of a process.

use std::sync::Arc;

use calls::{Namespace, ServiceResult};
use ids::NamespaceId;
use runtime::Runtime;
use storage::Registry;
use tokio_util::sync::CancellationToken;

use crate::namespaces::Namespaces;
use crate::stored::refresh_after_changes;

/// All namespaces, at most a few seconds old. Ends its background work when dropped.
pub struct Directory {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) namespaces: Arc<Namespaces>,
    runtime: Runtime,
    /// Ends the task that follows the registry.
    gone: CancellationToken,
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

impl Directory {
    /// Knows nothing before [`Directory::follow`].
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, runtime: Runtime) -> Self {
        let namespaces = Arc::new(Namespaces::new(Arc::clone(&registry), runtime.clone()));
        Self { namespaces, registry, runtime, gone: CancellationToken::new() }
    }

    /// Reads all namespaces, and from now on again after each change. Called until it succeeds, once.
    ///
    /// # Errors
    /// Unavailable when the registry cannot be read now.
    pub async fn follow(&self) -> ServiceResult<()> {
        // Watch first, then read: a change in between is seen by the watch.
        let changes = self.registry.watch();
        self.namespaces.refresh().await?;
        let followed = Arc::downgrade(&self.namespaces);
        let refresh = move || {
            let namespaces = followed.upgrade()?;
            Some(async move { namespaces.refresh().await })
        };
        let following = refresh_after_changes(changes, self.gone.clone(), self.runtime.clone(), refresh);
        self.runtime.spawn(following);
        Ok(())
    }

    /// The namespace with this id, as far as the directory has loaded it.
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
        let directory = Directory::new(Arc::clone(&registry), runtime.clone());
        directory.follow().await.unwrap();
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
        panic!("the frontend did not load the namespace within five seconds");
    }
}
