//! How a service talks to its entities of one kind, whichever shard they are in.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::request::OutcomeOf;
use crate::{CallError, EntityKey, EntityView, Kind, Shards};

/// The entities of one kind in the shards of a service. Cheap to clone.
pub struct KindHandle<K: Kind> {
    shards: Arc<Shards>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Clone for KindHandle<K> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shards))
    }
}

impl<K: Kind> KindHandle<K> {
    pub(crate) fn new(shards: Arc<Shards>) -> Self {
        Self { shards, kind: PhantomData }
    }

    /// The shards.
    pub fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    /// A user's request: refused under overload.
    pub async fn call(&self, key: &EntityKey, input: K::Input) -> OutcomeOf<K> {
        match self.shards.handle_of(key) {
            Some(handle) => handle.call::<K>(key.clone(), input).await,
            None => Err(self.shards.damage_at(key).map_or(CallError::NotOwner, CallError::Quarantined)),
        }
    }

    /// How something ended that was begun before: never refused under overload. While what is stored of the shard cannot be read,
    /// it is [`CallError::NotOwner`], since nothing must be taken for final then.
    pub async fn call_unshed(&self, key: &EntityKey, input: K::Input) -> OutcomeOf<K> {
        self.shards.handle_of(key).ok_or(CallError::NotOwner)?.call_unshed::<K>(key.clone(), input).await
    }

    /// Looks at an entity as it is in memory here, on its shard's task: must be quick.
    pub async fn inspect<T: Send + 'static>(
        &self,
        key: &EntityKey,
        look: impl FnOnce(EntityView<'_>) -> T + Send + 'static,
    ) -> Result<T, CallError<K::Rejection>> {
        let handle = self.shards.handle_of(key).ok_or(CallError::NotOwner)?;
        handle.inspect(key.clone(), look).await.ok_or(CallError::NotOwner)
    }
}
