//! The shards of one service that this node should own, by the ring: opened when the ring gives them, closed when it takes
//! them away, and which of them holds an entity.
//!
//! The ring is a hint. The process that opened a shard's log last owns it; the ring only says who should. Each shard has a task of
//! its own here, its keeper (`keeper.rs`), which follows the ring and nothing else.

mod confirmation;
mod keeper;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cluster::{Ownership, Ring};
use metrics::gauge;
use runtime::Runtime;
use storage::{LogId, StorageError, StorageResult, Store};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::confirmation::Confirmation;
use self::keeper::Keeper;
use crate::place::Place;
use crate::{EntityKey, Kind, KindHandle, Kinds, Shard, ShardHandle, ShardSettings, ShardStats};

/// What it takes to open a shard. The log of shard 3 of history is named `history/3`.
pub struct ShardOpener {
    /// What they host.
    pub kinds: Kinds,
    /// Where they keep their logs and rows.
    pub store: Store,
    /// Time and tasks.
    pub runtime: Runtime,
    /// Each one's bounds.
    pub settings: ShardSettings,
    /// Which shards: of which service, and for which node.
    pub ownership: Ownership,
}

/// The shards of a service, numbered from 0. Those that the ring gives to this node are served; calls for all others are
/// refused with [`CallError::NotOwner`](crate::CallError::NotOwner).
pub struct Shards {
    opener: ShardOpener,
    /// One for each shard of the service, from the first ring on that says how many there are.
    places: OnceLock<Vec<RwLock<Standing>>>,
    /// Who may be opening a shard.
    openings: Semaphore,
    /// What the leader said last to a keeper that was in doubt.
    confirmation: Confirmation,
    /// Moves with every standing.
    moved: watch::Sender<u64>,
    closing: CancellationToken,
    /// Whether to close as a crash would.
    abandoning: CancellationToken,
    keepers: TaskTracker,
}

/// How a shard stands here.
enum Standing {
    /// Not served, or not yet.
    Closed,
    /// Served.
    Open(ShardHandle),
    /// It should be served, and what is stored makes that impossible.
    Corrupt(StorageError),
}

impl ShardOpener {
    /// `None` when another process has opened it meanwhile.
    async fn open(&self, number: u32, of: u32) -> StorageResult<Option<ShardHandle>> {
        let log = LogId(format!("{}/{number}", self.ownership.service.name()));
        let (kinds, store) = (self.kinds.clone(), self.store.clone());
        let place = Place { number, of };
        Shard::open_unless_fenced(log, place, kinds, store, self.runtime.clone(), self.settings.clone()).await
    }
}

impl Shards {
    /// None is open before [`Shards::serve`].
    pub fn new(opener: ShardOpener) -> Arc<Self> {
        Arc::new(Self {
            places: OnceLock::new(),
            openings: Semaphore::new(opener.settings.concurrent_openings.max(1)),
            confirmation: Confirmation::default(),
            moved: watch::Sender::new(0),
            closing: CancellationToken::new(),
            abandoning: CancellationToken::new(),
            keepers: TaskTracker::new(),
            opener,
        })
    }

    /// Follows the ring from now on; returns at once. Called once. Must be closed: its tasks hold it.
    pub fn serve(self: &Arc<Self>) {
        self.opener.runtime.spawn(self.keepers.track_future(Arc::clone(self).follow()));
    }

