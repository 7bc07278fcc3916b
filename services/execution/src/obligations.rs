//! What a workflow owes to the outside, computed from its state.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::temporal::api::common::v1::{Priority, WorkflowExecution};
use api::temporal::api::enums::v1::ParentClosePolicy;
use api::temporal::api::history::v1::history_event::Attributes;
use ids::Timestamp;

use crate::pending::{Activity, activity_state};
use crate::{Child, ExternalCancel, ExternalSignal, Run, Workflow};

/// A task to be offered to matching.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOffer {
    /// The run.
    pub run_id: String,
    /// The task.
    pub scheduled_event_id: i64,
    /// Its attempt.
    pub attempt: i32,
    /// Its stamp; for an activity, 0.
    pub stamp: i64,
    /// The queue's name.
    pub task_queue: String,
    /// For a sticky queue: the normal queue's name.
    pub sticky_of: Option<String>,
    /// Priority.
    pub priority: Option<Priority>,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// When it becomes of no use.
    pub expires_at: Option<Timestamp>,
}

/// Something owed. Each is answered by an input, after which it is owed no more.
#[derive(Clone, Debug)]
pub enum Obligation {
    /// Offer the workflow task; answered by `StartWorkflowTask` or `WorkflowTaskOffered`.
    OfferWorkflowTask(TaskOffer),
    /// Offer the activity attempt; answered by `StartActivity` or `ActivityOffered`.
    OfferActivity(TaskOffer),
    /// Start a child; answered by `ChildStarted`.
    StartChild {
        /// The parent's run.
        run: Arc<Run>,
        /// What to start.
        child: Arc<Child>,
    },
    /// Signal another workflow; answered by `ExternalSignalled`.
    SignalExternal {
        /// The signalling run.
        run_id: String,
        /// The signal.
        signal: Arc<ExternalSignal>,
    },
    /// Ask another workflow to cancel; answered by `ExternalCancelRequested`.
    CancelExternal {
        /// The asking run.
        run_id: String,
        /// The request.
        cancel: Arc<ExternalCancel>,
    },
    /// Carry out the parent close policy on a child; answered by `ChildReleased`.
    ReleaseChild {
        /// The parent's run.
        run_id: String,
        /// The child's initiating event.
        initiated_event_id: i64,
        /// The child, by its first run.
        child: WorkflowExecution,
        /// Terminate, or request cancel.
        policy: ParentClosePolicy,
    },
    /// Tell the parent that this chain has closed; answered by `ParentNotified`.
    NotifyParent {
        /// The last run.
        run_id: String,
        /// The parent.
        parent: WorkflowExecution,
        /// The parent's initiating event.
        initiated_event_id: i64,
        /// The first run of this chain.
        first_run_id: String,
        /// The closing event's attributes.
        outcome: Box<Attributes>,
    },
}

/// Everything owed, each with an id that stays the same for as long as it is owed.
pub fn obligations(workflow: &Workflow) -> Vec<(String, Obligation)> {
    let mut owed = Vec::new();
    for run in workflow.runs.values() {
        if run.is_open() {
            task_of(run, &mut owed);
            activities_of(run, &mut owed);
        } else {
            after_close(run, &mut owed);
        }
        relations_of(run, &mut owed);
    }
    owed
}

fn task_of(run: &Arc<Run>, owed: &mut Vec<(String, Obligation)>) {
    let Some(task) = run.task.as_ref().filter(|task| task.is_offerable()) else { return };
    let normal = run.task_queue_name().to_owned();
    let expires_at = task.sticky_until();
    let sticky = expires_at.map(|_| run.core.sticky_queue.clone());
    let id = format!("w/{}/{}/{}/{}", run.core.run_id, task.scheduled_event_id, task.attempt, task.stamp);
    let offer = TaskOffer {
        run_id: run.core.run_id.clone(),
        scheduled_event_id: task.scheduled_event_id,
        attempt: task.attempt,
        stamp: task.stamp,
        sticky_of: sticky.is_some().then(|| normal.clone()),
        task_queue: sticky.unwrap_or(normal),
        priority: run.start.priority.clone(),
        scheduled_at: Timestamp::from_nanos(task.scheduled_at),
        expires_at,
    };
    owed.push((id, Obligation::OfferWorkflowTask(offer)));
}

