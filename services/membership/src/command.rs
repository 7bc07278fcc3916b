//! The commands of the replicated state, and their replies. Entries of the Raft log: a stored format.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One entry of the Raft log: changes that make one ring version together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// In the order in which they happen.
    pub(crate) commands: Vec<Command>,
}

/// The answers to a batch, one each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

/// A change to the state. Each may be repeated: the second time changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// The cluster's first: its identity and what never changes about it. The first one decides.
    Form {
        /// A random UUID.
        cluster_id: String,
        /// As configured.
        cluster_name: String,
        /// Fixed for ever. Count.
        history_shards: u32,
        /// Fixed for ever. Count.
        matching_shards: u32,
        /// What the release that forms it can do.
        feature_level: u32,
    },
    /// A process comes, or comes again, under a node's name.
    Register {
        /// Its identity.
        node: Registration,
        /// The incarnation that the leader has found dead, which this process may replace.
        replaces: Option<u64>,
    },
    /// A node that has registered wants its share of the shards.
    Up {
        /// Which.
        node: String,
        /// Only this one.
        incarnation: u64,
    },
    /// A node is about to leave: it gets no shards any more.
    Drain {
        /// Which.
        node: String,
        /// Only this one; `None` for whichever there is.
        incarnation: Option<u64>,
    },
    /// A node has left, or its lease has ended.
    Remove {
        /// Which.
        node: String,
        /// Only this one, so that the expiry of an old process does not remove the new one.
        incarnation: u64,
    },
    /// An operator puts a shard on a node, where it stays until that node leaves.
    Pin {
        /// `history` or `matching`.
        service: String,
        /// Which shard.
        shard: u32,
        /// Where; `None` ends an earlier pin.
        node: Option<String>,
    },
    /// A voter is known under this identity from now on.
    Voter {
        /// Its node's name.
        id: String,
        /// Drawn with its data folder.
        uuid: String,
        /// Where it is.
        address: String,
    },
    /// A voter is gone; another may come under its name.
    VoterGone {
        /// Its node's name.
        id: String,
    },
    /// Every node understands this level, and may make use of it.
    RaiseFeatureLevel {
        /// The new level.
        level: u32,
    },
}

/// A process that runs as a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The node's name.
    pub(crate) id: String,
    /// Drawn by the process when it started.
    pub(crate) process: String,
    /// What it was given earlier; 0 for nothing yet.
    pub(crate) incarnation: u64,
    /// What it does, by the roles' names.
    pub(crate) roles: BTreeSet<String>,
    /// Where it is reached, `host:port`.
    pub(crate) address: String,
    /// Its failure domain.
    pub(crate) zone: String,
    /// Its share, relative to others.
    pub(crate) weight: u32,
    /// What its release can do.
    pub(crate) feature_level: u32,
    /// How far it has come, by its own word.
    pub(crate) standing: Standing,
}

/// How far a node has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Registered.
    #[default]
    Joining,
    /// Takes part.
    Up,
    /// About to leave.
    Draining,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is so now.
    Done,
    /// A process is registered, under this incarnation.
    Registered {
        /// The node's.
        incarnation: u64,
    },
    /// Nothing has changed.
    Refused {
        /// Why, for the program.
        why: Why,
        /// Why, for people.
        message: String,
    },
}

/// The reasons for which the state refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// The cluster has not been formed yet.
    NotFormed,
    /// Another process runs under that name.
    NodeIdTaken,
    /// There is no such node, or not this incarnation of it.
    UnknownNode,
    /// The node's release is too old for the cluster.
    FeatureLevel,
    /// The command is invalid.
    Invalid,
    /// Another voter is known under that name.
    VoterIdTaken,
}

impl Reply {
    pub(crate) fn refused(why: Why, message: impl Into<String>) -> Self {
        Self::Refused { why, message: message.into() }
    }
}
