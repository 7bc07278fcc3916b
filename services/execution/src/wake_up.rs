//! The next instant at which a workflow must be looked at again.

use api::temporal::api::enums::v1::TimeoutType;
use ids::Timestamp;

use crate::duration::from_wire;
use crate::pending::{Activity, ActivityState, activity_state};
use crate::run::Run;
use crate::workflow::Workflow;

/// The nearest deadline; `None` when time alone changes nothing.
pub fn next_wake_up(workflow: &Workflow) -> Option<Timestamp> {
    workflow.runs.values().filter(|run| run.is_open()).filter_map(|run| next_of(run)).min()
}

fn next_of(run: &Run) -> Option<Timestamp> {
    let timeouts = run.timeouts();
    let first_task = (run.core.first_task_at != 0).then(|| Timestamp::from_nanos(run.core.first_task_at));
    let task = run.core.task.as_ref().and_then(|task| {
        if task.is_started() {
            task.deadline()
        } else if task.not_before != 0 {
            Some(Timestamp::from_nanos(task.not_before))
        } else {
            task.sticky.then(|| Timestamp::from_nanos(task.sticky_deadline))
        }
    });
    let timers = run.timers.values().map(|timer| Timestamp::from_nanos(timer.fires_at));
    let activities = run.activities.values().filter_map(|activity| Some(activity_deadline(activity)?.0));
    [timeouts.run_deadline, timeouts.execution_deadline, first_task, task]
        .into_iter()
        .flatten()
        .chain(timers)
        .chain(activities)
        .min()
}

/// What happens to an activity at its next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActivityDeadline {
    /// Its backoff ends.
    Due,
    /// It times out.
    TimedOut(TimeoutType),
}

/// An activity's next deadline. Of equal ones the wider timeout counts.
pub(crate) fn activity_deadline(activity: &Activity) -> Option<(Timestamp, ActivityDeadline)> {
    let progress = &activity.progress;
    let after = |at: i64, timeout: Option<&prost_types::Duration>| {
        from_wire(timeout).map(|timeout| Timestamp::from_nanos(at) + timeout)
    };
    let schedule = &activity.schedule;
    let narrow: [Option<(Timestamp, ActivityDeadline)>; 2] = match activity_state(activity) {
        ActivityState::BackingOff => {
            [Some((Timestamp::from_nanos(progress.scheduled_at), ActivityDeadline::Due)), None]
        }
        ActivityState::Waiting => [
            after(progress.scheduled_at, schedule.schedule_to_start_timeout.as_ref())
                .map(|at| (at, ActivityDeadline::TimedOut(TimeoutType::ScheduleToStart))),
            None,
        ],
        ActivityState::Started => [
            after(progress.started_at, schedule.start_to_close_timeout.as_ref())
                .map(|at| (at, ActivityDeadline::TimedOut(TimeoutType::StartToClose))),
            after(progress.started_at.max(progress.heartbeat_at), schedule.heartbeat_timeout.as_ref())
                .map(|at| (at, ActivityDeadline::TimedOut(TimeoutType::Heartbeat))),
        ],
    };
    let close = activity.close_deadline().map(|at| (at, ActivityDeadline::TimedOut(TimeoutType::ScheduleToClose)));
    [close].into_iter().chain(narrow).flatten().min_by_key(|(at, _)| *at)
}
