//! The matching shards of this process: which one keeps a partition, and keeping them open.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use entities::{CallError, EntityKey, Host, Shard, ShardHandle, ShardSettings};
use ids::{Slot, WorkflowId};
use runtime::Runtime;
use storage::{LogId, StorageError, Store};
use taskqueue::{Input, Reply};
use tokio_util::sync::CancellationToken;

use crate::kind::PartitionKind;

const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// A shard's refusal: no partition ever says no.
pub(crate) type ShardError = CallError<Infallible>;

/// What it takes to open a shard.
pub(crate) struct Opener {
    pub(crate) host: Arc<dyn Host<PartitionKind>>,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
}

/// All shards.
pub(crate) struct Shards {
    handles: Vec<RwLock<ShardHandle<PartitionKind>>>,
    closing: CancellationToken,
}

impl Opener {
    async fn open(&self, number: u32) -> Result<ShardHandle<PartitionKind>, StorageError> {
        let log = LogId(format!("matching/{number}"));
        let (host, store) = (Arc::clone(&self.host), self.store.clone());
        Shard::open(log, Arc::new(PartitionKind), host, store, self.runtime.clone(), ShardSettings::default()).await
    }

    /// Tries again while that makes sense.
    async fn open_patiently(&self, number: u32) -> Result<ShardHandle<PartitionKind>, StorageError> {
        let mut rest = FIRST_REST;
        loop {
            match self.open(number).await {
                Ok(handle) => return Ok(handle),
                Err(error @ (StorageError::Corrupt(_) | StorageError::Invalid(_))) => return Err(error),
                Err(error) => tracing::warn!(shard = number, %error, "a matching shard cannot be opened yet"),
            }
            self.runtime.sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }
}

impl Shards {
    /// Opens `count` shards, and again those that stop, until `closing`.
    pub(crate) async fn open(
        opener: Opener,
        count: u32,
        closing: CancellationToken,
    ) -> Result<Arc<Self>, StorageError> {
        let opening = (0..count.max(1)).map(|number| opener.open_patiently(number));
        let handles = futures::future::try_join_all(opening).await?;
        let shards = Arc::new(Self { handles: handles.into_iter().map(RwLock::new).collect(), closing });
        let opener = Arc::new(opener);
        for number in 0..shards.handles.len() as u32 {
            opener.runtime.spawn(keep_open(Arc::clone(&shards), Arc::clone(&opener), number));
        }
        Ok(shards)
    }

    fn handle(&self, number: u32) -> ShardHandle<PartitionKind> {
        self.handles[number as usize].read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn handle_of(&self, key: &EntityKey) -> ShardHandle<PartitionKind> {
        let slot = Slot::of(&key.namespace, &WorkflowId::new(&*key.id));
        self.handle(slot.shard(self.handles.len() as u32).0)
    }

    /// Asks a partition; refused under overload.
    pub(crate) async fn call(&self, key: &EntityKey, input: Input) -> Result<Reply, ShardError> {
        self.handle_of(key).call(key.clone(), input).await
    }

    /// Tells a partition how a delivery ended; never refused under overload.
    pub(crate) async fn tell(&self, key: &EntityKey, input: Input) -> Result<Reply, ShardError> {
        self.handle_of(key).tell(key.clone(), input).await
    }

    /// Writes everything to the tables and stops.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        let handles: Vec<_> = (0..self.handles.len() as u32).map(|number| self.handle(number)).collect();
        futures::future::join_all(handles.iter().map(ShardHandle::close)).await;
    }

    /// Stops as a crash would.
    pub(crate) async fn abandon(&self) {
        self.closing.cancel();
        let handles: Vec<_> = (0..self.handles.len() as u32).map(|number| self.handle(number)).collect();
        futures::future::join_all(handles.iter().map(ShardHandle::abandon)).await;
    }
}

async fn keep_open(shards: Arc<Shards>, opener: Arc<Opener>, number: u32) {
    loop {
        shards.handle(number).closed().await;
        if shards.closing.is_cancelled() {
            return;
        }
        tracing::warn!(shard = number, "a matching shard has stopped and is opened again");
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
                tracing::error!(shard = number, %error, "a matching shard cannot be opened any more");
                return;
            }
        }
    }
}
