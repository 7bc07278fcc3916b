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

use super::{task, unchanged};
use crate::change::Fact;
use crate::draft::{Draft, resolve_open};
use crate::failure::kept_failure;
use crate::input::{ActivityFailure, ActivityResult, ActivitySelector, StartTask};
use crate::pending::{Activity, ActivityProgress, ActivityState, activity_state};
use crate::reply::{Rejection, Reply, Transition};
use crate::retry::NextAttempt;
use crate::run::Run;
use crate::{Env, Workflow};

/// A poller takes an attempt.
pub(super) fn start_attempt(workflow: &Workflow, start: StartTask, env: &Env<'_>) -> Result<Transition, Rejection> {
    let stale = || Ok(unchanged(workflow, Reply::Stale));
    let Ok(run) = resolve_open(workflow, &start.run_id, env) else { return stale() };
    let Some(activity) = run.activities.get(&start.scheduled_event_id) else { return stale() };
    let progress = &activity.progress;
    if progress.attempt != start.attempt {
        return stale();
    }
    match activity_state(activity) {
        ActivityState::Started if progress.request_id == start.request_id => {
            return Ok(unchanged(workflow, Reply::ActivityStarted { run: run.clone(), activity: activity.clone() }));
        }
        ActivityState::Started | ActivityState::BackingOff => return stale(),
        ActivityState::Waiting => {}
    }
    let mut draft = Draft::of(workflow, env);
    let progress = ActivityProgress {
        started_at: draft.time_in(&start.run_id).nanos(),
        request_id: start.request_id,
        identity: start.identity,
        ..progress.clone()
    };
    let id = start.scheduled_event_id;
    draft.fact(&start.run_id, Fact::moved(id, progress));
    Ok(draft.finish(|next| {
        let run = next.runs[&start.run_id].clone();
        let activity = run.activities[&id].clone();
        Reply::ActivityStarted { run, activity }
    }))
}

/// The activity that a worker speaks of, and its run, whether it is started or not.
fn pending<'w, T>(
    workflow: &'w Workflow,
    result: &ActivityResult<T>,
    env: &Env<'_>,
) -> Result<(&'w Arc<Run>, &'w Arc<Activity>), Rejection> {
    let run = resolve_open(workflow, &result.run_id, env)?;
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
fn started<'w, T>(
    workflow: &'w Workflow,
    result: &ActivityResult<T>,
    env: &Env<'_>,
) -> Result<(&'w Arc<Run>, &'w Arc<Activity>), Rejection> {
    let (run, activity) = pending(workflow, result, env)?;
    if activity_state(activity) == ActivityState::Started {
        return Ok((run, activity));
    }
    Err(Rejection::NotFound(NO_SUCH_ATTEMPT.to_owned()))
}

pub(super) fn complete(
    workflow: &Workflow,
    result: ActivityResult<Option<Payloads>>,
    env: &Env<'_>,
) -> Result<Transition, Rejection> {
    // By id, the result may come before anybody has started the activity, and between two attempts.
    let (run, activity) = pending(workflow, &result, env)?;
    let (run_id, mut activity) = (run.core.run_id.clone(), activity.clone());
    let mut draft = Draft::of(workflow, env);
    if activity_state(&activity) != ActivityState::Started {
        let progress = &mut Arc::make_mut(&mut activity).progress;
        progress.started_at = draft.time_in(&run_id).nanos();
        progress.identity.clone_from(&result.identity);
    }
    let started_event_id = write_started(&mut draft, &run_id, &activity, result.worker_version);
    let attributes = ActivityTaskCompletedEventAttributes {
        result: result.outcome,
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        identity: result.identity,
        ..ActivityTaskCompletedEventAttributes::default()
    };
    Ok(end(draft, &run_id, Attributes::ActivityTaskCompletedEventAttributes(attributes)))
}

pub(super) fn fail(
    workflow: &Workflow,
    result: ActivityResult<ActivityFailure>,
    env: &Env<'_>,
) -> Result<Transition, Rejection> {
    let (run, activity) = started(workflow, &result, env)?;
    let (run_id, activity) = (run.core.run_id.clone(), activity.clone());
    let ActivityFailure { failure, cause, heartbeat_details } = result.outcome;
    let mut failure = failure.unwrap_or_default();
    crate::cut_failure(&mut failure);
    let mut draft = Draft::of(workflow, env);
    let retry_state = match retry_after(&draft, &run_id, &activity, &failure) {
        Ok(due) => {
            try_again(&mut draft, &run_id, &activity, &failure, heartbeat_details, due);
            return Ok(draft.finish(|_| Reply::Done));
        }
        Err(state) => state,
    };
    let started_event_id = write_started(&mut draft, &run_id, &activity, result.worker_version);
    let attributes = ActivityTaskFailedEventAttributes {
        failure: Some(failure),
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        identity: result.identity,
        retry_state: retry_state as i32,
        cause,
        ..ActivityTaskFailedEventAttributes::default()
    };
    Ok(end(draft, &run_id, Attributes::ActivityTaskFailedEventAttributes(attributes)))
}

