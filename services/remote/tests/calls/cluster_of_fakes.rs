//! Processes on loopback with fakes behind real sockets, and the ring that a test publishes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use async_trait::async_trait;
use calls::{CallContext, History, Matching, Namespace};
use cluster::{Membership, NoLeader, Node, NodeId, NodeState, Ring, Role};
use remote::{Channels, Identity, Router, calls_server, internal_server};
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;

/// Nothing in these is so short that a machine which stands still for seconds would exceed it. Tests shorten what they
/// are about.
pub fn steady() -> RemoteSettings {
    let long = Duration::from_secs(60);
    RemoteSettings {
        call_timeout: long,
        connect_timeout: long / 6,
        keepalive_interval: long,
        keepalive_timeout: long,
        server_keepalive_timeout: long,
        receipt_timeout: long,
        ..RemoteSettings::default()
    }
}

/// Publishes what a test says.
pub struct Published(watch::Sender<Arc<Ring>>);

#[async_trait]
impl Membership for Published {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.0.subscribe()
    }
    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader> {
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
    pub async fn start(fake: Arc<Fake>, identity: Identity, settings: &RemoteSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (runtime, stopping) = (Runtime::system(), CancellationToken::new());
        let (history, matching) = (Arc::clone(&fake) as Arc<dyn History>, Arc::clone(&fake) as Arc<dyn Matching>);
        let server = internal_server(settings)
            .add_service(calls_server(Some(history), Some(matching), identity, runtime.clone(), settings))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping.clone().cancelled_owned());
        let serving = runtime.spawn(async move { server.await.unwrap() });
        Self { fake, address, stopping, serving }
    }

    /// It finishes what it has begun, and takes nothing more.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

/// A way to a process that can begin to swallow everything, break, or lead to another.
pub struct Relay {
    pub address: String,
    to: Arc<Mutex<String>>,
    connections: Arc<AtomicUsize>,
    swallows: Arc<AtomicBool>,
    broken: CancellationToken,
}

impl Relay {
    pub async fn to(process: &Process) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (swallows, broken) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let (to, connections) = (Arc::new(Mutex::new(process.address.clone())), Arc::new(AtomicUsize::new(0)));
        let (leading, counting) = (Arc::clone(&to), Arc::clone(&connections));
        let (swallowing, breaking) = (Arc::clone(&swallows), broken.clone());
        let runtime = Runtime::system();
        runtime.clone().spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let to = leading.lock().unwrap().clone();
                let Ok(far) = TcpStream::connect(to).await else { continue };
                counting.fetch_add(1, Ordering::SeqCst);
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                let (swallowing, breaking) = (Arc::clone(&swallowing), breaking.clone());
                let both = async move {
                    tokio::select! {
                        biased;
                        () = breaking.cancelled() => {}
                        _ = futures::future::join(
                            pass(near_in, far_out, Arc::clone(&swallowing)),
                            pass(far_in, near_out, swallowing),
                        ) => {}
                    }
                };
                runtime.spawn(both);
            }
        });
        Self { address, to, connections, swallows, broken }
    }

    /// Where new connections lead from now on.
    pub fn lead_to(&self, process: &Process) {
        self.to.lock().unwrap().clone_from(&process.address);
    }

    /// How many were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
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
    id: &'static str,
    membership: Arc<Published>,
    pub settings: RemoteSettings,
    pub runtime: Runtime,
    pub local: Arc<Fake>,
    pub history: Arc<Router<dyn History>>,
    pub matching: Arc<Router<dyn Matching>>,
}

pub fn ctx() -> CallContext {
    let id = "0f4c2a5e-9c7e-4d0e-8a53-1f0d8f1b7c11";
    let info = NamespaceInfo { id: id.to_owned(), name: "orders".to_owned(), state: 1, ..Default::default() };
    let config = NamespaceConfig {
        workflow_execution_retention_ttl: Some(prost_types::Duration { seconds: 259_200, nanos: 0 }),
        ..Default::default()
    };
    CallContext::new(Arc::new(Namespace { id: id.into(), name: "orders".to_owned(), info, config }))
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
        Self::named("c", settings)
    }

    /// A cluster of its own.
    pub fn named(id: &'static str, settings: RemoteSettings) -> Self {
        let membership = Arc::new(Published(watch::Sender::new(Arc::default())));
        let runtime = Runtime::system();
        let (local, here) = (Fake::new(), NodeId::new("here"));
        let published = Arc::clone(&membership) as Arc<dyn Membership>;
        let channels = Channels::new(&published, settings.clone(), runtime.clone());
        let history =
            Router::<dyn History>::new(&published, here.clone(), channels.clone(), runtime.clone(), settings.clone());
        history.serve_here(&(Arc::clone(&local) as _));
        let matching = Router::<dyn Matching>::new(&published, here, channels, runtime.clone(), settings.clone());
        matching.serve_here(&(Arc::clone(&local) as _));
        Self { id, membership, settings, runtime, local, history: Arc::new(history), matching: Arc::new(matching) }
    }

    /// The next version of the ring: these nodes, and one of them (or none) owns everything.
    pub fn publish(&self, nodes: &[Node], owner: Option<&str>) {
        let owner = owner.map(NodeId::new);
        let version = self.membership.0.borrow().version + 1;
        self.membership.0.send_replace(Arc::new(Ring {
            version,
            cluster_id: self.id.to_owned(),
            nodes: nodes.iter().map(|node| (node.id.clone(), node.clone())).collect(),
            history: vec![owner.clone(); 4],
            matching: vec![owner; 2],
        }));
    }

    /// Who a process is that runs as `id`, in whichever incarnation `its` says.
    pub fn identity(&self, id: &str, its: impl Fn() -> u64 + Send + Sync + 'static) -> Identity {
        Identity::new(&(Arc::clone(&self.membership) as _), NodeId::new(id), its)
    }

    /// A fake behind a socket. It is the node `id`, in whichever incarnation the ring says.
    pub async fn process(&self, id: &'static str) -> Process {
        self.process_of(Fake::new(), id).await
    }

    /// The same with a fake that was made before.
    pub async fn process_of(&self, fake: Arc<Fake>, id: &'static str) -> Process {
        let ring = self.membership.ring();
        let incarnation = move || ring.borrow().nodes.get(&NodeId::new(id)).map_or(0, |node| node.incarnation);
        Process::start(fake, self.identity(id, incarnation), &self.settings).await
    }

    /// Waits until `fulfilled`, which is soon unless the machine is slow.
    pub async fn until(&self, what: &str, mut fulfilled: impl FnMut() -> bool) {
        let waiting = async {
            while !fulfilled() {
                self.runtime.sleep(Duration::from_millis(2)).await;
            }
        };
        let timeout = Duration::from_secs(60);
        assert!(self.runtime.timeout(timeout, waiting).await.is_some(), "not within {timeout:?}: {what}");
    }
}
