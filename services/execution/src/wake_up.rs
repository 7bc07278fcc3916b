//! The next instant at which a workflow must be looked at again.

use api::temporal::api::enums::v1::TimeoutType;
use ids::{Timestamp, WallClock};

use crate::duration::from_wire;
use crate::pending::{Activity, ActivityState, activity_state};
use crate::run::Run;
use crate::workflow::Workflow;
use crate::workflow_task::WorkflowTask;

/// The nearest deadline; `None` when time alone changes nothing.
pub fn next_wake_up(workflow: &Workflow) -> Option<Timestamp> {
    let of_run = |run: &Run| {
        let pending = [run.activities.earliest(), run.timers.earliest()].into_iter().flatten();
        pending.chain(own_deadlines(run).map(|deadline| deadline.at)).min()
    };
    open_runs(workflow).filter_map(of_run).min()
}

/// When to look again at a workflow of which something is due, but waits for the wall clock; `None` if nothing does.
pub fn held_until(workflow: &Workflow, now: Timestamp, wall: WallClock) -> Option<Timestamp> {
    let mut is_held = false;
    let look = |deadline: Deadline| match deadline.set_at {
        Some(set_at) if deadline.at <= now && !wall.has_come_to(deadline.at, set_at) => {
            is_held = true;
            now + deadline.at.since(wall.shows)
        }
        _ => deadline.at,
    };
    let later = |run: &Run| [run.activities.earliest_after(now), run.timers.earliest_after(now)];
    let later = open_runs(workflow).flat_map(later).flatten().min();
    let due = open_runs(workflow).flat_map(|run| own_deadlines(run).chain(due_deadlines(run, now)));
    let next = due.map(look).chain(later).min();
    next.filter(|_| is_held)
}

fn open_runs(workflow: &Workflow) -> impl Iterator<Item = &Run> {
    workflow.runs.values().map(|run| &**run).filter(|run| run.is_open())
}

/// Something that happens when its time has come.
struct Deadline {
    at: Timestamp,
    /// When it was set, if it waits for the wall clock too.
    set_at: Option<Timestamp>,
}

/// Those of a run itself and of its workflow task.
fn own_deadlines(run: &Run) -> impl Iterator<Item = Deadline> {
    let timeouts = run.timeouts();
    let task = run.task.as_ref().and_then(WorkflowTask::next_deadline);
    let timeouts = [timeouts.run_deadline, timeouts.execution_deadline, task].into_iter().flatten();
    let first_task = (run.core.first_task_at != 0).then(|| Deadline {
        at: Timestamp::from_nanos(run.core.first_task_at),
        set_at: Some(Timestamp::from_nanos(run.core.started_at)),
    });
    timeouts.map(|at| Deadline { at, set_at: None }).chain(first_task)
}

/// Those of activities and timers that are due.
fn due_deadlines(run: &Run, now: Timestamp) -> impl Iterator<Item = Deadline> {
    let activities = run.activities.due(now).into_iter().filter_map(|activity| activity_deadline(activity));
    let timers = run.timers.due(now).into_iter();
    let activities = activities.map(|(at, _)| Deadline { at, set_at: None });
    activities.chain(timers.map(|timer| Deadline {
        at: Timestamp::from_nanos(timer.fires_at),
        set_at: Some(Timestamp::from_nanos(timer.set_at)),
    }))
}

/// What happens to an activity at its next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActivityDeadline {
    /// Its backoff ends.
    Due,
    /// It times out.
    TimedOut(TimeoutType),
}

/// An activity's next deadline. Of equal ones schedule-to-start counts before schedule-to-close, which counts before the
/// others: as in the public server.
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
    let is_start = |kind: ActivityDeadline| kind == ActivityDeadline::TimedOut(TimeoutType::ScheduleToStart);
    [close].into_iter().chain(narrow).flatten().min_by_key(|(at, kind)| (*at, !is_start(*kind)))
}
