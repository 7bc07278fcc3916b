//! The workflow task: schedule, start, fail, time out, and the sticky queue.

use ids::TaskRef;
use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::WorkerVersionStamp;
use api::temporal::api::enums::v1::{SuggestContinueAsNewReason, TimeoutType, WorkflowTaskFailedCause};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionTerminatedEventAttributes, WorkflowTaskFailedEventAttributes,
    WorkflowTaskScheduledEventAttributes, WorkflowTaskStartedEventAttributes, WorkflowTaskTimedOutEventAttributes,
};
use api::texts;

use super::answer::{Decision, changed, changed_run, unchanged};
use super::target::Target;
use crate::Env;
use crate::change::{Empty, Fact, Sticky, TransientScheduled};
use crate::draft::RunDraft;
use crate::duration::{nanos, to_wire};
use crate::input::{FailWorkflowTask, StartTask};
use crate::reply::{Rejection, TaskTaken};
use crate::run::Run;
use crate::transient::transient_events;
use crate::workflow_task::{SpeculativeStage, TaskKind, TaskStart, WorkflowTask, delay_of_attempt, timeout_of_attempt};

/// Who ends things when the server does.
pub(super) const SERVER_IDENTITY: &str = "history-service";

/// Wakes the workflow: schedules a task unless there is one, or the first one is still delayed.
pub(super) fn wake_workflow(run: &mut RunDraft<'_, '_>) {
    if run.is_open() && run.task.is_none() && run.core.first_task_at == 0 {
        schedule(run);
    }
}

/// Schedules a task, on the sticky queue where there is one: an event, or, after failures, a transient attempt.
pub(super) fn schedule(run: &mut RunDraft<'_, '_>) {
    let attempt = run.core.task_failures + 1;
    schedule_attempt(run, attempt, Duration::ZERO);
}

/// Schedules a first attempt, whatever failed before.
pub(super) fn schedule_first(run: &mut RunDraft<'_, '_>) {
    schedule_attempt(run, 1, Duration::ZERO);
}

/// Only a transient attempt backs off.
fn schedule_attempt(run: &mut RunDraft<'_, '_>, attempt: i32, backoff: Duration) {
    let timeout = timeout_of_attempt(run.timeouts().task, attempt, run.env().limits.workflow_task_backoff_max);
    if attempt > 1 {
        let now = run.now();
        let scheduled = TransientScheduled {
            scheduled_event_id: run.core.next_event_id,
            attempt,
            scheduled_at: now.nanos(),
            timeout_nanos: nanos(timeout),
            backoff_until: (!backoff.is_zero()).then(|| (now + backoff).nanos()),
        };
        run.fact(Fact::TransientScheduled(scheduled));
        return;
    }
    let attributes = WorkflowTaskScheduledEventAttributes {
        task_queue: Some(run.next_task_queue()),
        start_to_close_timeout: Some(to_wire(timeout)),
        attempt,
    };
    run.event(Attributes::WorkflowTaskScheduledEventAttributes(attributes));
}

/// Has updates that wait looked at, if no task is there to carry them: by one that leaves no trace if they come to nothing.
pub(super) fn schedule_for_updates(run: &mut RunDraft<'_, '_>) {
    let is_wanted = run.is_open() && run.task.is_none() && run.core.first_task_at == 0;
    if !is_wanted || run.volatile.admitted.is_empty() {
        return;
    }
    if run.core.task_failures > 0 {
        return schedule(run);
    }
    let at = run.now().nanos();
    let stage = if run.core.sticky_queue.is_empty() {
        SpeculativeStage::Offerable
    } else {
        SpeculativeStage::Sticky { until: at.saturating_add(run.core.sticky_timeout_nanos) }
    };
    let timeout = timeout_of_attempt(run.timeouts().task, 1, run.env().limits.workflow_task_backoff_max);
    let task = WorkflowTask {
        scheduled_event_id: run.core.next_event_id,
        attempt: 1,
        stamp: run.draft().speculative_stamp(),
        scheduled_at: at,
        first_scheduled_at: at,
        timeout_nanos: nanos(timeout),
        keeps_signals_out: false,
        kind: TaskKind::Speculative(stage),
    };
    run.change_volatile(|run| run.task = Some(task));
}

/// Why and whether the worker should continue as new.
fn hints(run: &Run, env: &Env<'_>) -> Vec<i32> {
    let size = run.core.history_bytes >= env.limits.history_hint_bytes;
    let count = run.last_event_id() >= env.limits.history_hint_events;
    let updates = run.update_count() * 10 >= env.limits.updates_max * 9;
    let reasons = [
        (size, SuggestContinueAsNewReason::HistorySizeTooLarge),
        (count, SuggestContinueAsNewReason::TooManyHistoryEvents),
        (updates, SuggestContinueAsNewReason::TooManyUpdates),
    ];
    reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason as i32).collect()
}

