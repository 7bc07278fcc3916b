//! One run of a workflow ID, as a value that is cheap to copy: what is large or never changes is shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::{Payload, WorkerVersionStamp, WorkflowExecution};
use api::temporal::api::enums::v1::{TaskQueueKind, WorkflowExecutionStatus};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{HistoryEvent, WorkflowExecutionStartedEventAttributes};
use api::temporal::api::taskqueue::v1::TaskQueue;
use ids::Timestamp;

use crate::batches::Batches;
use crate::duration::from_wire;
use crate::indexes::Indexes;
use crate::pending::{Activity, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer};
use crate::shared_map::{Entry, SharedMap};
use crate::updates::{AcceptedUpdate, CompletedUpdate, ReappliedUpdate, Volatile};
use crate::workflow_task::WorkflowTask;

/// A run. Everything but `batches`, `volatile` and a speculative task is what its row stores, and the counts of bytes follow
/// from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Numbers and flags.
    pub core: RunCore,
    /// The workflow task, if one is scheduled or started.
    pub task: Option<WorkflowTask>,
    /// What the first event says; of a run that a reset has made, with times as they count from the reset.
    pub start: Arc<WorkflowExecutionStartedEventAttributes>,
    /// The closing event, once closed.
    pub closing: Option<Arc<HistoryEvent>>,
    /// By scheduled event id.
    pub activities: SharedMap<Arc<Activity>>,
    /// By timer id.
    pub timers: SharedMap<Arc<Timer>>,
    /// By initiated event id.
    pub children: SharedMap<Arc<Child>>,
    /// By initiated event id.
    pub signals: SharedMap<Arc<ExternalSignal>>,
    /// By initiated event id.
    pub cancels: SharedMap<Arc<ExternalCancel>>,
    /// Requests to start the workflow that have been attached to this run, by their id.
    pub attached: SharedMap<Arc<AttachedRequest>>,
    /// Updates that wait for the workflow and are in the history, by their id.
    pub reapplied_updates: SharedMap<Arc<ReappliedUpdate>>,
    /// Updates that the workflow has accepted and not answered, by their id.
    pub accepted_updates: SharedMap<Arc<AcceptedUpdate>>,
    /// Updates that it has answered, by their id.
    pub completed_updates: SharedMap<Arc<CompletedUpdate>>,
    /// What only memory has.
    pub volatile: Volatile,
    /// Events that wait for the started workflow task to end, in the order in which they came; ids are not yet set.
    pub buffered: Vec<Arc<HistoryEvent>>,
    /// The memo as it stands.
    pub memo: Arc<BTreeMap<String, Payload>>,
    /// The search attributes as they stand.
    pub search_attributes: Arc<BTreeMap<String, Payload>>,
    /// The newest history, contiguous up to the last event: all that is not yet in the table, and some that is.
    pub batches: Batches,
    /// What is pending, found otherwise.
    pub(crate) indexes: Indexes,
    /// Bytes of start, closing event, memo and search attributes in the row.
    pub(crate) settings_bytes: usize,
    /// Bytes of the buffered events in the row.
    pub(crate) buffered_bytes: usize,
    /// Bytes of start, closing event, memo and search attributes on the heap.
    pub(crate) settings_held_bytes: usize,
    /// Bytes of the buffered events on the heap.
    pub(crate) buffered_held_bytes: usize,
}

impl Entry for Arc<Run> {
    type Key = str;
    type Sum = ();

    fn key(&self) -> &str {
        &self.core.run_id
    }

