//! Processes that only record their calls, each with a listener of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use admin::{LeaderReport, Process, SessionReport, ShardReport, VerifiedPage, VoterReport, admin_server};
use async_trait::async_trait;
use bytes::Bytes;
use calls::{ServiceError, ServiceResult};
use cluster::{Node, NodeId, NodeState, Ring, Role, Sharded};
use ids::{NamespaceId, WorkflowId};
use runtime::Runtime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

pub struct Fakes {
    ring: watch::Sender<Arc<Ring>>,
    fakes: Vec<Fake>,
}

pub struct Fake {
    pub address: String,
    process: Arc<FakeProcess>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

struct FakeProcess {
    id: NodeId,
    ring: watch::Receiver<Arc<Ring>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    serves: Vec<ShardReport>,
    leader: Option<LeaderReport>,
    failing: Option<ServiceError>,
    log: Vec<String>,
}

/// A report whose numbers all differ.
pub fn report(service: Sharded, shard: u32, epoch: u64) -> ShardReport {
    ShardReport {
        service,
        shard,
        epoch,
        last_position: 100 + epoch,
        log_groups: 11,
        log_bytes: 12,
        dirty_entities: 13,
        dirty_bytes: 14,
        loaded_entities: 15,
        loaded_bytes: 16,
        lag_ms: Some(17),
    }
}

/// A loopback address that nothing but one test uses, so that its ports are free, and stay so when they are given back.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., third, fourth] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 242 + NEXT.fetch_add(1, Ordering::Relaxed) % 2, third, fourth).into()
}

impl Fakes {
    pub async fn start(ids: &[&str], history_shards: usize, matching_shards: usize) -> Self {
        Self::of_cluster("test", ids, history_shards, matching_shards).await
    }

    pub async fn of_cluster(cluster_id: &str, ids: &[&str], history_shards: usize, matching_shards: usize) -> Self {
        let ring = Ring {
            version: 1,
            cluster_id: cluster_id.into(),
            history: vec![None; history_shards],
            matching: vec![None; matching_shards],
            ..Ring::default()
        };
        let ring = watch::Sender::new(Arc::new(ring));
        let mut fakes = Vec::new();
        for id in ids {
            let process =
                Arc::new(FakeProcess { id: NodeId::new(*id), ring: ring.subscribe(), state: Mutex::default() });
            let fake = Fake::start(process).await;
            let node = Node {
                id: NodeId::new(*id),
                incarnation: 1,
                roles: [Role::History, Role::Matching].into(),
                address: fake.address.clone(),
                zone: String::new(),
                weight: 100,
                state: NodeState::Up,
            };
            ring.send_modify(|ring| {
                Arc::make_mut(ring).nodes.insert(node.id.clone(), node);
            });
            fakes.push(fake);
        }
        Self { ring, fakes }
    }

    /// Announces to all nodes that another process runs as one.
    pub fn restart(&self, id: &str, incarnation: u64) {
        self.ring.send_modify(|ring| {
            Arc::make_mut(ring).nodes.get_mut(&NodeId::new(id)).unwrap().incarnation = incarnation;
        });
    }

    pub fn of(&self, id: &str) -> &Fake {
        self.fakes.iter().find(|fake| fake.process.id.as_str() == id).unwrap()
    }

    /// Announces to all nodes another address for one.
    pub fn point(&self, id: &str, address: &str) {
        self.ring.send_modify(|ring| {
            let node = Arc::make_mut(ring).nodes.get_mut(&NodeId::new(id)).unwrap();
            address.clone_into(&mut node.address);
        });
    }

    /// Owners in the order of the shards; empty for none.
    pub fn assign(&self, service: Sharded, owners: &[&str]) {
        let owners = owners.iter().map(|id| (!id.is_empty()).then(|| NodeId::new(*id))).collect();
        self.ring.send_modify(|ring| {
            let ring = Arc::make_mut(ring);
            match service {
                Sharded::History => ring.history = owners,
                Sharded::Matching => ring.matching = owners,
            }
            ring.version += 1;
        });
    }
}

