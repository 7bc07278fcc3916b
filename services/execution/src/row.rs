//! A workflow's parts as rows store them, each with a format number.

mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::temporal::api::common::v1::Payload;
use api::temporal::api::enums::v1::WorkflowExecutionStatus;
use api::temporal::api::history::v1::{
    ActivityTaskScheduledEventAttributes, HistoryEvent, RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes, StartChildWorkflowExecutionInitiatedEventAttributes,
    WorkflowExecutionStartedEventAttributes,
};
use api::temporal::api::sdk::v1::UserMetadata;
use prost::Message;

use crate::batches::Batches;
use crate::chain::Chain;
use crate::held::{owned, owned_fields, owned_in_arc};
use crate::indexes::Indexes;
use crate::pending::{Activity, ActivityProgress, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer};
use crate::requests::SeenRequest;
use crate::run::{Run, RunCore};
use crate::updates::{AcceptedUpdate, CompletedUpdate, ReappliedUpdate, Volatile};

use self::task::TaskRow;

/// The formats that this release writes; it reads no others.
const CHAIN_FORMAT: u32 = 2;
const RUN_FORMAT: u32 = 4;

/// The chain's row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChainRow {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    current_run_id: String,
    #[prost(string, tag = "3")]
    first_run_id: String,
    #[prost(enumeration = "WorkflowExecutionStatus", tag = "4")]
    current_status: i32,
    #[prost(string, tag = "5")]
    start_request_id: String,
    #[prost(message, repeated, tag = "6")]
    requests: Vec<SeenRequest>,
    #[prost(string, repeated, tag = "7")]
    live_runs: Vec<String>,
}

