//! The node's side of membership: joins, sends heartbeats, and follows the ring.

mod session;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cluster::{Membership, NoLeader, NodeId, NodeState, Ring};
use internal_api::membership::{Change, ChangeRequest, ConfirmRequest, Refused, RingReply, ring_reply};
use runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::leader_calls::{CallError, LeaderCalls};
use crate::settings::MemberSettings;
use crate::wire::ring_received;

/// Why a node is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRefusal {
    /// The cluster there is another.
    WrongCluster,
    /// The cluster was formed with other numbers of shards.
    OtherShardCounts,
    /// A live process runs under that node id.
    NodeIdTaken,
    /// The clocks are too far apart.
    ClockDiffers,
    /// The release is too old.
    FeatureLevel,
    /// The request is invalid.
    Invalid,
}

/// Why a node has not joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// A setting is invalid.
    #[error("{0}")]
    Settings(String),
    /// The leader rejected it.
    #[error("the cluster rejected this node: {message}")]
    Refused {
        /// Why.
        reason: JoinRefusal,
        /// Its message.
        message: String,
    },
    /// No leader was found in time.
    #[error("did not join within {within:?}: {last_error}")]
    NoLeader {
        /// How long it was tried.
        within: Duration,
        /// Each voter's last error.
        last_error: String,
    },
}

/// A node's membership. Dropping the last handle without [`Member::leave`] is as if the process had died.
pub struct Member {
    inner: Arc<Inner>,
}

struct Inner {
    settings: MemberSettings,
    runtime: Runtime,
    calls: LeaderCalls,
    process: String,
    ring: watch::Sender<Arc<Ring>>,
    incarnation: AtomicU64,
    clock_offset_ms: AtomicI64,
    wanted: Mutex<Wanted>,
    progress: watch::Sender<Progress>,
    stopped: CancellationToken,
}

#[derive(Clone, Copy, Default)]
struct Wanted {
    takes_part: bool,
    draining: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Not joined yet; the last error.
    Joining(String),
    /// Joined, and with a session now.
    Connected,
    /// Joined, and looking for the leader again.
    Disconnected(String),
    /// Rejected for good.
    Failed(JoinError),
    /// Another process has registered as this node.
    Replaced(String),
}

impl Member {
    /// Begins to join. Returns at once; the ring has version 0 until then.
    ///
    /// # Errors
    /// When a setting is invalid.
    pub fn start(settings: MemberSettings, runtime: Runtime) -> Result<Arc<Self>, JoinError> {
        settings.check().map_err(JoinError::Settings)?;
        let inner = Arc::new(Inner {
            calls: LeaderCalls::new(runtime.clone(), settings.timings.clone(), settings.seeds.clone()),
            process: runtime.uuid(),
            ring: watch::Sender::new(Arc::default()),
            incarnation: AtomicU64::new(0),
            clock_offset_ms: AtomicI64::new(0),
            wanted: Mutex::default(),
            progress: watch::Sender::new(Progress::Joining("no voter has answered yet".to_owned())),
            stopped: CancellationToken::new(),
            settings,
            runtime: runtime.clone(),
        });
        let (keeping, stopped) = (Arc::clone(&inner), inner.stopped.clone());
        runtime.spawn(async move { stopped.run_until_cancelled(session::maintain_session(keeping)).await });
        Ok(Arc::new(Self { inner }))
    }

    /// Joins: [`Member::start`], then [`Member::joined`].
    ///
    /// # Errors
    /// As those.
    pub async fn join(settings: MemberSettings, runtime: Runtime) -> Result<Arc<Self>, JoinError> {
        let member = Self::start(settings, runtime)?;
        member.joined().await?;
        Ok(member)
    }

