//! The workflow task: schedule, start, fail, time out, and the sticky queue.

use std::time::Duration;

use api::temporal::api::common::v1::WorkerVersionStamp;
use api::temporal::api::enums::v1::{SuggestContinueAsNewReason, TaskQueueKind, TimeoutType, WorkflowTaskFailedCause};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionTerminatedEventAttributes, WorkflowTaskFailedEventAttributes,
    WorkflowTaskScheduledEventAttributes, WorkflowTaskStartedEventAttributes, WorkflowTaskTimedOutEventAttributes,
};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::texts;

use super::unchanged;
use crate::change::{Empty, Fact, Sticky, TransientScheduled};
use crate::draft::{Draft, resolve, resolve_open};
use crate::duration::{nanos, to_wire};
use crate::input::{FailWorkflowTask, StartTask, TaskId};
use crate::reply::{Rejection, Reply, Transition};
use crate::run::Run;
use crate::transient::transient_events;
use crate::workflow_task::{TaskStart, WorkflowTask, delay_of_attempt, timeout_of_attempt};
use crate::{Env, Workflow};

/// Who ends things when the server does.
pub(super) const SERVER_IDENTITY: &str = "history-service";

/// Wakes the workflow: schedules a task unless there is one, or the first one is still put off.
pub(super) fn wake_workflow(draft: &mut Draft<'_>, run_id: &str) {
    let run = draft.run(run_id);
    if run.is_open() && run.task.is_none() && run.core.first_task_at == 0 {
        schedule(draft, run_id);
    }
}

/// Schedules a task, on the sticky queue where there is one: an event, or, after failures, a transient attempt.
pub(super) fn schedule(draft: &mut Draft<'_>, run_id: &str) {
    let attempt = draft.run(run_id).core.task_failures + 1;
    schedule_attempt(draft, run_id, attempt, Duration::ZERO);
}

/// Only a transient attempt backs off.
fn schedule_attempt(draft: &mut Draft<'_>, run_id: &str, attempt: i32, backoff: Duration) {
    let run = draft.run(run_id).clone();
    let timeout = timeout_of_attempt(run.timeouts().task, attempt, draft.env.limits.workflow_task_backoff_max);
    if attempt > 1 {
        let now = draft.time_in(run_id);
        let scheduled = TransientScheduled {
            scheduled_event_id: run.core.next_event_id,
            attempt,
            scheduled_at: now.nanos(),
            timeout_nanos: nanos(timeout),
            backoff_until: (!backoff.is_zero()).then(|| (now + backoff).nanos()),
        };
        draft.fact(run_id, Fact::TransientScheduled(scheduled));
        return;
    }
    let is_sticky = !run.core.sticky_queue.is_empty();
    let attributes = WorkflowTaskScheduledEventAttributes {
        task_queue: Some(if is_sticky { sticky_task_queue(&run) } else { run.normal_task_queue() }),
        start_to_close_timeout: Some(to_wire(timeout)),
        attempt,
    };
    draft.event(run_id, Attributes::WorkflowTaskScheduledEventAttributes(attributes));
}

fn sticky_task_queue(run: &Run) -> TaskQueue {
    let normal_name = run.task_queue_name().to_owned();
    TaskQueue { name: run.core.sticky_queue.clone(), kind: TaskQueueKind::Sticky as i32, normal_name }
}

/// Why and whether the worker should continue as new.
fn hints(run: &Run, env: &Env<'_>) -> Vec<i32> {
    let size = run.core.history_bytes >= env.limits.history_hint_bytes;
    let count = run.last_event_id() >= env.limits.history_hint_events;
    let reasons = [
        (size, SuggestContinueAsNewReason::HistorySizeTooLarge),
        (count, SuggestContinueAsNewReason::TooManyHistoryEvents),
    ];
    reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason as i32).collect()
}

/// A poller takes the task.
pub(super) fn start_task(workflow: &Workflow, start: StartTask, env: &Env<'_>) -> Result<Transition, Rejection> {
    let stale = || Ok(unchanged(workflow, Reply::Stale));
    let Ok(run) = resolve_open(workflow, &start.run_id, env) else { return stale() };
    let Some(task) = &run.task else { return stale() };
    // First of all: starting an overtaken attempt gave it another id.
    if task.start().is_some_and(|began| began.request_id == start.request_id) {
        return Ok(unchanged(workflow, Reply::TaskStarted(run.clone())));
    }
    let is_meant = task.scheduled_event_id == start.scheduled_event_id && task.stamp == start.stamp;
    if !task.is_waiting_for_poller() || !is_meant {
        return stale();
    }
    let mut draft = Draft::of(workflow, env);
    let taker = Taker { request_id: start.request_id, identity: start.identity, worker_version: start.worker_version };
    take_task(&mut draft, &start.run_id, taker);
    Ok(draft.finish(|next| Reply::TaskStarted(next.runs[&start.run_id].clone())))
}

