//! All shards of one service that this process owns: which of them holds an entity, and keeping them open.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ids::{Slot, WorkflowId};
use runtime::Runtime;
use storage::{LogId, StorageError, Store};
use tokio_util::sync::CancellationToken;

use crate::{CallError, EntityKey, Host, Kind, Shard, ShardHandle, ShardSettings, ShardStats};

const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What it takes to open a shard.
pub struct ShardOpener<K: Kind> {
    /// The service: its logs are named `<service>/<number>`.
    pub service: &'static str,
    /// The kind of entity.
    pub kind: Arc<K>,
    /// The service around the shards.
    pub host: Arc<dyn Host<K>>,
    /// Where they keep their logs and rows.
    pub store: Store,
    /// Time and tasks.
    pub runtime: Runtime,
    /// Each one's bounds.
    pub settings: ShardSettings,
}

/// The shards of a service, numbered from 0. One that stops by itself, as when somebody else has fenced it, is opened
/// again until the service closes.
pub struct Shards<K: Kind> {
    handles: Vec<RwLock<ShardHandle<K>>>,
    closing: CancellationToken,
}

impl<K: Kind> ShardOpener<K> {
    async fn open(&self, number: u32) -> Result<ShardHandle<K>, StorageError> {
        let log = LogId(format!("{}/{number}", self.service));
        let (kind, host, store) = (Arc::clone(&self.kind), Arc::clone(&self.host), self.store.clone());
        Shard::open(log, kind, host, store, self.runtime.clone(), self.settings.clone()).await
    }

    /// Tries until it works. An error that trying again cannot mend is returned.
    async fn open_patiently(&self, number: u32) -> Result<ShardHandle<K>, StorageError> {
        let mut rest = FIRST_REST;
        loop {
            match self.open(number).await {
                Ok(handle) => return Ok(handle),
                Err(error @ (StorageError::Corrupt(_) | StorageError::Invalid(_))) => return Err(error),
                Err(error) => {
                    tracing::warn!(service = self.service, shard = number, %error, "a shard cannot be opened yet");
                }
            }
            self.runtime.sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }
}

impl<K: Kind> Shards<K> {
    /// Opens `count` shards (at least one), waiting for a store that is away.
    pub async fn open(opener: ShardOpener<K>, count: u32) -> Result<Arc<Self>, StorageError> {
        let opening = (0..count.max(1)).map(|number| opener.open_patiently(number));
        let handles = futures::future::try_join_all(opening).await?;
        let handles = handles.into_iter().map(RwLock::new).collect();
        let shards = Arc::new(Self { handles, closing: CancellationToken::new() });
        let opener = Arc::new(opener);
        for number in 0..count.max(1) {
            opener.runtime.spawn(keep_open(Arc::clone(&shards), Arc::clone(&opener), number));
        }
        Ok(shards)
    }

    fn handle(&self, number: u32) -> ShardHandle<K> {
        self.handles[number as usize].read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn handle_of(&self, key: &EntityKey) -> ShardHandle<K> {
        let slot = Slot::of(&key.namespace, &WorkflowId::new(&*key.id));
        self.handle(slot.shard(self.handles.len() as u32).0)
    }

    fn all(&self) -> Vec<ShardHandle<K>> {
        (0..self.handles.len() as u32).map(|number| self.handle(number)).collect()
    }

    /// A user's request: refused under overload.
    pub async fn call(&self, key: &EntityKey, input: K::Input) -> Result<K::Reply, CallError<K::Rejection>> {
        self.handle_of(key).call(key.clone(), input).await
    }

    /// How something ended that was begun before: never refused under overload.
    pub async fn tell(&self, key: &EntityKey, input: K::Input) -> Result<K::Reply, CallError<K::Rejection>> {
        self.handle_of(key).tell(key.clone(), input).await
    }

    /// Writes everything to the tables and stops.
    pub async fn close(&self) {
        self.closing.cancel();
        futures::future::join_all(self.all().iter().map(ShardHandle::close)).await;
    }

    /// Stops as a crash would.
    pub async fn abandon(&self) {
        self.closing.cancel();
        futures::future::join_all(self.all().iter().map(ShardHandle::abandon)).await;
    }

    /// What the shards look like, by number.
    pub fn stats(&self) -> Vec<ShardStats> {
        self.all().iter().map(ShardHandle::stats).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.handles.len()
    }
}

async fn keep_open<K: Kind>(shards: Arc<Shards<K>>, opener: Arc<ShardOpener<K>>, number: u32) {
    let service = opener.service;
    loop {
        shards.handle(number).closed().await;
        if shards.closing.is_cancelled() {
            return;
        }
        tracing::warn!(service, shard = number, "a shard has stopped and is opened again");
        let opened = tokio::select! {
            opened = opener.open_patiently(number) => opened,
            () = shards.closing.cancelled() => return,
        };
        match opened {
            Ok(handle) => {
                let place = &shards.handles[number as usize];
                *place.write().unwrap_or_else(PoisonError::into_inner) = handle.clone();
                if shards.closing.is_cancelled() {
                    return handle.close().await;
                }
            }
            Err(error) => {
                tracing::error!(service, shard = number, %error, "a shard cannot be opened any more");
                return;
            }
        }
    }
}
