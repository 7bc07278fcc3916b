//! How what is owed differs between two versions of a workflow. Costs as much as has changed, however much is pending.

use std::sync::Arc;

use super::{ObligationId, Owed, activity_owed, notice_owed, owed_by, release_owed, task_owed};
use crate::shared_map::Change;
use crate::{Run, Workflow};

/// What is owed no more, and what is newly owed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwedChanges {
    /// Owed before and not now.
    pub settled: Vec<ObligationId>,
    /// Owed now and not before.
    pub fresh: Vec<ObligationId>,
}

/// Compares two versions, of which one was made from the other.
pub fn owed_changes(before: &Workflow, after: &Workflow) -> OwedChanges {
    let mut changes = OwedChanges::default();
    for change in after.runs.differences(&before.runs) {
        match change {
            Change::Added(run) => changes.fresh.extend(owed_by(run)),
            Change::Removed(run) => changes.settled.extend(owed_by(run)),
            Change::Changed { from, to } => changes.add(&to.core.run_id, OfRun::between(from, to)),
        }
    }
    changes
}

impl OwedChanges {
    fn add(&mut self, run_id: &str, of_run: OfRun) {
        let OfRun { settled, fresh } = of_run;
        if settled.is_empty() && fresh.is_empty() {
            return;
        }
        let run_id: Arc<str> = run_id.into();
        let id = |owed| ObligationId { run_id: Arc::clone(&run_id), owed };
        self.settled.extend(settled.into_iter().map(id));
        self.fresh.extend(fresh.into_iter().map(id));
    }
}

#[derive(Default)]
struct OfRun {
    settled: Vec<Owed>,
    fresh: Vec<Owed>,
}

impl OfRun {
    fn between(from: &Run, to: &Run) -> Self {
        let mut changes = Self::default();
        changes.compare(task_owed(from), task_owed(to));
        for change in to.activities.differences(&from.activities) {
            changes.compare_values(change, |activity| activity_owed(activity));
        }
        changes.compare(notice_owed(from), notice_owed(to));
        changes.of_relations(from, to);
        changes.of_releases(from, to);
        changes
    }

    fn compare(&mut self, before: Option<Owed>, after: Option<Owed>) {
        if before != after {
            self.settled.extend(before);
            self.fresh.extend(after);
        }
    }

    fn compare_values<V>(&mut self, change: Change<'_, V>, owed: impl Fn(&V) -> Option<Owed>) {
        match change {
            Change::Added(value) => self.fresh.extend(owed(value)),
            Change::Removed(value) => self.settled.extend(owed(value)),
            Change::Changed { from, to } => self.compare(owed(from), owed(to)),
        }
    }

    /// Of each workflow to which something more is to be said, or something less.
    fn of_relations(&mut self, from: &Run, to: &Run) {
        let mut last = None;
        for change in to.indexes.unanswered.differences(&from.indexes.unanswered) {
            let (Change::Added(asked) | Change::Removed(asked) | Change::Changed { to: asked, .. }) = change;
            // They come by target.
            if last.replace(asked.target()) != Some(asked.target()) {
                let next = |run: &Run| run.indexes.next_to(asked.target()).map(Owed::of);
                self.compare(next(from), next(to));
            }
        }
    }

    fn of_releases(&mut self, from: &Run, to: &Run) {
        match (from.is_open(), to.is_open()) {
            (true, true) => {}
            (true, false) => self.fresh.extend(to.children.values().filter_map(|child| release_owed(child))),
            (false, _) => {
                for change in to.children.differences(&from.children) {
                    self.compare_values(change, |child| release_owed(child));
                }
            }
        }
    }
}