/// The worker that a task is given to.
pub(super) struct Taker {
    pub(super) request_id: String,
    pub(super) identity: String,
    pub(super) worker_version: Option<WorkerVersionStamp>,
}

/// Starts the scheduled task of a run. A transient attempt that has been overtaken by new events becomes a first attempt,
/// so that its scheduled event follows them.
pub(super) fn take_task(draft: &mut Draft<'_>, run_id: &str, taker: Taker) {
    let Taker { request_id, identity, worker_version } = taker;
    let overtaken = |run: &Run| {
        let task = run.task.as_ref();
        task.is_some_and(|task| task.is_transient() && task.scheduled_event_id != run.core.next_event_id)
    };
    if overtaken(draft.run(run_id)) {
        let run = draft.run(run_id).clone();
        let attributes = WorkflowTaskScheduledEventAttributes {
            task_queue: Some(run.normal_task_queue()),
            start_to_close_timeout: Some(to_wire(run.timeouts().task)),
            attempt: 1,
        };
        draft.event(run_id, Attributes::WorkflowTaskScheduledEventAttributes(attributes));
    }
    let run = draft.run(run_id).clone();
    let Some(task) = &run.task else { return };
    let reasons = hints(&run, draft.env);
    if task.is_transient() {
        let start = TaskStart {
            // Its scheduled event, which is not written yet, is no later.
            at: draft.time_in(run_id).nanos().max(task.scheduled_at),
            request_id,
            identity,
            suggest_reasons: reasons,
            history_size_bytes: run.core.history_bytes,
            worker_version,
        };
        draft.fact(run_id, Fact::TransientStarted(start));
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
        draft.event(run_id, Attributes::WorkflowTaskStartedEventAttributes(attributes));
    }
}

/// The started task that a token speaks of.
pub(super) fn started_task<'w>(
    workflow: &'w Workflow,
    id: &TaskId,
    env: &Env<'_>,
) -> Result<(&'w Run, &'w WorkflowTask), Rejection> {
    let gone = || Rejection::NotFound(texts::WORKFLOW_TASK_NOT_FOUND.to_owned());
    let run = resolve_open(workflow, &id.run_id, env)?;
    let task = run.task.as_ref().filter(|task| task.is_started()).ok_or_else(gone)?;
    let same = task.scheduled_event_id == id.scheduled_event_id && task.attempt == id.attempt && task.stamp == id.stamp;
    if same { Ok((run, task)) } else { Err(gone()) }
}

/// Writes the events of a transient attempt, now that it counts, as the worker was shown them: the time of its started
/// event is what the workflow took for the time.
pub(super) fn write_transient(draft: &mut Draft<'_>, run_id: &str) {
    for event in transient_events(draft.run(run_id)) {
        draft.append(run_id, event);
    }
}

/// A worker could not make decisions.
pub(super) fn fail_task(workflow: &Workflow, fail: FailWorkflowTask, env: &Env<'_>) -> Result<Transition, Rejection> {
    started_task(workflow, &fail.task, env)?;
    let mut draft = Draft::of(workflow, env);
    let mut failure = fail.request.failure;
    if let Some(failure) = &mut failure {
        crate::cut_failure(failure);
    }
    let lost = LostTask {
        cause: fail.request.cause,
        failure,
        identity: fail.request.identity,
        worker_version: fail.request.worker_version,
        binary_checksum: fail.request.binary_checksum,
    };
    // The next attempt would be too large again.
    if lost.cause == WorkflowTaskFailedCause::GrpcMessageTooLarge as i32 {
        end_after_failure(&mut draft, &fail.task.run_id, lost, "GrpcMessageTooLarge".to_owned());
    } else {
        lose_to_failure(&mut draft, &fail.task.run_id, lost);
    }
    Ok(draft.finish(|_| Reply::Done))
}

/// How a workflow task failed.
pub(super) struct LostTask {
    /// A [`WorkflowTaskFailedCause`]; a worker's may be of a newer API.
    pub(super) cause: i32,
    pub(super) failure: Option<Failure>,
    pub(super) identity: String,
    pub(super) worker_version: Option<WorkerVersionStamp>,
    pub(super) binary_checksum: String,
}

