//! Several matching services on one store, with a ring that tests change, and calls that look for the owner.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use calls::{QueueName, ServiceError, ServiceResult};
use cluster::{Membership, NoLeader, NodeId, Ownership, Ring, Sharded};
use entities::ShardSettings;
use ids::Timestamp;
use matching::MatchingService;
use runtime::Runtime;
use settings::MatchingSettings;
use storage::Store;
use storage::memory::MemoryStore;
use tokio::sync::watch;

use crate::history::StartRecorder;
use crate::world::{World, open, tenant};

/// The ring as one node sees it.
struct View {
    seen: watch::Sender<Arc<Ring>>,
    /// The leader's.
    truth: Arc<watch::Sender<Arc<Ring>>>,
}

#[async_trait]
impl Membership for View {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.seen.subscribe()
    }

    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader> {
        let truth = Arc::clone(&self.truth.borrow());
        self.seen.send_replace(Arc::clone(&truth));
        Ok(truth)
    }
}

struct Node {
    view: Arc<View>,
    ownership: Ownership,
    service: Mutex<Arc<MatchingService>>,
}

/// The cluster.
pub struct Cluster {
    pub history: Arc<StartRecorder>,
    pub runtime: Runtime,
    pub settings: MatchingSettings,
    store: Store,
    nodes: Vec<Node>,
    truth: Arc<watch::Sender<Arc<Ring>>>,
}

impl Cluster {
    /// `owners[shard]` is the number of a node.
    pub async fn new(nodes: usize, owners: &[usize]) -> Self {
        Self::with(MatchingSettings::default(), MemoryStore::new().store(), nodes, owners).await
    }

    pub async fn with(settings: MatchingSettings, store: Store, nodes: usize, owners: &[usize]) -> Self {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_700_000_000_000));
        let history = Arc::new(StartRecorder::new(runtime.clone()));
        let truth = Arc::new(watch::Sender::new(Arc::new(ring(1, owners))));
        let mut cluster = Self { history, runtime, settings, store, nodes: Vec::new(), truth };
        for number in 0..nodes {
            let seen = watch::Sender::new(Arc::clone(&cluster.truth.borrow()));
            let view = Arc::new(View { seen, truth: Arc::clone(&cluster.truth) });
            let node = node_id(number);
            let ownership = Ownership { membership: Arc::clone(&view) as _, service: Sharded::Matching, node };
            let service = open(&cluster.settings, &ownership, &cluster.store, &cluster.runtime, &cluster.history).await;
            cluster.nodes.push(Node { view, ownership, service: Mutex::new(service) });
        }
        cluster
    }

    /// A node, for calls to it alone.
    pub fn at(&self, node: usize) -> World {
        World {
            service: self.service(node),
            history: Arc::clone(&self.history),
            runtime: self.runtime.clone(),
            store: self.store.clone(),
            settings: self.settings.clone(),
            ownership: self.nodes[node].ownership.clone(),
            ctx: tenant(),
        }
    }

    pub fn service(&self, node: usize) -> Arc<MatchingService> {
        Arc::clone(&self.nodes[node].service.lock().expect("no panics"))
    }

    /// The ring moves, and all but `cut_off` learn of it.
    pub fn give_unless(&self, owners: &[usize], cut_off: Option<usize>) {
        let ring = Arc::new(ring(self.truth.borrow().version + 1, owners));
        self.truth.send_replace(Arc::clone(&ring));
        for (number, node) in self.nodes.iter().enumerate() {
            if Some(number) != cut_off {
                node.view.seen.send_replace(Arc::clone(&ring));
            }
        }
    }

    pub fn give(&self, owners: &[usize]) {
        self.give_unless(owners, None);
    }

    /// Until every node serves what it was given.
    pub async fn settled(&self) {
        for node in 0..self.nodes.len() {
            self.settled_at(node).await;
        }
    }

    pub async fn settled_at(&self, node: usize) {
        self.service(node).settled().await.expect("a sound store");
    }

    /// The process dies, and another one starts under the same name.
    pub async fn crash(&self, node: usize) {
        self.service(node).abandon().await;
        let place = &self.nodes[node];
        let service = MatchingService::new(
            self.settings.clone(),
            ShardSettings::default(),
            place.ownership.clone(),
            self.store.clone(),
            self.runtime.clone(),
            Arc::clone(&self.history) as _,
        );
        service.serve();
        *place.service.lock().expect("no panics") = service;
    }

    pub async fn close(&self) {
        for node in 0..self.nodes.len() {
            self.service(node).close().await;
        }
    }

    /// Who should serve a queue.
    pub fn owner(&self, queue: &QueueName) -> usize {
        let ring = self.truth.borrow();
        let shard = ring.shard_of(Sharded::Matching, queue.slot()).expect("a ring");
        let owner = ring.matching[shard as usize].clone().expect("an owner");
        (0..self.nodes.len()).find(|node| node_id(*node) == owner).expect("a node")
    }

    /// Asks the owner of a queue, and asks again as long as the one that is asked is not, as a router does.
    pub async fn routed<T, F>(&self, queue: &QueueName, call: impl Fn(Arc<MatchingService>) -> F) -> ServiceResult<T>
    where
        F: Future<Output = ServiceResult<T>>,
    {
        let give_up = self.runtime.now() + Duration::from_secs(60);
        loop {
            match call(self.service(self.owner(queue))).await {
                Err(ServiceError::NotOwner(_)) if self.runtime.now() < give_up => {}
                answer => return answer,
            }
            self.runtime.sleep(Duration::from_millis(10)).await;
        }
    }
}

fn node_id(number: usize) -> NodeId {
    NodeId::new(format!("node-{number}"))
}

fn ring(version: u64, owners: &[usize]) -> Ring {
    let matching: Vec<_> = owners.iter().map(|owner| Some(node_id(*owner))).collect();
    let template = Ring::alone(&node_id(0), 1, 1);
    let nodes = owners.iter().map(|owner| {
        let node = cluster::Node { id: node_id(*owner), ..template.nodes[&node_id(0)].clone() };
        (node_id(*owner), node)
    });
    Ring { version, nodes: nodes.collect(), matching, ..template.clone() }
}
