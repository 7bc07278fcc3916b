//! What a workflow owes to the outside, computed from its state.

mod changes;

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::sync::Arc;

use api::temporal::api::common::v1::{Priority, WorkflowExecution};
use api::temporal::api::enums::v1::ParentClosePolicy;
use api::temporal::api::history::v1::history_event::Attributes;
use ids::{TaskRef, Timestamp};

use crate::indexes::{Relation, Unanswered};
use crate::pending::{Activity, activity_state};
use crate::{Child, ExternalCancel, ExternalSignal, Run, Workflow};

pub use changes::{OwedChanges, owed_changes};

/// Names something owed: the same for as long as it is, and never again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObligationId {
    /// The run that owes it.
    pub run_id: Arc<str>,
    /// What it is.
    pub owed: Owed,
}

/// What a run may owe; events by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// To offer a dispatch of the workflow task.
    WorkflowTask(TaskRef),
    /// To offer an attempt of an activity.
    Activity {
        /// Its ActivityTaskScheduled event.
        scheduled_event_id: i64,
        /// From 1.
        attempt: i32,
    },
    /// To start the child of this initiating event.
    StartChild(i64),
    /// To send the signal of this initiating event.
    Signal(i64),
    /// To send the cancel request of this initiating event.
    Cancel(i64),
    /// To carry out the parent close policy on the child of this initiating event.
    ReleaseChild(i64),
    /// To notify the parent of the close.
    NotifyParent,
}

impl Display for ObligationId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let run_id = &self.run_id;
        match self.owed {
            Owed::WorkflowTask(TaskRef { scheduled_event_id, attempt, stamp }) => {
                write!(f, "w/{run_id}/{scheduled_event_id}/{attempt}/{stamp}")
            }
            Owed::Activity { scheduled_event_id, attempt } => write!(f, "a/{run_id}/{scheduled_event_id}/{attempt}"),
            Owed::StartChild(event_id) => write!(f, "c/{run_id}/{event_id}"),
            Owed::Signal(event_id) => write!(f, "s/{run_id}/{event_id}"),
            Owed::Cancel(event_id) => write!(f, "x/{run_id}/{event_id}"),
            Owed::ReleaseChild(event_id) => write!(f, "r/{run_id}/{event_id}"),
            Owed::NotifyParent => write!(f, "p/{run_id}"),
        }
    }
}

/// A task to be offered to matching.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOffer {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task: TaskRef,
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
    /// Notify the parent that this chain has closed; answered by `ParentNotified`.
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

/// Everything owed. Looks at all that is pending: for a step there is [`owed_changes`].
pub fn obligations(workflow: &Workflow) -> Vec<ObligationId> {
    workflow.runs.values().flat_map(|run| owed_by(run)).collect()
}

/// What is owed under this id, as long as it is. What it says does not change meanwhile.
pub fn obligation(workflow: &Workflow, id: &ObligationId) -> Option<Obligation> {
    let run = workflow.runs.get(&id.run_id)?;
    let is_next = |target: &str| run.indexes.next_to(target).map(Owed::of) == Some(id.owed);
    let run_id = || run.core.run_id.clone();
    match id.owed {
        Owed::WorkflowTask(_) => (task_owed(run) == Some(id.owed)).then(|| offer_of_task(run)).flatten(),
        Owed::Activity { scheduled_event_id, .. } => {
            let activity = run.activities.get(&scheduled_event_id);
            let activity = activity.filter(|activity| activity_owed(activity) == Some(id.owed))?;
            Some(offer_of(run, activity))
        }
        Owed::StartChild(event_id) => {
            let child = run.children.get(&event_id).filter(|child| is_next(child.workflow_id()))?;
            Some(Obligation::StartChild { run: run.clone(), child: child.clone() })
        }
        Owed::Signal(event_id) => {
            let signal = run.signals.get(&event_id).filter(|signal| is_next(signal.target()))?;
            Some(Obligation::SignalExternal { run_id: run_id(), signal: signal.clone() })
        }
        Owed::Cancel(event_id) => {
            let cancel = run.cancels.get(&event_id).filter(|cancel| is_next(cancel.target()))?;
            Some(Obligation::CancelExternal { run_id: run_id(), cancel: cancel.clone() })
        }
        Owed::ReleaseChild(initiated_event_id) => {
            let child = run.children.get(&initiated_event_id).filter(|child| child.is_started() && !run.is_open())?;
            let (child, policy) = (child.execution(), child.close_policy());
            Some(Obligation::ReleaseChild { run_id: run_id(), initiated_event_id, child, policy })
        }
        Owed::NotifyParent => notice_of(run),
    }
}

