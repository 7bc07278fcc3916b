//! `membership`: how processes find each other.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::HostPort;

/// How this process finds the others, and, in processes of the role `membership`, how it votes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Membership {
    /// Internal addresses of some voters. A name that resolves to many addresses counts as all of them. Needed unless the
    /// process is one of `initial_voters`.
    pub seeds: Vec<HostPort>,
    /// Where a voter keeps its log and its snapshots. Needed in processes of the role `membership`; kept for as long as
    /// the node's id is.
    #[schemars(extend("minLength" = 1))]
    pub data_dir: Option<PathBuf>,
    /// The voters that form the cluster: 1, 3 or 5, the same list for each of them. Not looked at again once the cluster
    /// exists; `outlast admin voters` changes who votes.
    pub initial_voters: Vec<InitialVoter>,
}

/// One of the voters that form the cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialVoter {
    /// Its `node.id`.
    #[schemars(extend("format" = "outlast-name"))]
    pub id: String,
    /// Its `internal.advertise`.
    pub address: HostPort,
}
