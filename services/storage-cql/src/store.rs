//! The connected store.

use std::sync::Arc;

use runtime::Runtime;
use storage::Store;
use uuid::Uuid;

use crate::connect::{self, ConnectError};
use crate::failure::Failure;
use crate::health;
use crate::log::CqlLog;
use crate::registry::CqlRegistry;
use crate::requests::Requests;
use crate::schema::{self, SchemaError, SchemaState};
use crate::settings::CqlSettings;
use crate::stats::CqlStats;
use crate::table::CqlTable;

/// A store on Cassandra or ScyllaDB. Cheap to clone.
#[derive(Clone)]
pub struct CqlStore {
    requests: Arc<Requests>,
    log: Arc<CqlLog>,
    table: Arc<CqlTable>,
    registry: Arc<CqlRegistry>,
}

impl CqlStore {
    /// Connects to the database and makes sure that its tables are this release's and safe to use.
    ///
    /// # Errors
    /// Within the timeout for connecting, when no node answers; when login is refused, or may not read and write; when the
    /// schema has to be applied first; when the keyspace is set up so that acknowledged writes could be lost.
    pub async fn connect(settings: CqlSettings, runtime: Runtime) -> Result<Self, ConnectError> {
        let session = connect::session(&settings, &runtime).await?;
        match schema::state(&session, &settings).await {
            Ok(SchemaState::Current) => {}
            Ok(other) => return Err(ConnectError::Schema(other)),
            Err(SchemaError::Connect(error)) => return Err(error),
            Err(error) => return Err(ConnectError::Failed(error.to_string())),
        }
        health::verify(&session, &settings).await?;
        health::may_write(&session, &settings, Uuid::from_u128(runtime.seed())).await?;
        let requests = Arc::new(Requests::new(session, &settings, runtime));
        let failed = |failure: Failure| ConnectError::Failed(failure.to_string());
        let registry = Arc::new(CqlRegistry::prepare(&requests, &settings).await.map_err(failed)?);
        registry.start_watching();
        Ok(Self {
            log: Arc::new(CqlLog::prepare(&requests, &settings).await.map_err(failed)?),
            table: Arc::new(CqlTable::prepare(&requests, &settings).await.map_err(failed)?),
            registry,
            requests,
        })
    }

    /// The ports of this store.
    #[must_use]
    pub fn store(&self) -> Store {
        Store { log: self.log.clone(), table: self.table.clone(), registry: self.registry.clone() }
    }

    /// Counts of this store's requests to the database since it was connected.
    #[must_use]
    pub fn stats(&self) -> CqlStats {
        self.requests.counters.stats()
    }

    /// Waits for what is under way and closes the connections. Later calls through any port are answered with
    /// `Unavailable` (or `Unknown`, where that is the only way to say no).
    pub async fn close(&self) {
        self.requests.close().await;
    }
}