impl Fake {
    async fn start(process: Arc<FakeProcess>) -> Self {
        let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, ended) = (watch::Sender::new(false), watch::Sender::new(false));
        let (mut stopping, stopped) = (stop.subscribe(), ended.subscribe());
        let service = admin_server(Arc::clone(&process) as _, Runtime::system());
        let serving = tonic::transport::Server::builder().add_service(service);
        Runtime::system().spawn(async move {
            let stopping = async move {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping).await.unwrap();
            ended.send_replace(true);
        });
        Self { address, process, stop, stopped }
    }

    /// Stops listening, and returns once it has.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.stopped.clone().wait_for(|stopped| *stopped).await.unwrap();
    }

    pub fn serve(&self, shards: Vec<ShardReport>) {
        self.process.state.lock().unwrap().serves = shards;
    }

    /// Knows a leader's view: itself as the voter, and these sessions.
    pub fn lead(&self, sessions: Vec<(&str, bool, Option<i64>)>) {
        let voter = VoterReport {
            id: self.process.id.to_string(),
            address: self.address.clone(),
            voting: true,
            leader: true,
            matched: 9,
        };
        let session = |(id, connected, clock_offset_ms): (&str, bool, Option<i64>)| {
            (id.to_owned(), SessionReport { connected, clock_offset_ms })
        };
        let sessions = sessions.into_iter().map(session).collect();
        self.process.state.lock().unwrap().leader = Some(LeaderReport { voters: vec![voter], term: 4, sessions });
    }

    /// Answers commands with this from now on.
    pub fn fail(&self, error: ServiceError) {
        self.process.state.lock().unwrap().failing = Some(error);
    }

    pub fn log(&self) -> Vec<String> {
        self.process.state.lock().unwrap().log.clone()
    }
}

impl FakeProcess {
    /// Notes a command, unless commands fail.
    fn command(&self, what: String) -> ServiceResult<u64> {
        let mut state = self.state.lock().unwrap();
        match &state.failing {
            Some(error) => Err(error.clone()),
            None => {
                state.log.push(what);
                Ok(1 + state.log.len() as u64)
            }
        }
    }
}

#[async_trait]
impl Process for FakeProcess {
    fn node(&self) -> NodeId {
        self.id.clone()
    }

    fn incarnation(&self) -> u64 {
        1
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.borrow())
    }

    async fn leader(&self) -> ServiceResult<LeaderReport> {
        let leader = self.state.lock().unwrap().leader.clone();
        leader.ok_or_else(|| ServiceError::Unavailable("no leader answers".into()))
    }

    fn local_shards(&self) -> Vec<ShardReport> {
        self.state.lock().unwrap().serves.clone()
    }

    async fn flush_shards(&self) -> ServiceResult<()> {
        self.command("flush".into()).map(drop)
    }

    /// Three pages, the last of which has a problem.
    async fn verify(&self, from: Option<Bytes>) -> ServiceResult<VerifiedPage> {
        let page = from.map_or(0, |from| from[0]);
        let problems = if page == 2 { vec!["a row is damaged".to_owned()] } else { Vec::new() };
        let next = (page < 2).then(|| vec![page + 1].into());
        Ok(VerifiedPage { partitions: 10, rows: 25, entries: u64::from(page == 0), problems, next })
    }

    async fn move_shard(&self, service: Sharded, shard: u32, to: Option<NodeId>) -> ServiceResult<u64> {
        let to = to.map_or("back".to_owned(), |to| format!("to {to}"));
        self.command(format!("move {}/{shard} {to}", service.name()))
    }

    async fn drain_node(&self, node: NodeId) -> ServiceResult<u64> {
        self.command(format!("drain {node}"))
    }

    async fn add_voter(&self, id: String, address: String) -> ServiceResult<Vec<VoterReport>> {
        self.command(format!("add voter {id} at {address}"))?;
        Ok(vec![VoterReport { id, address, voting: false, leader: false, matched: 0 }])
    }

    async fn remove_voter(&self, id: String) -> ServiceResult<Vec<VoterReport>> {
        self.command(format!("remove voter {id}")).map(|_| Vec::new())
    }

    async fn dump_workflow(&self, namespace: NamespaceId, workflow_id: WorkflowId) -> ServiceResult<String> {
        Ok(format!("dump of {workflow_id} in {namespace}"))
    }
}