    /// Waits for the first ring. The node is registered then, and gets shards once it takes part.
    ///
    /// # Errors
    /// When it is rejected, or no leader could be found in time; then it stops trying.
    pub async fn joined(&self) -> Result<(), JoinError> {
        let within = self.inner.settings.timings.join_timeout;
        let mut progress = self.inner.progress.subscribe();
        let decided = progress.wait_for(|now| !matches!(now, Progress::Joining(_)));
        let decided = self.inner.runtime.timeout(within, decided).await.map(|now| now.map(|now| now.clone()));
        let last_error = match decided {
            Some(Ok(Progress::Connected | Progress::Disconnected(_))) => return Ok(()),
            Some(Ok(Progress::Failed(error))) => return Err(error),
            Some(Ok(Progress::Replaced(message))) => {
                return Err(JoinError::Refused { reason: JoinRefusal::NodeIdTaken, message });
            }
            Some(Ok(Progress::Joining(last_error))) => last_error,
            Some(Err(_)) | None => match &*self.inner.progress.borrow() {
                Progress::Joining(last_error) => last_error.clone(),
                _ => String::new(),
            },
        };
        self.inner.stopped.cancel();
        Err(JoinError::NoLeader { within, last_error })
    }

    /// From now on the node is given shards: call it once the node can be reached. Returns when a ring shows it.
    ///
    /// # Errors
    /// When no leader answers; the node takes part as soon as one does.
    pub async fn take_part(&self) -> Result<Arc<Ring>, CallError> {
        self.inner.wanted().takes_part = true;
        match self.change(Change::Up).await {
            // It will register again, and says then that it takes part.
            Ok(_) | Err(CallError::UnknownNode(_)) => (),
            Err(error) => return Err(error),
        }
        let own = &self.inner.settings.node;
        let mut rings = self.inner.ring.subscribe();
        let shown = rings.wait_for(|ring| ring.nodes.get(own).is_some_and(|node| node.state != NodeState::Joining));
        let timeout = self.inner.settings.timings.leader_timeout;
        match self.inner.runtime.timeout(timeout, shown).await {
            Some(Ok(ring)) => Ok(Arc::clone(&ring)),
            Some(Err(_)) | None => Err(CallError::Unavailable(format!("no ring shows this node after {timeout:?}"))),
        }
    }

    /// Drains the node: returns with a ring that gives it no shards. It stays in the ring, so that peers can still call it.
    ///
    /// # Errors
    /// When no leader answers in time. The node gets nothing any more as soon as one does.
    pub async fn drain(&self) -> Result<Arc<Ring>, CallError> {
        self.inner.wanted().draining = true;
        match self.change(Change::Drain).await {
            Err(CallError::UnknownNode(_)) => Ok(Arc::clone(&self.inner.ring.borrow())),
            outcome => outcome,
        }
    }

