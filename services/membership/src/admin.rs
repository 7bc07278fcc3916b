//! Operators' calls to the cluster's membership.

use std::sync::Arc;
use std::time::Duration;

use cluster::{NodeId, Ring, Sharded};
use internal_api::membership::{
    AddVoterRequest, Change, ChangeRequest, MembersReply, MembersRequest, MoveShardRequest, RemoveVoterRequest,
    RingReply, VoterReply, VoterStatus, ring_reply,
};
use runtime::Runtime;
use settings::MembershipSettings;

use crate::leader_calls::{CallError, Client, LeaderCalls};
use crate::member::refusal_of;
use crate::wire::ring_received;

/// A change of voters may take so long: a new one has to catch up first.
const VOTER_CHANGE: Duration = Duration::from_secs(25);

/// Asks the leader, wherever it is.
#[derive(Clone)]
pub struct Admin {
    calls: LeaderCalls,
}

/// The members.
#[derive(Clone, Debug)]
pub struct Members {
    /// The newest ring.
    pub ring: Arc<Ring>,
    /// The leader's node id.
    pub leader: String,
    /// Raft's term.
    pub term: u64,
    /// What every node understands.
    pub feature_level: u32,
    /// The Raft group.
    pub voters: Vec<VoterInfo>,
    /// What the leader knows of each node besides.
    pub nodes: Vec<NodeInfo>,
    /// Shards that an operator has put somewhere.
    pub pinned: Vec<PinInfo>,
}

/// A member of the Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterInfo {
    /// Its node id.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// False while it still learns.
    pub voting: bool,
    /// The last log entry that the leader knows it to have; 0 when unknown.
    pub matched: u64,
}

/// A node, by the leader's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Which.
    pub id: String,
    /// Whether it has a session.
    pub connected: bool,
    /// How far the leader's clock is ahead of its own, and how uncertain that is. Milliseconds.
    pub clock_offset_ms: Option<(i64, i64)>,
}

/// A shard that an operator has put somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinInfo {
    /// `history` or `matching`.
    pub service: String,
    /// Which.
    pub shard: u32,
    /// Where.
    pub node: String,
}

impl Admin {
    pub(crate) fn new(calls: LeaderCalls) -> Self {
        Self { calls }
    }

    /// For a process that is no member: `seeds` are addresses of voters, `host:port`.
    #[must_use]
    pub fn with_seeds(seeds: Vec<String>, timings: MembershipSettings, runtime: Runtime) -> Self {
        Self::new(LeaderCalls::new(runtime, timings, seeds))
    }

    fn each(&self) -> Duration {
        self.calls.timings.call_timeout
    }

    /// Everything about the members, confirmed by a quorum.
    ///
    /// # Errors
    /// When no leader answers.
    pub async fn members(&self) -> Result<Members, CallError> {
        let ask = |mut client: Client| async move { client.members(MembersRequest {}).await };
        let reply = self.calls.call(self.each(), ask, |reply: &MembersReply| reply.refused.as_ref()).await?;
        Ok(Members {
            ring: Arc::new(reply.ring.as_ref().map(ring_received).unwrap_or_default()),
            leader: reply.leader,
            term: reply.term,
            feature_level: reply.feature_level,
            voters: reply.voters.into_iter().map(voter_info).collect(),
            nodes: reply
                .nodes
                .into_iter()
                .map(|node| NodeInfo {
                    id: node.id,
                    connected: node.connected,
                    clock_offset_ms: node.clock.map(|clock| (clock.offset_ms, clock.uncertainty_ms)),
                })
                .collect(),
            pinned: reply
                .pinned
                .into_iter()
                .map(|pin| PinInfo { service: pin.service, shard: pin.shard, node: pin.node })
                .collect(),
        })
    }

    /// Marks a node as draining: it gets no shards any more, until a new process runs under its name.
    ///
    /// # Errors
    /// When there is no such node, or no leader answers.
    pub async fn drain_node(&self, node: &NodeId) -> Result<Arc<Ring>, CallError> {
        let request = ChangeRequest { change: Change::Drain.into(), node: node.as_str().to_owned(), incarnation: 0 };
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.change(request).await }
        };
        self.calls.call(self.each(), ask, refusal_of).await.map(|reply| ring_of(&reply))
    }

    /// Puts a shard on a node until that node leaves; `None` lets it go again.
    ///
    /// # Errors
    /// When the node cannot own it, there is no such shard, or no leader answers.
    pub async fn move_shard(
        &self,
        service: Sharded,
        shard: u32,
        node: Option<&NodeId>,
    ) -> Result<Arc<Ring>, CallError> {
        let node = node.map(|node| node.as_str().to_owned()).unwrap_or_default();
        let request = MoveShardRequest { service: service.name().to_owned(), shard, node };
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.move_shard(request).await }
        };
        self.calls.call(self.each(), ask, refusal_of).await.map(|reply| ring_of(&reply))
    }

    /// Makes a voter of a process that runs with an empty data folder.
    ///
    /// # Errors
    /// When it does not answer or does not fit, or no leader answers. Asking again does no harm.
    pub async fn add_voter(&self, id: &NodeId, address: &str) -> Result<Vec<VoterInfo>, CallError> {
        let request = AddVoterRequest { id: id.as_str().to_owned(), address: address.to_owned() };
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.add_voter(request).await }
        };
        let reply = self.calls.call(VOTER_CHANGE, ask, |reply: &VoterReply| reply.refused.as_ref()).await?;
        Ok(reply.voters.into_iter().map(voter_info).collect())
    }

    /// Takes a voter out of the group.
    ///
    /// # Errors
    /// When it is the last or not one, or no leader answers.
    pub async fn remove_voter(&self, id: &NodeId) -> Result<Vec<VoterInfo>, CallError> {
        let request = RemoveVoterRequest { id: id.as_str().to_owned() };
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.remove_voter(request).await }
        };
        let reply = self.calls.call(VOTER_CHANGE, ask, |reply: &VoterReply| reply.refused.as_ref()).await?;
        Ok(reply.voters.into_iter().map(voter_info).collect())
    }
}

fn ring_of(reply: &RingReply) -> Arc<Ring> {
    match &reply.result {
        Some(ring_reply::Result::Ring(ring)) => Arc::new(ring_received(ring)),
        Some(ring_reply::Result::Refused(_)) | None => Arc::default(),
    }
}

fn voter_info(status: VoterStatus) -> VoterInfo {
    VoterInfo { id: status.id, address: status.address, voting: status.voting, matched: status.matched }
}
