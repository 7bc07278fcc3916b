//! How offers to matching ended. A taken task needs no word: its start has been recorded.

use super::unchanged;
use crate::change::{Empty, Fact, Sticky};
use crate::draft::Draft;
use crate::input::{Offered, TaskOffered};
use crate::pending::{ActivityProgress, ActivityState, activity_state};
use crate::reply::{Reply, Transition};
use crate::workflow_task::WorkflowTask;
use crate::{Env, Workflow};

pub(super) fn workflow_task(workflow: &Workflow, offered: &TaskOffered, env: &Env<'_>) -> Transition {
    let run = workflow.runs.get(&offered.run_id).filter(|run| run.is_open());
    let task = run.and_then(|run| run.task.as_ref());
    let is_meant = |task: &&WorkflowTask| {
        task.scheduled_event_id == offered.scheduled_event_id && task.stamp == offered.stamp && task.is_offerable()
    };
    let Some(task) = task.filter(is_meant) else { return unchanged(workflow, Reply::Done) };
    let fact = match offered.outcome {
        // Sticky queues live in memory only.
        Offered::Kept if task.sticky_until().is_none() => Fact::TaskBacklogged(Empty {}),
        // Nobody attends the sticky queue: the same task is offered on the normal one.
        Offered::Refused => Fact::Sticky(Sticky::default()),
        Offered::Taken | Offered::Kept => return unchanged(workflow, Reply::Done),
    };
    let mut draft = Draft::of(workflow, env);
    draft.fact(&offered.run_id, fact);
    draft.finish(|_| Reply::Done)
}

pub(super) fn activity(workflow: &Workflow, offered: &TaskOffered, env: &Env<'_>) -> Transition {
    let run = workflow.runs.get(&offered.run_id).filter(|run| run.is_open());
    let activity = run.and_then(|run| run.activities.get(&offered.scheduled_event_id));
    let Some(activity) = activity else { return unchanged(workflow, Reply::Done) };
    let waiting = activity_state(activity) == ActivityState::Waiting && activity.progress.attempt == offered.attempt;
    if !waiting || offered.outcome != Offered::Kept {
        return unchanged(workflow, Reply::Done);
    }
    let mut draft = Draft::of(workflow, env);
    let progress = ActivityProgress { kept: true, ..activity.progress.clone() };
    let scheduled_event_id = offered.scheduled_event_id;
    draft.fact(&offered.run_id, Fact::moved(scheduled_event_id, progress));
    draft.finish(|_| Reply::Done)
}