    /// Leaves the ring, for good.
    ///
    /// # Errors
    /// When no leader answers in time; then the lease will end.
    pub async fn leave(&self) -> Result<(), CallError> {
        // First, so that the session does not come back.
        self.inner.stopped.cancel();
        match self.change(Change::Remove).await {
            Ok(_) | Err(CallError::UnknownNode(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stops without leaving, as a process that dies: for tests, and for a process that must end at once.
    pub fn stop(&self) {
        self.inner.stopped.cancel();
    }

    /// Returns when another process has registered as this node, with the leader's message. This one owns nothing any more and
    /// should end.
    pub async fn replaced(&self) -> String {
        let mut progress = self.inner.progress.subscribe();
        let replaced = progress.wait_for(|now| matches!(now, Progress::Replaced(_))).await;
        match replaced.as_deref() {
            Ok(Progress::Replaced(why)) => why.clone(),
            _ => std::future::pending().await,
        }
    }

    /// Whether the node has a session with the leader now.
    #[must_use]
    pub fn connected(&self) -> bool {
        *self.inner.progress.borrow() == Progress::Connected
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.inner.settings.node
    }

    /// Distinguishes this process from others under the same node id; 0 before it has joined.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.inner.incarnation.load(Ordering::Relaxed)
    }

    /// How far the leader's clock is ahead of this node's, in milliseconds; 0 before it is known.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.inner.clock_offset_ms.load(Ordering::Relaxed)
    }

    /// The calls for operators.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.inner.calls.clone())
    }

    async fn change(&self, change: Change) -> Result<Arc<Ring>, CallError> {
        if self.incarnation() == 0 {
            return Err(CallError::UnknownNode("this process has not joined yet".to_owned()));
        }
        let request = ChangeRequest {
            change: change.into(),
            node: self.inner.settings.node.as_str().to_owned(),
            incarnation: self.incarnation(),
        };
        let each = self.inner.settings.timings.call_timeout;
        let ask = |mut client: crate::leader_calls::Client| {
            let request = request.clone();
            async move { client.change(request).await }
        };
        let reply = self.inner.calls.call(each, ask, refusal_of).await?;
        Ok(self.inner.take(&reply))
    }
}

pub(crate) fn refusal_of(reply: &RingReply) -> Option<&Refused> {
    match &reply.result {
        Some(ring_reply::Result::Refused(refused)) => Some(refused),
        Some(ring_reply::Result::Ring(_)) | None => None,
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.inner.stopped.cancel();
    }
}

#[async_trait]
impl Membership for Member {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.inner.ring.subscribe()
    }

    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader> {
        if let Progress::Replaced(why) = &*self.inner.progress.borrow() {
            return Err(NoLeader(why.clone()));
        }
        let each = self.inner.settings.timings.call_timeout;
        let ask = |mut client: crate::leader_calls::Client| async move { client.confirm(ConfirmRequest {}).await };
        let reply = self.inner.calls.call(each, ask, refusal_of).await;
        let reply = reply.map_err(|error| NoLeader(error.to_string()))?;
        if matches!(&reply.result, Some(ring_reply::Result::Ring(ring)) if self.inner.is_other_cluster(ring)) {
            self.inner.calls.note_leader(None);
            return Err(NoLeader("the leader of another cluster has answered".to_owned()));
        }
        Ok(self.inner.take(&reply))
    }
}

impl Inner {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, reply: &RingReply) -> Arc<Ring> {
        match &reply.result {
            Some(ring_reply::Result::Ring(ring)) => self.publish(ring),
            Some(ring_reply::Result::Refused(_)) | None => Arc::clone(&self.ring.borrow()),
        }
    }

    /// Whether a ring is another cluster's: the address of a voter may be another process's by now.
    fn is_other_cluster(&self, ring: &internal_api::membership::Ring) -> bool {
        let known = self.ring.borrow();
        !known.cluster_id.is_empty() && known.cluster_id != ring.cluster_id
    }

    /// Publishes a ring unless a newer one is known, and returns it as this process may see it. One of another cluster is
    /// ignored.
    fn publish(&self, ring: &internal_api::membership::Ring) -> Arc<Ring> {
        if self.is_other_cluster(ring) {
            tracing::warn!(cluster_id = ring.cluster_id, "ignoring a ring from another cluster");
            return Arc::clone(&self.ring.borrow());
        }
        self.calls.note_voters(&ring.voter_addresses);
        let mut ring = ring_received(ring);
        let incarnation = self.incarnation.load(Ordering::Relaxed);
        let own = &self.settings.node;
        match ring.nodes.get(own) {
            Some(node) if node.incarnation != incarnation => drop_ownership_of(&mut ring, own),
            // An operator drained it; it must stay drained when the node has to register again.
            Some(node) if node.state == NodeState::Draining => self.wanted().draining = true,
            Some(_) | None => (),
        }
        let ring = Arc::new(ring);
        self.ring.send_if_modified(|known| {
            let newer = ring.version > known.version;
            if newer {
                metrics::gauge!("outlast_membership_ring_version", "seen_by" => "member").set(ring.version as f64);
                *known = Arc::clone(&ring);
            }
            newer
        });
        ring
    }

    /// Another process has this node's id: nothing that the ring gives to it is ours.
    fn replaced(&self, why: String) {
        tracing::error!(node = self.settings.node.as_str(), why, "another process has registered as this node");
        self.ring.send_modify(|known| {
            let mut ring = Ring::clone(known);
            drop_ownership_of(&mut ring, &self.settings.node);
            *known = Arc::new(ring);
        });
        self.progress.send_replace(Progress::Replaced(why));
    }
}

