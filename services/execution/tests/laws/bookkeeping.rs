//! Histories as clients read them: ids count from 1, time never goes back, nothing follows the end, what began ends at most
//! once and not before its time, and what has not ended is exactly what the state says is pending. No failure is deeper
//! than clients can decode.

use std::collections::{BTreeMap, BTreeSet};

use api::temporal::api::enums::v1::ParentClosePolicy;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes as A;
use execution::{Run, Workflow};
use ids::Timestamp;

use crate::reset;

/// Every run's history so far.
#[derive(Default)]
pub struct Histories {
    runs: BTreeMap<String, History>,
}

#[derive(Default)]
struct History {
    last: i64,
    at: i64,
    closed: bool,
    /// Whether what remains to be done after the close has been looked at.
    settled: bool,
    /// What began and has not ended, by the event that began it.
    begun: BTreeMap<i64, Begun>,
    /// Children that have started.
    children: BTreeSet<i64>,
    /// Events that others refer to.
    kinds: BTreeMap<i64, &'static str>,
}

#[derive(Clone, Debug, PartialEq)]
enum Begun {
    Activity,
    /// With when it may fire.
    Timer(i64),
    /// With whether it lives on when its parent closes.
    Child {
        abandoned: bool,
    },
    Signal,
    Cancel,
    /// Workflow code answers it whenever it likes, or never.
    Update,
}

impl Histories {
    /// Of a workflow whose whole history is in memory.
    pub fn of(workflow: &Workflow) -> Result<Self, String> {
        let mut histories = Self::default();
        for (id, run) in &workflow.runs {
            histories.add(id, reset::history(workflow, run).into_iter(), Timestamp::MAX)?;
            if let Some(history) = histories.runs.get_mut(id) {
                history.settled = history.closed;
            }
        }
        Ok(histories)
    }

    /// Adds what one transition wrote, decided at `now`.
    pub fn add(
        &mut self,
        run_id: &str,
        events: impl Iterator<Item = HistoryEvent>,
        now: Timestamp,
    ) -> Result<(), String> {
        let history = self.runs.entry(run_id.to_owned()).or_default();
        for event in events {
            history.add(&event, now).map_err(|broken| format!("{broken}: {event:?}"))?;
        }
        Ok(())
    }

    /// What the state says is pending is what the history has begun and not ended, but for ends that are buffered. A run
    /// that has just closed is left with the children that its close concerns, and those not yet known to have started.
    pub fn agree_with(&mut self, run: &Run) -> Result<(), String> {
        let history = self.runs.entry(run.core.run_id.clone()).or_default();
        if history.closed {
            // Children of a run that a reset has ended live on.
            let ended_by_reset = !run.core.reset_run_id.is_empty() || is_ended_by_reset(run);
            if std::mem::replace(&mut history.settled, true) || ended_by_reset {
                return Ok(());
            }
            let concerned = |id: &i64, begun: &Begun| match begun {
                Begun::Child { abandoned } => !abandoned || !history.children.contains(id),
                _ => false,
            };
            let left: Vec<i64> =
                history.begun.iter().filter(|(id, begun)| concerned(id, begun)).map(|(id, _)| *id).collect();
            let kept: Vec<i64> = run.children.keys().copied().collect();
            return if left == kept { Ok(()) } else { Err(format!("children left: {left:?}, in the state: {kept:?}")) };
        }
        let buffered: BTreeSet<i64> =
            run.buffered.iter().filter_map(|event| ended_by(event.attributes.as_ref()?)).collect();
        let begun: BTreeSet<i64> = history.begun.keys().copied().filter(|id| !buffered.contains(id)).collect();
        let timers = run.timers.values().map(|timer| timer.started_event_id);
        let pending: BTreeSet<i64> = run
            .activities
            .keys()
            .chain(run.children.keys())
            .chain(run.signals.keys())
            .chain(run.cancels.keys())
            .copied()
            .chain(timers)
            .chain(run.accepted_updates.values().map(|update| update.accepted_event_id))
            .collect();
        if begun == pending { Ok(()) } else { Err(format!("begun: {begun:?}, pending: {pending:?} in {run:?}")) }
    }

    /// Everything that this run began has ended.
    pub fn all_has_ended(&self, run_id: &str) -> Result<(), String> {
        let mut begun = self.runs.get(run_id).map(|history| history.begun.clone()).unwrap_or_default();
        begun.retain(|_, begun| *begun != Begun::Update);
        if begun.is_empty() { Ok(()) } else { Err(format!("never ended: {begun:?}")) }
    }
}

fn is_ended_by_reset(run: &Run) -> bool {
    matches!(run.closing_attributes(), Some(A::WorkflowExecutionTerminatedEventAttributes(a)) if a.identity == "history-resetter")
}

