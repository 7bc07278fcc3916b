//! How offers to matching ended. A taken task needs no word: its start has been recorded.

use super::{task, unchanged};
use crate::change::Fact;
use crate::draft::Draft;
use crate::input::{Offered, TaskOffered};
use crate::pending::{ActivityProgress, ActivityState, activity_state};
use crate::reply::{Reply, Transition};
use crate::workflow_task::WorkflowTask;
use crate::{Env, Workflow};

pub(super) fn workflow_task(workflow: &Workflow, offered: &TaskOffered, env: &Env<'_>) -> Transition {
    let run = workflow.runs.get(&offered.run_id).filter(|run| run.is_open());
    let task = run.and_then(|run| run.core.task.clone());
    let waiting = |task: &WorkflowTask| {
        task.scheduled_event_id == offered.scheduled_event_id && task.stamp == offered.stamp && !task.is_started()
    };
    let Some(task) = task.filter(waiting) else { return unchanged(workflow, Reply::Done) };
    let mut draft = Draft::of(workflow, env);
    match offered.outcome {
        Offered::Taken => return unchanged(workflow, Reply::Done),
        Offered::Kept => draft.fact(&offered.run_id, Fact::Task(WorkflowTask { kept: true, ..task })),
        Offered::Refused => task::leave_sticky(&mut draft, &offered.run_id),
    }
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
