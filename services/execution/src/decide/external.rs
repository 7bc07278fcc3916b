//! How signals and cancel requests to other workflows ended.

use api::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, SignalExternalWorkflowExecutionFailedCause,
};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ExternalWorkflowExecutionCancelRequestedEventAttributes, ExternalWorkflowExecutionSignaledEventAttributes,
    RequestCancelExternalWorkflowExecutionFailedEventAttributes, SignalExternalWorkflowExecutionFailedEventAttributes,
};

use super::{task, unchanged};
use crate::draft::Draft;
use crate::reply::{Reply, Transition};
use crate::{Env, Workflow};

pub(super) fn signalled(
    workflow: &Workflow,
    run_id: &str,
    initiated_event_id: i64,
    result: Result<(), SignalExternalWorkflowExecutionFailedCause>,
    env: &Env<'_>,
) -> Transition {
    let signal = workflow.runs.get(run_id).and_then(|run| run.signals.get(&initiated_event_id));
    let Some(signal) = signal else { return unchanged(workflow, Reply::Done) };
    let initiated = signal.initiated.clone();
    let attributes = match result {
        Ok(()) => Attributes::ExternalWorkflowExecutionSignaledEventAttributes(
            ExternalWorkflowExecutionSignaledEventAttributes {
                initiated_event_id,
                namespace: initiated.namespace.clone(),
                namespace_id: initiated.namespace_id.clone(),
                workflow_execution: initiated.workflow_execution.clone(),
                control: initiated.control.clone(),
            },
        ),
        Err(cause) => Attributes::SignalExternalWorkflowExecutionFailedEventAttributes(
            SignalExternalWorkflowExecutionFailedEventAttributes {
                cause: cause as i32,
                namespace: initiated.namespace.clone(),
                namespace_id: initiated.namespace_id.clone(),
                workflow_execution: initiated.workflow_execution.clone(),
                initiated_event_id,
                control: initiated.control.clone(),
                // As the public server does, it does not say which task asked for it.
                ..Default::default()
            },
        ),
    };
    answer(workflow, run_id, attributes, env)
}

pub(super) fn cancel_requested(
    workflow: &Workflow,
    run_id: &str,
    initiated_event_id: i64,
    result: Result<(), CancelExternalWorkflowExecutionFailedCause>,
    env: &Env<'_>,
) -> Transition {
    let cancel = workflow.runs.get(run_id).and_then(|run| run.cancels.get(&initiated_event_id));
    let Some(cancel) = cancel else { return unchanged(workflow, Reply::Done) };
    let initiated = cancel.initiated.clone();
    let attributes = match result {
        Ok(()) => Attributes::ExternalWorkflowExecutionCancelRequestedEventAttributes(
            ExternalWorkflowExecutionCancelRequestedEventAttributes {
                initiated_event_id,
                namespace: initiated.namespace.clone(),
                namespace_id: initiated.namespace_id.clone(),
                workflow_execution: initiated.workflow_execution.clone(),
            },
        ),
        Err(cause) => Attributes::RequestCancelExternalWorkflowExecutionFailedEventAttributes(
            RequestCancelExternalWorkflowExecutionFailedEventAttributes {
                cause: cause as i32,
                namespace: initiated.namespace.clone(),
                namespace_id: initiated.namespace_id.clone(),
                workflow_execution: initiated.workflow_execution.clone(),
                initiated_event_id,
                control: initiated.control.clone(),
                // As the public server does, it does not say which task asked for it.
                ..Default::default()
            },
        ),
    };
    answer(workflow, run_id, attributes, env)
}

fn answer(workflow: &Workflow, run_id: &str, attributes: Attributes, env: &Env<'_>) -> Transition {
    let mut draft = Draft::of(workflow, env);
    draft.event(run_id, attributes);
    task::wake_workflow(&mut draft, run_id);
    draft.finish(|_| Reply::Done)
}
