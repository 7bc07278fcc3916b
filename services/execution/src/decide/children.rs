//! What children report to their parent, and what a closed run still owes.

use std::sync::Arc;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::enums::v1::ParentClosePolicy;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ChildWorkflowExecutionCanceledEventAttributes, ChildWorkflowExecutionCompletedEventAttributes,
    ChildWorkflowExecutionFailedEventAttributes, ChildWorkflowExecutionStartedEventAttributes,
    ChildWorkflowExecutionTerminatedEventAttributes, ChildWorkflowExecutionTimedOutEventAttributes,
    StartChildWorkflowExecutionFailedEventAttributes,
};

use super::answer::{Decision, changed, unchanged};
use super::target::Target;
use super::task;
use crate::change::{self, Fact};
use crate::draft::RunDraft;
use crate::input::{ChildClosed, ChildReleased, ChildStarted};
use crate::pending::Child;
use crate::reply::Rejection;
use crate::run::Run;

/// How starting a child ended.
pub(super) fn started(on: Target<'_>, ended: ChildStarted) -> Decision<'_, ()> {
    let ChildStarted { initiated_event_id, result } = ended;
    let Some(before) = on.find() else { return unchanged(()) };
    let Some(child) = before.children.get(&initiated_event_id).filter(|child| !child.is_started()) else {
        return unchanged(());
    };
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    match (before.is_open(), result) {
        (true, Ok(child_run_id)) => write_started(&mut run, child, &child_run_id),
        (true, Err(cause)) => {
            let initiated = &child.initiated;
            let attributes = StartChildWorkflowExecutionFailedEventAttributes {
                namespace: initiated.namespace.clone(),
                namespace_id: initiated.namespace_id.clone(),
                workflow_id: initiated.workflow_id.clone(),
                workflow_type: initiated.workflow_type.clone(),
                cause: cause as i32,
                control: initiated.control.clone(),
                initiated_event_id,
                // As the public server does, it does not say which task asked for it.
                ..StartChildWorkflowExecutionFailedEventAttributes::default()
            };
            let attributes = Attributes::StartChildWorkflowExecutionFailedEventAttributes(attributes);
            run.event(attributes);
        }
        // The parent closed before it knew: an abandoned child lives on, others meet the parent close policy.
        (false, Ok(child_run_id)) if child.close_policy() != ParentClosePolicy::Abandon => {
            let started = change::ChildStarted { initiated_event_id, run_id: child_run_id };
            run.fact(Fact::ChildStarted(started));
        }
        (false, _) => run.fact(Fact::ChildReleased(initiated_event_id)),
    }
    task::wake_workflow(&mut run);
    changed(draft, ())
}

fn write_started(run: &mut RunDraft<'_, '_>, child: &Child, child_run_id: &str) {
    let initiated = &child.initiated;
    let attributes = ChildWorkflowExecutionStartedEventAttributes {
        namespace: initiated.namespace.clone(),
        namespace_id: initiated.namespace_id.clone(),
        initiated_event_id: child.initiated_event_id,
        workflow_execution: Some(WorkflowExecution {
            workflow_id: initiated.workflow_id.clone(),
            run_id: child_run_id.to_owned(),
        }),
        workflow_type: initiated.workflow_type.clone(),
        header: initiated.header.clone(),
    };
    let attributes = Attributes::ChildWorkflowExecutionStartedEventAttributes(attributes);
    run.event(attributes);
}

/// A child has closed. Its start may not have been heard of yet: then that is written first.
pub(super) fn closed(on: Target<'_>, closed: ChildClosed) -> Decision<'_, ()> {
    let gone = || Rejection::NotFound("the parent does not wait for this child".to_owned());
    let before = waits_for(on, &closed).ok_or_else(gone)?;
    let child = before.children.get(&closed.initiated_event_id).ok_or_else(gone)?;
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    if !child.is_started() {
        write_started(&mut run, child, &closed.child.run_id);
    }
    let started_event_id = run.children.get(&closed.initiated_event_id).map_or(0, |child| child.started_event_id);
    let attributes = closing_event(child, closed, started_event_id).ok_or_else(gone)?;
    run.event(attributes);
    task::wake_workflow(&mut run);
    changed(draft, ())
}

/// The run that waits for the child: the one that started it, or one that a reset of that has made.
fn waits_for<'a>(on: Target<'a>, closed: &ChildClosed) -> Option<&'a Arc<Run>> {
    let child_of = |run: &'a Run| {
        let child = run.children.get(&closed.initiated_event_id)?;
        (child.initiated.workflow_id == closed.child.workflow_id).then_some(child)
    };
    let named = on.find()?;
    if named.is_open() {
        let child = child_of(named)?;
        return (!child.is_started() || child.run_id == closed.child.run_id).then_some(named);
    }
    let current = on.workflow.current().filter(|current| current.is_open() && current.core.reset_at != 0)?;
    (child_of(current)?.run_id == closed.child.run_id).then_some(current)
}