    fn sum(&self) {}

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

/// The small and changing part of a run. Times in nanoseconds since the epoch, 0 for none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunCore {
    /// The run.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// Its status.
    #[prost(enumeration = "WorkflowExecutionStatus", tag = "2")]
    pub status: i32,
    /// When its first event was.
    #[prost(int64, tag = "3")]
    pub started_at: i64,
    /// The id that the next event gets; 1 before the first.
    #[prost(int64, tag = "4")]
    pub next_event_id: i64,
    /// The time of the last event: times never go back.
    #[prost(int64, tag = "5")]
    pub last_event_at: i64,
    /// Bytes of history, as encoded.
    #[prost(int64, tag = "6")]
    pub history_bytes: i64,
    /// The started event of the last workflow task that completed; 0 before.
    #[prost(int64, tag = "7")]
    pub previous_started_event_id: i64,
    /// The queue of the worker that has the run cached; empty for none.
    #[prost(string, tag = "8")]
    pub sticky_queue: String,
    /// How long a task may wait on that queue.
    #[prost(int64, tag = "9")]
    pub sticky_timeout_nanos: i64,
    /// Until when the first workflow task is delayed (start delay, cron, retry).
    #[prost(int64, tag = "10")]
    pub first_task_at: i64,
    /// Whether cancellation was requested.
    #[prost(bool, tag = "11")]
    pub cancel_requested: bool,
    /// The request that did so.
    #[prost(string, tag = "12")]
    pub cancel_request_id: String,
    /// Signals received.
    #[prost(int64, tag = "13")]
    pub signal_count: i64,
    /// The stamp of the last dispatch.
    #[prost(int64, tag = "14")]
    pub last_stamp: i64,
    /// Whether the parent is yet to be notified that the chain has closed.
    #[prost(bool, tag = "15")]
    pub owes_parent: bool,
    /// The run that follows this one in the chain; empty for none.
    #[prost(string, tag = "16")]
    pub next_run_id: String,
    /// Transitions so far.
    #[prost(int64, tag = "17")]
    pub transitions: i64,
    /// The request that started it.
    #[prost(string, tag = "18")]
    pub start_request_id: String,
    /// Consecutive failed or timed out workflow tasks.
    #[prost(int32, tag = "19")]
    pub task_failures: i32,
    /// The build of the worker that completed the last workflow task, as it said.
    #[prost(message, optional, tag = "20")]
    pub worker_version: Option<WorkerVersionStamp>,
    /// The deployment of that worker, as it said; empty for none.
    #[prost(string, tag = "21")]
    pub worker_deployment_name: String,
    /// The newest run that a reset of this one has made; empty for none.
    #[prost(string, tag = "22")]
    pub reset_run_id: String,
    /// When the reset was that made this run; 0 if none did.
    #[prost(int64, tag = "23")]
    pub reset_at: i64,
    /// Runs that have the beginning of this one's history, in order; see [`Run::own_history_from`].
    #[prost(message, repeated, tag = "24")]
    pub ancestors: Vec<Ancestor>,
}

/// A run whose history another one goes on from, up to a point.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ancestor {
    /// The run.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// The first event that is not shared: the first one of a stored batch.
    #[prost(int64, tag = "2")]
    pub end_event_id: i64,
}

/// The timeouts of a run, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutsOf {
    /// When this run must have closed.
    pub run_deadline: Option<Timestamp>,
    /// When the whole chain must have closed.
    pub execution_deadline: Option<Timestamp>,
    /// A workflow task's start to close.
    pub task: Duration,
}

impl Run {
    /// A run before its first event.
    pub fn empty(run_id: String) -> Self {
        Self {
            core: RunCore {
                run_id,
                status: WorkflowExecutionStatus::Running as i32,
                next_event_id: 1,
                ..RunCore::default()
            },
            task: None,
            start: Arc::default(),
            closing: None,
            activities: SharedMap::default(),
            timers: SharedMap::default(),
            children: SharedMap::default(),
            signals: SharedMap::default(),
            cancels: SharedMap::default(),
            attached: SharedMap::default(),
            reapplied_updates: SharedMap::default(),
            accepted_updates: SharedMap::default(),
            completed_updates: SharedMap::default(),
            volatile: Volatile::default(),
            buffered: Vec::new(),
            memo: Arc::default(),
            search_attributes: Arc::default(),
            batches: Batches::default(),
            indexes: Indexes::default(),
            settings_bytes: 0,
            buffered_bytes: 0,
            settings_held_bytes: 0,
            buffered_held_bytes: 0,
        }
    }

    /// Its status.
    pub fn status(&self) -> WorkflowExecutionStatus {
        WorkflowExecutionStatus::try_from(self.core.status).unwrap_or(WorkflowExecutionStatus::Unspecified)
    }

