//! What is due: timers, timeouts, retries, and a run that has outgrown its limits.

use std::sync::Arc;

use api::temporal::api::enums::v1::{RetryState, TimeoutType};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ActivityTaskTimedOutEventAttributes, TimerFiredEventAttributes, WorkflowExecutionTimedOutEventAttributes,
};
use ids::Timestamp;

use super::answer::{Decision, changed};
use super::cancel::end_now;
use super::close::{NextRun, next_after_failure};
use super::start::begin_next;
use super::target::Target;
use super::{activity, task};
use crate::Env;
use crate::change::{Empty, Fact};
use crate::draft::{EventMetadata, RunDraft};
use crate::failure::{timeout_failure, workflow_timeout_failure};
use crate::pending::{Activity, ActivityProgress, Timer};
use crate::wake_up::{ActivityDeadline, activity_deadline};

/// Does all that is due, run by run, in the order of what depends on what.
pub(super) fn wake_up(on: Target<'_>) -> Decision<'_, ()> {
    let mut draft = on.draft();
    for (run_id, _) in on.workflow.runs.iter().filter(|(_, run)| run.is_open()) {
        let mut run = draft.at(run_id);
        if time_out_run(&mut run) {
            continue;
        }
        fire_timers(&mut run);
        wake_activities(&mut run);
        wake_task(&mut run);
    }
    changed(draft, ())
}

/// Ends a run whose time is up; whether it was.
fn time_out_run(run: &mut RunDraft<'_, '_>) -> bool {
    let timeouts = run.timeouts();
    let now = run.env().now;
    let due = |deadline: Option<Timestamp>| deadline.is_some_and(|deadline| deadline <= now);
    let (state, next) = if due(timeouts.execution_deadline) {
        (RetryState::Timeout, None)
    } else if due(timeouts.run_deadline) {
        next_after_failure(run, &workflow_timeout_failure())
    } else {
        return false;
    };
    let attributes = WorkflowExecutionTimedOutEventAttributes {
        retry_state: state as i32,
        new_execution_run_id: next.as_ref().map(|next: &NextRun| next.run_id.clone()).unwrap_or_default(),
    };
    end_now(run, Attributes::WorkflowExecutionTimedOutEventAttributes(attributes), EventMetadata::default());
    if let Some(next) = next {
        begin_next(run, next);
    }
    true
}

fn fire_timers(run: &mut RunDraft<'_, '_>) {
    let Env { now, wall, .. } = *run.env();
    let has_come =
        |timer: &Timer| wall.has_come_to(Timestamp::from_nanos(timer.fires_at), Timestamp::from_nanos(timer.set_at));
    let due = run.timers.due(now).into_iter();
    let mut due: Vec<_> = due.filter(|timer| has_come(timer)).cloned().collect();
    due.sort_by_key(|timer| (timer.fires_at, timer.started_event_id));
    let has_new_events = !due.is_empty();
    for timer in due {
        let attributes =
            TimerFiredEventAttributes { timer_id: timer.timer_id.clone(), started_event_id: timer.started_event_id };
        run.event(Attributes::TimerFiredEventAttributes(attributes));
    }
    if has_new_events {
        task::wake_workflow(run);
    }
}

fn wake_activities(run: &mut RunDraft<'_, '_>) {
    let now = run.env().now;
    let due = run.activities.due(now).into_iter();
    let due: Vec<(Arc<Activity>, ActivityDeadline)> =
        due.filter_map(|activity| Some((activity.clone(), activity_deadline(activity)?.1))).collect();
    for (activity, deadline) in due {
        match deadline {
            ActivityDeadline::Due => {
                let progress = ActivityProgress { due: true, ..activity.progress.clone() };
                run.fact(Fact::moved(activity.scheduled_event_id, progress));
            }
            ActivityDeadline::TimedOut(kind) => time_out_activity(run, &activity, kind),
        }
    }
}

fn time_out_activity(run: &mut RunDraft<'_, '_>, activity: &Activity, kind: TimeoutType) {
    let progress = &activity.progress;
    let failure = timeout_failure(kind, progress.heartbeat_details.clone(), progress.last_failure.clone());
    let (state, failure) = match kind {
        TimeoutType::ScheduleToClose | TimeoutType::ScheduleToStart => (RetryState::Timeout, failure),
        _ => match activity::retry_after(run, activity, &failure) {
            // Of an attempt that is followed by another only the kind of its timeout is kept.
            Ok(due) => {
                let kept = timeout_failure(kind, None, None);
                return activity::try_again(run, activity, &kept, None, due);
            }
            Err(RetryState::Timeout) => {
                let attempt = Failure { cause: None, ..failure };
                (RetryState::Timeout, no_time_to_retry(progress, attempt))
            }
            Err(state) => (state, failure),
        },
    };
    let started_event_id = activity::write_started(run, activity, None);
    let attributes = ActivityTaskTimedOutEventAttributes {
        failure: Some(failure),
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        retry_state: state as i32,
    };
    run.event(Attributes::ActivityTaskTimedOutEventAttributes(attributes));
    task::wake_workflow(run);
}

/// The attempt has timed out, and another one would end after the time for all of them: that is what counts.
fn no_time_to_retry(progress: &ActivityProgress, attempt: Failure) -> Failure {
    let details = progress.heartbeat_details.clone();
    Failure {
        message: "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
            .to_owned(),
        ..timeout_failure(TimeoutType::ScheduleToClose, details, Some(attempt))
    }
}

fn wake_task(run: &mut RunDraft<'_, '_>) {
    let Env { now, wall, .. } = *run.env();
    let first_task_at = Timestamp::from_nanos(run.core.first_task_at);
    let is_first_due = first_task_at <= now && wall.has_come_to(first_task_at, run.started_at());
    if run.core.first_task_at != 0 && is_first_due {
        run.fact(Fact::FirstTaskAt(0));
        task::wake_workflow(run);
        return;
    }
    // What came in just now may have scheduled another task than the one that is due.
    let Some(task) = &run.task else { return };
    let is_due = |deadline: Option<Timestamp>| deadline.is_some_and(|deadline| deadline <= now);
    if is_due(task.deadline()) {
        task::time_out(run);
    } else if is_due(task.sticky_until()) {
        task::time_out_sticky(run);
    } else if is_due(task.backoff_until()) {
        run.fact(Fact::TransientDue(Empty {}));
    }
}