/// A run's row. Its history lies beside it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunRow {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    core: Option<RunCore>,
    #[prost(message, optional, tag = "3")]
    start: Option<WorkflowExecutionStartedEventAttributes>,
    #[prost(message, optional, tag = "4")]
    closing: Option<HistoryEvent>,
    #[prost(message, repeated, tag = "5")]
    activities: Vec<ActivityRow>,
    #[prost(message, repeated, tag = "6")]
    timers: Vec<Timer>,
    #[prost(message, repeated, tag = "7")]
    children: Vec<ChildRow>,
    #[prost(message, repeated, tag = "8")]
    signals: Vec<SignalRow>,
    #[prost(message, repeated, tag = "9")]
    cancels: Vec<CancelRow>,
    #[prost(message, repeated, tag = "10")]
    buffered: Vec<HistoryEvent>,
    #[prost(btree_map = "string, message", tag = "11")]
    memo: BTreeMap<String, Payload>,
    #[prost(btree_map = "string, message", tag = "12")]
    search_attributes: BTreeMap<String, Payload>,
    #[prost(message, repeated, tag = "13")]
    attached: Vec<AttachedRequest>,
    #[prost(message, optional, tag = "14")]
    task: Option<TaskRow>,
    #[prost(message, repeated, tag = "15")]
    accepted_updates: Vec<AcceptedUpdate>,
    #[prost(message, repeated, tag = "16")]
    completed_updates: Vec<CompletedUpdate>,
    #[prost(message, repeated, tag = "17")]
    reapplied_updates: Vec<ReappliedUpdate>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ActivityRow {
    #[prost(int64, tag = "1")]
    scheduled_event_id: i64,
    #[prost(int64, tag = "2")]
    first_scheduled_at: i64,
    #[prost(message, optional, tag = "3")]
    schedule: Option<ActivityTaskScheduledEventAttributes>,
    #[prost(message, optional, tag = "4")]
    progress: Option<ActivityProgress>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ChildRow {
    #[prost(int64, tag = "1")]
    initiated_event_id: i64,
    #[prost(message, optional, tag = "2")]
    initiated: Option<StartChildWorkflowExecutionInitiatedEventAttributes>,
    #[prost(string, tag = "3")]
    run_id: String,
    #[prost(int64, tag = "4")]
    started_event_id: i64,
    #[prost(message, optional, tag = "5")]
    user_metadata: Option<UserMetadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SignalRow {
    #[prost(int64, tag = "1")]
    initiated_event_id: i64,
    #[prost(message, optional, tag = "2")]
    initiated: Option<SignalExternalWorkflowExecutionInitiatedEventAttributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CancelRow {
    #[prost(int64, tag = "1")]
    initiated_event_id: i64,
    #[prost(message, optional, tag = "2")]
    initiated: Option<RequestCancelExternalWorkflowExecutionInitiatedEventAttributes>,
}

impl ChainRow {
    /// For the table.
    pub fn of(chain: &Chain) -> Self {
        Self {
            format: CHAIN_FORMAT,
            current_run_id: chain.current_run_id.clone(),
            first_run_id: chain.first_run_id.clone(),
            current_status: chain.current_status,
            start_request_id: chain.start_request_id.clone(),
            requests: chain.requests.iter().cloned().collect(),
            live_runs: chain.live_runs.clone(),
        }
    }

    /// From the table. An error means that the row cannot be used.
    pub fn into_chain(self) -> Result<Chain, String> {
        check_format(self.format, CHAIN_FORMAT)?;
        Ok(Chain {
            current_run_id: self.current_run_id,
            first_run_id: self.first_run_id,
            current_status: self.current_status,
            start_request_id: self.start_request_id,
            requests: self.requests.into_iter().collect(),
            live_runs: self.live_runs,
        })
    }
}

impl RunRow {
    /// For the table.
    pub fn of(run: &Run) -> Self {
        Self {
            format: RUN_FORMAT,
            core: Some(run.core.clone()),
            start: Some((*run.start).clone()),
            closing: run.closing.as_deref().cloned(),
            activities: run.activities.values().map(|activity| activity_row(activity)).collect(),
            timers: run.timers.values().map(|timer| (**timer).clone()).collect(),
            children: run.children.values().map(|child| child_row(child)).collect(),
            signals: run
                .signals
                .values()
                .map(|signal| SignalRow {
                    initiated_event_id: signal.initiated_event_id,
                    initiated: Some((*signal.initiated).clone()),
                })
                .collect(),
            cancels: run
                .cancels
                .values()
                .map(|cancel| CancelRow {
                    initiated_event_id: cancel.initiated_event_id,
                    initiated: Some((*cancel.initiated).clone()),
                })
                .collect(),
            buffered: run.buffered.iter().map(|event| (**event).clone()).collect(),
            memo: (*run.memo).clone(),
            search_attributes: (*run.search_attributes).clone(),
            attached: run.attached.values().map(|attached| (**attached).clone()).collect(),
            task: run.task.as_ref().and_then(TaskRow::of),
            accepted_updates: run.accepted_updates.values().map(|update| (**update).clone()).collect(),
            completed_updates: run.completed_updates.values().map(|update| (**update).clone()).collect(),
            reapplied_updates: run.reapplied_updates.values().map(|update| (**update).clone()).collect(),
        }
    }

    /// Bytes of what the row has beside what [`Run::state_bytes`] counts: the core, and the workflow task.
    pub fn core_bytes(&self) -> usize {
        self.core.as_ref().map_or(0, Message::encoded_len) + self.task.as_ref().map_or(0, Message::encoded_len)
    }

    /// From the table, without history in memory. Nothing of it is a slice of the row, which would stay with its last part. An error means that the row cannot be used.
    pub fn into_run(self) -> Result<Run, String> {
        check_format(self.format, RUN_FORMAT)?;
        let core = self.core.ok_or("a run row has no core")?;
        let start = owned(self.start.ok_or("a run row has no start")?);
        let memo = owned_fields(self.memo, start.memo.as_ref().map(|memo| &memo.fields));
        let attributes = start.search_attributes.as_ref().map(|attributes| &attributes.indexed_fields);
        let search_attributes = owned_fields(self.search_attributes, attributes);
        let mut run = Run {
            core,
            task: self.task.map(TaskRow::into_task).transpose()?,
            start: Arc::new(start),
            closing: self.closing.map(owned).map(Arc::new),
            activities: self.activities.into_iter().map(|row| Arc::new(activity_of(row))).collect(),
            timers: self.timers.into_iter().map(Arc::new).collect(),
            children: self.children.into_iter().map(|row| Arc::new(child_of(row))).collect(),
            signals: self
                .signals
                .into_iter()
                .map(|row| {
                    let initiated = owned_in_arc(row.initiated);
                    let initiated_event_id = row.initiated_event_id;
                    Arc::new(ExternalSignal { initiated_event_id, initiated })
                })
                .collect(),
            cancels: self
                .cancels
                .into_iter()
                .map(|row| {
                    let initiated = owned_in_arc(row.initiated);
                    let initiated_event_id = row.initiated_event_id;
                    Arc::new(ExternalCancel { initiated_event_id, initiated })
                })
                .collect(),
            attached: self.attached.into_iter().map(Arc::new).collect(),
            accepted_updates: self.accepted_updates.into_iter().map(Arc::new).collect(),
            completed_updates: self.completed_updates.into_iter().map(Arc::new).collect(),
            reapplied_updates: self.reapplied_updates.into_iter().map(Arc::new).collect(),
            volatile: Volatile::default(),
            buffered: self.buffered.into_iter().map(owned).map(Arc::new).collect(),
            memo,
            search_attributes,
            batches: Batches::default(),
            indexes: Indexes::default(),
            settings_bytes: 0,
            buffered_bytes: 0,
            settings_held_bytes: 0,
            buffered_held_bytes: 0,
        };
        run.count_settings();
        run.count_buffered();
        run.indexes = run.index();
        Ok(run)
    }
}

fn check_format(format: u32, known: u32) -> Result<(), String> {
    if format == known { Ok(()) } else { Err(format!("row format {format} is unknown; this release reads {known}")) }
}

fn activity_row(activity: &Activity) -> ActivityRow {
    ActivityRow {
        scheduled_event_id: activity.scheduled_event_id,
        first_scheduled_at: activity.first_scheduled_at,
        schedule: Some((*activity.schedule).clone()),
        progress: Some(activity.progress.clone()),
    }
}

fn activity_of(row: ActivityRow) -> Activity {
    Activity {
        scheduled_event_id: row.scheduled_event_id,
        first_scheduled_at: row.first_scheduled_at,
        schedule: owned_in_arc(row.schedule),
        progress: owned(row.progress.unwrap_or_default()),
    }
}

fn child_row(child: &Child) -> ChildRow {
    ChildRow {
        initiated_event_id: child.initiated_event_id,
        initiated: Some((*child.initiated).clone()),
        run_id: child.run_id.clone(),
        started_event_id: child.started_event_id,
        user_metadata: child.user_metadata.clone(),
    }
}

fn child_of(row: ChildRow) -> Child {
    Child {
        initiated_event_id: row.initiated_event_id,
        initiated: owned_in_arc(row.initiated),
        user_metadata: owned(row.user_metadata),
        run_id: row.run_id,
        started_event_id: row.started_event_id,
    }
}
