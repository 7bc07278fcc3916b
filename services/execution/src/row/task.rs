//! The workflow task as a run's row stores it.

use crate::change::Empty;
use crate::workflow_task::{TaskKind, TaskStart, TransientStage, WorkflowTask, WrittenStage};

/// A workflow task. Times in nanoseconds since the epoch.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TaskRow {
    #[prost(int64, tag = "1")]
    scheduled_event_id: i64,
    #[prost(int32, tag = "2")]
    attempt: i32,
    #[prost(int64, tag = "3")]
    stamp: i64,
    #[prost(int64, tag = "4")]
    scheduled_at: i64,
    #[prost(int64, tag = "5")]
    first_scheduled_at: i64,
    #[prost(int64, tag = "6")]
    timeout_nanos: i64,
    #[prost(bool, tag = "7")]
    keeps_signals_out: bool,
    #[prost(oneof = "StageRow", tags = "10, 11, 12, 13, 14, 15, 16, 17")]
    stage: Option<StageRow>,
}

/// What kind of task it is, and where it stands.
#[derive(Clone, PartialEq, prost::Oneof)]
enum StageRow {
    /// Until when.
    #[prost(int64, tag = "10")]
    Sticky(i64),
    #[prost(message, tag = "11")]
    Offerable(Empty),
    #[prost(message, tag = "12")]
    Backlogged(Empty),
    #[prost(message, tag = "13")]
    Started(StartRow),
    /// Until when.
    #[prost(int64, tag = "14")]
    TransientBackoff(i64),
    #[prost(message, tag = "15")]
    TransientOfferable(Empty),
    #[prost(message, tag = "16")]
    TransientBacklogged(Empty),
    #[prost(message, tag = "17")]
    TransientStarted(TaskStart),
}

#[derive(Clone, PartialEq, prost::Message)]
struct StartRow {
    #[prost(int64, tag = "1")]
    started_event_id: i64,
    #[prost(message, required, tag = "2")]
    start: TaskStart,
}

impl TaskRow {
    /// For the table; `None` for a task that only memory has.
    pub(super) fn of(task: &WorkflowTask) -> Option<Self> {
        let stage = match task.kind.clone() {
            TaskKind::Written(WrittenStage::Sticky { until }) => StageRow::Sticky(until),
            TaskKind::Written(WrittenStage::Offerable) => StageRow::Offerable(Empty {}),
            TaskKind::Written(WrittenStage::Backlogged) => StageRow::Backlogged(Empty {}),
            TaskKind::Written(WrittenStage::Started { started_event_id, start }) => {
                StageRow::Started(StartRow { started_event_id, start })
            }
            TaskKind::Transient(TransientStage::Backoff { until }) => StageRow::TransientBackoff(until),
            TaskKind::Transient(TransientStage::Offerable) => StageRow::TransientOfferable(Empty {}),
            TaskKind::Transient(TransientStage::Backlogged) => StageRow::TransientBacklogged(Empty {}),
            TaskKind::Transient(TransientStage::Started(start)) => StageRow::TransientStarted(start),
            TaskKind::Speculative(_) => return None,
        };
        Some(Self {
            scheduled_event_id: task.scheduled_event_id,
            attempt: task.attempt,
            stamp: task.stamp,
            scheduled_at: task.scheduled_at,
            first_scheduled_at: task.first_scheduled_at,
            timeout_nanos: task.timeout_nanos,
            keeps_signals_out: task.keeps_signals_out,
            stage: Some(stage),
        })
    }

    /// From the table.
    pub(super) fn into_task(self) -> Result<WorkflowTask, String> {
        let kind = match self.stage.ok_or("a workflow task in a run row stands nowhere")? {
            StageRow::Sticky(until) => TaskKind::Written(WrittenStage::Sticky { until }),
            StageRow::Offerable(_) => TaskKind::Written(WrittenStage::Offerable),
            StageRow::Backlogged(_) => TaskKind::Written(WrittenStage::Backlogged),
            StageRow::Started(StartRow { started_event_id, start }) => {
                TaskKind::Written(WrittenStage::Started { started_event_id, start })
            }
            StageRow::TransientBackoff(until) => TaskKind::Transient(TransientStage::Backoff { until }),
            StageRow::TransientOfferable(_) => TaskKind::Transient(TransientStage::Offerable),
            StageRow::TransientBacklogged(_) => TaskKind::Transient(TransientStage::Backlogged),
            StageRow::TransientStarted(start) => TaskKind::Transient(TransientStage::Started(start)),
        };
        Ok(WorkflowTask {
            scheduled_event_id: self.scheduled_event_id,
            attempt: self.attempt,
            stamp: self.stamp,
            scheduled_at: self.scheduled_at,
            first_scheduled_at: self.first_scheduled_at,
            timeout_nanos: self.timeout_nanos,
            keeps_signals_out: self.keeps_signals_out,
            kind,
        })
    }
}
