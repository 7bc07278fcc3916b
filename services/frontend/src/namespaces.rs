//! Namespaces: registry rows, and a snapshot of them in memory that follows the registry.
//!
//! A namespace has two rows. `namespace/name/<name>` claims the name; creating it is the one step that makes the
//! namespace exist, so it carries the whole namespace as created. `namespace/id/<id>` is what the namespace is now.
//! Whoever meets a claim whose second row is missing (its creator was killed in between) writes that row from the
//! claim: no half of a namespace can be seen, and its name can never be lost to nobody.

mod stored;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cluster::{Namespace, ServiceError, ServiceResult};
use ids::NamespaceId;
use runtime::Runtime;
use storage::{Registry, RegistryEntry};

use self::stored::{Claim, ID_ROWS, NAME_ROWS, StoredNamespace};
use crate::stored::{Written, unavailable, write_once};

/// Tries of an update that others keep getting ahead of.
const TRIES: u32 = 10;

/// All namespaces, as some moment's registry had them.
#[derive(Default)]
struct Snapshot {
    by_name: BTreeMap<String, Arc<Namespace>>,
    by_id: BTreeMap<NamespaceId, Arc<Namespace>>,
}

/// The namespaces of the cluster.
pub(crate) struct Namespaces {
    registry: Arc<dyn Registry>,
    runtime: Runtime,
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Namespaces {
    /// The namespaces in `registry`; nothing is read yet.
    pub(crate) fn new(registry: Arc<dyn Registry>, runtime: Runtime) -> Self {
        Self { registry, runtime, snapshot: RwLock::default() }
    }

    /// Reads all rows again. What is out of date until then is at most what the registry's watch has not told yet.
    pub(crate) async fn refresh(&self) -> ServiceResult<()> {
        let claims = self.registry.list(NAME_ROWS).await.map_err(unavailable)?;
        let rows = self.registry.list(ID_ROWS).await.map_err(unavailable)?;
        let mut rows: BTreeMap<&str, &RegistryEntry> = rows.iter().map(|entry| (entry.key.as_str(), entry)).collect();
        let mut snapshot = Snapshot::default();
        for entry in &claims {
            match self.complete(entry, &mut rows).await {
                Ok(namespace) => {
                    let namespace = Arc::new(namespace);
                    snapshot.by_id.insert(namespace.id.clone(), Arc::clone(&namespace));
                    snapshot.by_name.insert(namespace.name.clone(), namespace);
                }
                // One bad row must not take the other namespaces away.
                Err(error) => tracing::error!(row = entry.key, %error, "a namespace cannot be used"),
            }
        }
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    /// The namespace of a claim, finishing what a killed creator left undone.
    async fn complete(
        &self,
        claim: &RegistryEntry,
        rows: &mut BTreeMap<&str, &RegistryEntry>,
    ) -> ServiceResult<Namespace> {
        let claim = Claim::read(claim)?;
        let row = claim.id_row();
        if let Some(entry) = rows.remove(row.as_str()) {
            return StoredNamespace::read(entry)?.into_namespace();
        }
        match write_once(self.registry.as_ref(), &self.runtime, &row, 0, claim.created_bytes()).await? {
            Written::Theirs(Some(entry)) => StoredNamespace::read(&entry)?.into_namespace(),
            Written::Ours | Written::Theirs(None) => claim.into_created()?.into_namespace(),
        }
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The namespace with this id, as the snapshot has it.
    pub(crate) fn known(&self, id: &NamespaceId) -> Option<Arc<Namespace>> {
        self.current().by_id.get(id).cloned()
    }

    /// The namespace of this name.
    pub(crate) async fn by_name(&self, name: &str) -> ServiceResult<Arc<Namespace>> {
        if let Some(namespace) = self.current().by_name.get(name) {
            return Ok(Arc::clone(namespace));
        }
        // The snapshot may be behind. One row answers for names that nobody has; only a real one costs a listing.
        if self.registry.get(&stored::name_row(name)).await.map_err(unavailable)?.is_some() {
            self.refresh().await?;
        }
        self.current().by_name.get(name).cloned().ok_or_else(|| ServiceError::NamespaceNotFound(name.to_owned()))
    }

    /// The namespace of this id.
    pub(crate) async fn by_id(&self, id: &str) -> ServiceResult<Arc<Namespace>> {
        if let Some(namespace) = self.current().by_id.get(id) {
            return Ok(Arc::clone(namespace));
        }
        if self.registry.get(&stored::id_row(id)).await.map_err(unavailable)?.is_some() {
            self.refresh().await?;
        }
        self.current().by_id.get(id).cloned().ok_or_else(|| ServiceError::NamespaceNotFound(id.to_owned()))
    }

    /// Up to `count` namespaces, in the order of their names, after `after`.
    pub(crate) fn page(&self, after: Option<&str>, count: usize) -> Vec<Arc<Namespace>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let snapshot = self.current();
        let from = after.map_or(Unbounded, Excluded);
        snapshot.by_name.range::<str, _>((from, Unbounded)).take(count).map(|(_, found)| Arc::clone(found)).collect()
    }

    /// Creates a namespace under a fresh id. [`ServiceError::NamespaceAlreadyExists`] when the name is taken.
    pub(crate) async fn create(&self, mut namespace: Namespace) -> ServiceResult<Arc<Namespace>> {
        let id = self.runtime.uuid();
        namespace.id = NamespaceId::new(&id);
        namespace.info.id = id;
        let claim = Claim::of(&namespace);
        let row = stored::name_row(&namespace.name);
        match write_once(self.registry.as_ref(), &self.runtime, &row, 0, claim.to_bytes()).await? {
            Written::Ours => {}
            Written::Theirs(_) => {
                return Err(ServiceError::NamespaceAlreadyExists(format!(
                    "namespace {:?} already exists",
                    namespace.name
                )));
            }
        }
        // From here on it exists. Refreshing writes the second row; failing at that takes nothing back.
        self.refresh_soon().await;
        Ok(Arc::new(namespace))
    }

    /// Refreshes now, or else when the registry's watch tells of the change that we just made.
    async fn refresh_soon(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "namespaces are not up to date yet");
        }
    }

    /// Changes a namespace as `change` says, against its newest row. The new state is returned once it is stored.
    pub(crate) async fn update(
        &self,
        name: &str,
        change: impl Fn(&mut Namespace) -> ServiceResult<()>,
    ) -> ServiceResult<Arc<Namespace>> {
        let id = self.by_name(name).await?.id.clone();
        let row = stored::id_row(id.as_str());
        for _ in 0..TRIES {
            let entry = self.registry.get(&row).await.map_err(unavailable)?;
            let entry = entry.ok_or_else(|| ServiceError::NamespaceNotFound(name.to_owned()))?;
            let stored = StoredNamespace::read(&entry)?;
            let revision = stored.revision + 1;
            let mut namespace = stored.into_namespace()?;
            change(&mut namespace)?;
            let value = StoredNamespace::of(&namespace, revision, self.runtime.uuid()).to_bytes();
            match write_once(self.registry.as_ref(), &self.runtime, &row, entry.version, value).await? {
                Written::Ours => {
                    self.refresh_soon().await;
                    return Ok(Arc::new(namespace));
                }
                Written::Theirs(_) => {}
            }
        }
        Err(ServiceError::Unavailable(format!("namespace {name:?} keeps changing, try again")))
    }
}

#[cfg(test)]
#[path = "namespaces_test.rs"]
mod tests;
