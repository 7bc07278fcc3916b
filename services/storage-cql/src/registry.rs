//! The registry port: one partition of conditional writes.
//!
//! Each change also puts a new random token into the partition's static row. A watcher reads that token and
//! nothing else, about once a second, and only while there are listeners.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use scylla::DeserializeRow;
use scylla::response::query_result::QueryRowsResult;
use scylla::statement::batch::Batch;
use scylla::statement::prepared::PreparedStatement;
use storage::{CompareAndSet, Registry, RegistryEntry, StorageError, StorageResult, checksum};
use tokio::sync::watch;
use uuid::Uuid;

use crate::answer::Verdict;
use crate::failure::Failure;
use crate::names::Names;
use crate::requests::Requests;
use crate::sealed::{self, Sealed};
use crate::settings::CqlSettings;
use crate::stats::Kind;

/// How often a watcher looks: late enough to cost nothing, early enough to notice a change within two seconds.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct CqlRegistry {
    requests: Arc<Requests>,
    names: Names,
    read: PreparedStatement,
    list: PreparedStatement,
    read_change: PreparedStatement,
    create: Batch,
    replace: Batch,
    remove: Batch,
    /// All entries are one partition, so this process sends one change at a time: its own would only compete.
    turn: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
}

#[derive(DeserializeRow)]
struct EntryRow {
    key: Option<String>,
    version: Option<i64>,
    content: Option<Bytes>,
}

impl EntryRow {
    /// `None` for the static row of a registry without entries.
    fn entry(self) -> StorageResult<Option<RegistryEntry>> {
        let Some(key) = self.key else { return Ok(None) };
        let (Some(version), Some(content)) = (self.version, self.content) else {
            return Err(StorageError::Corrupt(format!("registry entry {key:?} lacks its version or its value")));
        };
        let version = u64::try_from(version)
            .map_err(|_| StorageError::Corrupt(format!("registry entry {key:?} has version {version}")))?;
        let what = || format!("registry entry \"{}\"", checksum::readable(key.as_bytes()));
        let value = sealed::opened(&content, |value| checksum::of_entry(&key, version, value), what)?;
        Ok(Some(RegistryEntry { key, value, version }))
    }
}

impl CqlRegistry {
    pub(crate) async fn prepare(requests: &Arc<Requests>, settings: &CqlSettings) -> Result<Self, Failure> {
        let table = format!("{}.registry_entries", settings.keyspace);
        let columns = format!("SELECT key, version, content FROM {table} WHERE registry = ?");
        let announce = format!("UPDATE {table} SET change = ? WHERE registry = ?");
        let change = async |entry: String| {
            let kind = Kind::ConditionalBatch;
            let statements = [requests.prepare(kind, &entry).await?, requests.prepare(kind, &announce).await?];
            Ok::<_, Failure>(requests.batch(kind, statements))
        };
        Ok(Self {
            requests: Arc::clone(requests),
            names: Names::within(&settings.within),
            read: requests.prepare(Kind::SerialRead, &format!("{columns} AND key = ?")).await?,
            list: requests.prepare(Kind::SerialRead, &format!("{columns} AND key >= ?")).await?,
            read_change: requests
                .prepare(Kind::Read, &format!("SELECT change FROM {table} WHERE registry = ? LIMIT 1"))
                .await?,
            create: change(format!(
                "INSERT INTO {table} (registry, key, version, content) VALUES (?, ?, 1, ?) IF NOT EXISTS"
            ))
            .await?,
            replace: change(format!(
                "UPDATE {table} SET version = ?, content = ? WHERE registry = ? AND key = ? IF version = ?"
            ))
            .await?,
            remove: change(format!("DELETE FROM {table} WHERE registry = ? AND key = ? IF version = ?")).await?,
            turn: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
        })
    }

    /// Starts looking for changes by others, until the registry is dropped.
    pub(crate) fn start_watching(self: &Arc<Self>) {
        let runtime = self.requests.runtime().clone();
        let watched = Arc::downgrade(self);
        self.requests.runtime().spawn(async move {
            let mut seen = None;
            while look(&watched, &mut seen).await.is_some() {
                runtime.sleep(POLL_INTERVAL).await;
            }
        });
    }

