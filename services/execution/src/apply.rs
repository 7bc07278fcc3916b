//! The only place where state changes: deciding, recovery from the log and rebuilding from history all come through here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::Payload;
use api::temporal::api::enums::v1::{TaskQueueKind, TimeoutType, WorkflowExecutionStatus};
use api::temporal::api::history::v1::{
    ActivityTaskScheduledEventAttributes, HistoryEvent, StartChildWorkflowExecutionInitiatedEventAttributes,
    TimerStartedEventAttributes, WorkflowExecutionStartedEventAttributes, WorkflowTaskCompletedEventAttributes,
    WorkflowTaskScheduledEventAttributes, WorkflowTaskStartedEventAttributes,
};
use ids::Timestamp;

use crate::change::{Batch, Change, Fact, RunChange, Step, TransientScheduled};
use crate::counted::{RowBytes, buffered_held_bytes};
use crate::duration::{from_wire, nanos, to_wire, wire_time};
use crate::events::{self, Effect, Pending, is_firing_of};
use crate::held::owned;
use crate::indexes::Relation;
use crate::pending::{Activity, ActivityProgress, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer};
use crate::run::Run;
use crate::updates::{AcceptedUpdate, CompletedUpdate, ReappliedUpdate};
use crate::workflow::Workflow;
use crate::workflow_task::{TaskKind, TaskStart, TransientStage, WorkflowTask, WrittenStage};

impl Workflow {
    /// Makes a change so. An error means that the change contradicts the state: the bytes are corrupt.
    pub fn apply(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Chain(fact) => Arc::make_mut(&mut self.chain).apply(fact),
            Change::Run(change) => {
                self.absent.remove(&change.run_id);
                if !self.runs.contains_key(&change.run_id) {
                    self.runs.insert(Arc::new(Run::empty(change.run_id.clone())));
                }
                self.runs.update(&change.run_id, |run| Arc::make_mut(run).apply(change)).unwrap_or(Ok(()))?;
            }
        }
        Ok(())
    }
}

impl Run {
    fn apply(&mut self, change: &RunChange) -> Result<(), String> {
        let mut events = change.batch.iter().flat_map(|batch| batch.events());
        for step in &change.steps {
            match step {
                Step::Event => {
                    let event = events.next().ok_or("a change has fewer events than it says")?;
                    self.apply_event(&event)?;
                }
                Step::Fact(fact) => self.apply_fact(fact)?,
            }
        }
        if events.next().is_some() {
            return Err("a change has more events than it says".to_owned());
        }
        self.end_transition(change.batch.clone());
        Ok(())
    }

    /// Counts a transition whose steps have been applied.
    pub(crate) fn end_transition(&mut self, batch: Option<Arc<Batch>>) {
        self.core.transitions += 1;
        if let Some(batch) = batch {
            self.core.history_bytes += batch.bytes.len() as i64;
            self.batches.insert(batch);
        }
    }

    /// Adds an event to the history.
    pub(crate) fn apply_event(&mut self, event: &HistoryEvent) -> Result<(), String> {
        let expected = self.core.next_event_id;
        if event.event_id != expected {
            return Err(format!("event {} where {expected} was expected", event.event_id));
        }
        if expected > 1 && !self.is_open() {
            return Err(format!("event {expected} follows the closing event"));
        }
        let effect = events::effect_of(event);
        if effect == Effect::Unknown {
            return Err(format!(
                "event {expected} is of a type that this release does not write: {}",
                event.event_type
            ));
        }
        self.core.next_event_id += 1;
        self.core.last_event_at = self.core.last_event_at.max(event_nanos(event));
        // Once: not while it was buffered.
        self.core.signal_count += i64::from(effect == Effect::Signals);
        self.take_effect(event);
        Ok(())
    }

