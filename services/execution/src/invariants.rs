//! What holds of every workflow after every change. Used by tests, by simulation, and in debug builds after each step.

use crate::pending::{ActivityState, activity_state};
use crate::{Run, Workflow};

/// Checks everything; the error names the first rule that is broken.
pub fn invariants(workflow: &Workflow) -> Result<(), String> {
    let open: Vec<&str> =
        workflow.runs.values().filter(|run| run.is_open()).map(|run| run.core.run_id.as_str()).collect();
    if open.len() > 1 {
        return Err(format!("more than one open run: {open:?}"));
    }
    if let Some(run_id) = open.first()
        && *run_id != workflow.chain.current_run_id
    {
        return Err(format!("run {run_id} is open but not current"));
    }
    for run in workflow.runs.values() {
        of_run(run).map_err(|broken| format!("run {}: {broken}", run.core.run_id))?;
        let live = workflow.chain.live_runs.contains(&run.core.run_id);
        if live == run.is_finished() {
            return Err(format!("run {} is live: {live}, finished: {}", run.core.run_id, run.is_finished()));
        }
    }
    Ok(())
}

fn of_run(run: &Run) -> Result<(), String> {
    history_is_contiguous(run)?;
    indexes_follow(run)?;
    task_fits_history(run)?;
    updates_are_apart(run)?;
    if !run.is_open() && !run.reapplied_updates.is_empty() {
        return Err("updates wait for a closed run".to_owned());
    }
    if !run.is_open() && (!run.activities.is_empty() || !run.timers.is_empty() || !run.buffered.is_empty()) {
        return Err("a closed run has something pending".to_owned());
    }
    if run.task.as_ref().is_none_or(|task| !task.is_started() || task.is_speculative()) && !run.buffered.is_empty() {
        return Err("events are buffered although no worker has the workflow task".to_owned());
    }
    for activity in run.activities.values() {
        if activity_state(activity) == ActivityState::Started && activity.progress.request_id.is_empty() {
            return Err(format!("activity {} is started by no poller", activity.scheduled_event_id));
        }
    }
    Ok(())
}

/// An update is in one place, and one that waits has a task to wait for, or a time.
fn updates_are_apart(run: &Run) -> Result<(), String> {
    if let Some(id) = run.accepted_updates.keys().find(|id| run.completed_updates.contains_key(id)) {
        return Err(format!("update {id} is completed and waits for that"));
    }
    let is_known = |id: &str| run.accepted_updates.contains_key(id) || run.completed_updates.contains_key(id);
    if let Some(admitted) = run.volatile.admitted.iter().find(|admitted| is_known(&admitted.id)) {
        return Err(format!("update {} is accepted and waits for that", admitted.id));
    }
    if let Some(id) = run.reapplied_updates.keys().find(|id| is_known(id) || run.volatile.find(id).is_some()) {
        return Err(format!("update {id} was admitted by an event and is known otherwise"));
    }
    if run.volatile.admitted.is_empty() || run.task.is_some() || run.core.first_task_at != 0 {
        return Ok(());
    }
    Err("updates wait for a workflow task that is not there".to_owned())
}

fn history_is_contiguous(run: &Run) -> Result<(), String> {
    let mut expected = run.first_event_in_memory();
    for batch in run.batches.values() {
        if batch.first_event_id != expected {
            return Err(format!("event {} in memory where {expected} was expected", batch.first_event_id));
        }
        expected = batch.last_event_id() + 1;
    }
    if expected == run.core.next_event_id {
        return Ok(());
    }
    Err(format!("history in memory ends before {expected}, the next event is {}", run.core.next_event_id))
}

fn indexes_follow(run: &Run) -> Result<(), String> {
    let (kept, wanted) = (&run.indexes, run.index());
    if kept.activities != wanted.activities || kept.unanswered != wanted.unanswered {
        return Err(format!("the indexes are {kept:?} where {wanted:?} follows from what is pending"));
    }
    Ok(())
}

fn task_fits_history(run: &Run) -> Result<(), String> {
    let Some(task) = &run.task else { return Ok(()) };
    if !run.is_open() {
        return Err("a closed run has a workflow task".to_owned());
    }
    let written = task.scheduled_event_id < run.core.next_event_id;
    if task.is_speculative() {
        return if task.scheduled_event_id == run.core.next_event_id && task.attempt == 1 {
            Ok(())
        } else {
            Err("a speculative task does not follow the history's end".to_owned())
        };
    }
    match (task.is_transient(), task.is_started()) {
        (false, _) if !written => Err("a first attempt is not in the history".to_owned()),
        (true, true) if task.scheduled_event_id != run.core.next_event_id => {
            Err("a started transient task does not follow the history's end".to_owned())
        }
        (false, true) if task.started_event_id() != Some(run.core.next_event_id - 1) => {
            Err("events follow the start of a workflow task".to_owned())
        }
        (true, _) if task.attempt < 2 => Err("a first attempt is transient".to_owned()),
        _ => Ok(()),
    }
}