    async fn read_change(&self) -> StorageResult<Option<Uuid>> {
        let rows = self.requests.rows(Kind::Read, &self.read_change, (self.names.registry(),)).await;
        let row = rows.and_then(|rows| rows.maybe_first_row::<(Option<Uuid>,)>().map_err(Failure::unreadable));
        Ok(row.map_err(Failure::of_read)?.and_then(|(change,)| change))
    }
}

/// `None` once the registry is gone. A look that fails is made up for by the next.
async fn look(watched: &Weak<CqlRegistry>, seen: &mut Option<Uuid>) -> Option<()> {
    let registry = watched.upgrade()?;
    if registry.changes.receiver_count() == 0 {
        return Some(());
    }
    match registry.read_change().await {
        Ok(change) if change != *seen => {
            *seen = change;
            registry.changes.send_modify(|changes| *changes += 1);
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "cannot look for changes of the registry"),
    }
    Some(())
}

fn entries(rows: &QueryRowsResult) -> StorageResult<Vec<RegistryEntry>> {
    let corrupt = |error: &dyn std::fmt::Display| StorageError::Corrupt(format!("registry: {error}"));
    let mut entries = Vec::new();
    for row in rows.rows::<EntryRow>().map_err(|error| corrupt(&error))? {
        entries.extend(row.map_err(|error| corrupt(&error))?.entry()?);
    }
    Ok(entries)
}

#[async_trait]
impl Registry for CqlRegistry {
    /// A read at serial consistency: it settles a change that is still under way, so what it shows after an unknown
    /// outcome stays.
    async fn get(&self, key: &str) -> StorageResult<Option<RegistryEntry>> {
        let values = (self.names.registry(), key);
        let rows = self.requests.rows(Kind::SerialRead, &self.read, values).await.map_err(Failure::of_read)?;
        Ok(entries(&rows)?.pop())
    }

    async fn list(&self, prefix: &str) -> StorageResult<Vec<RegistryEntry>> {
        let values = (self.names.registry(), prefix);
        let rows = self.requests.rows(Kind::SerialRead, &self.list, values).await.map_err(Failure::of_read)?;
        // Keys sort as their bytes do, so those with the prefix come first.
        Ok(entries(&rows)?.into_iter().take_while(|entry| entry.key.starts_with(prefix)).collect())
    }

    async fn compare_and_set(&self, key: &str, expected: u64, value: Option<Bytes>) -> CompareAndSet {
        let Ok(expected) = i64::try_from(expected) else { return CompareAndSet::Conflict };
        let _turn = self.turn.lock().await;
        let registry = self.names.registry();
        let announcement = (Uuid::from_u128(self.requests.runtime().seed()), registry);
        let sealed =
            |version: i64, value| Sealed { value, sum: checksum::of_entry(key, version.cast_unsigned(), value) };
        let answer = match (expected, value.as_deref()) {
            (0, Some(value)) => {
                let create = (registry, key, sealed(1, value));
                self.requests.conditional_batch(&self.create, (create, announcement)).await
            }
            (expected, Some(value)) => {
                let version = expected.saturating_add(1);
                let replace = (version, sealed(version, value), registry, key, expected);
                self.requests.conditional_batch(&self.replace, (replace, announcement)).await
            }
            // Removing what must not be there: true or not, nothing changes.
            (0, None) => return self.is_absent(key).await,
            (expected, None) => {
                let remove = (registry, key, expected);
                self.requests.conditional_batch(&self.remove, (remove, announcement)).await
            }
        };
        match answer.map(|answer| answer.verdict()) {
            Ok(Verdict::Applied) => {
                self.changes.send_modify(|changes| *changes += 1);
                CompareAndSet::Applied
            }
            Ok(Verdict::Refused) => CompareAndSet::Conflict,
            Ok(Verdict::Unclear) => CompareAndSet::Unknown,
            Err(failure) => {
                tracing::warn!(%key, %failure, "a registry write has an unknown outcome");
                CompareAndSet::Unknown
            }
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl CqlRegistry {
    async fn is_absent(&self, key: &str) -> CompareAndSet {
        match self.get(key).await {
            Ok(None) => CompareAndSet::Applied,
            Ok(Some(_)) => CompareAndSet::Conflict,
            Err(_) => CompareAndSet::Unknown,
        }
    }
}