    /// What an event means for the state. A buffered event takes effect when it comes, and again when it gets its id: both
    /// times with the same result. What stays in memory has bytes of its own.
    fn take_effect(&mut self, event: &HistoryEvent) {
        let (id, at) = (event.event_id, event_nanos(event));
        match events::effect_of(event) {
            Effect::Begins(started) => self.begin(started, at),
            Effect::Closes(status, next_run_id) => self.close(event, status, next_run_id),
            Effect::SchedulesTask(scheduled) => self.schedule_task(scheduled, id, at),
            Effect::StartsTask(started) => self.start_task(started, id, at),
            Effect::CompletesTask(completed) => self.complete_task(completed),
            Effect::FailsTask => self.lose_task(true),
            Effect::TimesOutTask(kind) => self.lose_task(kind != TimeoutType::ScheduleToStart),
            Effect::OpensActivity(scheduled) => self.open_activity(scheduled, id, at),
            Effect::OpensTimer(started) => self.open_timer(started, id, at),
            Effect::OpensChild(initiated) => self.open_child(initiated, id, event),
            Effect::OpensSignal(initiated) => {
                let signal = ExternalSignal { initiated_event_id: id, initiated: Arc::new(owned(initiated.clone())) };
                self.indexes.ask(signal.target(), id, Relation::Signal);
                self.signals.insert(Arc::new(signal));
            }
            Effect::OpensCancel(initiated) => {
                let cancel = ExternalCancel { initiated_event_id: id, initiated: Arc::new(owned(initiated.clone())) };
                self.indexes.ask(cancel.target(), id, Relation::Cancel);
                self.cancels.insert(Arc::new(cancel));
            }
            Effect::StartsChild(started) => {
                let run_id = started.workflow_execution.as_ref().map_or("", |execution| &execution.run_id);
                self.start_child(started.initiated_event_id, run_id, Some(id));
            }
            Effect::CancelsActivity(requested) => self.activities.change(&requested.scheduled_event_id, |activity| {
                activity.progress.cancel_requested_event_id = id;
            }),
            Effect::Ends(pending) => self.end(pending),
            Effect::RequestsCancel => self.core.cancel_requested = true,
            Effect::Attaches(updated) => self.attach(&updated.attached_request_id, id),
            Effect::AdmitsUpdate(admitted) => {
                let meta = admitted.request.as_ref().and_then(|request| request.meta.as_ref());
                let id = meta.map_or("", |meta| &meta.update_id).to_owned();
                self.reapplied_updates.insert(Arc::new(ReappliedUpdate { id, admitted_event_id: event.event_id }));
            }
            Effect::AcceptsUpdate(accepted) => {
                let id = accepted.protocol_instance_id.clone();
                self.reapplied_updates.remove(&id);
                self.accepted_updates.insert(Arc::new(AcceptedUpdate { id, accepted_event_id: event.event_id }));
            }
            Effect::CompletesUpdate(completed) => {
                let id = completed.meta.as_ref().map_or("", |meta| &meta.update_id).to_owned();
                self.accepted_updates.remove(&id);
                self.completed_updates.insert(Arc::new(CompletedUpdate { id, completed_event_id: event.event_id }));
            }
            Effect::SetsSearchAttributes(upsert) => {
                let changed = upsert.search_attributes.clone().unwrap_or_default().indexed_fields;
                merge(Arc::make_mut(&mut self.search_attributes), changed);
                self.count_settings();
            }
            Effect::SetsMemo(modified) => {
                merge(Arc::make_mut(&mut self.memo), modified.upserted_memo.clone().unwrap_or_default().fields);
                self.count_settings();
            }
            // An activity's attempts are no events: its start is written with its end, which ends it.
            Effect::StartsActivity(_) | Effect::Signals | Effect::None | Effect::Unknown => {}
        }
    }

    fn start_task(&mut self, started: &WorkflowTaskStartedEventAttributes, id: i64, at: i64) {
        let start = TaskStart {
            at,
            request_id: started.request_id.clone(),
            identity: started.identity.clone(),
            suggest_reasons: started.suggest_continue_as_new_reasons.clone(),
            history_size_bytes: started.history_size_bytes,
            worker_version: started.worker_version.clone(),
        };
        self.change_task(|task| task.begin(id, start));
    }

    /// A worker has the task that is not written.
    pub(crate) fn begin_task(&mut self, start: TaskStart) {
        self.change_task(|task| task.begin(task.scheduled_event_id + 1, start));
    }

    /// Matching keeps the task durably.
    pub(crate) fn keep_in_backlog(&mut self) {
        self.change_task(WorkflowTask::backlog);
    }

    fn change_task(&mut self, change: impl FnOnce(&mut WorkflowTask)) {
        if let Some(task) = &mut self.task {
            change(task);
        }
    }

