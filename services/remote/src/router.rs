//! The way of a call to the owner of its shard, however often that changes on the way.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Deadline, Membership, Node, NodeId, Ring, ServiceError, ServiceResult, Sharded};
use ids::{Slot, Timestamp};
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::sync::watch;

use crate::channels::{Channels, Peer};
use crate::measures::{Method, Reason};
use crate::retry::{Bound, Pauses, Retry, retry};
use crate::target::Target;

/// Finds owners of one service's shards. `S` is the service's trait.
pub(crate) struct Router<S: ?Sized> {
    service: Sharded,
    ring: watch::Receiver<Arc<Ring>>,
    node: NodeId,
    local: Option<Arc<S>>,
    remote: fn(Target) -> Arc<S>,
    channels: Channels,
    settings: Arc<RemoteSettings>,
    runtime: Runtime,
}

/// What is called, whose it is, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) slot: Slot,
    pub(crate) bound: Bound,
}

/// Who is asked.
enum Owner<S: ?Sized> {
    Here(Arc<S>),
    There(Arc<Peer>, Arc<S>),
    Nobody,
}

impl<S: ?Sized> Router<S> {
    pub(crate) fn new(
        (service, remote): (Sharded, fn(Target) -> Arc<S>),
        membership: &Arc<dyn Membership>,
        node: NodeId,
        local: Option<Arc<S>>,
        channels: Channels,
        (settings, runtime): (RemoteSettings, Runtime),
    ) -> Self {
        let ring = membership.ring();
        Self { service, ring, node, local, remote, channels, settings: Arc::new(settings), runtime }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The bound of a call whose trait has no deadline.
    pub(crate) fn usual(&self) -> Bound {
        match Deadline::current() {
            Some(at) => Bound::Callers(at),
            None => Bound::Usual(self.runtime.now() + self.settings.patience),
        }
    }

    /// Asks the owner, and asks again as [`retry`] says. Every attempt is told the same.
    pub(crate) async fn route<T, F>(&self, route: Route, attempt: impl Fn(Arc<S>) -> F) -> ServiceResult<T>
    where
        F: Future<Output = ServiceResult<T>>,
    {
        let mut pauses = Pauses::new(&self.settings, route.bound.at(), self.runtime.clone());
        loop {
            let ring = self.newest();
            let (error, reason) = match self.attempt(&ring, route, &attempt).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let retry = retry(&error);
            let Some(pause) = pauses.before_next(retry) else { return Err(error) };
            self.channels.measures().of(route.method).retried(reason);
            tracing::debug!(method = ?route.method, %error, ?pause, ring = ring.version, "a call is tried again");
            self.pause(pause, retry, ring.version).await;
        }
    }

    fn newest(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.borrow())
    }

    /// A newer ring may name another owner, so it ends the pause.
    async fn pause(&self, pause: Duration, retry: Retry, version: u64) {
        if retry == Retry::AskOwner {
            let mut ring = self.ring.clone();
            // An error means that there will be no newer ring, so the whole time passes.
            let newer = async {
                if ring.wait_for(|ring| ring.version > version).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            self.runtime.timeout(pause, newer).await;
        } else {
            self.runtime.sleep(pause).await;
        }
    }

    async fn attempt<T, F>(
        &self,
        ring: &Ring,
        route: Route,
        attempt: impl Fn(Arc<S>) -> F,
    ) -> Result<T, (ServiceError, Reason)>
    where
        F: Future<Output = ServiceResult<T>>,
    {
        let Some(shard) = ring.shard_of(self.service, route.slot) else {
            let text = format!("the shards of {} are not known yet", self.service.name());
            return Err((ServiceError::NotOwner(text), Reason::NoOwner));
        };
        let left = route.bound.cut_at(&self.settings).since(self.runtime.now());
        match self.owner(ring, route, shard) {
            Owner::Nobody => {
                let text = format!("{} shard {shard} has no owner in ring {}", self.service.name(), ring.version);
                Err((ServiceError::NotOwner(text), Reason::NoOwner))
            }
            Owner::Here(local) => tokio::select! {
                biased;
                answer = attempt(local) => answer.map_err(reasoned),
                () = self.moved(&self.node, shard) => Err((moved(&self.node, shard), Reason::Moved)),
                () = self.runtime.sleep(left) => Err((route.bound.passed(), Reason::Unavailable)),
            },
            Owner::There(peer, remote) => tokio::select! {
                biased;
                answer = attempt(remote) => answer.map_err(reasoned),
                () = peer.gone() => Err((moved(peer.id(), shard), Reason::Moved)),
                () = self.moved(peer.id(), shard) => Err((moved(peer.id(), shard), Reason::Moved)),
                () = self.runtime.sleep(left) => Err((route.bound.passed(), Reason::Unavailable)),
            },
        }
    }

    fn owner(&self, ring: &Ring, route: Route, shard: u32) -> Owner<S> {
        let Some(node) = ring.owner(self.service, shard) else { return Owner::Nobody };
        if node.id == self.node {
            return self.local.clone().map_or(Owner::Nobody, Owner::Here);
        }
        let target = self.target(ring, node, route.method, shard, route.bound.at());
        target.map_or(Owner::Nobody, |target| Owner::There(Arc::clone(&target.peer), (self.remote)(target)))
    }

    fn target(&self, ring: &Ring, node: &Node, method: Method, shard: u32, until: Timestamp) -> Option<Target> {
        Some(Target {
            peer: self.channels.peer(node)?,
            method,
            caller: self.node.clone(),
            shard,
            ring_version: ring.version,
            until,
            measures: Arc::clone(self.channels.measures()),
            settings: Arc::clone(&self.settings),
            runtime: self.runtime.clone(),
        })
    }

    /// Returns when the ring has given the shard to another node, which the former owner has had time to notice.
    async fn moved(&self, from: &NodeId, shard: u32) {
        let mut ring = self.ring.clone();
        let is_elsewhere = |ring: &Arc<Ring>| {
            let owner = ring.shards(self.service).get(shard as usize);
            owner.is_some_and(|owner| owner.as_ref().is_some_and(|owner| owner != from))
        };
        if ring.wait_for(is_elsewhere).await.is_err() {
            // There will be no newer ring.
            std::future::pending::<()>().await;
        }
        self.runtime.sleep(self.settings.moved_patience).await;
    }

    /// This service on every node that serves it, for calls that all are told.
    pub(crate) fn everywhere(&self, method: Method, until: Timestamp) -> Vec<Arc<S>> {
        let ring = self.newest();
        let nodes = ring.nodes_of(self.service.role());
        nodes
            .filter_map(|node| {
                if node.id == self.node {
                    return self.local.clone();
                }
                self.target(&ring, node, method, 0, until).map(self.remote)
            })
            .collect()
    }
}

/// Why the call would be tried again, if it is.
fn reasoned(error: ServiceError) -> (ServiceError, Reason) {
    let reason = if retry(&error) == Retry::AskOwner { Reason::NotOwner } else { Reason::Unavailable };
    (error, reason)
}

fn moved(from: &NodeId, shard: u32) -> ServiceError {
    ServiceError::NotOwner(format!("shard {shard} moved away from node {from} before it answered"))
}
