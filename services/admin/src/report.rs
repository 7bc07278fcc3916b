//! What operators see, as plain values; they serialize as `outlast admin --output json` shows them.

use serde::Serialize;

use cluster::Sharded;

/// A shard that a process serves, as of its last turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardReport {
    /// Whose.
    pub service: Sharded,
    /// Its number.
    pub shard: u32,
    /// The epoch under which it writes.
    pub epoch: u64,
    /// The last durable position.
    pub last_position: u64,
    /// Groups that are still in its log. Count.
    pub log_groups: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Entities that the tables may not show in full. Count.
    pub dirty_entities: u64,
    /// The memory they take. Bytes.
    pub dirty_bytes: u64,
    /// Entities in memory. Count.
    pub loaded_entities: u64,
    /// The memory they take. Bytes.
    pub loaded_bytes: u64,
    /// Age of the oldest group that is still in the log, in milliseconds; `None` for an empty log.
    pub lag_ms: Option<u64>,
}

/// What the leader of the voters knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderReport {
    /// Voters, and those that are to become one.
    pub voters: Vec<VoterReport>,
    /// The Raft term.
    pub term: u64,
    /// By node id: whether the leader has a session with it.
    pub sessions: Vec<(String, SessionReport)>,
}

/// A node's session with the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// Whether the leader has a session with it.
    pub connected: bool,
    /// Leader's clock minus the node's, in milliseconds; `None` when it was not measured.
    pub clock_offset_ms: Option<i64>,
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VoterReport {
    /// Its node id.
    pub id: String,
    /// Where other nodes reach it.
    pub address: String,
    /// False for one that is still catching up.
    pub voting: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Entries of the leader's log that it is known to have; 0 when unknown.
    pub matched: u64,
}

/// Nodes and voters of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Members {
    /// The cluster's own name for itself; empty for one process.
    pub cluster_id: String,
    /// The version of the ring that the nodes are from.
    pub ring_version: u64,
    /// In the order of their ids.
    pub nodes: Vec<Member>,
    /// Voters, and those that are to become one.
    pub voters: Vec<VoterReport>,
    /// The Raft term; 0 when unknown.
    pub term: u64,
    /// Why no leader has answered; then voters, term and sessions are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_unreachable: Option<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its name.
    pub id: String,
    /// Rises with each process that runs under this name.
    pub incarnation: u64,
    /// What it does.
    pub roles: Vec<String>,
    /// Where other nodes reach it.
    pub address: String,
    /// Its failure domain.
    pub zone: String,
    /// Its share of the shards.
    pub weight: u32,
    /// `joining`, `up` or `draining`.
    pub state: String,
    /// History shards that the ring gives it. Count.
    pub history_shards: u32,
    /// Matching shards that the ring gives it. Count.
    pub matching_shards: u32,
    /// What the leader knows of it; `None` when no leader has answered or it knows nothing.
    pub session: Option<SessionReport>,
}

/// A version of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RingView {
    /// Rises with each change.
    pub version: u64,
    /// The cluster's own name for itself; empty for one process.
    pub cluster_id: String,
    /// The owner of each history shard.
    pub history: Vec<Option<String>>,
    /// The owner of each matching shard.
    pub matching: Vec<Option<String>>,
}

/// Shards of the whole cluster, or of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardRows {
    /// The version of the ring that the owners are from.
    pub ring_version: u64,
    /// By service and number. A shard that two nodes claim to serve has a row for each.
    pub shards: Vec<ShardRow>,
    /// Nodes that did not say what they serve.
    pub unreachable: Vec<Unreachable>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardRow {
    /// `history` or `matching`.
    pub service: &'static str,
    /// Its number.
    pub shard: u32,
    /// The node that should own it.
    pub owner: Option<String>,
    /// The node that serves it, and its state; `None` while no node does, as far as is known.
    pub serving: Option<Serving>,
}

impl ShardRow {
    /// Whether the node that should own it serves it.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| self.owner.as_deref() == Some(&*serving.node))
    }
}

/// A shard at the node that serves it. Fields as in [`ShardReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "described at ShardReport")]
pub struct Serving {
    /// The node.
    pub node: String,
    pub epoch: u64,
    pub last_position: u64,
    pub log_groups: u64,
    pub log_bytes: u64,
    pub dirty_entities: u64,
    pub dirty_bytes: u64,
    pub loaded_entities: u64,
    pub loaded_bytes: u64,
    pub lag_ms: Option<u64>,
}

/// A node that could not be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreachable {
    /// Its name.
    pub node: String,
    /// Why.
    pub why: String,
}

/// Which nodes have written everything to their tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flushed {
    /// Those that have.
    pub flushed: Vec<String>,
    /// Those that have not, as far as is known.
    pub unreachable: Vec<Unreachable>,
}

/// What a part of a walk over all that is stored has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedPage {
    /// Partitions of rows.
    pub partitions: u64,
    /// Rows in them.
    pub rows: u64,
    /// Entries of the registry.
    pub entries: u64,
    /// What is wrong.
    pub problems: Vec<String>,
    /// Where to go on; `None` at the end.
    pub next: Option<bytes::Bytes>,
}
