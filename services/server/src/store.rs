//! The store that was chosen, open.

use std::path::Path;

use runtime::Runtime;
use storage::Store;
use storage::memory::MemoryStore;
use storage_cql::{ConnectError, CqlStore};
use storage_sqlite::{OpenError, SqliteOptions, SqliteStore};

use crate::{ServerSettings, StoreChoice};

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    /// The database.
    #[error(transparent)]
    Cassandra(#[from] ConnectError),
    /// Its directory.
    #[error("cannot create the directory {directory}: {source}")]
    Directory {
        /// Which.
        directory: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// A store and what it takes to close it.
pub(crate) enum OpenStore {
    Memory(MemoryStore),
    File(SqliteStore),
    Cassandra(CqlStore),
    #[cfg(test)]
    Faulty(storage::fault::FaultyStore),
}

impl OpenStore {
    pub(crate) async fn open(settings: &ServerSettings, runtime: &Runtime) -> Result<Self, StoreError> {
        match &settings.store {
            StoreChoice::Memory => Ok(Self::Memory(MemoryStore::new())),
            StoreChoice::File(path) => {
                create_directory_of(path)?;
                let options = SqliteOptions::default().cache_bytes(settings.store_cache_bytes);
                Ok(Self::File(options.open(path)?))
            }
            StoreChoice::Cassandra(settings) => {
                Ok(Self::Cassandra(CqlStore::connect((**settings).clone(), runtime.clone()).await?))
            }
        }
    }

    pub(crate) fn store(&self) -> Store {
        match self {
            Self::Memory(store) => store.store(),
            Self::File(store) => store.store(),
            Self::Cassandra(store) => store.store(),
            #[cfg(test)]
            Self::Faulty(store) => store.store(),
        }
    }

    /// As GetClusterInfo returns it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::File(_) => "sqlite",
            Self::Cassandra(_) => "cassandra",
            #[cfg(test)]
            Self::Faulty(_) => "faulty",
        }
    }

    /// Lets go of the file or of the connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::File(store) => store.close().await,
            Self::Cassandra(store) => store.close().await,
            #[cfg(test)]
            Self::Faulty(_) => {}
        }
    }
}

fn create_directory_of(path: &Path) -> Result<(), StoreError> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(directory)
        .map_err(|source| StoreError::Directory { directory: directory.display().to_string(), source })
}