impl LostTask {
    /// The server takes the task away.
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
pub(super) fn lose_to_failure(draft: &mut Draft<'_>, run_id: &str, lost: LostTask) {
    let failures = draft.run(run_id).failures_with_this_task();
    fail_without_retry(draft, run_id, lost);
    let backoff = delay_of_attempt(failures + 1, draft.env.limits.workflow_task_backoff_max);
    after_loss(draft, run_id, failures, backoff);
}

/// Fails the started task, takes in what was buffered, and ends the run.
pub(super) fn end_after_failure(draft: &mut Draft<'_>, run_id: &str, lost: LostTask, reason: String) {
    fail_without_retry(draft, run_id, lost);
    draft.flush_buffered(run_id);
    let attributes = WorkflowExecutionTerminatedEventAttributes {
        reason,
        identity: SERVER_IDENTITY.to_owned(),
        ..WorkflowExecutionTerminatedEventAttributes::default()
    };
    draft.event(run_id, Attributes::WorkflowExecutionTerminatedEventAttributes(attributes));
}

/// Fails the started task; what was buffered stays so.
pub(super) fn fail_without_retry(draft: &mut Draft<'_>, run_id: &str, lost: LostTask) {
    let Some(task) = draft.run(run_id).task.clone() else { return };
    if task.is_transient() {
        draft.fact(run_id, Fact::TransientLost(Empty {}));
    } else {
        let attributes = WorkflowTaskFailedEventAttributes {
            scheduled_event_id: task.scheduled_event_id,
            started_event_id: task.started_event_id().unwrap_or(0),
            cause: lost.cause,
            failure: lost.failure,
            identity: lost.identity,
            worker_version: lost.worker_version,
            binary_checksum: lost.binary_checksum,
            ..WorkflowTaskFailedEventAttributes::default()
        };
        draft.event(run_id, Attributes::WorkflowTaskFailedEventAttributes(attributes));
    }
}

/// What follows a lost task: buffered events make the next one a first attempt, since its events must follow theirs.
pub(super) fn after_loss(draft: &mut Draft<'_>, run_id: &str, failures: i32, backoff: Duration) {
    let news = draft.flush_buffered(run_id);
    if draft.run(run_id).is_open() {
        schedule_attempt(draft, run_id, if news { 1 } else { failures + 1 }, backoff);
    }
}

/// The worker's time is up.
pub(super) fn time_out(draft: &mut Draft<'_>, run_id: &str) {
    let Some(task) = draft.run(run_id).task.clone() else { return };
    let failures = draft.run(run_id).failures_with_this_task();
    if task.is_transient() {
        draft.fact(run_id, Fact::TransientLost(Empty {}));
    } else {
        write_time_out(draft, run_id, &task, TimeoutType::StartToClose);
    }
    after_loss(draft, run_id, failures, Duration::ZERO);
}

/// The sticky worker did not come: the task goes to the normal queue, as a task of its own, so that the history shows why.
pub(super) fn time_out_sticky(draft: &mut Draft<'_>, run_id: &str) {
    let Some(task) = draft.run(run_id).task.clone() else { return };
    write_time_out(draft, run_id, &task, TimeoutType::ScheduleToStart);
    schedule(draft, run_id);
}

pub(super) fn write_time_out(draft: &mut Draft<'_>, run_id: &str, task: &WorkflowTask, kind: TimeoutType) {
    let attributes = WorkflowTaskTimedOutEventAttributes {
        scheduled_event_id: task.scheduled_event_id,
        started_event_id: task.started_event_id().unwrap_or(0),
        timeout_type: kind as i32,
    };
    draft.event(run_id, Attributes::WorkflowTaskTimedOutEventAttributes(attributes));
}

/// A caller wants the worker's cache forgotten.
pub(super) fn reset_sticky(workflow: &Workflow, run_id: &str, env: &Env<'_>) -> Result<Transition, Rejection> {
    let run = resolve(workflow, run_id, env)?;
    if !run.is_open() || run.core.sticky_queue.is_empty() {
        return Ok(unchanged(workflow, Reply::Done));
    }
    let run_id = run.core.run_id.clone();
    let mut draft = Draft::of(workflow, env);
    draft.fact(&run_id, Fact::Sticky(Sticky::default()));
    Ok(draft.finish(|_| Reply::Done))
}
