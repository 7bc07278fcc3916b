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

#[cfg(test)]
mod tests {
    use api::temporal::api::history::v1::history_event::Attributes;
    use api::temporal::api::history::v1::*;

    use super::*;
    use crate::change::{Batch, Change as Durable, Fact, RunChange, Step};
    use crate::pending::ActivityProgress;
    use crate::{next_wake_up, obligation, obligations};

    const PENDING: i64 = 2_000;

    fn apply(workflow: &Workflow, events: Vec<HistoryEvent>, facts: Vec<Fact>) -> Workflow {
        let steps = events.iter().map(|_| Step::Event).chain(facts.into_iter().map(Step::Fact)).collect();
        let batch = (!events.is_empty()).then(|| Arc::new(Batch::new(events)));
        let mut next = workflow.clone();
        next.apply(&Durable::Run(RunChange { run_id: "run".to_owned(), steps, batch })).expect("it applies");
        next
    }

    fn event(event_id: i64, attributes: Attributes) -> HistoryEvent {
        HistoryEvent { event_id, attributes: Some(attributes), ..HistoryEvent::default() }
    }

    /// A run that waits for activities and signals to others, by turns, and for a timer after each.
    fn waiting() -> Workflow {
        let started = Attributes::WorkflowExecutionStartedEventAttributes(Default::default());
        let opened = (2..2 + PENDING).map(|id| {
            let activity = ActivityTaskScheduledEventAttributes { activity_id: id.to_string(), ..Default::default() };
            let signal = SignalExternalWorkflowExecutionInitiatedEventAttributes::default();
            let timer = TimerStartedEventAttributes { timer_id: id.to_string(), ..Default::default() };
            event(
                id,
                match id % 3 {
                    0 => Attributes::ActivityTaskScheduledEventAttributes(activity),
                    1 => Attributes::SignalExternalWorkflowExecutionInitiatedEventAttributes(signal),
                    _ => Attributes::TimerStartedEventAttributes(timer),
                },
            )
        });
        let events = std::iter::once(event(1, started)).chain(opened).collect();
        apply(&Workflow::default(), events, vec![])
    }

    #[test]
    fn a_step_of_a_run_with_two_thousand_pending_things_looks_at_what_it_changes() {
        let before = waiting();
        let started = ActivityProgress { attempt: 1, started_at: 1, request_id: "r".to_owned(), ..Default::default() };
        let after = apply(&before, vec![], vec![Fact::moved(3, started)]);
        let changes = owed_changes(&before, &after);
        let id = |owed| ObligationId { run_id: "run".into(), owed };
        let offered = id(Owed::Activity { scheduled_event_id: 3, attempt: 1 });
        assert_eq!(changes, OwedChanges { settled: vec![offered], fresh: vec![] });

        let mut differences = after.runs["run"].activities.differences(&before.runs["run"].activities);
        assert_eq!(differences.by_ref().count(), 1);
        assert!(differences.visited() <= 40, "{} branches were looked at", differences.visited());
    }

    #[test]
    fn of_what_is_said_to_one_workflow_the_next_follows_the_answer_to_the_first() {
        let before = waiting();
        let answered = ExternalWorkflowExecutionSignaledEventAttributes { initiated_event_id: 4, ..Default::default() };
        let answered = Attributes::ExternalWorkflowExecutionSignaledEventAttributes(answered);
        let after = apply(&before, vec![event(2 + PENDING, answered)], vec![]);
        let id = |event_id| ObligationId { run_id: "run".into(), owed: Owed::Signal(event_id) };
        let changes = owed_changes(&before, &after);
        assert_eq!(changes, OwedChanges { settled: vec![id(4)], fresh: vec![id(7)] });
        assert!(obligation(&after, &id(4)).is_none() && obligation(&after, &id(7)).is_some());
        assert!(obligation(&after, &id(10)).is_none());
    }

    #[test]
    fn a_close_settles_all_but_what_children_are_owed() {
        let before = waiting();
        let closed = Attributes::WorkflowExecutionCompletedEventAttributes(Default::default());
        let after = apply(&before, vec![event(2 + PENDING, closed)], vec![]);
        let mut settled = owed_changes(&before, &after).settled;
        settled.sort();
        let mut owed = obligations(&before);
        owed.sort();
        assert_eq!(settled, owed);
        assert_eq!((obligations(&after), next_wake_up(&after)), (vec![], None));
    }
}
