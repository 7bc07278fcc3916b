//! `membership`: how processes find each other.

use std::path::PathBuf;

use ::settings::MembershipSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HostPort, Span};

/// How this process finds the others, and, in processes of the role `membership`, how it votes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Membership {
    /// Internal addresses of some voters. A name that resolves to many addresses counts as all of them. Needed unless the
    /// process is one of `initial_voters`.
    pub seeds: Vec<HostPort>,
    /// Where a voter keeps its log and its snapshots. Needed in processes of the role `membership`; kept for as long as
    /// the node's id is.
    #[schemars(extend("minLength" = 1))]
    pub data_dir: Option<PathBuf>,
    /// The voters that form the cluster: 1, 3 or 5, the same list for each of them. Ignored once the cluster
    /// exists; `outlast admin voters` changes the voters.
    pub initial_voters: Vec<InitialVoter>,
    /// How often a process sends the leader a heartbeat. At most half of `lease`.
    #[schemars(extend("x-least" = "10ms", "x-most" = "10s"))]
    pub heartbeat: Span,
    /// A process that has been silent for this long loses its shards. The same in all voters.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub lease: Span,
    /// A process looks for another leader when its own has been silent for this long, and a leader that no quorum has
    /// answered for so long lets its processes go. At least twice `heartbeat` and three times `raft_heartbeat`, and at
    /// most `lease`.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub leader_silence: Span,
    /// Changes of the ring follow each other by at least this, so that processes that come together make one change.
    /// At most `call_timeout`.
    #[schemars(extend("x-least" = "1ms", "x-most" = "1m"))]
    pub ring_interval: Span,
    /// A process whose clock differs from the leader's by more is rejected.
    #[schemars(extend("x-least" = "50ms", "x-most" = "10m"))]
    pub max_clock_difference: Span,
    /// How long a process tries to join before it ends.
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub join_timeout: Span,
    /// How long an attempt to connect to a voter may take.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1m"))]
    pub connect_timeout: Span,
    /// How long one question to a voter may take.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1m"))]
    pub call_timeout: Span,
    /// How often the leader of the voters sends the others a heartbeat. At most half of `election_timeout_min` and a
    /// third of `leader_silence`. The same in all voters, as are the next three.
    #[schemars(extend("x-least" = "10ms", "x-most" = "10s"))]
    pub raft_heartbeat: Span,
    /// A leader that is silent for this long is replaced at the earliest. At least twice `raft_heartbeat`, and more than the
    /// slowest write to the disk of `data_dir`.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1m"))]
    pub election_timeout_min: Span,
    /// A leader that is silent for this long is replaced. More than `election_timeout_min`.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1m"))]
    pub election_timeout_max: Span,
    /// Changes after which a voter writes a snapshot and drops the log before it.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub snapshot_every: u64,
}

impl Default for Membership {
    fn default() -> Self {
        let settings = MembershipSettings::default();
        Self {
            seeds: Vec::new(),
            data_dir: None,
            initial_voters: Vec::new(),
            heartbeat: settings.heartbeat.into(),
            lease: settings.lease.into(),
            leader_silence: settings.leader_silence.into(),
            ring_interval: settings.ring_interval.into(),
            max_clock_difference: settings.max_clock_difference.into(),
            join_timeout: settings.join_timeout.into(),
            connect_timeout: settings.connect_timeout.into(),
            call_timeout: settings.call_timeout.into(),
            raft_heartbeat: settings.raft_heartbeat.into(),
            election_timeout_min: settings.election_timeout_min.into(),
            election_timeout_max: settings.election_timeout_max.into(),
            snapshot_every: settings.snapshot_every,
        }
    }
}

impl Membership {
    /// The times and counts, as membership takes them.
    #[must_use]
    pub fn settings(&self) -> MembershipSettings {
        MembershipSettings {
            heartbeat: self.heartbeat.into(),
            lease: self.lease.into(),
            leader_silence: self.leader_silence.into(),
            ring_interval: self.ring_interval.into(),
            max_clock_difference: self.max_clock_difference.into(),
            join_timeout: self.join_timeout.into(),
            connect_timeout: self.connect_timeout.into(),
            call_timeout: self.call_timeout.into(),
            raft_heartbeat: self.raft_heartbeat.into(),
            election_timeout_min: self.election_timeout_min.into(),
            election_timeout_max: self.election_timeout_max.into(),
            snapshot_every: self.snapshot_every,
            ..MembershipSettings::default()
        }
    }
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
