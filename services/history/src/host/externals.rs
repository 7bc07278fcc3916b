//! Signals and cancel requests from one workflow to another.

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, SignalExternalWorkflowExecutionFailedCause,
};
use entities::EntityKey;
use execution::{
    ExternalCancel, ExternalCancelRequested, ExternalSignal, ExternalSignalled, Input, Rejection, RequestCancel, Signal,
};

use super::derived_request_id;
use crate::HistoryService;
use crate::peers::{Saying, Told};

/// Signals another workflow.
pub(super) async fn signal(
    service: &HistoryService,
    key: &EntityKey,
    run_id: String,
    signal: &ExternalSignal,
) -> Option<Input> {
    let initiated = &signal.initiated;
    let target = initiated.workflow_execution.clone().unwrap_or_default();
    let message = Saying::Signal(Box::new(Signal {
        request_id: derived_request_id(&run_id, signal.initiated_event_id),
        name: initiated.signal_name.clone(),
        input: initiated.input.clone(),
        header: initiated.header.clone(),
        sender: Some(sender(key, &run_id)),
        child_only: initiated.child_workflow_only,
        ..Signal::default()
    }));
    let result = match service.tell_other(key, &target.workflow_id, target.run_id, message).await {
        Told::Done { .. } => Ok(()),
        Told::Refused(Rejection::LimitExceeded(_)) => {
            Err(SignalExternalWorkflowExecutionFailedCause::SignalCountLimitExceeded)
        }
        Told::Refused(_) => Err(SignalExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound),
        Told::Later => return None,
    };
    let initiated_event_id = signal.initiated_event_id;
    Some(Input::new(run_id, ExternalSignalled { initiated_event_id, result }))
}

/// Asks another workflow to cancel itself.
pub(super) async fn cancel(
    service: &HistoryService,
    key: &EntityKey,
    run_id: String,
    cancel: &ExternalCancel,
) -> Option<Input> {
    let initiated = &cancel.initiated;
    let target = initiated.workflow_execution.clone().unwrap_or_default();
    let message = Saying::RequestCancel(Box::new(RequestCancel {
        request_id: derived_request_id(&run_id, cancel.initiated_event_id),
        reason: initiated.reason.clone(),
        sender: Some((sender(key, &run_id), cancel.initiated_event_id)),
        child_only: initiated.child_workflow_only,
        ..RequestCancel::default()
    }));
    let result = match service.tell_other(key, &target.workflow_id, target.run_id, message).await {
        Told::Done { .. } => Ok(()),
        Told::Refused(_) => Err(CancelExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound),
        Told::Later => return None,
    };
    let initiated_event_id = cancel.initiated_event_id;
    Some(Input::new(run_id, ExternalCancelRequested { initiated_event_id, result }))
}

fn sender(key: &EntityKey, run_id: &str) -> WorkflowExecution {
    WorkflowExecution { workflow_id: key.id.to_string(), run_id: run_id.to_owned() }
}
