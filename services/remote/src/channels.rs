//! The peers that the ring names, and the connections to them.
//!
//! A peer is a process: node id, incarnation and address together. When the ring no longer has it, or has its node in
//! another incarnation or at another address, it is *gone*: its connections are dropped and calls in flight end at once,
//! since a stalled process would let them wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cluster::{Membership, Node, NodeId, Ring};
use ids::Timestamp;
use internal_api::calls as proto;
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::measures::Measures;

/// All connections of this process to its peers. Cheap to clone; one per process is enough.
#[derive(Clone)]
pub struct Channels(Arc<Directory>);

struct Directory {
    ring: watch::Receiver<Arc<Ring>>,
    peers: Mutex<HashMap<NodeId, Arc<Peer>>>,
    settings: Arc<RemoteSettings>,
    runtime: Runtime,
    measures: Arc<Measures>,
}

impl Channels {
    /// Connections to the nodes of the ring that `membership` publishes, each made when it is first needed.
    #[must_use]
    pub fn new(membership: &Arc<dyn Membership>, settings: RemoteSettings, runtime: Runtime) -> Self {
        let directory = Arc::new(Directory {
            ring: membership.ring(),
            peers: Mutex::default(),
            settings: Arc::new(settings),
            runtime: runtime.clone(),
            measures: Arc::new(Measures::new()),
        });
        runtime.spawn(follow(membership.ring(), Arc::downgrade(&directory)));
        Self(directory)
    }

    pub(crate) fn measures(&self) -> &Arc<Measures> {
        &self.0.measures
    }

    /// The process that the ring says runs as `node`; `None` if the newest ring knows better.
    pub(crate) fn peer(&self, node: &Node) -> Option<Arc<Peer>> {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whatever is put in for a ring, the follower of the next one finds.
        let ring = self.0.ring.borrow();
        if !is_current(&ring, node) {
            return None;
        }
        if let Some(peer) = peers.get(&node.id).filter(|peer| peer.is(node)) {
            return Some(Arc::clone(peer));
        }
        let peer = Arc::new(Peer::new(node.clone(), ring.cluster_id.clone(), &self.0));
        if let Some(former) = peers.insert(node.id.clone(), Arc::clone(&peer)) {
            former.gone.cancel();
        }
        self.0.measures.peers.set(peers.len() as f64);
        Some(peer)
    }
}

impl Directory {
    fn prune(&self, ring: &Ring) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, peer| {
            let stays = is_current(ring, &peer.node);
            if !stays {
                tracing::info!(peer = %peer.node.id, address = peer.node.address, ring = ring.version, "a peer is not in the ring any more");
                peer.gone.cancel();
            }
            stays
        });
        self.measures.peers.set(peers.len() as f64);
    }
}

/// Drops peers as the ring does, for as long as both are there.
async fn follow(mut ring: watch::Receiver<Arc<Ring>>, directory: Weak<Directory>) {
    while ring.changed().await.is_ok() {
        let newest = Arc::clone(&ring.borrow_and_update());
        let Some(directory) = directory.upgrade() else { return };
        directory.prune(&newest);
    }
}

fn is_current(ring: &Ring, node: &Node) -> bool {
    ring.nodes.get(&node.id).is_some_and(|known| is_same_process(known, node))
}

fn is_same_process(one: &Node, other: &Node) -> bool {
    one.id == other.id && one.incarnation == other.incarnation && one.address == other.address
}

/// Another process of the cluster.
pub(crate) struct Peer {
    node: Node,
    cluster_id: String,
    slots: Vec<ConnectionSlot>,
    next: AtomicUsize,
    gone: CancellationToken,
    settings: Arc<RemoteSettings>,
    runtime: Runtime,
}

/// One of the connections to a peer: there, or to be made.
#[derive(Default)]
struct ConnectionSlot {
    connection: Mutex<Option<Connection>>,
    /// Held by the one caller that connects; the others wait for how it ends.
    connecting: tokio::sync::Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    delay: Duration,
    retry_at: Timestamp,
    last: String,
}

impl Peer {
    fn new(node: Node, cluster_id: String, directory: &Directory) -> Self {
        let settings = Arc::clone(&directory.settings);
        Self {
            node,
            cluster_id,
            slots: (0..settings.connections_per_peer.max(1)).map(|_| ConnectionSlot::default()).collect(),
            next: AtomicUsize::new(0),
            gone: CancellationToken::new(),
            settings,
            runtime: directory.runtime.clone(),
        }
    }

    fn is(&self, node: &Node) -> bool {
        is_same_process(&self.node, node)
    }

    /// The node's name.
    pub(crate) fn id(&self) -> &NodeId {
        &self.node.id
    }

    /// As calls name it.
    pub(crate) fn callee(&self) -> proto::Callee {
        let Node { id, incarnation, .. } = &self.node;
        proto::Callee { cluster_id: self.cluster_id.clone(), node: id.as_str().to_owned(), incarnation: *incarnation }
    }

    /// Another process answers on one of its connections: the next call connects again, to wherever its address leads then.
    pub(crate) fn mark_misdirected(&self, connection: &Connection, why: &str) {
        if connection.mark_misdirected() {
            let Node { id, address, .. } = &self.node;
            tracing::warn!(peer = %id, address, why, "the address of a peer leads to another process");
        }
    }

    /// Returns when the ring no longer has this process.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// A connection that is open as far as this side knows. Fails at once for a while after a failure to connect, or after
    /// another process was found at its address.
    pub(crate) async fn connection(&self) -> Result<Connection, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = &self.slots[number];
        if let Some(connection) = slot.open() {
            return Ok(connection);
        }
        let mut failures = slot.connecting.lock().await;
        if let Some(connection) = slot.open() {
            return Ok(connection);
        }
        if slot.forget() {
            failures.retry_at = self.runtime.now() + self.settings.max_reconnect_backoff;
            "another process was found there".clone_into(&mut failures.last);
        }
        let rest = failures.retry_at.since(self.runtime.now());
        // A longer rest than any means that the clock was set back.
        if !rest.is_zero() && rest <= self.settings.max_reconnect_backoff {
            return Err(format!("{}, a moment ago", failures.last));
        }
        match Connection::connect(&self.node.address, &self.settings, &self.runtime).await {
            Ok(connection) => {
                *failures = Failures::default();
                *slot.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let least = self.settings.initial_reconnect_backoff;
                failures.delay = (failures.delay * 2).clamp(least, self.settings.max_reconnect_backoff.max(least));
                failures.retry_at = self.runtime.now() + failures.delay;
                failures.last.clone_from(&error);
                Err(error)
            }
        }
    }
}

impl ConnectionSlot {
    fn open(&self) -> Option<Connection> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.as_ref().filter(|connection| !connection.is_closed() && !connection.is_misdirected()).cloned()
    }

    /// Drops a connection that is not open. Whether it led elsewhere.
    fn forget(&self) -> bool {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        connection.is_some_and(|connection| connection.is_misdirected())
    }
}
