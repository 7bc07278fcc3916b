//! Settings of membership: how soon it takes a node for dead.

use std::time::Duration;

/// Settings of the voters' Raft group and of every node's membership. All voters of a cluster should have the same.
#[derive(Clone, Debug, PartialEq)]
pub struct MembershipSettings {
    /// How often a Raft leader sends the other voters a heartbeat; also how long one append may take.
    pub raft_heartbeat: Duration,
    /// The shortest election timeout. A dead leader is replaced after the longest plus one between the two.
    pub election_timeout_min: Duration,
    /// The longest election timeout.
    pub election_timeout_max: Duration,
    /// A snapshot of the Raft state is written, and the log before it dropped, after so many entries. Count.
    pub snapshot_every: u64,
    /// How often a node sends the leader a heartbeat.
    pub heartbeat: Duration,
    /// A node that has been silent for this long is taken out of the ring.
    pub lease: Duration,
    /// A node looks for another leader when its own has been silent for this long. Also, a leader that no quorum has
    /// answered for so long lets its nodes go.
    pub leader_silence: Duration,
    /// Ring versions follow each other by at least this, so that changes that come together make one version.
    pub ring_interval: Duration,
    /// A node whose clock differs from the leader's by more does not get in, and is warned about once it is in.
    pub max_clock_difference: Duration,
    /// How long an attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long one question to a voter may take.
    pub call_timeout: Duration,
    /// The pause before a node looks for the leader again.
    pub retry_backoff: Duration,
    /// How long a node tries to join before it ends.
    pub join_timeout: Duration,
    /// How long a call to the leader is repeated while none can be found.
    pub leader_timeout: Duration,
}

impl Default for MembershipSettings {
    fn default() -> Self {
        Self {
            raft_heartbeat: Duration::from_millis(150),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(450),
            snapshot_every: 500,
            heartbeat: Duration::from_millis(300),
            lease: Duration::from_millis(1500),
            leader_silence: Duration::from_millis(1200),
            ring_interval: Duration::from_millis(100),
            max_clock_difference: Duration::from_secs(1),
            connect_timeout: Duration::from_millis(500),
            call_timeout: Duration::from_secs(1),
            retry_backoff: Duration::from_millis(50),
            join_timeout: Duration::from_secs(60),
            leader_timeout: Duration::from_secs(5),
        }
    }
}
