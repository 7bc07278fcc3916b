//! Processes on loopback with fakes behind real sockets, and the ring that a test publishes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use async_trait::async_trait;
use cluster::{
    History, Matching, Membership, Namespace, Node, NodeId, NodeState, Ring, Role, ServiceResult, TenantCtx,
};
use remote::{Channels, RoutedHistory, RoutedMatching, history_server, internal_server, matching_server};
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;

/// Publishes what a test says.
pub struct Published(watch::Sender<Arc<Ring>>);

#[async_trait]
impl Membership for Published {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.0.subscribe()
    }
    async fn confirm(&self) -> ServiceResult<Arc<Ring>> {
        Ok(Arc::clone(&self.0.borrow()))
    }
}

/// A process that serves a fake. Dropped, it is killed: its connections break.
pub struct Process {
    pub fake: Arc<Fake>,
    pub address: String,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Process {
    pub async fn start(fake: Arc<Fake>, settings: &RemoteSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (runtime, stopping) = (Runtime::system(), CancellationToken::new());
        let (history, matching) = (Arc::clone(&fake) as Arc<dyn History>, Arc::clone(&fake) as Arc<dyn Matching>);
        let server = internal_server(settings)
            .add_service(history_server(history, runtime.clone(), settings))
            .add_service(matching_server(matching, runtime.clone(), settings))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping.clone().cancelled_owned());
        let serving = runtime.spawn(async move { server.await.unwrap() });
        Self { fake, address, stopping, serving }
    }

    /// It finishes what it has begun, and takes nothing more.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

/// A way to a process that can begin to swallow everything, or break.
pub struct Relay {
    pub address: String,
    swallows: Arc<AtomicBool>,
    broken: CancellationToken,
}

impl Relay {
    pub async fn to(process: &Process) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (swallows, broken) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let (to, swallowing, breaking) = (process.address.clone(), Arc::clone(&swallows), broken.clone());
        let runtime = Runtime::system();
        runtime.clone().spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else { continue };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                let (swallowing, breaking) = (Arc::clone(&swallowing), breaking.clone());
                let both = async move {
                    tokio::select! {
                        _ = futures::future::join(
                            pass(near_in, far_out, Arc::clone(&swallowing)),
                            pass(far_in, near_out, swallowing),
                        ) => {}
                        () = breaking.cancelled() => {}
                    }
                };
                runtime.spawn(both);
            }
        });
        Self { address, swallows, broken }
    }

    /// From now on nothing comes through, and nothing says so.
    pub fn swallow(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }

    /// Connections break.
    pub fn break_off(&self) {
        self.broken.cancel();
    }
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, swallows: Arc<AtomicBool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        if swallows.load(Ordering::SeqCst) {
            if read == 0 {
                // An end of the stream is not passed on either.
                std::future::pending::<()>().await;
            }
            continue;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The cluster as one caller, node `here`, sees it.
pub struct Cluster {
    membership: Arc<Published>,
    pub settings: RemoteSettings,
    pub runtime: Runtime,
    pub local: Arc<Fake>,
    pub history: Arc<RoutedHistory>,
    pub matching: Arc<RoutedMatching>,
}

pub fn ctx() -> TenantCtx {
    let id = "0f4c2a5e-9c7e-4d0e-8a53-1f0d8f1b7c11";
    let info = NamespaceInfo { id: id.to_owned(), name: "orders".to_owned(), state: 1, ..Default::default() };
    let config = NamespaceConfig {
        workflow_execution_retention_ttl: Some(prost_types::Duration { seconds: 259_200, nanos: 0 }),
        ..Default::default()
    };
    TenantCtx { namespace: Arc::new(Namespace { id: id.into(), name: "orders".to_owned(), info, config }) }
}

pub fn node(id: &str, incarnation: u64, address: &str) -> Node {
    Node {
        id: NodeId::new(id),
        incarnation,
        roles: BTreeSet::from([Role::History, Role::Matching]),
        address: address.to_owned(),
        zone: String::new(),
        weight: 100,
        state: NodeState::Up,
    }
}

impl Cluster {
    /// No ring yet.
    pub fn new(settings: RemoteSettings) -> Self {
        let membership = Arc::new(Published(watch::Sender::new(Arc::default())));
        let runtime = Runtime::system();
        let (local, here) = (Fake::new(), NodeId::new("here"));
        let published = Arc::clone(&membership) as Arc<dyn Membership>;
        let channels = Channels::new(&published, settings.clone(), runtime.clone());
        let history = RoutedHistory::new(
            &published,
            here.clone(),
            Some(Arc::clone(&local) as Arc<dyn History>),
            channels.clone(),
            runtime.clone(),
            settings.clone(),
        );
        let local_matching = Some(Arc::clone(&local) as Arc<dyn Matching>);
        let matching =
            RoutedMatching::new(&published, here, local_matching, channels, runtime.clone(), settings.clone());
        Self { membership, settings, runtime, local, history: Arc::new(history), matching: Arc::new(matching) }
    }

    /// The next version of the ring: these nodes, and one of them (or nobody) owns everything.
    pub fn publish(&self, nodes: &[Node], owner: Option<&str>) {
        let owner = owner.map(NodeId::new);
        let version = self.membership.0.borrow().version + 1;
        self.membership.0.send_replace(Arc::new(Ring {
            version,
            cluster_id: "c".to_owned(),
            nodes: nodes.iter().map(|node| (node.id.clone(), node.clone())).collect(),
            history: vec![owner.clone(); 4],
            matching: vec![owner; 2],
        }));
    }

    /// A fake behind a socket.
    pub async fn process(&self) -> Process {
        Process::start(Fake::new(), &self.settings).await
    }

    /// Waits until `fulfilled`, which is soon.
    pub async fn until(&self, what: &str, mut fulfilled: impl FnMut() -> bool) {
        let waiting = async {
            while !fulfilled() {
                self.runtime.sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let patience = std::time::Duration::from_secs(9);
        assert!(self.runtime.timeout(patience, waiting).await.is_some(), "not within {patience:?}: {what}");
    }
}