    fn complete_task(&mut self, completed: &WorkflowTaskCompletedEventAttributes) {
        self.task = None;
        self.core.task_failures = 0;
        self.core.previous_started_event_id = completed.started_event_id;
        self.core.worker_version.clone_from(&completed.worker_version);
        self.core.worker_deployment_name.clone_from(&completed.worker_deployment_name);
    }

    fn schedule_task(&mut self, scheduled: &WorkflowTaskScheduledEventAttributes, id: i64, at: i64) {
        self.core.first_task_at = 0;
        self.core.last_stamp += 1;
        self.core.task_failures = scheduled.attempt - 1;
        let sticky = scheduled.task_queue.as_ref().is_some_and(|queue| queue.kind == TaskQueueKind::Sticky as i32);
        let stage = if sticky {
            WrittenStage::Sticky { until: at.saturating_add(self.core.sticky_timeout_nanos) }
        } else {
            WrittenStage::Offerable
        };
        self.task = Some(WorkflowTask {
            scheduled_event_id: id,
            attempt: scheduled.attempt,
            stamp: self.core.last_stamp,
            scheduled_at: at,
            first_scheduled_at: at,
            timeout_nanos: from_wire(scheduled.start_to_close_timeout.as_ref()).map_or(0, nanos),
            keeps_signals_out: false,
            kind: TaskKind::Written(stage),
        });
    }

    fn schedule_transient(&mut self, scheduled: &TransientScheduled) {
        self.core.last_stamp += 1;
        self.core.task_failures = self.core.task_failures.max(scheduled.attempt - 1);
        let stage = match scheduled.backoff_until {
            Some(until) => TransientStage::Backoff { until },
            None => TransientStage::Offerable,
        };
        self.task = Some(WorkflowTask {
            scheduled_event_id: scheduled.scheduled_event_id,
            attempt: scheduled.attempt,
            stamp: self.core.last_stamp,
            scheduled_at: scheduled.scheduled_at,
            first_scheduled_at: scheduled.scheduled_at,
            timeout_nanos: scheduled.timeout_nanos,
            keeps_signals_out: false,
            kind: TaskKind::Transient(stage),
        });
    }

    /// A request whose id is to be known as one that led to this run; empty for none.
    fn attach(&mut self, request_id: &str, event_id: i64) {
        if !request_id.is_empty() {
            let attached = AttachedRequest { request_id: request_id.to_owned(), event_id };
            self.attached.insert(Arc::new(attached));
        }
    }

    fn begin(&mut self, started: &WorkflowExecutionStartedEventAttributes, at: i64) {
        self.core.started_at = at;
        let backoff = from_wire(started.first_workflow_task_backoff.as_ref());
        self.core.first_task_at = backoff.map_or(0, |backoff| at.saturating_add(nanos(backoff)));
        let started = owned(started.clone());
        self.memo = Arc::new(started.memo.clone().unwrap_or_default().fields);
        let attributes = started.search_attributes.clone().unwrap_or_default();
        self.search_attributes = Arc::new(attributes.indexed_fields);
        self.start = Arc::new(started);
        self.count_settings();
    }

    fn open_activity(&mut self, scheduled: &ActivityTaskScheduledEventAttributes, id: i64, at: i64) {
        let progress = ActivityProgress { attempt: 1, scheduled_at: at, due: true, ..ActivityProgress::default() };
        let schedule = Arc::new(owned(scheduled.clone()));
        let activity = Activity { scheduled_event_id: id, first_scheduled_at: at, schedule, progress };
        self.indexes.open_activity(&activity);
        self.activities.insert(Arc::new(activity));
    }

    fn open_timer(&mut self, started: &TimerStartedEventAttributes, id: i64, at: i64) {
        let timeout = from_wire(started.start_to_fire_timeout.as_ref()).map_or(0, nanos);
        let timer = Timer {
            timer_id: started.timer_id.clone(),
            started_event_id: id,
            fires_at: at.saturating_add(timeout),
            set_at: at,
        };
        self.timers.insert(Arc::new(timer));
    }

