//! The state, in short: what is pending, what is owed, when to wake up.

use execution::{
    Activity, ActivityState, Obligation, Run, TaskKind, UpdateState, Workflow, activity_state, next_wake_up,
    obligation, obligations,
};

use crate::world::since_start;

/// Every run, oldest first, and what the workflow owes and waits for.
pub fn everything(workflow: &Workflow, runs: &[String]) -> Vec<String> {
    let runs = runs.iter().filter_map(|run_id| workflow.runs.get(run_id));
    let mut lines: Vec<_> = runs.flat_map(|run| of_run(run)).collect();
    let owed = obligations(workflow).into_iter().filter_map(|id| obligation(workflow, &id));
    lines.extend(owed.map(|owed| format!("owes: {}", show(&owed))));
    let wake = next_wake_up(workflow).map_or("never".to_owned(), |wake| since_start(wake.nanos()));
    lines.push(format!("wakes up: {wake}"));
    lines
}

fn of_run(run: &Run) -> Vec<String> {
    let mut parts = vec![format!("{} is {:?}, {} events", run.core.run_id, run.status(), run.last_event_id())];
    if let Some(task) = &run.task {
        let state = if task.is_started() { "started" } else { "scheduled" };
        let kind = match &task.kind {
            TaskKind::Written(_) => "",
            TaskKind::Transient(_) => " transient",
            TaskKind::Speculative(_) => " speculative",
        };
        let mut text = format!("{kind} task {} {state}, attempt {}", task.scheduled_event_id, task.attempt);
        if let Some(until) = task.sticky_until() {
            text += &format!(", sticky until {}", since_start(until.nanos()));
        }
        if let Some(until) = task.backoff_until() {
            text += &format!(", not before {}", since_start(until.nanos()));
        }
        if task.is_backlogged() {
            text += ", persisted by matching";
        }
        if task.keeps_signals_out {
            text += ", keeps signals out";
        }
        parts.push(text.trim().to_owned());
    }
    if let Some(version) = &run.core.worker_version {
        let deployment = &run.core.worker_deployment_name;
        parts.push(format!("ran on {} of {deployment:?}", version.build_id));
    }
    if !run.core.sticky_queue.is_empty() {
        parts.push(format!("sticky queue {}", run.core.sticky_queue));
    }
    if run.core.first_task_at != 0 {
        parts.push(format!("first task at {}", since_start(run.core.first_task_at)));
    }
    parts.extend(run.activities.values().map(|activity| attempt(activity)));
    parts.extend(
        run.timers.values().map(|timer| format!("timer {} fires at {}", timer.timer_id, since_start(timer.fires_at))),
    );
    parts.extend(run.children.values().map(|child| {
        let state = if child.is_started() { format!("started as {}", child.run_id) } else { "not started".to_owned() };
        format!("child {} {state}", child.initiated.workflow_id)
    }));
    parts.extend(run.attached.values().map(|attached| {
        let buffered = if attached.event_id == 0 { " (buffered)" } else { "" };
        format!("request {} attached by event {}{buffered}", attached.request_id, attached.event_id)
    }));
    if !run.core.reset_run_id.is_empty() {
        parts.push(format!("was reset to {}", run.core.reset_run_id));
    }
    let ancestors = run.core.ancestors.iter();
    parts.extend(
        ancestors.map(|before| format!("shares the events of {} before {}", before.run_id, before.end_event_id)),
    );
    let volatile = &run.volatile;
    let ended = volatile.ended.iter().map(|ended| &ended.id);
    let in_memory = volatile.admitted.iter().map(|admitted| &admitted.id).chain(ended).map(String::as_str);
    let in_history =
        run.completed_updates.keys().chain(run.accepted_updates.keys()).chain(run.reapplied_updates.keys());
    for id in in_history.chain(in_memory) {
        let state = match run.update(id) {
            None => "is unknown".to_owned(),
            Some(UpdateState::Admitted) => "is admitted".to_owned(),
            Some(UpdateState::Accepted) => "is accepted".to_owned(),
            Some(UpdateState::Abandoned) => "is abandoned".to_owned(),
            Some(UpdateState::Completed(event)) => format!("is completed by event {event}"),
            Some(UpdateState::Rejected(failure)) => format!("is rejected: {}", failure.message),
            Some(UpdateState::TaskFailed) => "has failed with its task".to_owned(),
        };
        parts.push(format!("update {id} {state}"));
    }
    if !run.buffered.is_empty() {
        parts.push(format!("buffered: {}", run.buffered.len()));
    }
    if run.core.owes_parent {
        parts.push("owes its parent word".to_owned());
    }
    parts
}

/// An activity and where it stands.
pub fn attempt(activity: &Activity) -> String {
    let progress = &activity.progress;
    let state = match activity_state(activity) {
        ActivityState::BackingOff => format!("backs off until {}", since_start(progress.scheduled_at)),
        ActivityState::Waiting => "waits".to_owned(),
        ActivityState::Started => format!("started by {}", progress.identity),
    };
    let mut text = format!("activity {} attempt {} {state}", activity.id(), progress.attempt);
    if let Some(details) = progress.heartbeat_details.as_ref().and_then(|details| details.payloads.first()) {
        text += &format!(", last heartbeat {:?}", String::from_utf8_lossy(&details.data));
    }
    if progress.heartbeat_at != 0 {
        text += &format!(" at {}", since_start(progress.heartbeat_at));
    }
    if let Some(failure) = &progress.last_failure {
        text += &format!(", last failure {:?}", failure.message);
    }
    if activity.cancel_requested() {
        text += ", cancel requested";
    }
    if progress.persisted {
        text += ", persisted by matching";
    }
    text
}

fn show(owed: &Obligation) -> String {
    match owed {
        Obligation::OfferWorkflowTask(offer) => {
            let sticky = offer.sticky_of.as_ref().map(|of| format!(" (sticky of {of})")).unwrap_or_default();
            format!("offer workflow task {} on {}{sticky}", offer.task.scheduled_event_id, offer.task_queue)
        }
        Obligation::OfferActivity(offer) => {
            format!(
                "offer activity {} attempt {} on {}",
                offer.task.scheduled_event_id, offer.task.attempt, offer.task_queue
            )
        }
        Obligation::StartChild { child, .. } => {
            let summary = child.user_metadata.as_ref().and_then(|metadata| metadata.summary.as_ref());
            let summary = summary.map(|summary| format!(" with {:?}", String::from_utf8_lossy(&summary.data)));
            format!("start child {}{}", child.initiated.workflow_id, summary.unwrap_or_default())
        }
        Obligation::SignalExternal { signal, .. } => {
            let target = signal.initiated.workflow_execution.clone().unwrap_or_default();
            format!("signal {} to {}", signal.initiated.signal_name, target.workflow_id)
        }
        Obligation::CancelExternal { cancel, .. } => {
            let target = cancel.initiated.workflow_execution.clone().unwrap_or_default();
            format!("request to cancel {}", target.workflow_id)
        }
        Obligation::ReleaseChild { child, policy, .. } => format!("{policy:?} of child {}", child.workflow_id),
        Obligation::NotifyParent { parent, initiated_event_id, first_run_id, .. } => {
            format!(
                "notify {}/{} event {initiated_event_id} that {first_run_id} has closed",
                parent.workflow_id, parent.run_id
            )
        }
    }
}
