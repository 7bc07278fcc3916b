//! What a parent hears of its children, and what a closed run still owes.

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::enums::v1::{ParentClosePolicy, StartChildWorkflowExecutionFailedCause};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ChildWorkflowExecutionCanceledEventAttributes, ChildWorkflowExecutionCompletedEventAttributes,
    ChildWorkflowExecutionFailedEventAttributes, ChildWorkflowExecutionStartedEventAttributes,
    ChildWorkflowExecutionTerminatedEventAttributes, ChildWorkflowExecutionTimedOutEventAttributes,
    StartChildWorkflowExecutionFailedEventAttributes,
};

use super::{task, unchanged};
use crate::change::{ChildStarted, Fact};
use crate::draft::Draft;
use crate::input::ChildClosed;
use crate::pending::Child;
use crate::reply::{Rejection, Reply, Transition};
use crate::{Env, Workflow};

/// How starting a child ended.
pub(super) fn started(
    workflow: &Workflow,
    run_id: &str,
    initiated_event_id: i64,
    result: Result<String, StartChildWorkflowExecutionFailedCause>,
    env: &Env<'_>,
) -> Transition {
    let run = workflow.runs.get(run_id);
    let child = run.and_then(|run| run.children.get(&initiated_event_id));
    let (Some(run), Some(child)) = (run, child) else { return unchanged(workflow, Reply::Done) };
    if child.is_started() {
        return unchanged(workflow, Reply::Done);
    }
    let (open, child) = (run.is_open(), child.clone());
    let mut draft = Draft::of(workflow, env);
    match (open, result) {
        (true, Ok(child_run_id)) => write_started(&mut draft, run_id, &child, &child_run_id),
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
            draft.event(run_id, attributes);
        }
        // The parent closed before it knew: an abandoned child lives on, others meet the parent close policy.
        (false, Ok(child_run_id)) if child.close_policy() != ParentClosePolicy::Abandon => {
            draft.fact(run_id, Fact::ChildStarted(ChildStarted { initiated_event_id, run_id: child_run_id }));
        }
        (false, _) => draft.fact(run_id, Fact::ChildReleased(initiated_event_id)),
    }
    task::wake_workflow(&mut draft, run_id);
    draft.finish(|_| Reply::Done)
}

fn write_started(draft: &mut Draft<'_>, run_id: &str, child: &Child, child_run_id: &str) {
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
    draft.event(run_id, attributes);
}

/// A child has closed. Its start may not have been heard of yet: then that is written first.
pub(super) fn closed(workflow: &Workflow, closed: ChildClosed, env: &Env<'_>) -> Result<Transition, Rejection> {
    let gone = || Rejection::NotFound("the parent does not wait for this child".to_owned());
    let run = workflow.runs.get(&closed.run_id).filter(|run| run.is_open()).ok_or_else(gone)?;
    let child = run.children.get(&closed.initiated_event_id).ok_or_else(gone)?.clone();
    let same = child.initiated.workflow_id == closed.child.workflow_id
        && (!child.is_started() || child.run_id == closed.child.run_id);
    if !same {
        return Err(gone());
    }
    let run_id = closed.run_id.clone();
    let mut draft = Draft::of(workflow, env);
    if !child.is_started() {
        write_started(&mut draft, &run_id, &child, &closed.child.run_id);
    }
    let started_event_id =
        draft.run(&run_id).children.get(&closed.initiated_event_id).map_or(0, |child| child.started_event_id);
    let attributes = closing_event(&child, closed, started_event_id).ok_or_else(gone)?;
    draft.event(&run_id, attributes);
    task::wake_workflow(&mut draft, &run_id);
    Ok(draft.finish(|_| Reply::Done))
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
pub(super) fn released(workflow: &Workflow, run_id: &str, initiated_event_id: i64, env: &Env<'_>) -> Transition {
    let owed =
        workflow.runs.get(run_id).is_some_and(|run| !run.is_open() && run.children.contains_key(&initiated_event_id));
    if !owed {
        return unchanged(workflow, Reply::Done);
    }
    let mut draft = Draft::of(workflow, env);
    draft.fact(run_id, Fact::ChildReleased(initiated_event_id));
    draft.finish(|_| Reply::Done)
}

/// The parent knows of the close.
pub(super) fn parent_notified(workflow: &Workflow, run_id: &str, env: &Env<'_>) -> Transition {
    if !workflow.runs.get(run_id).is_some_and(|run| run.core.owes_parent) {
        return unchanged(workflow, Reply::Done);
    }
    let mut draft = Draft::of(workflow, env);
    draft.fact(run_id, Fact::OwesParent(false));
    draft.finish(|_| Reply::Done)
}
