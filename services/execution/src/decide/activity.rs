//! Activities: attempts start, report, end, and are tried again. Attempts that are retried leave no events.

use std::sync::Arc;

use api::temporal::api::common::v1::{Payloads, WorkerVersionStamp};
use api::temporal::api::enums::v1::RetryState;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ActivityTaskCanceledEventAttributes, ActivityTaskCompletedEventAttributes, ActivityTaskFailedEventAttributes,
    ActivityTaskStartedEventAttributes,
};
use ids::Timestamp;

use super::answer::{Decision, changed, changed_run, unchanged};
use super::target::Target;
use super::task;
use crate::change::Fact;
use crate::draft::RunDraft;
use crate::failure::kept_failure;
use crate::input::{ActivityFailure, ActivityResult, ActivitySelector, StartTask};
use crate::pending::{Activity, ActivityProgress, ActivityState, activity_state};
use crate::reply::{ActivityTaken, HeartbeatNoted, Rejection};
use crate::retry::NextAttempt;
use crate::run::Run;

/// A poller takes an attempt.
pub(super) fn start_attempt(on: Target<'_>, start: StartTask) -> Decision<'_, ActivityTaken> {
    let Some(before) = on.find_open() else { return unchanged(ActivityTaken::Stale) };
    let id = start.task.scheduled_event_id;
    let of_attempt = |activity: &&Arc<Activity>| activity.progress.attempt == start.task.attempt;
    let Some(activity) = before.activities.get(&id).filter(of_attempt) else {
        return unchanged(ActivityTaken::Stale);
    };
    match activity_state(activity) {
        ActivityState::Started if activity.progress.request_id == start.request_id => {
            return unchanged(ActivityTaken::Started { run: before.clone(), activity: activity.clone() });
        }
        ActivityState::Started | ActivityState::BackingOff => return unchanged(ActivityTaken::Stale),
        ActivityState::Waiting => {}
    }
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    let progress = ActivityProgress {
        started_at: run.now().nanos(),
        request_id: start.request_id,
        identity: start.identity,
        ..activity.progress.clone()
    };
    run.fact(Fact::moved(id, progress));
    changed_run(draft, before.core.run_id.clone(), move |run| {
        let activity = run.activities[&id].clone();
        ActivityTaken::Started { run: run.clone(), activity }
    })
}

/// The activity that a worker speaks of, and its run, whether it is started or not.
fn pending<'a, T>(on: Target<'a>, result: &ActivityResult<T>) -> Result<(&'a Arc<Run>, &'a Arc<Activity>), Rejection> {
    let run = on.resolve_open()?;
    let (activity, attempt) = match &result.activity {
        ActivitySelector::Attempt { scheduled_event_id, attempt } => {
            (run.activities.get(scheduled_event_id), Some(*attempt))
        }
        ActivitySelector::Id(id) => (run.activity_by_id(id), None),
    };
    let activity = activity.ok_or_else(|| gone(&result.activity))?;
    let is_started = activity_state(activity) == ActivityState::Started;
    // Who has a token had a started attempt, and this must be the one.
    let named = attempt.is_none_or(|attempt| attempt == activity.progress.attempt && is_started);
    if named { Ok((run, activity)) } else { Err(gone(&result.activity)) }
}

/// The texts are the public server's: people know them.
fn gone(activity: &ActivitySelector) -> Rejection {
    Rejection::NotFound(match activity {
        ActivitySelector::Attempt { .. } => NO_SUCH_ATTEMPT.to_owned(),
        ActivitySelector::Id(id) => {
            format!(
                "cannot find pending activity with ActivityID {id}, check workflow execution history for more details"
            )
        }
    })
}

const NO_SUCH_ATTEMPT: &str = "invalid activityID or activity already timed out or invoking workflow is completed";

/// The same, for what only a started attempt can report.
fn started<'a, T>(on: Target<'a>, result: &ActivityResult<T>) -> Result<(&'a Arc<Run>, &'a Arc<Activity>), Rejection> {
    let (run, activity) = pending(on, result)?;
    if activity_state(activity) == ActivityState::Started {
        return Ok((run, activity));
    }
    Err(Rejection::NotFound(NO_SUCH_ATTEMPT.to_owned()))
}

