//! `cluster`, `node`, `internal`, `http`: which process this is.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HostPort, ListenAddress, Span};

/// What all processes of one cluster must agree on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The cluster's name. A process refuses to join a cluster of another name. 1 to 63 letters, digits, `.`, `_` or `-`.
    #[schemars(extend("format" = "outlast-name"))]
    pub name: String,
    /// Shards of workflows. Fixed at the first start of the cluster and the same in every process. A few dozen per core
    /// that the cluster will ever have is plenty.
    #[schemars(range(min = 1, max = 4096))]
    pub history_shards: u32,
    /// Shards of task queues. Fixed at the first start of the cluster and the same in every process.
    #[schemars(range(min = 1, max = 4096))]
    pub matching_shards: u32,
    /// The id of a cluster that is gone for good, whose store this one takes over. A store otherwise belongs to the first
    /// cluster that used it, and the processes of another refuse to start on it.
    #[serde(default)]
    #[schemars(extend("format" = "outlast-name"))]
    pub takes_over: Option<String>,
}

/// This process as a member of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Names the process for as long as it is part of the cluster, and stays the same when it is started again. In
    /// Kubernetes the name of the pod, by `OUTLAST__NODE__ID`. 1 to 63 letters, digits, `.`, `_` or `-`.
    #[schemars(extend("format" = "outlast-name"))]
    pub id: String,
    /// What the process does. `outlast server start --role` takes the place of it.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Its failure domain, such as a rack or an availability zone. Empty for none.
    #[serde(default)]
    #[schemars(extend("format" = "outlast-name-or-empty"))]
    pub zone: String,
    /// Its share of the shards, relative to other processes of the same role.
    #[serde(default = "usual_weight")]
    #[schemars(range(min = 1, max = 10_000))]
    pub weight: u32,
    /// How long a process may take to stop. Six tenths are for handing its shards over; what
    /// comes after may use what is left: the requests of clients, at most `frontend.shutdown_grace`, what is not in the
    /// tables yet, and announcing that the node leaves. While the database is away a stop takes this long, and no longer. Give the
    /// orchestrator a few seconds more (`terminationGracePeriodSeconds` in Kubernetes).
    #[serde(default = "usual_drain_within")]
    #[schemars(extend("x-least" = "0s", "x-most" = "1h"))]
    pub drain_within: Span,
}

fn usual_drain_within() -> Span {
    Duration::from_secs(25).into()
}

fn usual_weight() -> u32 {
    100
}

/// What a process does for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves the API.
    Frontend,
    /// Owns shards of workflows.
    History,
    /// Owns shards of task queues.
    Matching,
    /// Votes on the ring.
    Membership,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Frontend, Self::History, Self::Matching, Self::Membership];

    /// As it is written in the file.
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

/// Where other processes of the cluster, and `outlast admin`, reach this one. Not for users: admit no other clients.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Internal {
    /// Where to listen. Port 0 takes any free one.
    pub listen: ListenAddress,
    /// The address that others connect to. Without it, `listen`, which then must be an address of this machine and not
    /// 0.0.0.0.
    #[serde(default)]
    pub advertise: Option<HostPort>,
}

/// Health and metrics, over HTTP: /health/live, /health/startup, /health/ready, /metrics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to listen. Port 0 takes any free one.
    pub listen: ListenAddress,
}
