//! Which node should own which shard: the ring, as membership publishes it in versions.
//!
//! A ring is a hint. It may be late or, for a moment, differ between nodes; the epochs of the logs decide which node owns a
//! shard. So a wrong ring costs time and never data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ids::Slot;
use tokio::sync::watch;

/// Names a node, for as long as it is part of the cluster: the `node_id` of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// By its name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node does for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Serves the API.
    Frontend,
    /// Owns history shards.
    History,
    /// Owns matching shards.
    Matching,
    /// Votes on the ring.
    Membership,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Frontend, Self::History, Self::Matching, Self::Membership];

    /// As configuration, logs and metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::History => "history",
            Self::Matching => "matching",
            Self::Membership => "membership",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A service whose work lies in shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sharded {
    /// Workflows, by their ids.
    History,
    /// Task queues, by their names.
    Matching,
}

impl Sharded {
    /// As logs are named: `history/3`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.role().name()
    }

    /// The role of the nodes that may own its shards.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::History => Role::History,
            Self::Matching => Role::Matching,
        }
    }
}

/// How far a node's membership has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It has registered and is not given shards yet.
    Joining,
    /// It takes part.
    Up,
    /// It is about to leave and is given no shards.
    Draining,
}

/// A node as the ring knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Rises with each process that runs under this name.
    pub incarnation: u64,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Where other nodes reach it, as `host:port`.
    pub address: String,
    /// Its failure domain; empty for none.
    pub zone: String,
    /// Its share of the shards, relative to others; 100 is usual.
    pub weight: u32,
    /// Whether it takes part.
    pub state: NodeState,
}

/// A version of the ring. Shards are numbered from 0; a shard without an owner waits for a node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ring {
    /// Rises with each change; 0 is the ring before the first.
    pub version: u64,
    /// The cluster's own name for itself, drawn when it was formed.
    pub cluster_id: String,
    /// All nodes that are alive or may be.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The owner of each history shard.
    pub history: Vec<Option<NodeId>>,
    /// The owner of each matching shard.
    pub matching: Vec<Option<NodeId>>,
}

impl Ring {
    /// The ring of one process that owns everything.
    #[must_use]
    pub fn alone(id: &NodeId, history_shards: u32, matching_shards: u32) -> Self {
        let node = Node {
            id: id.clone(),
            incarnation: 1,
            roles: Role::ALL.into_iter().collect(),
            address: String::new(),
            zone: String::new(),
            weight: 100,
            state: NodeState::Up,
        };
        Self {
            version: 1,
            cluster_id: String::new(),
            nodes: [(id.clone(), node)].into(),
            history: vec![Some(id.clone()); history_shards as usize],
            matching: vec![Some(id.clone()); matching_shards as usize],
        }
    }

    /// The owners of a service's shards.
    #[must_use]
    pub fn shards(&self, service: Sharded) -> &[Option<NodeId>] {
        match service {
            Sharded::History => &self.history,
            Sharded::Matching => &self.matching,
        }
    }

    /// The node that should own a shard.
    #[must_use]
    pub fn owner(&self, service: Sharded, shard: u32) -> Option<&Node> {
        let id = self.shards(service).get(shard as usize)?.as_ref()?;
        self.nodes.get(id)
    }

    /// In which shard of a service a slot lies; `None` before the ring is known.
    #[must_use]
    pub fn shard_of(&self, service: Sharded, slot: Slot) -> Option<u32> {
        let count = u32::try_from(self.shards(service).len()).ok().filter(|count| *count > 0)?;
        Some(slot.shard(count).0)
    }

    /// The shards that a node should own.
    #[must_use]
    pub fn owned(&self, service: Sharded, node: &NodeId) -> BTreeSet<u32> {
        let shards = (0..).zip(self.shards(service));
        shards.filter(|(_, owner)| owner.as_ref() == Some(node)).map(|(number, _)| number).collect()
    }

    /// Nodes of a role that take part or are leaving, in the order of their names.
    pub fn nodes_of(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |node| node.roles.contains(&role))
    }
}

/// No leader answered, so the newest ring that is known here may be old.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoLeader(pub String);

/// Where versions of the ring come from.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// The newest ring known here; version 0 until there is one. Versions never go back.
    fn ring(&self) -> watch::Receiver<Arc<Ring>>;

    /// Asks the leader, and returns a ring that was the newest at some time after the call; it is published here too.
    ///
    /// # Errors
    /// When no leader answers.
    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader>;
}

/// A ring that never changes: that of one process.
pub struct FixedRing(watch::Sender<Arc<Ring>>);

impl FixedRing {
    /// Publishes `ring` for ever.
    #[must_use]
    pub fn new(ring: Ring) -> Self {
        Self(watch::Sender::new(Arc::new(ring)))
    }
}

#[async_trait]
impl Membership for FixedRing {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.0.subscribe()
    }

    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader> {
        Ok(Arc::clone(&self.0.borrow()))
    }
}

/// What a node should own of one service.
#[derive(Clone)]
pub struct Ownership {
    /// Where the ring comes from.
    pub membership: Arc<dyn Membership>,
    /// The service.
    pub service: Sharded,
    /// This node.
    pub node: NodeId,
}

impl Ownership {
    /// The shards that a ring gives to this node.
    #[must_use]
    pub fn of(&self, ring: &Ring) -> BTreeSet<u32> {
        ring.owned(self.service, &self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_knows_owners_both_ways() {
        let (a, b) = (NodeId::new("a"), NodeId::new("b"));
        let mut ring = Ring::alone(&a, 4, 1);
        ring.history[2] = Some(b.clone());
        ring.history[3] = None;
        assert_eq!(ring.owned(Sharded::History, &a), [0, 1].into());
        assert_eq!(ring.owned(Sharded::History, &b), [2].into());
        assert_eq!(ring.owner(Sharded::History, 0).map(|node| &node.id), Some(&a));
        assert_eq!(ring.owner(Sharded::History, 2), None, "b is not a node of this ring");
        assert_eq!(ring.owner(Sharded::History, 3), None);
        assert_eq!(ring.owner(Sharded::History, 99), None);
        assert_eq!(Ring::default().shard_of(Sharded::History, Slot::of(&"n".into(), &"w".into())), None);
    }
}