pub(super) fn complete(on: Target<'_>, result: ActivityResult<Option<Payloads>>) -> Decision<'_, ()> {
    // By id, the result may come before the activity is started, and between two attempts.
    let (before, activity) = pending(on, &result)?;
    let mut activity = activity.clone();
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    if activity_state(&activity) != ActivityState::Started {
        let progress = &mut Arc::make_mut(&mut activity).progress;
        progress.started_at = run.now().nanos();
        progress.identity.clone_from(&result.identity);
    }
    let started_event_id = write_started(&mut run, &activity, result.worker_version);
    let attributes = ActivityTaskCompletedEventAttributes {
        result: result.outcome,
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        identity: result.identity,
        ..ActivityTaskCompletedEventAttributes::default()
    };
    end(&mut run, Attributes::ActivityTaskCompletedEventAttributes(attributes));
    changed(draft, ())
}

pub(super) fn fail(on: Target<'_>, result: ActivityResult<ActivityFailure>) -> Decision<'_, ()> {
    let (before, activity) = started(on, &result)?;
    let ActivityFailure { failure, cause, heartbeat_details } = result.outcome;
    let mut failure = failure.unwrap_or_default();
    crate::cut_failure(&mut failure);
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    let retry_state = match retry_after(&run, activity, &failure) {
        Ok(due) => {
            try_again(&mut run, activity, &failure, heartbeat_details, due);
            return changed(draft, ());
        }
        Err(state) => state,
    };
    let started_event_id = write_started(&mut run, activity, result.worker_version);
    let attributes = ActivityTaskFailedEventAttributes {
        failure: Some(failure),
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        identity: result.identity,
        retry_state: retry_state as i32,
        cause,
        ..ActivityTaskFailedEventAttributes::default()
    };
    end(&mut run, Attributes::ActivityTaskFailedEventAttributes(attributes));
    changed(draft, ())
}

pub(super) fn accept_cancel(on: Target<'_>, result: ActivityResult<Option<Payloads>>) -> Decision<'_, ()> {
    let (before, activity) = started(on, &result)?;
    if !activity.cancel_requested() {
        return Err(Rejection::InvalidArgument(format!(
            "unable to mark activity as canceled without activity being request canceled first: ActivityId is {:?}",
            activity.id()
        )));
    }
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    let started_event_id = write_started(&mut run, activity, result.worker_version);
    let attributes = ActivityTaskCanceledEventAttributes {
        details: result.outcome,
        latest_cancel_requested_event_id: activity.progress.cancel_requested_event_id,
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        identity: result.identity,
        ..ActivityTaskCanceledEventAttributes::default()
    };
    end(&mut run, Attributes::ActivityTaskCanceledEventAttributes(attributes));
    changed(draft, ())
}

pub(super) fn heartbeat(on: Target<'_>, result: ActivityResult<Option<Payloads>>) -> Decision<'_, HeartbeatNoted> {
    let (before, activity) = started(on, &result)?;
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    let progress = ActivityProgress {
        heartbeat_at: run.now().nanos(),
        heartbeat_details: result.outcome.or_else(|| activity.progress.heartbeat_details.clone()),
        ..activity.progress.clone()
    };
    run.fact(Fact::moved(activity.scheduled_event_id, progress));
    changed(draft, HeartbeatNoted { cancel_requested: activity.cancel_requested() })
}

/// The started event is written only when the activity ends, with the attempt that ended it: none if that had not started.
/// 0 for none, and while it is buffered. It says which build reported the end.
pub(super) fn write_started(
    run: &mut RunDraft<'_, '_>,
    activity: &Activity,
    worker_version: Option<WorkerVersionStamp>,
) -> i64 {
    let progress = &activity.progress;
    if progress.started_at == 0 {
        return 0;
    }
    let attributes = ActivityTaskStartedEventAttributes {
        scheduled_event_id: activity.scheduled_event_id,
        identity: progress.identity.clone(),
        request_id: progress.request_id.clone(),
        attempt: progress.attempt,
        last_failure: progress.last_failure.clone(),
        worker_version,
        ..ActivityTaskStartedEventAttributes::default()
    };
    run.event(Attributes::ActivityTaskStartedEventAttributes(attributes))
}

fn end(run: &mut RunDraft<'_, '_>, closing: Attributes) {
    run.event(closing);
    task::wake_workflow(run);
}

/// When the next attempt is due, or why there is none.
pub(super) fn retry_after(
    run: &RunDraft<'_, '_>,
    activity: &Activity,
    failure: &Failure,
) -> Result<Timestamp, RetryState> {
    if activity.cancel_requested() {
        return Err(RetryState::CancelRequested);
    }
    let retry = activity.retry().ok_or(RetryState::RetryPolicyNotSet)?;
    let now = run.now();
    match retry.after(activity.progress.attempt, Some(failure), now, activity.close_deadline()) {
        NextAttempt::After(wait) => Ok(now + wait),
        NextAttempt::Never(state) => Err(state),
    }
}

/// Another attempt, due at `due`.
pub(super) fn try_again(
    run: &mut RunDraft<'_, '_>,
    activity: &Activity,
    failure: &Failure,
    details: Option<Payloads>,
    due: Timestamp,
) {
    let now = run.now();
    let old = &activity.progress;
    let progress = ActivityProgress {
        attempt: old.attempt + 1,
        scheduled_at: due.nanos(),
        started_at: 0,
        request_id: String::new(),
        identity: old.identity.clone(),
        heartbeat_at: if details.is_some() { now.nanos() } else { old.heartbeat_at },
        heartbeat_details: details.or_else(|| old.heartbeat_details.clone()),
        last_failure: Some(kept_failure(failure, run.env().limits.kept_failure_bytes)),
        last_attempt_ended_at: now.nanos(),
        cancel_requested_event_id: old.cancel_requested_event_id,
        persisted: false,
        due: due <= now,
    };
    run.fact(Fact::moved(activity.scheduled_event_id, progress));
}
