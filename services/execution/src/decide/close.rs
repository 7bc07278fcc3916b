//! What follows a run that closes: a retry, the next run of its cron schedule, or nothing.

use api::temporal::api::common::v1::Payloads;
use api::temporal::api::enums::v1::RetryState;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::WorkflowExecutionStartedEventAttributes;

use crate::cron::Cron;
use crate::draft::Draft;
use crate::duration::from_wire;
use crate::retry::{NextAttempt, ResolvedRetry};
use crate::run_settings::{retried, scheduled_by_cron};

/// The run that follows.
pub(super) struct NextRun {
    pub(super) run_id: String,
    pub(super) start: WorkflowExecutionStartedEventAttributes,
}

/// After a completion only a cron schedule goes on.
pub(super) fn next_after_completion(draft: &mut Draft<'_>, run_id: &str, result: Option<&Payloads>) -> Option<NextRun> {
    next_by_cron(draft, run_id, result.cloned(), None)
}

/// After a failure or a run timeout: a retry, else the cron schedule.
pub(super) fn next_after_failure(
    draft: &mut Draft<'_>,
    run_id: &str,
    failure: &Failure,
) -> (RetryState, Option<NextRun>) {
    let run = draft.run(run_id).clone();
    let state = match &run.start.retry_policy {
        None => RetryState::RetryPolicyNotSet,
        Some(policy) => {
            let deadline = run.timeouts().execution_deadline;
            let now = draft.time_in(run_id);
            match ResolvedRetry::of(policy).after(run.start.attempt, Some(failure), now, deadline) {
                NextAttempt::After(backoff) => {
                    let next = draft.uuid();
                    let start = retried(&run, &next, failure, now, backoff);
                    return (RetryState::InProgress, Some(NextRun { run_id: next, start }));
                }
                NextAttempt::Never(state) => state,
            }
        }
    };
    (state, next_by_cron(draft, run_id, None, Some(failure.clone())))
}

fn next_by_cron(
    draft: &mut Draft<'_>,
    run_id: &str,
    result: Option<Payloads>,
    failure: Option<Failure>,
) -> Option<NextRun> {
    let run = draft.run(run_id).clone();
    if run.start.cron_schedule.is_empty() {
        return None;
    }
    let cron = Cron::parse(&run.start.cron_schedule).ok()?;
    let now = draft.time_in(run_id);
    let delay = from_wire(run.start.first_workflow_task_backoff.as_ref()).unwrap_or_default();
    let began = run.started_at() + delay;
    // A schedule names times of day.
    let ahead = draft.env.now.since(draft.env.wall.shows);
    let backoff = cron.backoff(began - ahead, now - ahead)?;
    if run.timeouts().execution_deadline.is_some_and(|deadline| now + backoff >= deadline) {
        return None;
    }
    let next = draft.uuid();
    let start = scheduled_by_cron(&run, &next, backoff, result, failure);
    Some(NextRun { run_id: next, start })
}