    /// Gives every shard that the ring gives to this node a keeper, when it does so for the first time.
    async fn follow(self: Arc<Self>) {
        let mut rings = self.opener.ownership.membership.ring();
        let mut kept = std::collections::BTreeSet::new();
        loop {
            let ring = Arc::clone(&rings.borrow_and_update());
            let places = self.places_for(&ring);
            for number in self.opener.ownership.of(&ring) {
                if (number as usize) < places && kept.insert(number) {
                    let keeping = Keeper::new(Arc::clone(&self), number).keep();
                    self.opener.runtime.spawn(self.keepers.track_future(keeping));
                }
            }
            self.note_standings(&ring);
            tokio::select! {
                Ok(()) = rings.changed() => {}
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// How many shards there are: what the first ring that knew said, for ever.
    fn places_for(&self, ring: &Ring) -> usize {
        let service = self.opener.ownership.service;
        let count = ring.shards(service).len();
        if count == 0 {
            return self.count();
        }
        let places = self.places.get_or_init(|| (0..count).map(|_| RwLock::new(Standing::Closed)).collect());
        if places.len() != count {
            let known = places.len();
            tracing::error!(
                service = service.name(),
                known,
                count,
                "the ring has another number of shards than before"
            );
        }
        places.len()
    }

    fn place(&self, number: u32) -> Option<&RwLock<Standing>> {
        self.places.get()?.get(number as usize)
    }

    fn handle(&self, number: u32) -> Option<ShardHandle> {
        match &*self.place(number)?.read().unwrap_or_else(PoisonError::into_inner) {
            Standing::Open(handle) => Some(handle.clone()),
            Standing::Closed | Standing::Corrupt(_) => None,
        }
    }

    fn stand(&self, number: u32, standing: Standing) {
        if let Some(place) = self.place(number) {
            *place.write().unwrap_or_else(PoisonError::into_inner) = standing;
            self.moved.send_modify(|moves| *moves = moves.wrapping_add(1));
        }
        let ring = Arc::clone(&self.opener.ownership.membership.ring().borrow());
        self.note_standings(&ring);
    }

    /// Those of the shards that a ring gives to this node that are not open, each with why, if that is known for good.
    fn missing(&self, ring: &Ring) -> Vec<Option<StorageError>> {
        let given = self.opener.ownership.of(ring).into_iter();
        let why = |number| {
            let Some(place) = self.place(number) else { return Some(None) };
            match &*place.read().unwrap_or_else(PoisonError::into_inner) {
                Standing::Open(_) => None,
                Standing::Closed => Some(None),
                Standing::Corrupt(error) => Some(Some(error.clone())),
            }
        };
        given.filter_map(why).collect()
    }

    fn note_standings(&self, ring: &Ring) {
        let service = self.opener.ownership.service.name();
        let missing = self.missing(ring);
        let corrupt = missing.iter().flatten().count();
        gauge!("outlast_shards_open", "service" => service).set(self.open_shards().count() as f64);
        gauge!("outlast_shards_unserved", "service" => service).set(missing.len() as f64);
        gauge!("outlast_shards_corrupt", "service" => service).set(corrupt as f64);
    }

    fn open_shards(&self) -> impl Iterator<Item = (u32, ShardHandle)> {
        (0..self.count() as u32).filter_map(|number| Some((number, self.handle(number)?)))
    }

    /// Returns when every shard that the ring gives to this node is open. Waits for a first ring, and while the store is
    /// away.
    ///
    /// # Errors
    /// Of a shard that cannot be opened because of what is stored, once all others are open.
    pub async fn settled(&self) -> StorageResult<()> {
        let mut rings = self.opener.ownership.membership.ring();
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            let ring = Arc::clone(&rings.borrow_and_update());
            let missing = self.missing(&ring);
            if ring.version > 0 && missing.iter().all(Option::is_some) {
                return missing.into_iter().flatten().next().map_or(Ok(()), Err);
            }
            tokio::select! {
                Ok(()) = rings.changed() => {}
                Ok(()) = moved.changed() => {}
                () = self.closing.cancelled() => {
                    let message = "the shards are being closed".to_owned();
                    return Err(StorageError::Unavailable { message, retry_after: self.opener.settings.shed_age });
                }
            }
        }
    }

    /// How many of the shards that the ring gives to this node now are not open.
    pub fn unserved(&self) -> usize {
        let ring = Arc::clone(&self.opener.ownership.membership.ring().borrow());
        self.missing(&ring).len()
    }

    /// The entities of kind `K` in these shards.
    ///
    /// # Panics
    /// When they do not host it.
    pub fn of<K: Kind>(self: &Arc<Self>) -> KindHandle<K> {
        assert!(self.opener.kinds.hosts(K::ID), "{:?} is not hosted here", K::ID);
        KindHandle::new(Arc::clone(self))
    }

    /// In which shard an entity lives; `None` before the number of shards is known.
    pub fn shard_of(&self, key: &EntityKey) -> Option<u32> {
        let count = u32::try_from(self.count()).ok().filter(|count| *count > 0)?;
        Some(self.opener.kinds.slot(key)?.shard(count).0)
    }

    pub(crate) fn handle_of(&self, key: &EntityKey) -> Option<ShardHandle> {
        self.handle(self.shard_of(key)?)
    }

    /// Why an entity's shard is not served, if that is because of what is stored.
    pub(crate) fn damage_at(&self, key: &EntityKey) -> Option<String> {
        let number = self.shard_of(key)?;
        match &*self.place(number)?.read().unwrap_or_else(PoisonError::into_inner) {
            Standing::Corrupt(error) => {
                Some(format!("shard {number} of {} is not served: {error}", self.opener.ownership.service.name()))
            }
            Standing::Open(_) | Standing::Closed => None,
        }
    }

    /// Writes to the tables all that is dirty now, while serving on.
    pub async fn flush(&self) {
        futures::future::join_all(self.open_shards().map(|(_, handle)| async move { handle.flush().await })).await;
    }

    /// Writes everything to the tables and stops, whatever the ring says.
    pub async fn close(&self) {
        self.closing.cancel();
        self.keepers.close();
        self.keepers.wait().await;
    }

    /// Stops as a crash would.
    pub async fn abandon(&self) {
        self.abandoning.cancel();
        self.close().await;
    }

    /// What the open shards look like, by number.
    pub fn stats(&self) -> Vec<(u32, ShardStats)> {
        self.open_shards().map(|(number, handle)| (number, handle.stats())).collect()
    }

    /// How many shards the service has, here and elsewhere; 0 before the ring is known.
    pub fn count(&self) -> usize {
        self.places.get().map_or(0, Vec::len)
    }
}
