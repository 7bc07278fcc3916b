//! Pure: the state that the voters replicate, and the only place where a ring is made.
//!
//! Every voter applies the same batches in the same order and comes to the same state, so nothing in here may depend on
//! anything else: no clock, no randomness, no map without an order.

mod applying;
mod placing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::{Node, NodeId, NodeState, Ring, Role};
use serde::{Deserialize, Serialize};

use crate::command::{Batch, Replies, Standing};

/// Everything that the voters agree on. A stored format: snapshots are its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterState {
    /// Drawn at formation; empty before.
    pub(crate) cluster_id: String,
    /// As configured.
    pub(crate) cluster_name: String,
    /// What every node understands.
    pub(crate) feature_level: u32,
    /// The incarnation that the last new process was given.
    pub(crate) last_incarnation: u64,
    /// Rises with every observable change.
    pub(crate) ring_version: u64,
    /// All nodes that are alive or may be, by name.
    pub(crate) nodes: BTreeMap<String, NodeRecord>,
    /// The voters, by name.
    pub(crate) voters: BTreeMap<String, VoterRecord>,
    /// History's shards.
    pub(crate) history: Placement,
    /// Matching's shards.
    pub(crate) matching: Placement,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// The process that runs as it.
    pub(crate) process: String,
    /// Rises with each process.
    pub(crate) incarnation: u64,
    /// What it does, by the roles' names.
    pub(crate) roles: BTreeSet<String>,
    /// Where it is reached.
    pub(crate) address: String,
    /// Its failure domain. Shown, not obeyed.
    pub(crate) zone: String,
    /// Its share, relative to others.
    pub(crate) weight: u32,
    /// What its release can do.
    pub(crate) feature_level: u32,
    /// How far it has come.
    pub(crate) standing: Standing,
}

/// A voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoterRecord {
    /// Drawn with its data folder.
    pub(crate) uuid: String,
    /// Where it is reached.
    pub(crate) address: String,
}

/// Where the shards of a service are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// The owner of each shard.
    pub(crate) owners: Vec<Option<String>>,
    /// For each shard the node that lost it by going away, until that node is back.
    pub(crate) former: Vec<Option<String>>,
    /// Where operators have put shards.
    pub(crate) pinned: BTreeMap<u32, String>,
}

impl ClusterState {
    /// Carries out a batch. The ring's version rises by one if anything that nodes can see has changed.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Replies {
        let before = self.ring();
        let placed_by = self.placed_by();
        let replies = batch.commands.iter().map(|command| self.apply_command(command)).collect();
        if self.placed_by() != placed_by {
            self.place();
        }
        if self.ring() != before {
            self.ring_version += 1;
        }
        Replies(replies)
    }

    /// Whether the cluster exists yet.
    pub(crate) fn formed(&self) -> bool {
        !self.cluster_id.is_empty()
    }

    /// What nodes get to see.
    pub(crate) fn ring(&self) -> Ring {
        let owners = |placement: &Placement| -> Vec<Option<NodeId>> {
            placement.owners.iter().map(|owner| owner.as_deref().map(NodeId::new)).collect()
        };
        Ring {
            version: self.ring_version,
            cluster_id: self.cluster_id.clone(),
            nodes: self.nodes.iter().map(|(id, record)| (NodeId::new(id.as_str()), record.shown(id))).collect(),
            history: owners(&self.history),
            matching: owners(&self.matching),
        }
    }

    /// The same, to be shared.
    pub(crate) fn shared_ring(&self) -> Arc<Ring> {
        Arc::new(self.ring())
    }
}

impl NodeRecord {
    fn shown(&self, id: &str) -> Node {
        Node {
            id: NodeId::new(id),
            incarnation: self.incarnation,
            roles: self.roles.iter().filter_map(|name| role_named(name)).collect(),
            address: self.address.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            state: match self.standing {
                Standing::Joining => NodeState::Joining,
                Standing::Up => NodeState::Up,
                Standing::Draining => NodeState::Draining,
            },
        }
    }
}

/// The role of that name.
pub(crate) fn role_named(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.name() == name)
}

#[cfg(test)]
#[path = "cluster_state/laws_test.rs"]
mod laws_test;
#[cfg(test)]
#[path = "cluster_state/rules_test.rs"]
mod rules_test;
