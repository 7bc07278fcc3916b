//! The way of a call to the owner of its shard, however often that changes on the way.
//!
//! **Retries.** All attempts of a call carry one request id, drawn here where the caller has none, so a start, signal or
//! request to cancel takes effect once. Completions have no such id: their token stands for it. If a completion's first
//! attempt took effect and its answer was lost, the next one finds the task gone, and the caller gets NotFound. That is
//! what it would get had another worker been quicker, and SDKs drop the task in both cases. The same goes for a second
//! TerminateWorkflow, whose NotFound says that the workflow is not running any more, which is true.
//!
//! **Waits.** A call that waits goes on at the next owner when its shard moves, with what is left of its time.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use calls::{Call, CallContext, Carrier, Service, ServiceError, ServiceResult, Way, Wire};
use cluster::{Membership, Node, NodeId, Ring};
use futures::future::join_all;
use ids::{Slot, Timestamp, WorkflowId};
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::sync::watch;

use crate::channels::Channels;
use crate::measures::Reason;
use crate::retry::{CallBackoff, Deadline, Retry, retry};
use crate::target::Target;

/// One service of the whole cluster: `Router<dyn History>` has the trait `History`, and `Router<dyn Matching>` its own.
pub struct Router<S: ?Sized> {
    ring: watch::Receiver<Arc<Ring>>,
    node: NodeId,
    /// The service of this process, which calls others through this router and must not be kept alive by it.
    local: OnceLock<Weak<S>>,
    channels: Channels,
    settings: Arc<RemoteSettings>,
    runtime: Runtime,
}

/// Where a call goes, and for how long.
#[derive(Clone, Copy)]
struct Route {
    slot: Slot,
    deadline: Deadline,
}

/// What is sent, encoded for the first attempt that goes to another node.
struct Outgoing<'a, C: Call> {
    ctx: &'a CallContext,
    request: &'a C::Request,
    encoded: Option<Bytes>,
}

impl<C: Call> Outgoing<'_, C> {
    fn encoded(&mut self) -> Bytes {
        self.encoded.get_or_insert_with(|| self.request.to_bytes()).clone()
    }
}

/// Where an attempt goes.
enum Place<S: ?Sized> {
    Here(Arc<S>),
    There(Target),
}

impl<S: Service + ?Sized> Carrier<S> for Router<S> {
    async fn carry<C: Call<Service = S>>(&self, ctx: &CallContext, mut request: C::Request) -> ServiceResult<C::Reply> {
        if C::WAY == Way::Everywhere {
            return self.everywhere::<C>(ctx, &request).await;
        }
        let named = self.named::<C>(ctx, &mut request);
        let ctx = named.as_ref().unwrap_or(ctx);
        let slot = Slot::of(&ctx.namespace.id, &WorkflowId::new(C::key(&request)));
        let route = Route { slot, deadline: self.deadline(C::WAY, ctx) };
        match self.route::<C>(route, Outgoing { ctx, request: &request, encoded: None }).await {
            Err(error) => C::unserved(&request, error),
            answer => answer,
        }
    }
}

impl<S: Service + ?Sized> Router<S> {
    /// Calls the owners that `membership` names. What `node`, this one, owns itself is served once
    /// [`Router::serve_here`] has been called.
    #[must_use]
    pub fn new(
        membership: &Arc<dyn Membership>,
        node: NodeId,
        channels: Channels,
        runtime: Runtime,
        settings: RemoteSettings,
    ) -> Self {
        let (ring, local) = (membership.ring(), OnceLock::new());
        Self { ring, node, local, channels, settings: Arc::new(settings), runtime }
    }

    /// Calls for this node's shards go to `local` from now on. Called once, before any shard is open here.
    pub fn serve_here(&self, local: &Arc<S>) {
        // A second one would serve the same shards, which cannot be.
        let _ = self.local.set(Arc::downgrade(local));
    }

    /// Gives a request that has room for an id the call's, and the call an id that the request brings along. The context
    /// of the call, if that changed it.
    fn named<C: Call<Service = S>>(&self, ctx: &CallContext, request: &mut C::Request) -> Option<CallContext> {
        let id = C::request_id(request)?;
        if !id.is_empty() {
            return Some(ctx.clone().under(id));
        }
        if !ctx.request_id.is_empty() {
            ctx.request_id.as_ref().clone_into(id);
            return None;
        }
        *id = self.runtime.uuid();
        Some(ctx.clone().under(id))
    }

    fn deadline(&self, way: Way, ctx: &CallContext) -> Deadline {
        match (ctx.deadline, way) {
            (Some(at), Way::Waits | Way::Poll) => Deadline::Enforced(at),
            (Some(at), Way::AtOnce | Way::Everywhere) => Deadline::Caller(at),
            (None, _) => Deadline::Default(self.runtime.now() + self.settings.call_timeout),
        }
    }

    /// Calls the owner, and retries as [`retry`] says. Every attempt sends the same request.
    async fn route<C: Call<Service = S>>(
        &self,
        route: Route,
        mut outgoing: Outgoing<'_, C>,
    ) -> ServiceResult<C::Reply> {
        let mut backoff = CallBackoff::new(&self.settings, route.deadline.at(), self.runtime.clone());
        loop {
            let ring = self.newest();
            let (error, reason) = match self.attempt(&ring, route, &mut outgoing).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let retry = retry(&error);
            let Some(delay) = backoff.before_next(retry) else { return Err(error) };
            self.channels.measures().of::<C>().retried(reason);
            tracing::debug!(call = C::NAME, %error, ?delay, ring = ring.version, "retrying a call");
            self.delay(delay, retry, ring.version).await;
        }
    }