pub(super) fn accept_cancel(
    workflow: &Workflow,
    result: ActivityResult<Option<Payloads>>,
    env: &Env<'_>,
) -> Result<Transition, Rejection> {
    let (run, activity) = started(workflow, &result, env)?;
    if !activity.cancel_requested() {
        return Err(Rejection::InvalidArgument(format!(
            "unable to mark activity as canceled without activity being request canceled first: ActivityId is {:?}",
            activity.id()
        )));
    }
    let (run_id, activity) = (run.core.run_id.clone(), activity.clone());
    let mut draft = Draft::of(workflow, env);
    let started_event_id = write_started(&mut draft, &run_id, &activity, result.worker_version);
    let attributes = ActivityTaskCanceledEventAttributes {
        details: result.outcome,
        latest_cancel_requested_event_id: activity.progress.cancel_requested_event_id,
        scheduled_event_id: activity.scheduled_event_id,
        started_event_id,
        identity: result.identity,
        ..ActivityTaskCanceledEventAttributes::default()
    };
    Ok(end(draft, &run_id, Attributes::ActivityTaskCanceledEventAttributes(attributes)))
}

pub(super) fn heartbeat(
    workflow: &Workflow,
    result: ActivityResult<Option<Payloads>>,
    env: &Env<'_>,
) -> Result<Transition, Rejection> {
    let (run, activity) = started(workflow, &result, env)?;
    let run_id = run.core.run_id.clone();
    let cancel_requested = activity.cancel_requested();
    let mut draft = Draft::of(workflow, env);
    let progress = ActivityProgress {
        heartbeat_at: draft.time_in(&run_id).nanos(),
        heartbeat_details: result.outcome.or_else(|| activity.progress.heartbeat_details.clone()),
        ..activity.progress.clone()
    };
    let scheduled_event_id = activity.scheduled_event_id;
    draft.fact(&run_id, Fact::moved(scheduled_event_id, progress));
    Ok(draft.finish(|_| Reply::Heartbeat { cancel_requested }))
}

/// The started event is written only when the activity ends, with the attempt that ended it: none if that had not started.
/// 0 for none, and while it is buffered. It says which build reported the end.
pub(super) fn write_started(
    draft: &mut Draft<'_>,
    run_id: &str,
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
    draft.event(run_id, Attributes::ActivityTaskStartedEventAttributes(attributes))
}

fn end(mut draft: Draft<'_>, run_id: &str, closing: Attributes) -> Transition {
    draft.event(run_id, closing);
    task::wake_workflow(&mut draft, run_id);
    draft.finish(|_| Reply::Done)
}

/// When the next attempt is due, or why there is none.
pub(super) fn retry_after(
    draft: &Draft<'_>,
    run_id: &str,
    activity: &Activity,
    failure: &Failure,
) -> Result<Timestamp, RetryState> {
    if activity.cancel_requested() {
        return Err(RetryState::CancelRequested);
    }
    let retry = activity.retry().ok_or(RetryState::RetryPolicyNotSet)?;
    let now = draft.time_in(run_id);
    match retry.after(activity.progress.attempt, Some(failure), now, activity.close_deadline()) {
        NextAttempt::After(wait) => Ok(now + wait),
        NextAttempt::Never(state) => Err(state),
    }
}

/// Another attempt, due at `due`.
pub(super) fn try_again(
    draft: &mut Draft<'_>,
    run_id: &str,
    activity: &Activity,
    failure: &Failure,
    details: Option<Payloads>,
    due: Timestamp,
) {
    let now = draft.time_in(run_id);
    let old = &activity.progress;
    let progress = ActivityProgress {
        attempt: old.attempt + 1,
        scheduled_at: due.nanos(),
        started_at: 0,
        request_id: String::new(),
        identity: old.identity.clone(),
        heartbeat_at: if details.is_some() { now.nanos() } else { old.heartbeat_at },
        heartbeat_details: details.or_else(|| old.heartbeat_details.clone()),
        last_failure: Some(kept_failure(failure, draft.env.limits.kept_failure_bytes)),
        last_attempt_ended_at: now.nanos(),
        cancel_requested_event_id: old.cancel_requested_event_id,
        kept: false,
        due: due <= now,
    };
    let scheduled_event_id = activity.scheduled_event_id;
    draft.fact(run_id, Fact::moved(scheduled_event_id, progress));
}
