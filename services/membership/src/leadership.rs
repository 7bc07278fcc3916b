//! What the leader holds in memory for its term.
//!
//! Leases are nothing but timers of this process: no clock is compared with another's, and a new leader gives every node
//! a new one. Proposals go through one queue, so that changes that come together become one ring version.

mod proposing;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use internal_api::membership::{ClockReading, RefusalReason, Refused};
use runtime::{Backoff, Runtime};
use settings::MembershipSettings;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::command::{Command, Reply};
use crate::state_machine::StateMachine;
use crate::wire::{reason_of, refused};

pub(crate) use terms::run_leader;

/// One term of leading. Clones share it.
#[derive(Clone)]
pub(crate) struct Leadership {
    pub(crate) ended: CancellationToken,
    proposals: mpsc::Sender<Proposal>,
    sessions: Arc<Mutex<NodeSessions>>,
    machine: StateMachine,
    runtime: Runtime,
    timings: MembershipSettings,
}

struct Proposal {
    command: Command,
    reply: oneshot::Sender<Reply>,
}

#[derive(Default)]
struct NodeSessions {
    by_node: BTreeMap<String, NodeSession>,
    generation: u64,
}

/// What the leader knows about a node besides the replicated state.
#[derive(Clone, Default)]
pub(crate) struct NodeSession {
    /// Rises with each session, so that timers of an earlier one do nothing.
    generation: u64,
    /// Whether there is a session now.
    pub(crate) connected: bool,
    /// How its clock differs.
    pub(crate) clock: Option<ClockReading>,
}

/// Between the probes of an address, to see whether its process still listens.
const PROBE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(160));

/// The result of probing a node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// A process listens there.
    Answers,
    /// The machine refuses connections: the process is gone.
    Refuses,
    /// Nothing is known.
    Silent,
}

impl Leadership {
    fn sessions(&self) -> MutexGuard<'_, NodeSessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session_of(&self, node: &str) -> NodeSession {
        self.sessions().by_node.get(node).cloned().unwrap_or_default()
    }

    /// Proposes a command and waits for its result; the state's refusal is an error.
    ///
    /// # Errors
    /// A refusal. Unavailable means that it may have happened: the term ended meanwhile.
    pub(crate) async fn propose(&self, command: Command) -> Result<Reply, Refused> {
        let ended = || refused(RefusalReason::Unavailable, "leadership was lost; the outcome is unknown");
        let (reply, answer) = oneshot::channel();
        self.proposals.send(Proposal { command, reply }).await.map_err(|_| ended())?;
        match answer.await {
            Ok(Reply::Refused { why, message }) => Err(refused(reason_of(why), message)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(ended()),
        }
    }

    /// A node has a session: its lease is that session's business now.
    pub(crate) fn open_session(&self, node: &str, clock: Option<ClockReading>) -> u64 {
        let mut sessions = self.sessions();
        sessions.generation += 1;
        let generation = sessions.generation;
        sessions.by_node.insert(node.to_owned(), NodeSession { generation, connected: true, clock });
        generation
    }

    /// A node is known and has no session yet.
    fn expect_session(&self, node: &str) -> u64 {
        let generation = self.open_session(node, None);
        if let Some(session) = self.sessions().by_node.get_mut(node) {
            session.connected = false;
        }
        generation
    }

    /// Drops what is known of nodes that are not members any more.
    fn prune_removed(&self) {
        let members: BTreeSet<String> = self.machine.look(|state| state.nodes.keys().cloned().collect());
        self.sessions().by_node.retain(|id, session| session.connected || members.contains(id));
    }

    /// A node has reported how its clock differs.
    pub(crate) fn note_clock(&self, node: &str, clock: ClockReading) {
        if let Some(session) = self.sessions().by_node.get_mut(node) {
            session.clock = Some(clock);
        }
    }

    /// Whether this is still the node's latest session.
    pub(crate) fn has_session(&self, node: &str, generation: u64) -> bool {
        self.sessions().by_node.get(node).is_some_and(|session| session.generation == generation)
    }

    /// A session's stream has broken. A process that is gone is removed at once, one that may be there keeps its lease
    /// until that expires.
    pub(crate) async fn close_session(&self, node: &str, incarnation: u64, generation: u64) {
        let address = {
            let mut sessions = self.sessions();
            let Some(session) = sessions.by_node.get_mut(node).filter(|session| session.generation == generation)
            else {
                return;
            };
            session.connected = false;
            self.address(node, incarnation)
        };
        let Some(address) = address else { return };
        // A process that is being killed may have closed its connections and not yet its listener: one answer says little.
        let refused = async {
            let mut backoff = PROBE_BACKOFF;
            while self.has_session(node, generation) && self.probe(&address).await != Probe::Refuses {
                self.runtime.sleep(backoff.next_delay()).await;
            }
        };
        let why = match self.runtime.timeout(self.timings.lease, refused).await {
            Some(()) => "is gone",
            None => "did not come back",
        };
        if self.has_session(node, generation) {
            self.expire(node, incarnation, why).await;
        }
    }

    fn address(&self, node: &str, incarnation: u64) -> Option<String> {
        self.machine.look(|state| {
            state.nodes.get(node).filter(|known| known.incarnation == incarnation).map(|known| known.address.clone())
        })
    }

    /// Expires a node's lease unless it comes back in time.
    async fn wait_for_return(&self, node: &str, incarnation: u64, generation: u64, lease: Duration) {
        self.runtime.sleep(lease).await;
        if self.has_session(node, generation) {
            self.expire(node, incarnation, "did not come back").await;
        }
    }

    /// A node's lease has expired.
    pub(crate) async fn expire(&self, node: &str, incarnation: u64, why: &str) {
        if self.address(node, incarnation).is_none() || self.ended.is_cancelled() {
            return;
        }
        tracing::warn!(node, incarnation, why, "removed a node from the ring");
        metrics::counter!("outlast_membership_expiries_total").increment(1);
        let remove = Command::Remove { node: node.to_owned(), incarnation };
        // When the term ends first, the next leader expires the lease.
        drop(self.propose(remove).await);
    }

    /// Checks whether a process listens at an address.
    pub(crate) async fn probe(&self, address: &str) -> Probe {
        use std::io::ErrorKind::{ConnectionRefused, ConnectionReset};
        match self.runtime.timeout(self.timings.connect_timeout, TcpStream::connect(address)).await {
            Some(Ok(_)) => Probe::Answers,
            Some(Err(error)) if matches!(error.kind(), ConnectionRefused | ConnectionReset) => Probe::Refuses,
            Some(Err(_)) | None => Probe::Silent,
        }
    }
}

#[cfg(test)]
#[path = "leadership/leadership_test.rs"]
mod leadership_test;
