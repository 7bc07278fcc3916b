//! Whatever is pending is owed, or has a deadline that the next wake-up does not miss, or is held by a worker or workflow that
//! will answer. And new events never wait without a workflow task that will bring them to a worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::temporal::api::history::v1::history_event::Attributes as A;
use execution::{
    Activity, ActivityState, Run, Workflow, activity_state, next_wake_up, obligation, obligations, owed_changes,
};
use ids::Timestamp;

/// Checks every run in memory.
pub fn balance(workflow: &Workflow) -> Result<(), String> {
    let owed = obligations(workflow);
    let ids: BTreeSet<String> = owed.iter().map(ToString::to_string).collect();
    if ids.len() != owed.len() {
        return Err(format!("two obligations have one id: {owed:?}"));
    }
    if let Some(id) = owed.iter().find(|id| obligation(workflow, id).is_none()) {
        return Err(format!("{id} is owed, but its content is missing"));
    }
    let accounts = Accounts { owed: ids, wake: next_wake_up(workflow) };
    for run in workflow.runs.values() {
        accounts.of_run(run).map_err(|broken| format!("{broken}\n{run:?}"))?;
    }
    Ok(())
}

/// What a step says of what is owed is what all that is owed comes to.
pub fn follow(before: &Workflow, after: &Workflow) -> Result<(), String> {
    let changes = owed_changes(before, after);
    let mut owed: BTreeSet<_> = obligations(before).into_iter().collect();
    let settled = changes.settled.iter().all(|id| owed.remove(id));
    let fresh = changes.fresh.iter().all(|id| owed.insert(id.clone()));
    if settled && fresh && owed == obligations(after).into_iter().collect() {
        return Ok(());
    }
    Err(format!("owed before: {:?}\nafter: {:?}\nbut {changes:?}", obligations(before), obligations(after)))
}

struct Accounts {
    owed: BTreeSet<String>,
    wake: Option<Timestamp>,
}

impl Accounts {
    fn of_run(&self, run: &Run) -> Result<(), String> {
        let id = &run.core.run_id;
        if run.is_open() {
            let deadlines = run.timeouts();
            for deadline in [deadlines.run_deadline, deadlines.execution_deadline].into_iter().flatten() {
                self.awaited("the run's end", deadline)?;
            }
            self.task(run)?;
            for activity in run.activities.values() {
                self.activity(run, activity)?;
            }
            for timer in run.timers.values() {
                self.awaited("a timer", Timestamp::from_nanos(timer.fires_at))?;
            }
        } else {
            if run.core.owes_parent {
                self.is_owed("word to the parent", format!("p/{id}"))?;
            }
            if run.core.owes_parent && !run.core.next_run_id.is_empty() {
                return Err("the parent would be notified of a run that is followed by another".to_owned());
            }
            let something = self.owed.iter().any(|owed| owed.split('/').nth(1) == Some(id));
            if something == run.is_finished() {
                return Err(format!("the closed run owes something: {something}"));
            }
        }
        if !run.is_open() {
            let started = run.children.values().filter(|child| child.is_started());
            let mut releases = started.map(|child| format!("r/{id}/{}", child.initiated_event_id));
            releases.try_for_each(|release| self.is_owed("a child's release", release))?;
        }
        self.relations(run)
    }

    /// Messages to other workflows are owed to each of them in order: the first, and nothing else until it is answered.
    fn relations(&self, run: &Run) -> Result<(), String> {
        let id = &run.core.run_id;
        let mut heard_first = BTreeMap::new();
        let mut all: Vec<_> = run.unanswered().collect();
        all.sort_unstable();
        for (event, target) in all {
            let first = *heard_first.entry(target).or_insert(event);
            let owed = ["c", "s", "x"].iter().any(|kind| self.owed.contains(format!("{kind}/{id}/{event}").as_str()));
            if owed != (first == event) {
                return Err(format!(
                    "of the messages to {target}, event {first} is the first, {event} is owed: {owed}"
                ));
            }
        }
        Ok(())
    }

