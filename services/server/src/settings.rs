//! What a server is told.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use entities::ShardSettings;
use settings::{FrontendSettings, HistorySettings, MatchingSettings};

/// Settings of one process that plays all roles.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen.
    pub ip: IpAddr,
    /// gRPC; 0 for any free port.
    pub port: u16,
    /// Metrics for Prometheus on the same address; `None` for none. At most one server of a process may have it.
    pub metrics_port: Option<u16>,
    /// Where everything durable goes.
    pub store: StoreChoice,
    /// Namespaces that shall exist, beside `default`.
    pub namespaces: Vec<String>,
    /// Shards of workflows. Fixed at the store's first start.
    pub history_shards: u32,
    /// Shards of task queues. Fixed at the store's first start.
    pub matching_shards: u32,
    /// History's bounds and defaults.
    pub history: HistorySettings,
    /// Memory and checkpoints of history's shards.
    pub shards: ShardSettings,
    /// Matching's bounds and defaults.
    pub matching: MatchingSettings,
    /// The frontend's bounds and defaults.
    pub frontend: FrontendSettings,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// In memory: nothing survives the process.
    Memory,
    /// In a SQLite file, created with its directory if need be. Every acknowledgement waits for the disk.
    File(PathBuf),
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
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
        }
    }
}