impl Owed {
    fn of(unanswered: &Unanswered) -> Self {
        match unanswered.kind {
            Relation::Child => Self::StartChild(unanswered.event_id()),
            Relation::Signal => Self::Signal(unanswered.event_id()),
            Relation::Cancel => Self::Cancel(unanswered.event_id()),
        }
    }
}

/// Everything that a run owes.
fn owed_by(run: &Run) -> Vec<ObligationId> {
    let mut owed: Vec<Owed> = task_owed(run).into_iter().collect();
    owed.extend(run.activities.values().filter_map(|activity| activity_owed(activity)));
    owed.extend(notice_owed(run));
    relations_of(run, &mut owed);
    let run_id: Arc<str> = run.core.run_id.as_str().into();
    owed.into_iter().map(|owed| ObligationId { run_id: Arc::clone(&run_id), owed }).collect()
}

fn task_owed(run: &Run) -> Option<Owed> {
    let task = run.task.as_ref().filter(|task| task.is_offerable())?;
    Some(Owed::WorkflowTask(task.id()))
}

fn activity_owed(activity: &Activity) -> Option<Owed> {
    let is_owed = activity_state(activity).is_waiting_for_poller() && !activity.progress.persisted;
    let (scheduled_event_id, attempt) = (activity.scheduled_event_id, activity.progress.attempt);
    is_owed.then_some(Owed::Activity { scheduled_event_id, attempt })
}

/// A closed run owes the children that it has what the parent close policy says.
fn release_owed(child: &Child) -> Option<Owed> {
    child.is_started().then_some(Owed::ReleaseChild(child.initiated_event_id))
}

fn notice_owed(run: &Run) -> Option<Owed> {
    (!run.is_open() && run.core.owes_parent).then_some(Owed::NotifyParent)
}

/// What a run owes other workflows: of what is for one and the same, the first (see `Indexes::next_to`).
fn relations_of(run: &Run, owed: &mut Vec<Owed>) {
    let mut first = BTreeMap::new();
    for (event_id, target) in run.unanswered() {
        first.entry(target).and_modify(|first: &mut i64| *first = event_id.min(*first)).or_insert(event_id);
    }
    let is_next = |event_id: i64, target: &str| first.get(target) == Some(&event_id);
    let signals = run.signals.values().filter(|signal| is_next(signal.initiated_event_id, signal.target()));
    owed.extend(signals.map(|signal| Owed::Signal(signal.initiated_event_id)));
    let cancels = run.cancels.values().filter(|cancel| is_next(cancel.initiated_event_id, cancel.target()));
    owed.extend(cancels.map(|cancel| Owed::Cancel(cancel.initiated_event_id)));
    for child in run.children.values() {
        if !run.is_open() {
            owed.extend(release_owed(child));
        }
        if !child.is_started() && is_next(child.initiated_event_id, child.workflow_id()) {
            owed.push(Owed::StartChild(child.initiated_event_id));
        }
    }
}

fn offer_of_task(run: &Run) -> Option<Obligation> {
    let task = run.task.as_ref()?;
    let normal = run.task_queue_name().to_owned();
    let expires_at = task.sticky_until();
    let sticky = expires_at.map(|_| run.core.sticky_queue.clone());
    Some(Obligation::OfferWorkflowTask(TaskOffer {
        run_id: run.core.run_id.clone(),
        task: task.id(),
        sticky_of: sticky.is_some().then(|| normal.clone()),
        task_queue: sticky.unwrap_or(normal),
        priority: run.start.priority.clone(),
        scheduled_at: Timestamp::from_nanos(task.scheduled_at),
        expires_at,
    }))
}

fn offer_of(run: &Run, activity: &Activity) -> Obligation {
    let expires_at = activity.next_schedule_deadline();
    Obligation::OfferActivity(TaskOffer {
        run_id: run.core.run_id.clone(),
        task: TaskRef { scheduled_event_id: activity.scheduled_event_id, attempt: activity.progress.attempt, stamp: 0 },
        task_queue: activity.task_queue_name().to_owned(),
        sticky_of: None,
        priority: activity.schedule.priority.clone().or_else(|| run.start.priority.clone()),
        scheduled_at: Timestamp::from_nanos(activity.progress.scheduled_at),
        expires_at,
    })
}

fn notice_of(run: &Run) -> Option<Obligation> {
    notice_owed(run)?;
    Some(Obligation::NotifyParent {
        run_id: run.core.run_id.clone(),
        parent: run.start.parent_workflow_execution.clone()?,
        initiated_event_id: run.start.parent_initiated_event_id,
        first_run_id: run.start.first_execution_run_id.clone(),
        outcome: Box::new(run.closing_attributes()?.clone()),
    })
}
