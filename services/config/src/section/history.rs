//! `history`: bounds of one workflow run.

use ::settings::HistorySettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frontend::count;
use crate::{ByteSize, Span};

/// Bounds and defaults of workflow runs, in processes of the role `history`. They should be the same in all of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// How long a worker may take for a workflow task when the workflow names no timeout.
    #[schemars(extend("x-least" = "1s", "x-most" = "2m"))]
    pub workflow_task_timeout: Span,
    /// The longest pause between attempts of a workflow task.
    #[schemars(extend("x-least" = "1s", "x-most" = "1d"))]
    pub workflow_task_retry_ceiling: Span,
    /// How long local activities may keep one workflow task alive.
    #[schemars(extend("x-least" = "1m", "x-most" = "1d"))]
    pub workflow_task_heartbeat: Span,
    /// A history above this suggests continue-as-new.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "1GiB"))]
    pub suggest_continue_bytes: ByteSize,
    /// A history with more events suggests continue-as-new.
    #[schemars(range(min = 10, max = 10_000_000))]
    pub suggest_continue_events: i64,
    /// A run whose history is above this is terminated.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "4GiB"))]
    pub history_bytes: ByteSize,
    /// A run with more events is terminated.
    #[schemars(range(min = 50, max = 10_000_000))]
    pub history_events: i64,
    /// A run whose state (what it began with, memo, search attributes, and all that is pending with its inputs) would go
    /// above this is terminated.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "10MiB"))]
    pub state_bytes: ByteSize,
    /// Pending activities, children, external signals and external cancels of a run: each.
    #[schemars(range(min = 1, max = 100_000))]
    pub pending: u32,
    /// Signals that a run takes.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub signals: u32,
    /// Updates of a run that are waiting for it or for its answer.
    #[schemars(range(min = 1, max = 10_000))]
    pub updates_in_flight: u32,
    /// Updates that a run takes in all. Near it, continue-as-new is suggested.
    #[schemars(range(min = 1, max = 100_000))]
    pub updates: u32,
    /// Events held back while a workflow task runs.
    #[schemars(range(min = 1, max = 100_000))]
    pub buffered_events: u32,
    /// Events held back while a workflow task runs.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "256MiB"))]
    pub buffered_bytes: ByteSize,
    /// Queries of one run that wait for a workflow task.
    #[schemars(range(min = 1, max = 10_000))]
    pub buffered_queries: u32,
}

impl Default for History {
    fn default() -> Self {
        let settings = HistorySettings::default();
        Self {
            workflow_task_timeout: settings.workflow_task_timeout.into(),
            workflow_task_retry_ceiling: settings.workflow_task_retry_ceiling.into(),
            workflow_task_heartbeat: settings.workflow_task_heartbeat.into(),
            suggest_continue_bytes: settings.suggest_continue_bytes.into(),
            suggest_continue_events: settings.suggest_continue_events,
            history_bytes: settings.history_bytes.into(),
            history_events: settings.history_events,
            state_bytes: settings.state_bytes.into(),
            pending: count(settings.pending),
            signals: count(settings.signals),
            updates_in_flight: count(settings.updates_in_flight),
            updates: count(settings.updates),
            buffered_events: count(settings.buffered_events),
            buffered_bytes: settings.buffered_bytes.into(),
            buffered_queries: count(settings.buffered_queries),
        }
    }
}

impl History {
    /// As history takes it.
    #[must_use]
    pub fn settings(&self) -> HistorySettings {
        HistorySettings {
            workflow_task_timeout: self.workflow_task_timeout.into(),
            workflow_task_retry_ceiling: self.workflow_task_retry_ceiling.into(),
            workflow_task_heartbeat: self.workflow_task_heartbeat.into(),
            suggest_continue_bytes: self.suggest_continue_bytes.in_memory(),
            suggest_continue_events: self.suggest_continue_events,
            history_bytes: self.history_bytes.in_memory(),
            history_events: self.history_events,
            state_bytes: self.state_bytes.in_memory(),
            pending: self.pending as usize,
            signals: self.signals as usize,
            updates_in_flight: self.updates_in_flight as usize,
            updates: self.updates as usize,
            buffered_events: self.buffered_events as usize,
            buffered_bytes: self.buffered_bytes.in_memory(),
            buffered_queries: self.buffered_queries as usize,
            ..HistorySettings::default()
        }
    }
}
