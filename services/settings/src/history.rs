//! Settings of history: bounds of one workflow run, and its defaults.

use std::time::Duration;

use crate::{KIB, MIB};

/// Settings of history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistorySettings {
    /// A workflow task's start-to-close timeout when the caller names none.
    pub workflow_task_timeout: Duration,
    /// The longest pause between attempts of a workflow task.
    pub workflow_task_retry_ceiling: Duration,
    /// How long a run of local activities may keep one workflow task alive by forcing new ones.
    pub workflow_task_heartbeat: Duration,
    /// A history above this suggests continue-as-new. Bytes.
    pub suggest_continue_bytes: usize,
    /// A history above this suggests continue-as-new. Events.
    pub suggest_continue_events: i64,
    /// A history above this is terminated. Bytes.
    pub history_bytes: usize,
    /// A history above this is terminated. Events.
    pub history_events: i64,
    /// A run whose state, what it began with and what it waits for, would go above this is terminated. Bytes. The public
    /// server's limit is 8 MiB, without the inputs of pending activities, which it keeps in the history only: so here it is
    /// as much as a row can be.
    pub state_bytes: usize,
    /// Pending activities, children, external signals, external cancels: each. Count.
    pub pending: usize,
    /// Signals per run. Count.
    pub signals: usize,
    /// Updates of a run that are admitted or accepted and not answered. Count.
    pub updates_in_flight: usize,
    /// Updates that a run takes in all. Count.
    pub updates: usize,
    /// Events held back while a workflow task runs. Count.
    pub buffered_events: usize,
    /// Events held back while a workflow task runs. Bytes.
    pub buffered_bytes: usize,
    /// Queries that wait for a workflow task. Count.
    pub buffered_queries: usize,
    /// An activity's failure, as kept for the next attempt. Bytes.
    pub activity_failure_bytes: usize,
    /// A page of history. Events.
    pub page_events: i32,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            workflow_task_timeout: Duration::from_secs(10),
            workflow_task_retry_ceiling: Duration::from_secs(600),
            workflow_task_heartbeat: Duration::from_secs(30 * 60),
            suggest_continue_bytes: 4 * MIB,
            suggest_continue_events: 4096,
            history_bytes: 50 * MIB,
            history_events: 51_200,
            state_bytes: 10 * MIB,
            pending: 2000,
            signals: 10_000,
            updates_in_flight: 10,
            updates: 2000,
            buffered_events: 100,
            buffered_bytes: 2 * MIB,
            buffered_queries: 1,
            activity_failure_bytes: 4 * KIB,
            page_events: 256,
        }
    }
}