/// Removes a node's ownership of its shards from this process's ring.
fn drop_ownership_of(ring: &mut Ring, node: &NodeId) {
    for owner in ring.history.iter_mut().chain(&mut ring.matching) {
        *owner = owner.take().filter(|id| id != node);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cluster::{Role, Sharded};
    use settings::MembershipSettings;

    use super::*;
    use crate::settings::ClusterSettings;
    use crate::wire::ring_message;

    fn alone() -> Arc<Member> {
        let settings = MemberSettings {
            cluster: ClusterSettings { name: "test".into(), history_shards: 2, matching_shards: 1 },
            node: NodeId::new("a"),
            roles: BTreeSet::from(Role::ALL),
            address: "127.0.0.1:9".into(),
            zone: String::new(),
            weight: 100,
            seeds: vec!["127.0.0.1:1".into()],
            timings: MembershipSettings::default(),
        };
        let member = Member::start(settings, Runtime::system()).expect("the settings make sense");
        member.inner.incarnation.store(1, Ordering::Relaxed);
        member
    }

    fn ring(version: u64, incarnation: u64, state: NodeState) -> internal_api::membership::Ring {
        let a = NodeId::new("a");
        let mut ring = Ring { version, ..Ring::alone(&a, 2, 1) };
        if let Some(node) = ring.nodes.get_mut(&a) {
            (node.incarnation, node.state) = (incarnation, state);
        }
        ring_message(&ring, Vec::new())
    }

    fn owned(member: &Member) -> usize {
        member.ring().borrow().owned(Sharded::History, member.node()).len()
    }

    #[tokio::test]
    async fn what_another_process_under_this_name_owns_is_not_ours() {
        let member = alone();
        member.inner.publish(&ring(1, 1, NodeState::Up));
        assert_eq!(owned(&member), 2);
        let seen = member.inner.publish(&ring(2, 2, NodeState::Up));
        assert_eq!((owned(&member), seen.version), (0, 2));
        assert!(seen.nodes.contains_key(member.node()), "it is there, and another process");
    }

    #[tokio::test]
    async fn versions_never_go_back() {
        let member = alone();
        member.inner.publish(&ring(7, 1, NodeState::Up));
        member.inner.publish(&ring(6, 2, NodeState::Up));
        assert_eq!((member.ring().borrow().version, owned(&member)), (7, 2));
    }

    #[tokio::test]
    async fn a_ring_of_another_cluster_is_passed_over() {
        let member = alone();
        let of = |cluster_id: &str, version| internal_api::membership::Ring {
            cluster_id: cluster_id.to_owned(),
            ..ring(version, 1, NodeState::Up)
        };
        member.inner.publish(&of("ours", 3));
        let seen = member.inner.publish(&of("theirs", 9));
        assert_eq!((member.ring().borrow().version, seen.version, seen.cluster_id.as_str()), (3, 3, "ours"));
        member.inner.publish(&of("ours", 4));
        assert_eq!(member.ring().borrow().version, 4);
    }

    #[tokio::test]
    async fn a_node_that_an_operator_drains_says_so_when_it_registers_again() {
        let member = alone();
        member.inner.publish(&ring(1, 1, NodeState::Up));
        assert!(!member.inner.wanted().draining);
        member.inner.publish(&ring(2, 1, NodeState::Draining));
        assert!(member.inner.wanted().draining);
    }
}