    fn task(&self, run: &Run) -> Result<(), String> {
        let Some(task) = &run.task else {
            if run.core.first_task_at != 0 {
                return self.awaited("the first task", Timestamp::from_nanos(run.core.first_task_at));
            }
            return nothing_unheard(run);
        };
        if let Some(deadline) = task.deadline() {
            return self.awaited("a started task", deadline);
        }
        if let Some(until) = task.backoff_until() {
            return self.awaited("a delayed task", until);
        }
        if let Some(until) = task.sticky_until() {
            self.awaited("a sticky task", until)?;
            if run.core.sticky_queue.is_empty() {
                return Err("a sticky task has no queue".to_owned());
            }
        }
        if task.is_backlogged() {
            return Ok(());
        }
        let (id, event) = (&run.core.run_id, task.scheduled_event_id);
        self.is_owed("a task's offer", format!("w/{id}/{event}/{}/{}", task.attempt, task.stamp))
    }

    fn activity(&self, run: &Run, activity: &Activity) -> Result<(), String> {
        let progress = &activity.progress;
        let after = |at: i64, timeout: &Option<prost_types::Duration>| {
            let timeout = timeout.filter(|timeout| timeout.seconds > 0 || timeout.nanos > 0)?;
            Some(Timestamp::from_nanos(at) + Duration::new(timeout.seconds as u64, timeout.nanos as u32))
        };
        let schedule = &activity.schedule;
        let mut deadlines = vec![after(activity.first_scheduled_at, &schedule.schedule_to_close_timeout)];
        match activity_state(activity) {
            ActivityState::BackingOff => deadlines.push(Some(Timestamp::from_nanos(progress.scheduled_at))),
            ActivityState::Waiting => {
                deadlines.push(after(progress.scheduled_at, &schedule.schedule_to_start_timeout));
                if !progress.persisted {
                    let (id, event) = (&run.core.run_id, activity.scheduled_event_id);
                    self.is_owed("an activity's offer", format!("a/{id}/{event}/{}", progress.attempt))?;
                }
            }
            ActivityState::Started => {
                let close = after(progress.started_at, &schedule.start_to_close_timeout);
                deadlines.push(Some(close.ok_or("a started activity may take for ever")?));
                let alive = progress.started_at.max(progress.heartbeat_at);
                deadlines.push(after(alive, &schedule.heartbeat_timeout));
            }
        }
        deadlines.into_iter().flatten().try_for_each(|deadline| self.awaited("an activity", deadline))
    }

    fn awaited(&self, what: &str, deadline: Timestamp) -> Result<(), String> {
        if self.wake.is_some_and(|wake| wake <= deadline) {
            return Ok(());
        }
        Err(format!("{what} is due at {deadline}, the next wake-up is {:?}", self.wake))
    }

    fn is_owed(&self, what: &str, id: String) -> Result<(), String> {
        if self.owed.contains(id.as_str()) { Ok(()) } else { Err(format!("{what} is not owed: {id}")) }
    }
}

/// Without a task, everything since the last completed one is that worker's own doing.
fn nothing_unheard(run: &Run) -> Result<(), String> {
    let events = run.batches.values().flat_map(|batch| batch.events()).rev();
    for event in events {
        match &event.attributes {
            Some(A::WorkflowTaskCompletedEventAttributes(_)) => return Ok(()),
            Some(
                A::ActivityTaskScheduledEventAttributes(_)
                | A::ActivityTaskCancelRequestedEventAttributes(_)
                | A::TimerStartedEventAttributes(_)
                | A::TimerCanceledEventAttributes(_)
                | A::StartChildWorkflowExecutionInitiatedEventAttributes(_)
                | A::SignalExternalWorkflowExecutionInitiatedEventAttributes(_)
                | A::RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(_)
                | A::MarkerRecordedEventAttributes(_)
                | A::UpsertWorkflowSearchAttributesEventAttributes(_)
                | A::WorkflowPropertiesModifiedEventAttributes(_)
                | A::WorkflowExecutionUpdateAcceptedEventAttributes(_)
                | A::WorkflowExecutionUpdateCompletedEventAttributes(_)
                | A::WorkflowExecutionOptionsUpdatedEventAttributes(_),
            ) => {}
            _ => return Err(format!("no task will bring event {} to a worker", event.event_id)),
        }
    }
    Ok(())
}