    /// When its first event was.
    pub(crate) fn started_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.core.started_at)
    }

    /// Whether it has begun and not closed.
    pub fn is_open(&self) -> bool {
        self.status() == WorkflowExecutionStatus::Running
    }

    /// Consecutive failures once the task fails that a worker has now. The one of a worker that has the run cached does not
    /// count, as in the public server: its cache may be what is wrong, and the next worker begins anew.
    pub(crate) fn failures_with_this_task(&self) -> i32 {
        self.core.task_failures + i32::from(self.core.sticky_queue.is_empty())
    }

    /// The workflow's type.
    pub fn type_name(&self) -> &str {
        self.start.workflow_type.as_ref().map_or("", |kind| &kind.name)
    }

    /// The normal task queue.
    pub fn task_queue_name(&self) -> &str {
        self.start.task_queue.as_ref().map_or("", |queue| &queue.name)
    }

    /// The same, as the API names it.
    pub fn normal_task_queue(&self) -> TaskQueue {
        TaskQueue {
            name: self.task_queue_name().to_owned(),
            kind: TaskQueueKind::Normal as i32,
            normal_name: String::new(),
        }
    }

    /// The queue that the next first attempt of the workflow task is offered on: the sticky one where there is one.
    pub(crate) fn next_task_queue(&self) -> TaskQueue {
        let name = &self.core.sticky_queue;
        if name.is_empty() {
            return self.normal_task_queue();
        }
        let normal_name = self.task_queue_name().to_owned();
        TaskQueue { name: name.clone(), kind: TaskQueueKind::Sticky as i32, normal_name }
    }

    /// This run, as the API names it.
    pub fn execution(&self) -> WorkflowExecution {
        WorkflowExecution { workflow_id: self.start.workflow_id.clone(), run_id: self.core.run_id.clone() }
    }

    /// The root of the tree of parents; itself without a parent.
    pub fn root(&self) -> WorkflowExecution {
        self.start.root_workflow_execution.clone().unwrap_or_else(|| WorkflowExecution {
            workflow_id: self.start.workflow_id.clone(),
            run_id: self.core.run_id.clone(),
        })
    }

    /// The id of the last event; 0 before the first.
    pub fn last_event_id(&self) -> i64 {
        self.core.next_event_id - 1
    }

    /// The closing event's attributes.
    pub fn closing_attributes(&self) -> Option<&Attributes> {
        self.closing.as_ref()?.attributes.as_ref()
    }

    /// When it closed.
    pub fn closed_at(&self) -> Option<Timestamp> {
        self.closing.as_ref().map(|_| Timestamp::from_nanos(self.core.last_event_at))
    }

    /// Whether nothing is owed any more, so that the run may leave memory once it is in the table.
    pub fn is_finished(&self) -> bool {
        !self.is_open() && !self.core.owes_parent && self.children.is_empty()
    }

    /// The timeouts, resolved. A run's clock starts when its first task may be scheduled.
    pub fn timeouts(&self) -> TimeoutsOf {
        let backoff = from_wire(self.start.first_workflow_task_backoff.as_ref()).unwrap_or_default();
        let begins = Timestamp::from_nanos(self.core.started_at) + backoff;
        TimeoutsOf {
            run_deadline: from_wire(self.start.workflow_run_timeout.as_ref()).map(|timeout| begins + timeout),
            execution_deadline: self
                .start
                .workflow_execution_expiration_time
                .as_ref()
                .map(|at| Timestamp::from_seconds_and_nanos(at.seconds, at.nanos)),
            task: from_wire(self.start.workflow_task_timeout.as_ref()).unwrap_or(Duration::from_secs(10)),
        }
    }

    /// The pending activity with the author's id.
    pub fn activity_by_id(&self, id: &str) -> Option<&Arc<Activity>> {
        self.activities.get(&self.indexes.activities.get(id)?.scheduled_event_id)
    }

    /// What has been said to other workflows and not been answered: the event that initiated it, and the workflow ID.
    pub fn unanswered(&self) -> impl Iterator<Item = (i64, &str)> {
        let starting = self.children.values().filter(|child| !child.is_started());
        let starts = starting.map(|child| (child.initiated_event_id, child.workflow_id()));
        let signals = self.signals.values().map(|signal| (signal.initiated_event_id, signal.target()));
        let cancels = self.cancels.values().map(|cancel| (cancel.initiated_event_id, cancel.target()));
        starts.chain(signals).chain(cancels)
    }

    /// The first event that is stored under this run; those before are under its ancestors.
    pub fn own_history_from(&self) -> i64 {
        self.core.ancestors.last().map_or(1, |ancestor| ancestor.end_event_id)
    }

    /// The first event that is still in memory; `last + 1` when none is.
    pub fn first_event_in_memory(&self) -> i64 {
        self.batches.first().map_or(self.core.next_event_id, |batch| batch.first_event_id)
    }
}