impl History {
    fn add(&mut self, event: &HistoryEvent, now: Timestamp) -> Result<(), String> {
        let at = nanos(event.event_time.as_ref());
        if event.event_id != self.last + 1 {
            return Err(format!("event {} follows {}", event.event_id, self.last));
        }
        if self.closed {
            return Err("an event follows the end".to_owned());
        }
        if at < self.at {
            return Err("time goes back".to_owned());
        }
        (self.last, self.at) = (event.event_id, at);
        let attributes = event.attributes.as_ref().ok_or("an event says nothing")?;
        if event.event_type == 0 {
            return Err("an event has no type".to_owned());
        }
        let deepest = failure_of(attributes).map_or(0, depth);
        if deepest > 51 {
            return Err(format!("a failure is {deepest} levels deep"));
        }
        self.refers_rightly(attributes)?;
        self.begins_or_ends(event.event_id, at, attributes, now)?;
        self.closed = matches!(
            attributes,
            A::WorkflowExecutionCompletedEventAttributes(_)
                | A::WorkflowExecutionFailedEventAttributes(_)
                | A::WorkflowExecutionTimedOutEventAttributes(_)
                | A::WorkflowExecutionCanceledEventAttributes(_)
                | A::WorkflowExecutionTerminatedEventAttributes(_)
                | A::WorkflowExecutionContinuedAsNewEventAttributes(_)
        );
        Ok(())
    }

    fn begins_or_ends(&mut self, id: i64, at: i64, attributes: &A, now: Timestamp) -> Result<(), String> {
        let begun = match attributes {
            A::ActivityTaskScheduledEventAttributes(_) => Some(Begun::Activity),
            A::TimerStartedEventAttributes(started) => {
                let timeout = started.start_to_fire_timeout.unwrap_or_default();
                let nanos = timeout.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(timeout.nanos));
                Some(Begun::Timer(at.saturating_add(nanos)))
            }
            A::StartChildWorkflowExecutionInitiatedEventAttributes(initiated) => {
                let abandoned = initiated.parent_close_policy == ParentClosePolicy::Abandon as i32;
                Some(Begun::Child { abandoned })
            }
            A::SignalExternalWorkflowExecutionInitiatedEventAttributes(_) => Some(Begun::Signal),
            A::RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(_) => Some(Begun::Cancel),
            A::WorkflowExecutionUpdateAcceptedEventAttributes(_) => Some(Begun::Update),
            _ => None,
        };
        if let A::ChildWorkflowExecutionStartedEventAttributes(started) = attributes {
            self.children.insert(started.initiated_event_id);
        }
        self.begun.extend(begun.map(|begun| (id, begun)));
        let Some(ended) = ended_by(attributes) else { return Ok(()) };
        let Some(begun) = self.begun.remove(&ended) else {
            return Err(format!("event {ended} has ended before, or never began"));
        };
        match begun {
            Begun::Timer(due) if matches!(attributes, A::TimerFiredEventAttributes(_)) && at < due => {
                Err("a timer fires early by its history".to_owned())
            }
            Begun::Timer(due) if matches!(attributes, A::TimerFiredEventAttributes(_)) && now.nanos() < due => {
                // A firing that was buffered came earlier, at a time that a clock may have gone back behind.
                if at >= due { Ok(()) } else { Err("a timer fires early by the clock".to_owned()) }
            }
            _ => Ok(()),
        }
    }

    /// Events that an event names are there, and are what they should be.
    fn refers_rightly(&mut self, attributes: &A) -> Result<(), String> {
        let (kind, references): (&'static str, Vec<(i64, &str)>) = match attributes {
            A::WorkflowTaskScheduledEventAttributes(_) => ("task scheduled", vec![]),
            A::WorkflowTaskStartedEventAttributes(a) => {
                ("task started", vec![(a.scheduled_event_id, "task scheduled")])
            }
            A::WorkflowTaskCompletedEventAttributes(a) => {
                ("task completed", vec![(a.scheduled_event_id, "task scheduled"), (a.started_event_id, "task started")])
            }
            A::WorkflowTaskFailedEventAttributes(a) => {
                ("other", vec![(a.scheduled_event_id, "task scheduled"), (a.started_event_id, "task started")])
            }
            A::ActivityTaskScheduledEventAttributes(a) => {
                ("activity", vec![(a.workflow_task_completed_event_id, "task completed")])
            }
            A::ActivityTaskStartedEventAttributes(a) => ("activity started", vec![(a.scheduled_event_id, "activity")]),
            A::ActivityTaskCompletedEventAttributes(a) => {
                ("other", vec![(a.scheduled_event_id, "activity"), (a.started_event_id, "activity started")])
            }
            A::ActivityTaskFailedEventAttributes(a) => {
                ("other", vec![(a.scheduled_event_id, "activity"), (a.started_event_id, "activity started")])
            }
            A::TimerStartedEventAttributes(a) => {
                ("timer", vec![(a.workflow_task_completed_event_id, "task completed")])
            }
            A::WorkflowExecutionUpdateAcceptedEventAttributes(_) => ("accepted", vec![]),
            A::WorkflowExecutionUpdateCompletedEventAttributes(a) => ("other", vec![(a.accepted_event_id, "accepted")]),
            A::TimerFiredEventAttributes(a) => ("other", vec![(a.started_event_id, "timer")]),
            A::TimerCanceledEventAttributes(a) => ("other", vec![(a.started_event_id, "timer")]),
            A::StartChildWorkflowExecutionInitiatedEventAttributes(a) => {
                ("child", vec![(a.workflow_task_completed_event_id, "task completed")])
            }
            A::ChildWorkflowExecutionStartedEventAttributes(a) => {
                ("child started", vec![(a.initiated_event_id, "child")])
            }
            A::ChildWorkflowExecutionCompletedEventAttributes(a) => {
                ("other", vec![(a.initiated_event_id, "child"), (a.started_event_id, "child started")])
            }
            A::ChildWorkflowExecutionFailedEventAttributes(a) => {
                ("other", vec![(a.initiated_event_id, "child"), (a.started_event_id, "child started")])
            }
            A::WorkflowExecutionCompletedEventAttributes(a) => {
                ("other", vec![(a.workflow_task_completed_event_id, "task completed")])
            }
            _ => ("other", vec![]),
        };
        for (id, expected) in references {
            if self.kinds.get(&id) != Some(&expected) {
                return Err(format!("refers to event {id} as {expected}, which is {:?}", self.kinds.get(&id)));
            }
        }
        self.kinds.insert(self.last, kind);
        Ok(())
    }
}

