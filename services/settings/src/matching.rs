//! Settings of matching.

use std::time::Duration;

/// Settings of matching.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchingSettings {
    /// Partitions of a task queue. Count. The public server has four; one machine needs one.
    pub partitions: u32,
    /// How long an offer waits in memory for a poller before it is persisted.
    pub sync_match_timeout: Duration,
    /// A sticky queue without a poll for this long refuses offers.
    pub sticky_worker_timeout: Duration,
    /// A partition with neither tasks nor polls is unloaded after this.
    pub idle_unload: Duration,
    /// Children of a node in the tree of partitions. Count.
    pub fan_out: u32,
    /// How long a poller is shown after its last poll.
    pub poller_history: Duration,
}

impl Default for MatchingSettings {
    fn default() -> Self {
        Self {
            partitions: 1,
            sync_match_timeout: Duration::from_millis(200),
            sticky_worker_timeout: Duration::from_secs(10),
            idle_unload: Duration::from_secs(300),
            fan_out: 20,
            poller_history: Duration::from_secs(300),
        }
    }
}
