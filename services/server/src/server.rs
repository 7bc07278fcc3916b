//! Starting and stopping all roles in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use cluster::{FixedRing, NodeId, Ownership, Ring, Sharded};
use frontend::Frontend;
use history::HistoryService;
use matching::MatchingService;
use runtime::Runtime;
use storage::StorageError;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::shard_numbers::{self, ShardNumberError};
use crate::store::{OpenStore, StoreError};
use crate::{ServerSettings, StoreChoice};

/// Why a server does not start. Each text holds the texts of its causes: show it alone, not the whole chain.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The metrics endpoint.
    #[error("metrics: {0:#}")]
    Metrics(anyhow::Error),
    /// The store.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// The numbers of shards.
    #[error(transparent)]
    ShardNumber(#[from] ShardNumberError),
    /// History.
    #[error("a history shard cannot be opened: {0}")]
    History(StorageError),
    /// Matching.
    #[error("a matching shard cannot be opened: {0}")]
    Matching(StorageError),
    /// The frontend.
    #[error(transparent)]
    Frontend(#[from] frontend::StartError),
    /// A namespace that shall exist.
    #[error("namespace {name:?} cannot be created: {source}")]
    Namespace {
        /// Which.
        name: String,
        /// Why not.
        source: cluster::ServiceError,
    },
}

/// A server that runs.
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), frontend::StartError>>,
    history: Arc<HistoryService>,
    matching: Arc<MatchingService>,
    store: OpenStore,
}

impl Server {
    /// Opens the store, then history, matching and the frontend, and serves. Must be called inside a tokio runtime.
    pub async fn start(settings: ServerSettings, runtime: Runtime) -> Result<Self, StartError> {
        let address = SocketAddr::new(settings.ip, settings.port);
        let listener = listen(address).await?;
        let address = listener.local_addr().unwrap_or(address);
        let metrics_address = settings.metrics_port.map(|port| SocketAddr::new(settings.ip, port));
        if let Some(address) = metrics_address {
            telemetry::serve_metrics(address).map_err(StartError::Metrics)?;
        }

        let open_store = OpenStore::open(&settings.store)?;
        let store = open_store.store();
        shard_numbers::check(store.registry.as_ref(), "history", settings.history_shards).await?;
        shard_numbers::check(store.registry.as_ref(), "matching", settings.matching_shards).await?;

        let node = NodeId::new("alone");
        let ring = Ring::alone(&node, settings.history_shards, settings.matching_shards);
        let membership = Arc::new(FixedRing::new(ring));
        let own = |service| Ownership { membership: Arc::clone(&membership) as _, service, node: node.clone() };
        let history = HistoryService::open(
            settings.history,
            settings.shards,
            own(Sharded::History),
            store.clone(),
            runtime.clone(),
        );
        let matching = MatchingService::open(settings.matching, own(Sharded::Matching), store.clone(), runtime.clone());
        if let Err(error) = settle(&history, &matching).await {
            matching.abandon().await;
            history.abandon().await;
            return Err(error);
        }
        matching.connect(Arc::clone(&history) as _);
        history.connect(Arc::clone(&matching) as _, Arc::clone(&history) as _);

        let mut frontend_settings = settings.frontend;
        frontend_settings.history_shards = i32::try_from(settings.history_shards).unwrap_or(i32::MAX);
        open_store.name().clone_into(&mut frontend_settings.persistence_store);
        let frontend = Frontend::new(
            frontend_settings,
            Arc::clone(&history) as _,
            Arc::clone(&matching) as _,
            Arc::clone(&store.registry),
            runtime.clone(),
        )
        .await?;
        ensure_namespaces(&frontend, settings.namespaces).await?;
        let names = frontend.clone();
        history.ask_for_names(Arc::new(move |id| names.known_namespace(id)));

        let shutdown = CancellationToken::new();
        let serving = {
            let (frontend, shutdown) = (frontend, shutdown.clone());
            runtime.spawn(async move { frontend.serve(listener, shutdown).await })
        };
        Ok(Self { address, metrics_address, shutdown, serving, history, matching, store: open_store })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Returns when serving has ended by itself, and why. Never after [`Server::stop`].
    pub async fn failed(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "the listener has closed".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("the serving task has died: {error}"),
        }
    }

    /// Takes no more connections, ends polls, lets requests finish, writes everything to the tables and lets go of the
    /// store.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if !self.serving.is_finished()
            && let Err(error) = self.serving.await
        {
            tracing::error!(%error, "the serving task has died");
        }
        self.matching.close().await;
        self.history.close().await;
        self.store.close().await;
    }
}

/// What the chosen store promises, for people.
impl std::fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory (nothing survives the process)"),
            Self::File(path) => {
                write!(f, "{} (SQLite, synchronous=FULL: every acknowledgement is fsynced)", path.display())
            }
        }
    }
}

/// Waits until all shards are open.
async fn settle(history: &HistoryService, matching: &MatchingService) -> Result<(), StartError> {
    history.settled().await.map_err(StartError::History)?;
    matching.settled().await.map_err(StartError::Matching)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

async fn ensure_namespaces(frontend: &Frontend, wanted: Vec<String>) -> Result<(), StartError> {
    let mut names = vec!["default".to_owned()];
    names.extend(wanted);
    for name in names {
        if let Err(source) = frontend.ensure_namespace(&name).await {
            return Err(StartError::Namespace { name, source });
        }
    }
    Ok(())
}
