//! Namespaces: registry rows, and a snapshot of them in memory that follows the registry.
//!
//! A namespace has two rows. `namespace/name/<name>` claims the name; creating it is the one step that makes the
//! namespace exist, so it carries the whole namespace as created. `namespace/id/<id>` is what the namespace is now.
//! The reader of a claim whose second row is missing (its creator was killed in between) writes that row from the
//! claim: no half of a namespace can be seen, and its name can never be lost.

mod refreshing;
mod snapshot;
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use calls::{Namespace, ServiceError, ServiceResult};
use ids::NamespaceId;
use runtime::Runtime;
use storage::{Registry, RegistryEntry};

use self::refreshing::Listings;
use self::snapshot::Snapshot;
use self::stored::{Claim, ID_ROWS, NAME_ROWS, StoredNamespace};
use crate::stored::{Written, unavailable, write_once};

/// Tries of an update that others keep getting ahead of.
const TRIES: u32 = 10;

/// The namespaces of the cluster.
pub(crate) struct Namespaces {
    registry: Arc<dyn Registry>,
    runtime: Runtime,
    snapshot: Snapshot,
    listings: Listings,
    /// How many are being created.
    creating: AtomicUsize,
}

impl Namespaces {
    /// The namespaces in `registry`; nothing is read yet.
    pub(crate) fn new(registry: Arc<dyn Registry>, runtime: Runtime) -> Self {
        let (snapshot, listings) = (Snapshot::default(), Listings::default());
        Self { registry, runtime, snapshot, listings, creating: AtomicUsize::new(0) }
    }

    /// Reads all rows again, once for all callers that come before that begins. What is out of date until then is at most what
    /// the registry's watch has not reported yet.
    pub(crate) async fn refresh(&self) -> ServiceResult<()> {
        self.listings.once(|| self.list()).await
    }

    async fn list(&self) -> ServiceResult<()> {
        let listing = self.snapshot.begin_listing();
        let claims = self.registry.list(NAME_ROWS).await.map_err(unavailable)?;
        let rows = self.registry.list(ID_ROWS).await.map_err(unavailable)?;
        let mut rows: BTreeMap<&str, &RegistryEntry> = rows.iter().map(|entry| (entry.key.as_str(), entry)).collect();
        let mut listed = Vec::with_capacity(claims.len());
        for entry in &claims {
            match self.complete(entry, &mut rows).await {
                Ok(stored) => listed.push(stored),
                // One bad row must not take the other namespaces away.
                Err(error) => tracing::error!(row = entry.key, %error, "a namespace cannot be used"),
            }
        }
        self.snapshot.finish_listing(listing, listed);
        Ok(())
    }

    /// The namespace of a claim with its revision, finishing what a killed creator left undone.
    async fn complete(
        &self,
        claim: &RegistryEntry,
        rows: &mut BTreeMap<&str, &RegistryEntry>,
    ) -> ServiceResult<(u64, Arc<Namespace>)> {
        let claim = Claim::read(claim)?;
        match rows.remove(claim.id_row().as_str()) {
            Some(entry) => revised(StoredNamespace::read(entry)?),
            None => self.write_second_row(claim).await,
        }
    }

    /// Writes the second row of a claim, unless it is there. What it holds then.
    async fn write_second_row(&self, claim: Claim) -> ServiceResult<(u64, Arc<Namespace>)> {
        let (row, created) = (claim.id_row(), claim.created_bytes());
        match write_once(self.registry.as_ref(), &self.runtime, &row, 0, created).await? {
            Written::Theirs(Some(entry)) => revised(StoredNamespace::read(&entry)?),
            Written::Ours | Written::Theirs(None) => revised(claim.into_created()?),
        }
    }

    /// The namespace with this id, as the snapshot has it.
    pub(crate) fn known(&self, id: &NamespaceId) -> Option<Arc<Namespace>> {
        self.snapshot.by_id(id)
    }

    /// The id of the namespace of this name, as the snapshot has it.
    pub(crate) fn known_by_name(&self, name: &str) -> Option<NamespaceId> {
        self.snapshot.by_name(name).map(|namespace| namespace.id.clone())
    }

