//! Starting and stopping the roles of one process.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use cluster::{FixedRing, Membership, NodeId, Ring, Role};
use runtime::Runtime;
use storage::{StorageError, Store};
use telemetry::health::{self, HealthBoard, PartState};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::joined::{ClusterError, Joined, Joining};
use crate::last_clock::Keeping;
use crate::retry_until_ready::retry_until_ready;
use crate::services::Services;
use crate::shard_numbers::{self, ShardNumberError};
use crate::stop_time::{Step, StopTime};
use crate::store::{OpenStore, StoreError};
use crate::store_owner::{self, StoreOwnerError};
use crate::{ServerSettings, memory_bounds, readiness};

/// How often metrics are tidied up.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How long a server that is no process of a cluster may take to stop.
const ALONE_TIMEOUT: Duration = Duration::from_secs(25);

/// Why a server does not start. Each text holds the texts of its causes: show it alone, not the whole chain.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Metrics.
    #[error("metrics: {0:#}")]
    Metrics(anyhow::Error),
    /// The store.
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
    /// The numbers of shards.
    #[error(transparent)]
    ShardNumber(#[from] ShardNumberError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The store is another cluster's.
    #[error(transparent)]
    StoreOwner(#[from] StoreOwnerError),
    /// History.
    #[error("cannot open a history shard: {0}")]
    History(StorageError),
    /// Matching.
    #[error("cannot open a matching shard: {0}")]
    Matching(StorageError),
    /// The frontend.
    #[error(transparent)]
    Frontend(#[from] frontend::StartError),
    /// The names of namespaces.
    #[error("cannot read the namespaces: {0}")]
    Namespaces(calls::ServiceError),
    /// A namespace that shall exist.
    #[error("cannot create namespace {name:?}: {source}")]
    Namespace {
        /// Which.
        name: String,
        /// Why not.
        source: calls::ServiceError,
    },
    /// It was stopped during start-up.
    #[error("stopped during start-up")]
    Stopped,
}

/// A server that runs.
pub struct Server {
    settings: ServerSettings,
    runtime: Runtime,
    board: HealthBoard,
    metrics_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    /// Ends what posts and shows the process's health.
    gone: CancellationToken,
    services: Arc<Services>,
    joined: Option<Joined>,
    front: Option<Front>,
    last_clock: Option<Keeping>,
    store: OpenStore,
}

/// The listeners, bound before anything else is done: an address that is taken is noticed at once.
struct Sockets {
    front: Option<TcpListener>,
    internal: Option<TcpListener>,
    http: Option<TcpListener>,
}

impl Sockets {
    async fn bind(settings: &ServerSettings) -> Result<Self, StartError> {
        let front = settings.roles.contains(&Role::Frontend);
        let cluster = settings.cluster.as_ref();
        Ok(Self {
            front: listen(front.then_some(SocketAddr::new(settings.ip, settings.port))).await?,
            internal: listen(cluster.map(|cluster| cluster.internal)).await?,
            http: listen(cluster.and_then(|cluster| cluster.http)).await?,
        })
    }
}

impl Server {
    /// Opens the store and the roles, joins the cluster if there is one, and serves. When `stop` returns before that is done,
    /// all that has been begun is ended as by [`Server::stop`], which may take as long. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Why it does not start; [`StartError::Stopped`] when it was stopped.
    pub async fn start(
        settings: ServerSettings,
        runtime: Runtime,
        stop: impl Future<Output = ()>,
    ) -> Result<Self, StartError> {
        Self::start_on(None, settings, runtime, stop).await
    }

    /// On the store of the settings, unless there is one already.
    async fn start_on(
        open_store: Option<OpenStore>,
        settings: ServerSettings,
        runtime: Runtime,
        stop: impl Future<Output = ()>,
    ) -> Result<Self, StartError> {
        let mut stop = pin!(stop);
        let mut sockets = Sockets::bind(&settings).await?;
        let (board, gone) = (HealthBoard::new(), CancellationToken::new());
        let http_address = sockets.http.as_ref().and_then(|socket| socket.local_addr().ok());
        // Health is shown from the first moment on, and until the last.
        let showing = gone.clone().drop_guard();
        if let Some(listener) = sockets.http.take() {
            show_health(listener, &board, &gone, &runtime)?;
        }
        let metrics_address = settings.metrics_port.map(|port| SocketAddr::new(settings.ip, port));
        if let Some(address) = metrics_address {
            telemetry::serve_metrics(address).map_err(StartError::Metrics)?;
        }

        memory_bounds::publish(&settings);
        board.set("store", PartState::Starting("connecting".to_owned()));
        let opening = Box::pin(opened(open_store, &settings, &runtime));
        let open_store = unless_stopped(stop.as_mut(), opening).await?;
        let store = open_store.store();
        board.set("store", PartState::Ready);

        let joining = match (settings.cluster.clone(), sockets.internal.take()) {
            (Some(cluster), Some(listener)) => Some(Box::pin(Joining::start(cluster, listener, &runtime)).await?),
            _ => None,
        };
        let joined = joining.as_ref().map(|joining| (joining.node().clone(), joining.membership()));
        let (node, membership) = joined.unwrap_or_else(|| alone(&settings));
        let last_clock = Keeping::begin(&store.table, &node, &runtime).await;
        let services = Arc::new(Services::new(&settings, &node, &membership, &store, &runtime));
        readiness::show(&board, &membership, &services);
        let mut server = Self {
            metrics_address,
            http_address,
            gone: showing.disarm(),
            joined: joining.map(|joining| joining.serve(&services, &runtime)),
            front: None,
            last_clock: Some(last_clock),
            store: open_store,
            settings,
            runtime,
            board,
            services,
        };
        // Boxed, here and below: all that a start and a stop wait for would not fit on the stack of a thread.
        let opened = unless_stopped(stop, Box::pin(server.open(sockets.front, &store))).await;
        match opened {
            Ok(()) => {
                server.board.started();
                Ok(server)
            }
            Err(StartError::Stopped) => {
                // It may serve shards already.
                Box::pin(server.stop()).await;
                Err(StartError::Stopped)
            }
            Err(error) => {
                Box::pin(server.give_up()).await;
                Err(error)
            }
        }
    }

    async fn open(&mut self, front: Option<TcpListener>, store: &Store) -> Result<(), StartError> {
        if let (Some(joined), Some(cluster)) = (&self.joined, &self.settings.cluster) {
            joined.joined().await?;
            let (registry, takes_over) = (store.registry.as_ref(), cluster.takes_over.as_deref());
            let claim = async || Ok(store_owner::claim(registry, &joined.ring(), joined.node(), takes_over).await?);
            retry_until_ready(&self.runtime, "checking which cluster owns the store", claim).await?;
        }
        // The other roles name no namespaces.
        if [Role::Frontend, Role::History].iter().any(|role| self.settings.roles.contains(role)) {
            let follow = async || self.services.directory.follow().await.map_err(StartError::Namespaces);
            retry_until_ready(&self.runtime, "reading the namespaces", follow).await?;
        }
        self.services.serve();
        if let Some(joined) = &self.joined {
            joined.take_part().await;
        }
        self.settle().await;
        self.open_front(front).await
    }

    /// Waits for all shards of this node. One that cannot be read shows in metrics and readiness, and the others are served.
    async fn settle(&self) {
        if let Err(error) = self.services.settle().await {
            tracing::error!(%error, "a shard of this node is not served");
        }
    }

    async fn open_front(&mut self, listener: Option<TcpListener>) -> Result<(), StartError> {
        let Some(listener) = listener else { return Ok(()) };
        let (settings, services, name) = (&self.settings, &self.services, self.store.name());
        self.front = Some(Front::open(settings, name, listener, services, &self.runtime).await?);
        self.board.set("frontend", PartState::Ready);
        Ok(())
    }

    /// Where the API is served; `None` without the role frontend.
    pub fn address(&self) -> Option<SocketAddr> {
        self.front.as_ref().map(|front| front.address)
    }

    /// Where metrics are, if not with health.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Where health and metrics are, in a process of a cluster.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where peers reach the process, in a cluster.
    pub fn internal_address(&self) -> Option<SocketAddr> {
        self.joined.as_ref().map(|joined| joined.address)
    }

    /// Returns when serving has ended by itself, and why. Never after [`Server::stop`].
    pub async fn failed(&mut self) -> String {
        let front = async {
            match &mut self.front {
                Some(front) => front.failed().await,
                None => std::future::pending().await,
            }
        };
        let node = async {
            match &mut self.joined {
                Some(joined) => joined.failed().await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            why = front => why,
            why = node => why,
        };
        self.board.set("process", PartState::Failed(why.clone()));
        why
    }

    /// Hands its shards to others while they are served, takes no more connections, ends polls, lets requests finish,
    /// writes everything to the tables, and leaves. Takes no longer than `drain_within` of a process of a cluster, or
    /// [`ALONE_TIMEOUT`]: what is not written to the tables by then is left to the logs.
    pub async fn stop(mut self) {
        let within = self.settings.cluster.as_ref().map_or(ALONE_TIMEOUT, |cluster| cluster.drain_within);
        let time = StopTime::begin(within, &self.runtime);
        self.board.draining();
        time.spend(Step::HandOver, self.hand_over()).await;
        if let Some(front) = self.front.take() {
            front.stop(time.left(Step::Requests), &self.runtime).await;
        }
        if !time.spend(Step::Close, self.services.close()).await {
            let soon = time.left(Step::Leave) / 4;
            self.runtime.timeout(soon, self.services.abandon()).await;
        }
        if let Some(joined) = self.joined.take() {
            let leave_timeout = time.left(Step::Leave) / 2;
            time.spend(Step::Leave, joined.leave(leave_timeout, &self.runtime)).await;
        }
        if let Some(last_clock) = self.last_clock.take() {
            time.spend(Step::Leave, last_clock.end()).await;
        }
        time.spend(Step::Leave, self.store.close()).await;
        self.gone.cancel();
    }

    /// Shards go one by one, each when its new owner is known; calls that come meanwhile are retried there.
    async fn hand_over(&self) {
        let Some(joined) = self.joined.as_ref().filter(|joined| joined.has_joined()) else { return };
        self.services.flush().await;
        match joined.member.drain().await {
            Ok(_) => self.services.until_handed_over(&self.runtime).await,
            Err(error) => tracing::warn!(%error, "cannot announce that this node leaves"),
        }
    }

    async fn give_up(&mut self) {
        const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
        self.services.abandon().await;
        if let Some(joined) = self.joined.take() {
            joined.leave(LEAVE_TIMEOUT, &self.runtime).await;
        }
        if let Some(last_clock) = self.last_clock.take() {
            self.runtime.timeout(LEAVE_TIMEOUT, last_clock.end()).await;
        }
        self.store.close().await;
        self.gone.cancel();
    }
}

/// The store, with as many shards as it should have.
async fn opened(
    open_store: Option<OpenStore>,
    settings: &ServerSettings,
    runtime: &Runtime,
) -> Result<OpenStore, StartError> {
    let opened = match open_store {
        Some(opened) => opened,
        None => OpenStore::open(settings, runtime).await?,
    };
    let registry = opened.store().registry;
    for (role, count) in [("history", settings.history_shards), ("matching", settings.matching_shards)] {
        let check = async || Ok(shard_numbers::check(registry.as_ref(), role, count).await?);
        retry_until_ready(runtime, "reading the number of shards", check).await?;
    }
    Ok(opened)
}

/// What `work` returns, unless it is stopped before that.
async fn unless_stopped<T>(
    stop: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    tokio::select! {
        biased;
        () = stop => Err(StartError::Stopped),
        done = work => done,
    }
}

/// The node and the ring of a server without a cluster.
fn alone(settings: &ServerSettings) -> (NodeId, Arc<dyn Membership>) {
    let node = NodeId::new("alone");
    let ring = Ring::alone(&node, settings.history_shards, settings.matching_shards);
    (node, Arc::new(FixedRing::new(ring)))
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    Ok(Some(listener))
}

fn show_health(
    listener: TcpListener,
    board: &HealthBoard,
    gone: &CancellationToken,
    runtime: &Runtime,
) -> Result<(), StartError> {
    let recorder = telemetry::install_recorder().map_err(StartError::Metrics)?;
    let rendered = recorder.clone();
    let metrics: health::Metrics = Arc::new(move || rendered.render());
    let (gone_too, clock) = (gone.clone(), runtime.clone());
    runtime.spawn(async move {
        // Histograms keep what was recorded until upkeep runs.
        while clock.timeout(METRICS_UPKEEP, gone_too.cancelled()).await.is_none() {
            recorder.run_upkeep();
        }
    });
    runtime.spawn(health::serve(listener, board.clone(), Some(metrics), gone.clone(), runtime.clone()));
    Ok(())
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
