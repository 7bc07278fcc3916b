//! The shards that this process owns, and which of them holds a workflow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use entities::{CallError, EntityKey, Host, Shard, ShardHandle, ShardSettings, ShardStats};
use execution::{Input, Rejection, Reply};
use ids::{Slot, WorkflowId};
use runtime::Runtime;
use storage::{LogId, StorageError, Store};

use crate::kind::WorkflowKind;

const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What it takes to open a shard.
pub(crate) struct Opener {
    pub(crate) kind: Arc<WorkflowKind>,
    pub(crate) host: Arc<dyn Host<WorkflowKind>>,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) settings: ShardSettings,
}

/// All shards.
pub(crate) struct Shards {
    places: Vec<RwLock<ShardHandle<WorkflowKind>>>,
    closing: AtomicBool,
}

impl Opener {
    async fn open(&self, number: u32) -> Result<ShardHandle<WorkflowKind>, StorageError> {
        Shard::open(
            LogId(format!("history/{number}")),
            Arc::clone(&self.kind),
            Arc::clone(&self.host),
            self.store.clone(),
            self.runtime.clone(),
            self.settings.clone(),
        )
        .await
    }

    /// Tries until it works. An error that trying again cannot mend is returned.
    async fn open_patiently(&self, number: u32) -> Result<ShardHandle<WorkflowKind>, StorageError> {
        let mut rest = FIRST_REST;
        loop {
            match self.open(number).await {
                Ok(handle) => return Ok(handle),
                Err(error @ (StorageError::Corrupt(_) | StorageError::Invalid(_))) => return Err(error),
                Err(error) => tracing::warn!(shard = number, %error, "a shard cannot be opened yet"),
            }
            self.runtime.sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }
}

impl Shards {
    /// Opens `count` shards, and opens again those that somebody else fences, until closed.
    pub(crate) async fn open(opener: Opener, count: u32) -> Result<Arc<Self>, StorageError> {
        let opening = (0..count).map(|number| opener.open_patiently(number));
        let handles = futures::future::try_join_all(opening).await?;
        let places = handles.into_iter().map(RwLock::new).collect();
        let shards = Arc::new(Self { places, closing: AtomicBool::new(false) });
        let opener = Arc::new(opener);
        for number in 0..count {
            opener.runtime.spawn(keep_open(Arc::clone(&shards), Arc::clone(&opener), number));
        }
        Ok(shards)
    }

    fn place(&self, key: &EntityKey) -> &RwLock<ShardHandle<WorkflowKind>> {
        let slot = Slot::of(&key.namespace, &WorkflowId::new(&*key.id));
        &self.places[slot.shard(self.places.len() as u32).0 as usize]
    }

    fn handle_of(&self, key: &EntityKey) -> ShardHandle<WorkflowKind> {
        self.place(key).read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A user's request.
    pub(crate) async fn call(&self, key: &EntityKey, input: Input) -> Result<Reply, CallError<Rejection>> {
        self.handle_of(key).call(key.clone(), input).await
    }

    /// A worker's answer, or another workflow's.
    pub(crate) async fn tell(&self, key: &EntityKey, input: Input) -> Result<Reply, CallError<Rejection>> {
        self.handle_of(key).tell(key.clone(), input).await
    }

    fn handles(&self) -> Vec<ShardHandle<WorkflowKind>> {
        self.places.iter().map(|place| place.read().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Writes everything to the tables and stops.
    pub(crate) async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let handles = self.handles();
        futures::future::join_all(handles.iter().map(ShardHandle::close)).await;
    }

    /// Stops as a crash would.
    pub(crate) async fn abandon(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let handles = self.handles();
        futures::future::join_all(handles.iter().map(ShardHandle::abandon)).await;
    }

    /// What the shards look like.
    pub(crate) fn stats(&self) -> Vec<ShardStats> {
        self.handles().iter().map(ShardHandle::stats).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}

async fn keep_open(shards: Arc<Shards>, opener: Arc<Opener>, number: u32) {
    loop {
        let place = &shards.places[number as usize];
        let closed = place.read().unwrap_or_else(PoisonError::into_inner).closed();
        closed.await;
        if shards.closing.load(Ordering::SeqCst) {
            return;
        }
        tracing::warn!(shard = number, "a shard has stopped, opening it again");
        match opener.open_patiently(number).await {
            Ok(handle) => *place.write().unwrap_or_else(PoisonError::into_inner) = handle,
            Err(error) => {
                tracing::error!(shard = number, %error, "a shard cannot be opened any more");
                return;
            }
        }
        if shards.closing.load(Ordering::SeqCst) {
            let handle = place.read().unwrap_or_else(PoisonError::into_inner).clone();
            handle.close().await;
            return;
        }
    }
}
