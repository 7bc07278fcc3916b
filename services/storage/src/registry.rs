//! The registry port: a few small, strongly consistent values (namespaces, keys, cluster facts).

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::StorageResult;

/// A value with the version that the next compare-and-set must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Starts at 1 and rises by one with each change.
    pub version: u64,
}

/// The outcome of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareAndSet {
    /// Stored, with the expected version plus one.
    Applied,
    /// The key has another version. Nothing was stored.
    Conflict,
    /// It may have happened: read, then decide.
    Unknown,
}

/// Small, strongly consistent values.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// One entry.
    async fn get(&self, key: &str) -> StorageResult<Option<RegistryEntry>>;

    /// All entries whose key starts with `prefix`, in the order of their keys.
    async fn list(&self, prefix: &str) -> StorageResult<Vec<RegistryEntry>>;

    /// Stores `value` (or removes the entry, for `None`) if the key still has `expected` (0: it does not exist).
    async fn compare_and_set(&self, key: &str, expected: u64, value: Option<Bytes>) -> CompareAndSet;

    /// A counter that changes, at most two seconds late, whenever anything in the registry has.
    fn watch(&self) -> watch::Receiver<u64>;
}