    /// The namespace of this name.
    pub(crate) async fn by_name(&self, name: &str) -> ServiceResult<Arc<Namespace>> {
        if let Some(namespace) = self.snapshot.by_name(name) {
            return Ok(namespace);
        }
        // The snapshot may be behind: its rows are read, and no others.
        let row = stored::name_row(name);
        let claim = self.registry.get(&row).await.map_err(unavailable)?;
        let claim = Claim::read(&claim.ok_or_else(|| ServiceError::NamespaceNotFound(name.to_owned()))?)?;
        let (revision, namespace) = match self.registry.get(&claim.id_row()).await.map_err(unavailable)? {
            Some(entry) => revised(StoredNamespace::read(&entry)?)?,
            None => self.write_second_row(claim).await?,
        };
        Ok(self.snapshot.apply(revision, namespace))
    }

    /// The namespace of this id.
    pub(crate) async fn by_id(&self, id: &str) -> ServiceResult<Arc<Namespace>> {
        if let Some(namespace) = self.known(&NamespaceId::new(id)) {
            return Ok(namespace);
        }
        let entry = self.registry.get(&stored::id_row(id)).await.map_err(unavailable)?;
        let entry = entry.ok_or_else(|| ServiceError::NamespaceNotFound(id.to_owned()))?;
        let (revision, namespace) = revised(StoredNamespace::read(&entry)?)?;
        Ok(self.snapshot.apply(revision, namespace))
    }

    /// Up to `count` namespaces, in the order of their names, after `after`.
    pub(crate) fn page(&self, after: Option<&str>, count: usize) -> Vec<Arc<Namespace>> {
        self.snapshot.page(after, count)
    }

    /// Creates a namespace as [`Namespaces::create`] does, unless there are `most` already.
    pub(crate) async fn create_below(&self, most: usize, namespace: Namespace) -> ServiceResult<Arc<Namespace>> {
        let creating = Creating::begin(&self.creating);
        let others = self.snapshot.len() + creating.others;
        if others >= most && self.snapshot.by_name(&namespace.name).is_none() {
            return Err(ServiceError::FailedPrecondition(format!(
                "the cluster has {others} namespaces, at most {most} are allowed"
            )));
        }
        self.create(namespace).await
    }

    /// Creates a namespace under a fresh id. [`ServiceError::NamespaceAlreadyExists`] when the name is taken.
    pub(crate) async fn create(&self, mut namespace: Namespace) -> ServiceResult<Arc<Namespace>> {
        if self.snapshot.by_name(&namespace.name).is_some() {
            return Err(already_exists(&namespace.name));
        }
        let id = self.runtime.uuid();
        namespace.id = NamespaceId::new(&id);
        namespace.info.id = id;
        let claim = Claim::of(&namespace);
        let row = stored::name_row(&namespace.name);
        match write_once(self.registry.as_ref(), &self.runtime, &row, 0, claim.to_bytes()).await? {
            Written::Ours => {}
            Written::Theirs(_) => return Err(already_exists(&namespace.name)),
        }
        // From here on it exists; failing at the second row takes nothing back, since any reader writes it.
        match self.write_second_row(claim).await {
            Ok((revision, stored)) => drop(self.snapshot.apply(revision, stored)),
            Err(error) => tracing::warn!(%error, "a new namespace is incomplete: its second row is missing"),
        }
        Ok(Arc::new(namespace))
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
                    let namespace = Arc::new(namespace);
                    self.snapshot.apply(revision, Arc::clone(&namespace));
                    return Ok(namespace);
                }
                Written::Theirs(_) => {}
            }
        }
        Err(ServiceError::Unavailable(format!("namespace {name:?} keeps changing, try again")))
    }
}

/// The name is taken.
pub(crate) fn already_exists(name: &str) -> ServiceError {
    ServiceError::NamespaceAlreadyExists(format!("Namespace {name:?} already exists"))
}

/// A stored namespace and its revision.
fn revised(stored: StoredNamespace) -> ServiceResult<(u64, Arc<Namespace>)> {
    Ok((stored.revision, Arc::new(stored.into_namespace()?)))
}

/// One that is being created, until dropped.
struct Creating<'a> {
    creating: &'a AtomicUsize,
    /// How many were before it.
    others: usize,
}

impl<'a> Creating<'a> {
    fn begin(creating: &'a AtomicUsize) -> Self {
        Self { creating, others: creating.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.creating.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "namespaces_test.rs"]
mod tests;