fn activities_of(run: &Arc<Run>, owed: &mut Vec<(String, Obligation)>) {
    for activity in run.activities.values() {
        if activity_state(activity).is_waiting_for_poller() && !activity.progress.kept {
            owed.push((activity_obligation_id(run, activity), offer_of(run, activity)));
        }
    }
}

fn activity_obligation_id(run: &Run, activity: &Activity) -> String {
    format!("a/{}/{}/{}", run.core.run_id, activity.scheduled_event_id, activity.progress.attempt)
}

fn offer_of(run: &Run, activity: &Activity) -> Obligation {
    let expires_at = activity.next_schedule_deadline();
    Obligation::OfferActivity(TaskOffer {
        run_id: run.core.run_id.clone(),
        scheduled_event_id: activity.scheduled_event_id,
        attempt: activity.progress.attempt,
        stamp: 0,
        task_queue: activity.task_queue_name().to_owned(),
        sticky_of: None,
        priority: activity.schedule.priority.clone().or_else(|| run.start.priority.clone()),
        scheduled_at: Timestamp::from_nanos(activity.progress.scheduled_at),
        expires_at,
    })
}

/// What a run owes other workflows. To one and the same it is owed in the order of the commands: the next once the one
/// before has been answered, so that a signal never comes before the start of the child that it is for.
fn relations_of(run: &Arc<Run>, owed: &mut Vec<(String, Obligation)>) {
    let mut first = BTreeMap::new();
    for (event_id, target) in run.unanswered() {
        first.entry(target).and_modify(|first: &mut i64| *first = event_id.min(*first)).or_insert(event_id);
    }
    let is_next = |event_id: i64, target: &str| first.get(target) == Some(&event_id);
    let run_id = &run.core.run_id;
    for signal in run.signals.values().filter(|signal| is_next(signal.initiated_event_id, signal.target())) {
        let id = format!("s/{run_id}/{}", signal.initiated_event_id);
        owed.push((id, Obligation::SignalExternal { run_id: run_id.clone(), signal: signal.clone() }));
    }
    for cancel in run.cancels.values().filter(|cancel| is_next(cancel.initiated_event_id, cancel.target())) {
        let id = format!("x/{run_id}/{}", cancel.initiated_event_id);
        owed.push((id, Obligation::CancelExternal { run_id: run_id.clone(), cancel: cancel.clone() }));
    }
    for child in run.children.values() {
        if child.is_started() {
            release_of(run, child, owed);
        } else if is_next(child.initiated_event_id, child.workflow_id()) {
            let id = format!("c/{run_id}/{}", child.initiated_event_id);
            owed.push((id, Obligation::StartChild { run: run.clone(), child: child.clone() }));
        }
    }
}

/// A closed run owes the children that it has what the parent close policy says.
fn release_of(run: &Run, child: &Child, owed: &mut Vec<(String, Obligation)>) {
    if run.is_open() {
        return;
    }
    let run_id = &run.core.run_id;
    owed.push((
        format!("r/{run_id}/{}", child.initiated_event_id),
        Obligation::ReleaseChild {
            run_id: run_id.clone(),
            initiated_event_id: child.initiated_event_id,
            child: child.execution(),
            policy: child.close_policy(),
        },
    ));
}

fn after_close(run: &Arc<Run>, owed: &mut Vec<(String, Obligation)>) {
    if !run.core.owes_parent {
        return;
    }
    let (Some(parent), Some(outcome)) = (&run.start.parent_workflow_execution, run.closing_attributes()) else {
        return;
    };
    owed.push((
        format!("p/{}", run.core.run_id),
        Obligation::NotifyParent {
            run_id: run.core.run_id.clone(),
            parent: parent.clone(),
            initiated_event_id: run.start.parent_initiated_event_id,
            first_run_id: run.start.first_execution_run_id.clone(),
            outcome: Box::new(outcome.clone()),
        },
    ));
}
