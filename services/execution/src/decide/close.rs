//! What follows a run that closes: a retry, the next run of its cron schedule, or nothing.

use api::temporal::api::common::v1::Payloads;
use api::temporal::api::enums::v1::RetryState;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::WorkflowExecutionStartedEventAttributes;

use crate::cron::Cron;
use crate::draft::RunDraft;
use crate::duration::from_wire;
use crate::retry::{NextAttempt, ResolvedRetry};
use crate::run_settings::{retried, scheduled_by_cron};

/// The run that follows.
pub(super) struct NextRun {
    pub(super) run_id: String,
    pub(super) start: WorkflowExecutionStartedEventAttributes,
}

/// After a completion only a cron schedule goes on.
pub(super) fn next_after_completion(run: &mut RunDraft<'_, '_>, result: Option<&Payloads>) -> Option<NextRun> {
    next_by_cron(run, result.cloned(), None)
}

/// After a failure or a run timeout: a retry, else the cron schedule.
pub(super) fn next_after_failure(run: &mut RunDraft<'_, '_>, failure: &Failure) -> (RetryState, Option<NextRun>) {
    let old = run.snapshot();
    let state = match &old.start.retry_policy {
        None => RetryState::RetryPolicyNotSet,
        Some(policy) => {
            let deadline = old.timeouts().execution_deadline;
            let now = run.now();
            match ResolvedRetry::of(policy).after(old.start.attempt, Some(failure), now, deadline) {
                NextAttempt::After(backoff) => {
                    let next = run.uuid();
                    let start = retried(&old, &next, failure, now, backoff);
                    return (RetryState::InProgress, Some(NextRun { run_id: next, start }));
                }
                NextAttempt::Never(state) => state,
            }
        }
    };
    (state, next_by_cron(run, None, Some(failure.clone())))
}

fn next_by_cron(run: &mut RunDraft<'_, '_>, result: Option<Payloads>, failure: Option<Failure>) -> Option<NextRun> {
    let old = run.snapshot();
    if old.start.cron_schedule.is_empty() {
        return None;
    }
    let cron = Cron::parse(&old.start.cron_schedule).ok()?;
    let now = run.now();
    let delay = from_wire(old.start.first_workflow_task_backoff.as_ref()).unwrap_or_default();
    let began = old.started_at() + delay;
    // A schedule names times of day.
    let ahead = run.env().now.since(run.env().wall.shows);
    let backoff = cron.backoff(began - ahead, now - ahead)?;
    if old.timeouts().execution_deadline.is_some_and(|deadline| now + backoff >= deadline) {
        return None;
    }
    let next = run.uuid();
    let start = scheduled_by_cron(&old, &next, backoff, result, failure);
    Some(NextRun { run_id: next, start })
}
