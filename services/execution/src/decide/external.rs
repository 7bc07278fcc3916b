//! How signals and cancel requests to other workflows ended.

use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ExternalWorkflowExecutionCancelRequestedEventAttributes, ExternalWorkflowExecutionSignaledEventAttributes,
    RequestCancelExternalWorkflowExecutionFailedEventAttributes, SignalExternalWorkflowExecutionFailedEventAttributes,
};

use super::answer::{Decision, changed, unchanged};
use super::target::Target;
use super::task;
use crate::input::{ExternalCancelRequested, ExternalSignalled};

pub(super) fn signalled<'a>(on: Target<'a>, ended: ExternalSignalled) -> Decision<'a, ()> {
    let ExternalSignalled { initiated_event_id, result } = ended;
    let signal = on.find().and_then(|run| run.signals.get(&initiated_event_id));
    let Some(signal) = signal else { return unchanged(()) };
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
    note(on, attributes)
}

pub(super) fn cancel_requested<'a>(on: Target<'a>, ended: ExternalCancelRequested) -> Decision<'a, ()> {
    let ExternalCancelRequested { initiated_event_id, result } = ended;
    let cancel = on.find().and_then(|run| run.cancels.get(&initiated_event_id));
    let Some(cancel) = cancel else { return unchanged(()) };
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
    note(on, attributes)
}

fn note(on: Target<'_>, attributes: Attributes) -> Decision<'_, ()> {
    let run_id = &on.resolve()?.core.run_id;
    let mut draft = on.draft();
    let mut run = draft.at(run_id);
    run.event(attributes);
    task::wake_workflow(&mut run);
    changed(draft, ())
}
