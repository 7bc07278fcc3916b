//! What a process must know about its cluster and itself. The timings are in the `settings` crate.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cluster::{NodeId, Role};
use settings::MembershipSettings;

/// What is the same in every process of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Keeps clusters apart that could reach each other by mistake.
    pub name: String,
    /// Shards of history. Count, at least 1; fixed when the cluster is formed.
    pub history_shards: u32,
    /// Shards of matching. Count, at least 1; fixed when the cluster is formed.
    pub matching_shards: u32,
}

/// A voter that the cluster is formed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialVoter {
    /// Its node id.
    pub id: NodeId,
    /// Its internal address, `host:port`.
    pub address: String,
}

/// Settings of a voter.
#[derive(Clone, Debug)]
pub struct VoterSettings {
    /// Of the whole cluster.
    pub cluster: ClusterSettings,
    /// This process's node id.
    pub node: NodeId,
    /// Where the other voters reach this one, `host:port`.
    pub address: String,
    /// Where it keeps what it must never forget. Its own, on a local disk.
    pub data_dir: PathBuf,
    /// Whom the cluster is formed with: 1, 3 or 5, the same list at each of them. A voter that is not in it waits to be
    /// added by command. Read only while the data folder is empty.
    pub initial_voters: Vec<InitialVoter>,
    /// How soon nodes are taken for dead.
    pub timings: MembershipSettings,
}

/// Settings of a node's membership.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// Of the whole cluster.
    pub cluster: ClusterSettings,
    /// This process's node id: one running process at a time.
    pub node: NodeId,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// Its failure domain; empty for none.
    pub zone: String,
    /// Its share of the shards, relative to others; 100 is usual, 0 for none.
    pub weight: u32,
    /// Where voters are found: `host:port` each. A name that resolves to several addresses stands for all of them and is
    /// resolved again at each attempt.
    pub seeds: Vec<String>,
    /// How soon nodes are taken for dead.
    pub timings: MembershipSettings,
}

/// What this release can do. A cluster makes use of a level only when every node has it.
pub const FEATURE_LEVEL: u32 = 1;

impl ClusterSettings {
    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("cluster.name is empty: any name will do, the same in every process".to_owned());
        }
        for (what, count) in [("history_shards", self.history_shards), ("matching_shards", self.matching_shards)] {
            if !(1..=16384).contains(&count) {
                return Err(format!("cluster.{what} is {count}: accepted are 1 to 16384"));
            }
        }
        Ok(())
    }
}

fn check_address(what: &str, address: &str) -> Result<(), String> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    match port {
        Some(1..=u16::MAX) => Ok(()),
        Some(0) | None => Err(format!("{what} is {address:?}: accepted is host:port")),
    }
}

impl VoterSettings {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.cluster.check()?;
        check_address("internal.advertise", &self.address)?;
        if self.node.as_str().is_empty() {
            return Err("node.id is empty".to_owned());
        }
        let ids: BTreeSet<&NodeId> = self.initial_voters.iter().map(|voter| &voter.id).collect();
        if ids.len() != self.initial_voters.len() {
            return Err("membership.initial_voters names a node twice".to_owned());
        }
        if !matches!(ids.len(), 0 | 1 | 3 | 5) {
            return Err(format!("membership.initial_voters has {} voters: accepted are 1, 3 and 5", ids.len()));
        }
        for voter in &self.initial_voters {
            check_address(&format!("the address of initial voter {:?}", voter.id.as_str()), &voter.address)?;
        }
        Ok(())
    }
}

impl MemberSettings {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.cluster.check()?;
        check_address("internal.advertise", &self.address)?;
        if self.node.as_str().is_empty() {
            return Err("node.id is empty".to_owned());
        }
        if self.roles.is_empty() {
            return Err("node.roles is empty: accepted are frontend, history, matching and membership".to_owned());
        }
        if self.weight > 10_000 {
            return Err(format!("node.weight is {}: accepted are 0 to 10000", self.weight));
        }
        if self.seeds.is_empty() {
            return Err("membership.seeds is empty: it names the voters' addresses".to_owned());
        }
        self.seeds.iter().try_for_each(|seed| check_address("a seed of membership.seeds", seed))
    }
}