    fn open_child(
        &mut self,
        initiated: &StartChildWorkflowExecutionInitiatedEventAttributes,
        id: i64,
        event: &HistoryEvent,
    ) {
        let child = Child {
            initiated_event_id: id,
            initiated: Arc::new(owned(initiated.clone())),
            user_metadata: owned(event.user_metadata.clone()),
            run_id: String::new(),
            started_event_id: 0,
        };
        self.indexes.ask(child.workflow_id(), id, Relation::Child);
        self.children.insert(Arc::new(child));
    }

    fn start_child(&mut self, initiated_event_id: i64, run_id: &str, started_event_id: Option<i64>) {
        let Some(child) = self.children.get(&initiated_event_id) else { return };
        if !run_id.is_empty() {
            self.indexes.answer(child.workflow_id(), initiated_event_id);
        }
        self.children.change(&initiated_event_id, |child| {
            run_id.clone_into(&mut child.run_id);
            child.started_event_id = started_event_id.unwrap_or(child.started_event_id);
        });
    }

    fn end(&mut self, pending: Pending<'_>) {
        match pending {
            // Read again from the history, an end that was buffered comes after what the worker did meanwhile: by then the
            // author's id may name another.
            Pending::Activity(id) => {
                let activity = self.activities.remove(&id);
                let names_it = |activity: &Arc<Activity>| {
                    self.indexes.activities.get(activity.id()).is_some_and(|named| named.scheduled_event_id == id)
                };
                if let Some(activity) = activity.filter(names_it) {
                    self.indexes.activities.remove(activity.id());
                }
            }
            Pending::Child(id) => self.forget_child(id),
            Pending::Signal(id) => {
                if let Some(signal) = self.signals.remove(&id) {
                    self.indexes.answer(signal.target(), id);
                }
            }
            Pending::Cancel(id) => {
                if let Some(cancel) = self.cancels.remove(&id) {
                    self.indexes.answer(cancel.target(), id);
                }
            }
            // A firing that was buffered takes effect again when it gets its id: by then the author's id may name another.
            Pending::Timer(timer_id, started_event_id) => {
                if self.timers.get(timer_id).is_some_and(|timer| timer.started_event_id == started_event_id) {
                    self.timers.remove(timer_id);
                }
            }
        }
    }

    fn forget_child(&mut self, initiated_event_id: i64) {
        if let Some(child) = self.children.remove(&initiated_event_id) {
            self.indexes.answer(child.workflow_id(), initiated_event_id);
        }
    }

    fn lose_task(&mut self, failed: bool) {
        self.task = None;
        if failed {
            self.core.task_failures = self.failures_with_this_task();
        }
        self.set_sticky("", 0);
    }

    /// Remembers the queue of the worker that has the run cached; empty for none. Without one, a task that waits for that
    /// worker is offered on the normal queue, which is another dispatch.
    fn set_sticky(&mut self, queue: &str, timeout_nanos: i64) {
        queue.clone_into(&mut self.core.sticky_queue);
        self.core.sticky_timeout_nanos = timeout_nanos;
        if let Some(task) = &mut self.task
            && queue.is_empty()
            && task.sticky_until().is_some()
        {
            task.leave_sticky(&mut self.core.last_stamp);
        }
    }

    /// What is pending dies with the run, except children: they are owed the parent close policy.
    fn close(&mut self, event: &HistoryEvent, status: WorkflowExecutionStatus, next_run_id: &str) {
        self.core.status = status as i32;
        self.task = None;
        self.volatile.admitted.clear();
        self.core.first_task_at = 0;
        next_run_id.clone_into(&mut self.core.next_run_id);
        self.core.owes_parent = self.start.parent_workflow_execution.is_some() && next_run_id.is_empty();
        self.set_sticky("", 0);
        self.closing = Some(Arc::new(owned(event.clone())));
        self.activities.clear();
        self.timers.clear();
        self.signals.clear();
        self.cancels.clear();
        self.buffered.clear();
        self.reapplied_updates.clear();
        self.children.retain(|child| !child.is_started() || child.must_be_released());
        self.indexes = self.index();
        self.count_settings();
        self.count_buffered();
    }

