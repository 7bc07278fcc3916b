//! All namespaces in memory. It never goes back: of two revisions of a namespace it keeps the later, in whichever order
//! they come.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use calls::Namespace;
use ids::NamespaceId;

/// All namespaces, as far as they have been loaded.
#[derive(Default)]
pub(super) struct Snapshot(RwLock<Entries>);

#[derive(Default)]
struct Entries {
    by_name: BTreeMap<String, Arc<Namespace>>,
    by_id: BTreeMap<NamespaceId, Entry>,
    /// Listings that have begun.
    listings: u64,
}

struct Entry {
    namespace: Arc<Namespace>,
    /// Rises with each update of the namespace.
    revision: u64,
    /// How many listings had begun when it was last applied: it was stored before the next one began.
    listings: u64,
}

/// A listing that has begun.
pub(super) struct Listing(u64);

impl Snapshot {
    pub(super) fn by_id(&self, id: &NamespaceId) -> Option<Arc<Namespace>> {
        self.read().by_id.get(id).map(|entry| Arc::clone(&entry.namespace))
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Arc<Namespace>> {
        self.read().by_name.get(name).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.read().by_name.len()
    }

    /// Up to `count` namespaces, in the order of their names, after `after`.
    pub(super) fn page(&self, after: Option<&str>, count: usize) -> Vec<Arc<Namespace>> {
        let from = after.map_or(Unbounded, Excluded);
        self.read().by_name.range::<str, _>((from, Unbounded)).take(count).map(|(_, found)| Arc::clone(found)).collect()
    }

    /// Takes in a revision of a namespace that is stored. The newest known one.
    pub(super) fn apply(&self, revision: u64, namespace: Arc<Namespace>) -> Arc<Namespace> {
        self.write().apply(revision, namespace)
    }

    /// To be called before the rows are read.
    pub(super) fn begin_listing(&self) -> Listing {
        let mut entries = self.write();
        entries.listings += 1;
        Listing(entries.listings)
    }

    /// Takes in what a listing found. What it did not find and was known before it began is gone.
    pub(super) fn finish_listing(&self, listing: Listing, found: Vec<(u64, Arc<Namespace>)>) {
        let ids: BTreeSet<NamespaceId> = found.iter().map(|(_, namespace)| namespace.id.clone()).collect();
        let mut entries = self.write();
        for (revision, namespace) in found {
            entries.apply(revision, namespace);
        }
        let Entries { by_name, by_id, .. } = &mut *entries;
        by_id.retain(|id, entry| {
            let stays = entry.listings >= listing.0 || ids.contains(id);
            if !stays && by_name.get(&entry.namespace.name).is_some_and(|named| named.id == *id) {
                by_name.remove(&entry.namespace.name);
            }
            stays
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn apply(&mut self, revision: u64, namespace: Arc<Namespace>) -> Arc<Namespace> {
        let listings = self.listings;
        if let Some(entry) = self.by_id.get_mut(&namespace.id)
            && entry.revision >= revision
        {
            entry.listings = listings;
            return Arc::clone(&entry.namespace);
        }
        self.by_name.insert(namespace.name.clone(), Arc::clone(&namespace));
        self.by_id.insert(namespace.id.clone(), Entry { namespace: Arc::clone(&namespace), revision, listings });
        namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Arc<Namespace> {
        let info = Default::default();
        Arc::new(Namespace { id: NamespaceId::new(name), name: name.to_owned(), info, config: Default::default() })
    }

    fn names(snapshot: &Snapshot) -> Vec<String> {
        let page = snapshot.page(None, 10);
        assert_eq!(page.len(), snapshot.len());
        assert!(page.iter().all(|namespace| snapshot.by_id(&namespace.id).as_ref() == Some(namespace)));
        page.iter().map(|namespace| namespace.name.clone()).collect()
    }

    #[test]
    fn of_two_revisions_the_later_stays_in_whichever_order_they_come() {
        let snapshot = Snapshot::default();
        let described = |text: &str| {
            let mut namespace = (*named("a")).clone();
            namespace.info.description = text.to_owned();
            Arc::new(namespace)
        };
        snapshot.apply(2, described("second"));
        assert_eq!(snapshot.apply(1, described("first")).info.description, "second");
        let listing = snapshot.begin_listing();
        snapshot.apply(3, described("third"));
        snapshot.finish_listing(listing, vec![(2, described("second"))]);
        assert_eq!(snapshot.by_name("a").unwrap().info.description, "third");
        assert_eq!(snapshot.by_id(&NamespaceId::new("a")).unwrap().info.description, "third");
    }

    #[test]
    fn a_listing_takes_away_what_is_gone_and_not_what_came_meanwhile() {
        let snapshot = Snapshot::default();
        snapshot.apply(1, named("gone"));
        snapshot.apply(1, named("stays"));
        let listing = snapshot.begin_listing();
        snapshot.apply(1, named("came"));
        snapshot.finish_listing(listing, vec![(1, named("stays"))]);
        assert_eq!(names(&snapshot), ["came", "stays"]);
        let listing = snapshot.begin_listing();
        snapshot.finish_listing(listing, vec![(1, named("came")), (1, named("theirs"))]);
        assert_eq!(names(&snapshot), ["came", "theirs"]);
    }
}
