//! The bounds of a run. Defaults are those that clients of the API have come to rely on.

use std::time::Duration;

/// Bounds and defaults. Sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// A payload (input, result, details).
    pub blob_bytes: usize,
    /// Entries of all lists and maps of a command: payloads with their metadata, headers, a memo, a failure.
    pub elements_max: usize,
    /// A memo.
    pub memo_bytes: usize,
    /// Length of an id or name.
    pub id_bytes: usize,
    /// Suggest continue-as-new from this history size.
    pub history_hint_bytes: i64,
    /// Suggest continue-as-new from this many events.
    pub history_hint_events: i64,
    /// Terminate beyond this history size.
    pub history_max_bytes: i64,
    /// Terminate beyond this many events.
    pub history_max_events: i64,
    /// Terminate rather than let what a run is and waits for take more than this: its row must fit into one write.
    pub state_max_bytes: usize,
    /// How far beyond that the row of a closed run may go, for its last event.
    pub closing_max_bytes: usize,
    /// Activities, children, external signals, external cancels: each.
    pub pending_max: usize,
    /// Signals received by a run.
    pub signals_max: i64,
    /// Updates that are admitted or accepted and not answered.
    pub updates_in_flight_max: usize,
    /// Updates that a run takes in all.
    pub updates_max: usize,
    /// Bytes of updates that are admitted and not accepted.
    pub updates_admitted_max_bytes: usize,
    /// Events that may wait for a workflow task to end.
    pub buffered_max: usize,
    /// Bytes of such events.
    pub buffered_max_bytes: usize,
    /// An activity's last failure as it is kept.
    pub kept_failure_bytes: usize,
    /// The workflow task timeout of a request that names none.
    pub workflow_task_timeout: Duration,
    /// The longest workflow task timeout; longer ones are cut.
    pub workflow_task_timeout_max: Duration,
    /// How long local activities may stretch a workflow task by heartbeats.
    pub workflow_task_heartbeat_max: Duration,
    /// The longest backoff of a workflow task's retry.
    pub workflow_task_backoff_max: Duration,
    /// Signal, start and cancel request ids kept per workflow ID.
    pub request_ids_max: usize,
    /// A key of [`api::temporal::api::common::v1::Priority`] that tasks carry along.
    pub fairness_key_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        Self {
            blob_bytes: 2 * MIB,
            elements_max: 10_000,
            memo_bytes: 2 * MIB,
            id_bytes: 1000,
            history_hint_bytes: 4 * MIB as i64,
            history_hint_events: 4096,
            history_max_bytes: 50 * MIB as i64,
            history_max_events: 51_200,
            state_max_bytes: 10 * MIB,
            closing_max_bytes: 4 * MIB,
            pending_max: 2000,
            signals_max: 10_000,
            updates_in_flight_max: 10,
            updates_max: 2000,
            updates_admitted_max_bytes: 20 * MIB,
            buffered_max: 100,
            buffered_max_bytes: 2 * MIB,
            kept_failure_bytes: 4 * KIB,
            workflow_task_timeout: Duration::from_secs(10),
            workflow_task_timeout_max: Duration::from_secs(120),
            workflow_task_heartbeat_max: Duration::from_secs(30 * 60),
            workflow_task_backoff_max: Duration::from_secs(10 * 60),
            request_ids_max: 10_000,
            fairness_key_bytes: 64,
        }
    }
}