    /// Makes an internal fact so.
    pub(crate) fn apply_fact(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Activity(moved) => {
                self.activities
                    .change(&moved.scheduled_event_id, |activity| activity.progress = moved.progress.clone());
            }
            Fact::Buffered(event) => {
                self.take_effect(event);
                self.buffered.push(Arc::new((**event).clone()));
                self.buffered_bytes += event.row_bytes();
                self.buffered_held_bytes += self.buffered.last().map_or(0, buffered_held_bytes);
            }
            Fact::Unbuffered(_) => {
                self.buffered.clear();
                self.count_buffered();
            }
            Fact::UnbufferedTimer(timer_id) => {
                self.buffered.retain(|event| !is_firing_of(event, timer_id));
                self.count_buffered();
            }
            Fact::Sticky(sticky) => self.set_sticky(&sticky.queue, sticky.timeout_nanos),
            Fact::FirstTaskAt(at) => self.core.first_task_at = *at,
            Fact::CancelRequestId(request_id) => self.core.cancel_request_id.clone_from(request_id),
            Fact::ChildReleased(id) => self.forget_child(*id),
            Fact::ChildStarted(started) => self.start_child(started.initiated_event_id, &started.run_id, None),
            Fact::OwesParent(owes) => self.core.owes_parent = *owes,
            Fact::StartRequestId(request_id) => self.core.start_request_id.clone_from(request_id),
            Fact::TransientScheduled(scheduled) => self.schedule_transient(scheduled),
            Fact::TransientStarted(start) => self.begin_task(start.clone()),
            Fact::TransientFailed(_) => {
                let attempt = self.task.as_ref().map_or(0, |task| task.attempt);
                self.lose_task(false);
                self.core.task_failures = self.core.task_failures.max(attempt);
            }
            Fact::TransientDue(_) => self.change_task(WorkflowTask::end_backoff),
            Fact::TaskBacklogged(_) => self.keep_in_backlog(),
            Fact::SignalsKeptOut(_) => self.change_task(|task| task.keeps_signals_out = true),
            Fact::HeartbeatsSince(at) => self.change_task(|task| task.first_scheduled_at = *at),
            Fact::TaskDispatched(stamp) => self.change_task(|task| task.stamp = *stamp),
            Fact::Forked(row) => *self = (**row).clone().into_run()?,
            Fact::ResetAt(at) => self.restart(*at),
            Fact::ResetTo(run_id) => self.core.reset_run_id.clone_from(run_id),
            Fact::UpdateRejected(id) => drop(self.reapplied_updates.remove(id)),
        }
        Ok(())
    }

    /// Time counts from here, except that of timers: the timeouts of the run and of what it waits for begin again.
    fn restart(&mut self, at: i64) {
        self.core.reset_at = at;
        self.core.started_at = at;
        let start = Arc::make_mut(&mut self.start);
        start.first_workflow_task_backoff = Some(to_wire(Duration::ZERO));
        let timeout = from_wire(start.workflow_execution_timeout.as_ref());
        start.workflow_execution_expiration_time =
            timeout.map(|timeout| wire_time(Timestamp::from_nanos(at) + timeout));
        let pending: Vec<i64> = self.activities.keys().copied().collect();
        for scheduled_event_id in pending {
            self.activities.change(&scheduled_event_id, |activity| {
                activity.first_scheduled_at = at;
                activity.progress.scheduled_at = at;
            });
        }
        self.count_settings();
    }
}

/// When an event was, in nanoseconds since the epoch.
pub(crate) fn event_nanos(event: &HistoryEvent) -> i64 {
    event.event_time.as_ref().map_or(0, |at| Timestamp::from_seconds_and_nanos(at.seconds, at.nanos).nanos())
}

/// Adds and replaces; a null or an empty list takes an entry away.
fn merge(into: &mut BTreeMap<String, Payload>, changed: BTreeMap<String, Payload>) {
    for (name, payload) in changed {
        if is_null(&payload) {
            into.remove(&name);
        } else if into.get(&name) != Some(&payload) {
            // One that is there already may be shared with the run's start.
            into.insert(name, owned(payload));
        }
    }
}

fn is_null(payload: &Payload) -> bool {
    match payload.metadata.get("encoding").map(|encoding| encoding.as_ref()) {
        Some(b"binary/null") => true,
        Some(b"json/plain") => matches!(payload.data.as_ref(), b"null" | b"[]"),
        None => payload.data.is_empty(),
        _ => false,
    }
}
