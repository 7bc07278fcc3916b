//! Which kinds of entities the shards of a service host.

use std::sync::Arc;

use ids::{KindId, Slot};
use metrics::{Counter, counter};

use crate::hosted::{Hosted, KindAndHost};
use crate::{EntityKey, Host, Kind};

/// The kinds that a shard hosts, each with the service around it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kinds(Vec<Arc<Entry>>);

/// A kind that is hosted.
pub(crate) struct Entry {
    pub(crate) kind: Box<dyn Hosted>,
    pub(crate) counters: KindCounters,
}

/// What is counted for each kind.
pub(crate) struct KindCounters {
    pub(crate) changes: Counter,
    pub(crate) loads: Counter,
    pub(crate) evictions: Counter,
    pub(crate) quarantined: Counter,
}

impl Kinds {
    /// Hosts one more kind.
    ///
    /// # Panics
    /// When it is hosted already.
    #[must_use]
    pub fn with<K: Kind>(mut self, kind: Arc<K>, host: Arc<dyn Host<K>>) -> Self {
        assert!(!self.hosts(K::ID), "{:?} is hosted already", K::ID);
        self.0.push(Arc::new(Entry { kind: Box::new(KindAndHost { kind, host }), counters: KindCounters::of(K::ID) }));
        self
    }

    /// Whether this kind is among them.
    pub(crate) fn hosts(&self, kind: KindId) -> bool {
        self.get(kind).is_some()
    }

    /// There are a few at most: looked for one by one.
    pub(crate) fn get(&self, kind: KindId) -> Option<&Arc<Entry>> {
        self.0.iter().find(|entry| entry.kind.id() == kind)
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Hosted> {
        self.0.iter().map(|entry| &*entry.kind)
    }

    /// Where an entity lives; `None` for one of a kind that is not hosted.
    pub(crate) fn slot(&self, key: &EntityKey) -> Option<Slot> {
        Some(self.get(key.kind)?.kind.slot(key))
    }

    /// Whose partition this is, of those by which entities are found.
    pub(crate) fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        self.iter().find_map(|kind| kind.entity_of(partition))
    }
}

impl KindCounters {
    fn of(kind: KindId) -> Self {
        let kind = kind.name();
        Self {
            changes: counter!("outlast_shard_changes_total", "kind" => kind),
            loads: counter!("outlast_shard_loads_total", "kind" => kind),
            evictions: counter!("outlast_shard_evictions_total", "kind" => kind),
            quarantined: counter!("outlast_shard_quarantined_total", "kind" => kind),
        }
    }
}
