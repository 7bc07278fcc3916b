//! The Raft library, with our types filled in. No other file in this crate names its generics.

use std::io::Cursor;

use serde::{Deserialize, Serialize};
use settings::MembershipSettings;

use crate::command::{Batch, Replies};

/// A voter or learner, as Raft's own configuration of the group carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Its node's name.
    pub(crate) id: String,
    /// Where it is reached.
    pub(crate) address: String,
}

openraft::declare_raft_types!(
    /// Our types.
    pub(crate) Group:
        D = Batch,
        R = Replies,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<Self>,
        SnapshotData = Cursor<Vec<u8>>,
);

pub(crate) type Raft = openraft::Raft<Group>;
pub(crate) type Entry = openraft::Entry<Group>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type Snapshot = openraft::Snapshot<Group>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Metrics = openraft::RaftMetrics<u64, Peer>;

/// The number that Raft knows a voter by.
pub(crate) fn raft_id(node: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(node.as_bytes())
}

/// The settings of the library.
///
/// # Errors
/// When the settings contradict each other.
pub(crate) fn config(cluster_name: &str, settings: &MembershipSettings) -> Result<openraft::Config, String> {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: cluster_name.to_owned(),
        heartbeat_interval: millis(settings.raft_heartbeat),
        election_timeout_min: millis(settings.election_timeout_min),
        election_timeout_max: millis(settings.election_timeout_max),
        install_snapshot_timeout: millis(settings.call_timeout),
        snapshot_max_chunk_size: 256 * 1024,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(settings.snapshot_every),
        replication_lag_threshold: settings.snapshot_every * 2,
        max_in_snapshot_log_to_keep: settings.snapshot_every / 2,
        max_payload_entries: 64,
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| error.to_string())
}