    fn newest(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.borrow())
    }

    /// A newer ring may name another owner, so it ends the delay.
    async fn delay(&self, delay: Duration, retry: Retry, version: u64) {
        if retry == Retry::AskOwner {
            let mut ring = self.ring.clone();
            // An error means that there will be no newer ring, so the whole time passes.
            let newer = async {
                if ring.wait_for(|ring| ring.version > version).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            self.runtime.timeout(delay, newer).await;
        } else {
            self.runtime.sleep(delay).await;
        }
    }

    async fn attempt<C: Call<Service = S>>(
        &self,
        ring: &Ring,
        route: Route,
        outgoing: &mut Outgoing<'_, C>,
    ) -> Result<C::Reply, (ServiceError, Reason)> {
        let name = S::SHARDED.name();
        let Some(shard) = ring.shard_of(S::SHARDED, route.slot) else {
            return Err((ServiceError::NotOwner(format!("the shards of {name} are not known yet")), Reason::NoOwner));
        };
        let left = route.deadline.abandon_at(&self.settings).since(self.runtime.now());
        let owner = ring.owner(S::SHARDED, shard);
        match owner.and_then(|owner| self.reach(ring, owner, shard, route.deadline.at())) {
            None => {
                let text = format!("{name} shard {shard} has no owner in ring {}", ring.version);
                Err((ServiceError::NotOwner(text), Reason::NoOwner))
            }
            // The next attempt may go elsewhere, so this one has a copy.
            Some(Place::Here(local)) => tokio::select! {
                biased;
                answer = C::serve(&*local, outgoing.ctx, outgoing.request.clone()) => answer.map_err(reasoned),
                () = self.moved(&self.node, shard) => Err((moved(&self.node, shard), Reason::Moved)),
                () = self.runtime.sleep(left) => Err((route.deadline.exceeded(), Reason::Unavailable)),
            },
            Some(Place::There(target)) => tokio::select! {
                biased;
                answer = target.call::<C>(outgoing.ctx, outgoing.encoded()) => answer.map_err(reasoned),
                () = target.peer.gone() => Err((moved(target.peer.id(), shard), Reason::Moved)),
                () = self.moved(target.peer.id(), shard) => Err((moved(target.peer.id(), shard), Reason::Moved)),
                () = self.runtime.sleep(left) => Err((route.deadline.exceeded(), Reason::Unavailable)),
            },
        }
    }

    /// The service of `node`; `None` if that cannot be called.
    fn reach(&self, ring: &Ring, node: &Node, shard: u32, until: Timestamp) -> Option<Place<S>> {
        if node.id == self.node {
            return self.local.get().and_then(Weak::upgrade).map(Place::Here);
        }
        Some(Place::There(Target {
            peer: self.channels.peer(node)?,
            caller: self.node.clone(),
            shard,
            ring_version: ring.version,
            until,
            measures: Arc::clone(self.channels.measures()),
            settings: Arc::clone(&self.settings),
            runtime: self.runtime.clone(),
        }))
    }

    /// Returns when the ring has given the shard to another node, which the former owner has had time to notice.
    async fn moved(&self, from: &NodeId, shard: u32) {
        let mut ring = self.ring.clone();
        let is_elsewhere = |ring: &Arc<Ring>| {
            let owner = ring.shards(S::SHARDED).get(shard as usize);
            owner.is_some_and(|owner| owner.as_ref().is_some_and(|owner| owner != from))
        };
        if ring.wait_for(is_elsewhere).await.is_err() {
            // There will be no newer ring.
            std::future::pending::<()>().await;
        }
        self.runtime.sleep(self.settings.moved_grace).await;
    }

    /// Calls every node that serves this at once. One answer is enough.
    async fn everywhere<C: Call<Service = S>>(
        &self,
        ctx: &CallContext,
        request: &C::Request,
    ) -> ServiceResult<C::Reply> {
        let (name, timeout) = (S::SHARDED.name(), self.settings.shutdown_worker_timeout);
        let (ring, until, encoded) = (self.newest(), self.runtime.now() + timeout, request.to_bytes());
        let places = ring.nodes_of(S::SHARDED.role()).filter_map(|node| self.reach(&ring, node, 0, until));
        let attempts = places.map(async |place| {
            let attempt = async {
                match place {
                    Place::Here(local) => C::serve(&*local, ctx, request.clone()).await,
                    Place::There(target) => target.call::<C>(ctx, encoded.clone()).await,
                }
            };
            let late = || ServiceError::Unavailable(format!("a {name} node did not answer, try again"));
            self.runtime.timeout(timeout, attempt).await.unwrap_or_else(|| Err(late()))
        });
        let mut answers = join_all(attempts).await;
        match answers.iter().position(Result::is_ok) {
            Some(position) => answers.swap_remove(position),
            None => answers
                .pop()
                .unwrap_or_else(|| Err(ServiceError::NotOwner(format!("the ring has no {name} node yet, try again")))),
        }
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