/// The event that began what this one ends.
fn ended_by(attributes: &A) -> Option<i64> {
    Some(match attributes {
        A::ActivityTaskCompletedEventAttributes(a) => a.scheduled_event_id,
        A::ActivityTaskFailedEventAttributes(a) => a.scheduled_event_id,
        A::ActivityTaskTimedOutEventAttributes(a) => a.scheduled_event_id,
        A::ActivityTaskCanceledEventAttributes(a) => a.scheduled_event_id,
        A::TimerFiredEventAttributes(a) => a.started_event_id,
        A::TimerCanceledEventAttributes(a) => a.started_event_id,
        A::StartChildWorkflowExecutionFailedEventAttributes(a) => a.initiated_event_id,
        A::ChildWorkflowExecutionCompletedEventAttributes(a) => a.initiated_event_id,
        A::ChildWorkflowExecutionFailedEventAttributes(a) => a.initiated_event_id,
        A::ChildWorkflowExecutionCanceledEventAttributes(a) => a.initiated_event_id,
        A::ChildWorkflowExecutionTimedOutEventAttributes(a) => a.initiated_event_id,
        A::ChildWorkflowExecutionTerminatedEventAttributes(a) => a.initiated_event_id,
        A::SignalExternalWorkflowExecutionFailedEventAttributes(a) => a.initiated_event_id,
        A::ExternalWorkflowExecutionSignaledEventAttributes(a) => a.initiated_event_id,
        A::RequestCancelExternalWorkflowExecutionFailedEventAttributes(a) => a.initiated_event_id,
        A::ExternalWorkflowExecutionCancelRequestedEventAttributes(a) => a.initiated_event_id,
        A::WorkflowExecutionUpdateCompletedEventAttributes(a) => a.accepted_event_id,
        _ => return None,
    })
}

fn failure_of(attributes: &A) -> Option<&Failure> {
    match attributes {
        A::WorkflowExecutionStartedEventAttributes(a) => a.continued_failure.as_ref(),
        A::WorkflowExecutionFailedEventAttributes(a) => a.failure.as_ref(),
        A::WorkflowExecutionContinuedAsNewEventAttributes(a) => a.failure.as_ref(),
        A::WorkflowTaskFailedEventAttributes(a) => a.failure.as_ref(),
        A::ActivityTaskStartedEventAttributes(a) => a.last_failure.as_ref(),
        A::ActivityTaskFailedEventAttributes(a) => a.failure.as_ref(),
        A::MarkerRecordedEventAttributes(a) => a.failure.as_ref(),
        _ => None,
    }
}

fn depth(failure: &Failure) -> usize {
    1 + failure.cause.as_deref().map_or(0, depth)
}

fn nanos(at: Option<&prost_types::Timestamp>) -> i64 {
    at.map_or(0, |at| at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos)))
}