/// A poller takes the task.
pub(super) fn start_task(on: Target<'_>, start: StartTask) -> Decision<'_, TaskTaken> {
    let Some(before) = on.find_open() else { return unchanged(TaskTaken::Stale) };
    let Some(task) = &before.task else { return unchanged(TaskTaken::Stale) };
    // First of all: starting an overtaken attempt gave it another id.
    if task.start().is_some_and(|began| began.request_id == start.request_id) {
        return unchanged(TaskTaken::Started(before.clone()));
    }
    if !task.is_waiting_for_poller() || task.id() != start.task {
        return unchanged(TaskTaken::Stale);
    }
    let mut draft = on.draft();
    let taker = Taker { request_id: start.request_id, identity: start.identity, worker_version: start.worker_version };
    take_task(&mut draft.at(&before.core.run_id), taker);
    changed_run(draft, before.core.run_id.clone(), |run| TaskTaken::Started(run.clone()))
}

/// The worker that a task is given to.
pub(super) struct Taker {
    pub(super) request_id: String,
    pub(super) identity: String,
    pub(super) worker_version: Option<WorkerVersionStamp>,
}

/// Starts the scheduled task of a run. A transient attempt that has been overtaken by new events becomes a first attempt,
/// so that its scheduled event follows them.
pub(super) fn take_task(run: &mut RunDraft<'_, '_>, taker: Taker) {
    let Taker { request_id, identity, worker_version } = taker;
    let next = run.core.next_event_id;
    let is_overtaken = |task: &WorkflowTask| task.is_transient() && task.scheduled_event_id != next;
    if run.task.as_ref().is_some_and(is_overtaken) {
        let attributes = WorkflowTaskScheduledEventAttributes {
            task_queue: Some(run.normal_task_queue()),
            start_to_close_timeout: Some(to_wire(run.timeouts().task)),
            attempt: 1,
        };
        run.event(Attributes::WorkflowTaskScheduledEventAttributes(attributes));
    }
    let Some(task) = run.task.clone() else { return };
    if !run.volatile.admitted.is_empty() {
        run.change_volatile(|run| run.volatile.carry(task.stamp));
    }
    let reasons = hints(run, run.env());
    if !task.is_written() {
        let start = TaskStart {
            // Its scheduled event, which is not written yet, is no later.
            at: run.now().nanos().max(task.scheduled_at),
            request_id,
            identity,
            suggest_reasons: reasons,
            history_size_bytes: run.core.history_bytes,
            worker_version,
        };
        if task.is_speculative() {
            run.change_volatile(|run| run.begin_task(start));
        } else {
            run.fact(Fact::TransientStarted(start));
        }
    } else {
        let attributes = WorkflowTaskStartedEventAttributes {
            scheduled_event_id: task.scheduled_event_id,
            identity,
            request_id,
            suggest_continue_as_new: !reasons.is_empty(),
            suggest_continue_as_new_reasons: reasons,
            history_size_bytes: run.core.history_bytes,
            worker_version,
            ..WorkflowTaskStartedEventAttributes::default()
        };
        run.event(Attributes::WorkflowTaskStartedEventAttributes(attributes));
    }
}

/// The started task that a token speaks of, and its run.
pub(super) fn started_task(on: Target<'_>, id: TaskRef) -> Result<(&Arc<Run>, &WorkflowTask), Rejection> {
    let run = on.resolve_open()?;
    let task = run.task.as_ref().filter(|task| task.is_started() && task.id() == id);
    let gone = || Rejection::NotFound(texts::WORKFLOW_TASK_NOT_FOUND.to_owned());
    Ok((run, task.ok_or_else(gone)?))
}

/// Writes the events of a task that is not written, now that it counts, as the worker was shown them: the time of its started
/// event is what the workflow took for the time.
pub(super) fn write_unwritten(run: &mut RunDraft<'_, '_>) {
    run.write_speculative();
    for event in transient_events(run) {
        run.append(event);
    }
}

/// A worker reports that its workflow task failed.
pub(super) fn fail_task(on: Target<'_>, fail: FailWorkflowTask) -> Decision<'_, ()> {
    let (before, _) = started_task(on, fail.task)?;
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    let mut failure = fail.request.failure;
    if let Some(failure) = &mut failure {
        crate::cut_failure(failure);
    }
    let failed = TaskFailure {
        cause: fail.request.cause,
        failure,
        identity: fail.request.identity,
        worker_version: fail.request.worker_version,
        binary_checksum: fail.request.binary_checksum,
    };
    // The next attempt would be too large again.
    if failed.cause == WorkflowTaskFailedCause::GrpcMessageTooLarge as i32 {
        end_after_failure(&mut run, failed, "GrpcMessageTooLarge".to_owned());
    } else {
        fail_and_reschedule(&mut run, failed);
    }
    changed(draft, ())
}

/// How a workflow task failed.
pub(super) struct TaskFailure {
    /// A [`WorkflowTaskFailedCause`]; a worker's may be of a newer API.
    pub(super) cause: i32,
    pub(super) failure: Option<Failure>,
    pub(super) identity: String,
    pub(super) worker_version: Option<WorkerVersionStamp>,
    pub(super) binary_checksum: String,
}

impl TaskFailure {
    /// The server fails the task.
    pub(super) fn by_server() -> Self {
        Self {
            cause: WorkflowTaskFailedCause::ForceCloseCommand as i32,
            failure: None,
            identity: SERVER_IDENTITY.to_owned(),
            worker_version: None,
            binary_checksum: String::new(),
        }
    }
}

/// Fails the started task, takes in what was buffered, and schedules the next attempt.
pub(super) fn fail_and_reschedule(run: &mut RunDraft<'_, '_>, failed: TaskFailure) {
    let failures = run.failures_with_this_task();
    fail_without_retry(run, failed);
    let backoff = delay_of_attempt(failures + 1, run.env().limits.workflow_task_backoff_max);
    reschedule(run, failures, backoff);
}

/// Fails the started task, takes in what was buffered, and ends the run.
pub(super) fn end_after_failure(run: &mut RunDraft<'_, '_>, failed: TaskFailure, reason: String) {
    fail_without_retry(run, failed);
    run.flush_buffered();
    let attributes = WorkflowExecutionTerminatedEventAttributes {
        reason,
        identity: SERVER_IDENTITY.to_owned(),
        ..WorkflowExecutionTerminatedEventAttributes::default()
    };
    run.event(Attributes::WorkflowExecutionTerminatedEventAttributes(attributes));
}

/// Fails the started task; what was buffered stays so.
pub(super) fn fail_without_retry(run: &mut RunDraft<'_, '_>, failed: TaskFailure) {
    let Some(task) = &run.task else { return };
    if task.is_transient() {
        run.fact(Fact::TransientFailed(Empty {}));
    } else {
        let attributes = WorkflowTaskFailedEventAttributes {
            scheduled_event_id: task.scheduled_event_id,
            started_event_id: task.started_event_id().unwrap_or(0),
            cause: failed.cause,
            failure: failed.failure,
            identity: failed.identity,
            worker_version: failed.worker_version,
            binary_checksum: failed.binary_checksum,
            ..WorkflowTaskFailedEventAttributes::default()
        };
        run.event(Attributes::WorkflowTaskFailedEventAttributes(attributes));
    }
}

/// What follows a failed task: buffered events make the next one a first attempt, since its events must follow theirs.
pub(super) fn reschedule(run: &mut RunDraft<'_, '_>, failures: i32, backoff: Duration) {
    let has_new_events = run.flush_buffered();
    if run.is_open() {
        schedule_attempt(run, if has_new_events { 1 } else { failures + 1 }, backoff);
    }
}

/// The worker's timeout has passed.
pub(super) fn time_out(run: &mut RunDraft<'_, '_>) {
    let Some(task) = run.task.clone() else { return };
    let failures = run.failures_with_this_task();
    if task.is_transient() {
        run.fact(Fact::TransientFailed(Empty {}));
    } else {
        write_time_out(run, &task, TimeoutType::StartToClose);
    }
    reschedule(run, failures, Duration::ZERO);
}

/// The sticky worker did not poll in time: the task goes to the normal queue, as a task of its own, so that the history shows why.
pub(super) fn time_out_sticky(run: &mut RunDraft<'_, '_>) {
    let Some(task) = run.task.clone() else { return };
    write_time_out(run, &task, TimeoutType::ScheduleToStart);
    schedule(run);
}

pub(super) fn write_time_out(run: &mut RunDraft<'_, '_>, task: &WorkflowTask, kind: TimeoutType) {
    let attributes = WorkflowTaskTimedOutEventAttributes {
        scheduled_event_id: task.scheduled_event_id,
        started_event_id: task.started_event_id().unwrap_or(0),
        timeout_type: kind as i32,
    };
    run.event(Attributes::WorkflowTaskTimedOutEventAttributes(attributes));
}

/// A caller resets the sticky queue.
pub(super) fn reset_sticky(on: Target<'_>) -> Decision<'_, ()> {
    let run = on.resolve()?;
    if !run.is_open() || run.core.sticky_queue.is_empty() {
        return unchanged(());
    }
    let mut draft = on.draft();
    draft.at(&run.core.run_id).fact(Fact::Sticky(Sticky::default()));
    changed(draft, ())
}
