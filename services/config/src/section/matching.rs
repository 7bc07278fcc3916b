//! `matching`: task queues.

use ::settings::MatchingSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// Task queues, in processes of the role `matching`. They should be the same in all of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Matching {
    /// Partitions of each task queue. All of a queue's lie on one process. More than are in use cost latency.
    #[schemars(range(min = 1, max = 64))]
    pub partitions: u32,
    /// How long a task waits in memory for a poller before it is stored.
    #[schemars(extend("x-least" = "0s", "x-most" = "10s"))]
    pub sync_match_timeout: Span,
    /// A sticky queue without a poll for this long takes no tasks; they go to the normal queue.
    #[schemars(extend("x-least" = "1s", "x-most" = "10m"))]
    pub sticky_worker_timeout: Span,
    /// A partition with neither tasks nor polls leaves memory after this.
    #[schemars(extend("x-least" = "10s", "x-most" = "1d"))]
    pub idle_unload: Span,
    /// How long DescribeTaskQueue shows a poller after its last poll.
    #[schemars(extend("x-least" = "10s", "x-most" = "1d"))]
    pub poller_history: Span,
}

impl Default for Matching {
    fn default() -> Self {
        let settings = MatchingSettings::default();
        Self {
            partitions: settings.partitions,
            sync_match_timeout: settings.sync_match_timeout.into(),
            sticky_worker_timeout: settings.sticky_worker_timeout.into(),
            idle_unload: settings.idle_unload.into(),
            poller_history: settings.poller_history.into(),
        }
    }
}

impl Matching {
    /// As matching takes it.
    #[must_use]
    pub fn settings(&self) -> MatchingSettings {
        MatchingSettings {
            partitions: self.partitions,
            sync_match_timeout: self.sync_match_timeout.into(),
            sticky_worker_timeout: self.sticky_worker_timeout.into(),
            idle_unload: self.idle_unload.into(),
            poller_history: self.poller_history.into(),
            ..MatchingSettings::default()
        }
    }
}