/// The parent's view of the child's closing event.
fn closing_event(child: &Child, closed: ChildClosed, started_event_id: i64) -> Option<Attributes> {
    let initiated_event_id = closed.initiated_event_id;
    let workflow_execution = Some(closed.child);
    let workflow_type = child.initiated.workflow_type.clone();
    let (namespace, namespace_id) = (child.initiated.namespace.clone(), child.initiated.namespace_id.clone());
    Some(match closed.outcome {
        Attributes::WorkflowExecutionCompletedEventAttributes(outcome) => {
            Attributes::ChildWorkflowExecutionCompletedEventAttributes(ChildWorkflowExecutionCompletedEventAttributes {
                result: outcome.result,
                namespace,
                namespace_id,
                workflow_execution,
                workflow_type,
                initiated_event_id,
                started_event_id,
            })
        }
        Attributes::WorkflowExecutionFailedEventAttributes(outcome) => {
            Attributes::ChildWorkflowExecutionFailedEventAttributes(ChildWorkflowExecutionFailedEventAttributes {
                failure: outcome.failure,
                namespace,
                namespace_id,
                workflow_execution,
                workflow_type,
                initiated_event_id,
                started_event_id,
                retry_state: outcome.retry_state,
            })
        }
        Attributes::WorkflowExecutionTimedOutEventAttributes(outcome) => {
            Attributes::ChildWorkflowExecutionTimedOutEventAttributes(ChildWorkflowExecutionTimedOutEventAttributes {
                namespace,
                namespace_id,
                workflow_execution,
                workflow_type,
                initiated_event_id,
                started_event_id,
                retry_state: outcome.retry_state,
            })
        }
        Attributes::WorkflowExecutionCanceledEventAttributes(outcome) => {
            Attributes::ChildWorkflowExecutionCanceledEventAttributes(ChildWorkflowExecutionCanceledEventAttributes {
                details: outcome.details,
                namespace,
                namespace_id,
                workflow_execution,
                workflow_type,
                initiated_event_id,
                started_event_id,
            })
        }
        Attributes::WorkflowExecutionTerminatedEventAttributes(_) => {
            Attributes::ChildWorkflowExecutionTerminatedEventAttributes(
                ChildWorkflowExecutionTerminatedEventAttributes {
                    namespace,
                    namespace_id,
                    workflow_execution,
                    workflow_type,
                    initiated_event_id,
                    started_event_id,
                },
            )
        }
        _ => return None,
    })
}

/// The parent close policy has been carried out.
pub(super) fn released(on: Target<'_>, released: ChildReleased) -> Decision<'_, ()> {
    let ChildReleased { initiated_event_id } = released;
    let is_owed = |run: &&Arc<Run>| !run.is_open() && run.children.contains_key(&initiated_event_id);
    let Some(run) = on.find().filter(is_owed) else { return unchanged(()) };
    let mut draft = on.draft();
    draft.at(&run.core.run_id).fact(Fact::ChildReleased(initiated_event_id));
    changed(draft, ())
}

/// The parent knows of the close.
pub(super) fn parent_notified(on: Target<'_>) -> Decision<'_, ()> {
    let Some(run) = on.find().filter(|run| run.core.owes_parent) else { return unchanged(()) };
    let mut draft = on.draft();
    draft.at(&run.core.run_id).fact(Fact::OwesParent(false));
    changed(draft, ())
}
