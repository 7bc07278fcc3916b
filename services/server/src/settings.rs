//! The settings of a server.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cluster::Role;
use entities::ShardSettings;
use membership::{MemberSettings, VoterSettings};
use settings::{FrontendSettings, HistorySettings, MatchingSettings, MemoryParts, RemoteSettings};
use storage_cql::CqlSettings;

/// Settings of one process.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// What the process does.
    pub roles: BTreeSet<Role>,
    /// Where a frontend listens.
    pub ip: IpAddr,
    /// A frontend's port for gRPC; 0 for any free one.
    pub port: u16,
    /// Metrics for Prometheus on the frontend's address, for processes without an HTTP listener; `None` for none. At most
    /// one server of a process may have it.
    pub metrics_port: Option<u16>,
    /// Where everything durable goes.
    pub store: StoreChoice,
    /// Namespaces that a frontend makes sure of, beside `default`.
    pub namespaces: Vec<String>,
    /// Shards of workflows. Fixed at the store's first start.
    pub history_shards: u32,
    /// Shards of task queues. Fixed at the store's first start.
    pub matching_shards: u32,
    /// History's bounds and defaults.
    pub history: HistorySettings,
    /// Memory and checkpoints of shards.
    pub shards: ShardSettings,
    /// Matching's bounds and defaults.
    pub matching: MatchingSettings,
    /// The frontend's bounds and defaults.
    pub frontend: FrontendSettings,
    /// Pages of a SQLite store that it keeps in memory. Bytes.
    pub store_cache_bytes: usize,
    /// The cluster that the process is part of; `None` for one that is all there is.
    pub cluster: Option<ClusterSettings>,
}

/// Settings that only a process of a cluster has.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Where other processes reach it.
    pub internal: SocketAddr,
    /// Health and metrics; `None` for none. At most one server of a process may have them.
    pub http: Option<SocketAddr>,
    /// The process as a member. An empty address is filled in with where it listens.
    pub member: MemberSettings,
    /// The process as a voter. An empty address likewise.
    pub voter: Option<VoterSettings>,
    /// Calls between processes.
    pub remote: RemoteSettings,
    /// How long a process may take to stop. Six tenths are for handing shards over.
    pub drain_within: Duration,
    /// The id of a cluster that is gone, whose store this one takes over.
    pub takes_over: Option<String>,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// In memory: nothing survives the process.
    Memory,
    /// In a SQLite file, created with its directory if need be. Every acknowledgement waits for the disk.
    File(PathBuf),
    /// On Cassandra or ScyllaDB, whose schema has been applied.
    Cassandra(Box<CqlSettings>),
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            roles: Role::ALL.into(),
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 7233,
            metrics_port: None,
            store: StoreChoice::Memory,
            namespaces: Vec::new(),
            history_shards: 4,
            matching_shards: 1,
            history: HistorySettings::default(),
            shards: ShardSettings::default(),
            matching: MatchingSettings::default(),
            frontend: FrontendSettings::default(),
            store_cache_bytes: 16 << 20,
            cluster: None,
        }
    }
}

impl ServerSettings {
    /// Divides this much memory among all that is bounded.
    #[must_use]
    pub fn within_memory(mut self, total: usize) -> Self {
        let parts = MemoryParts::of(total);
        self.frontend.transport.in_flight_bytes = parts.in_flight_bytes;
        self.shards.memory_bytes = parts.entity_bytes;
        self.shards.dirty_bytes = parts.dirty_bytes;
        self.shards.waiting_bytes = parts.waiting_bytes;
        self.store_cache_bytes = parts.store_cache_bytes;
        self
    }
}

/// What the chosen store promises, for people.
impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory (nothing survives the process)"),
            Self::File(path) => {
                write!(f, "{} (SQLite, synchronous=FULL: every acknowledgement is fsynced)", path.display())
            }
            Self::Cassandra(settings) => {
                let (keyspace, datacenter) = (&settings.keyspace, &settings.local_datacenter);
                let points = settings.contact_points.join(", ");
                write!(f, "Cassandra, keyspace {keyspace} at {points} (quorum of datacenter {datacenter})")
            }
        }
    }
}
