//! How offers to matching ended. A taken task changes nothing: its start has been recorded.

use super::answer::{Decision, changed, unchanged};
use super::target::Target;
use crate::change::{Empty, Fact, Sticky};
use crate::input::{Offered, TaskOffered};
use crate::pending::{ActivityProgress, ActivityState, activity_state};

pub(super) fn workflow_task<'a>(on: Target<'a>, offered: &TaskOffered) -> Decision<'a, ()> {
    let Some(run) = on.find_open() else { return unchanged(()) };
    let task = run.task.as_ref().filter(|task| task.id() == offered.task && task.is_offerable());
    let Some(task) = task else { return unchanged(()) };
    let fact = match offered.outcome {
        // Sticky queues live in memory only.
        Offered::Persisted if task.sticky_until().is_none() && task.is_speculative() => {
            let mut draft = on.draft();
            draft.at(&run.core.run_id).change_volatile(|run| run.keep_in_backlog());
            return changed(draft, ());
        }
        Offered::Persisted if task.sticky_until().is_none() => Fact::TaskBacklogged(Empty {}),
        // No worker polls the sticky queue: the same task is offered on the normal one.
        Offered::Refused => Fact::Sticky(Sticky::default()),
        Offered::Taken | Offered::Persisted => return unchanged(()),
    };
    let mut draft = on.draft();
    draft.at(&run.core.run_id).fact(fact);
    changed(draft, ())
}

pub(super) fn activity<'a>(on: Target<'a>, offered: &TaskOffered) -> Decision<'a, ()> {
    let Some(run) = on.find_open() else { return unchanged(()) };
    let Some(activity) = run.activities.get(&offered.task.scheduled_event_id) else { return unchanged(()) };
    let waiting =
        activity_state(activity) == ActivityState::Waiting && activity.progress.attempt == offered.task.attempt;
    if !waiting || offered.outcome != Offered::Persisted {
        return unchanged(());
    }
    let mut draft = on.draft();
    let progress = ActivityProgress { persisted: true, ..activity.progress.clone() };
    draft.at(&run.core.run_id).fact(Fact::moved(activity.scheduled_event_id, progress));
    changed(draft, ())
}
