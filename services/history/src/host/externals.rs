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
use crate::peers::{MessageBody, PeerReply};

/// Signals another workflow.
pub(super) async fn signal(
    service: &HistoryService,
    key: &EntityKey,
    run_id: String,
    signal: &ExternalSignal,
) -> Option<Input> {
    let initiated = &signal.initiated;
    let target = initiated.workflow_execution.clone().unwrap_or_default();
    let message = MessageBody::Signal(Box::new(Signal {
        request_id: derived_request_id(&run_id, signal.initiated_event_id),
        name: initiated.signal_name.clone(),
        input: initiated.input.clone(),
        header: initiated.header.clone(),
        sender: Some(sender(key, &run_id)),
        child_only: initiated.child_workflow_only,
        ..Signal::default()
    }));
    let result = match service.send_to_peer(key, &target.workflow_id, target.run_id, message).await {
        PeerReply::Done { .. } => Ok(()),
        PeerReply::Refused(Rejection::LimitExceeded(_)) => {
            Err(SignalExternalWorkflowExecutionFailedCause::SignalCountLimitExceeded)
        }
        PeerReply::Refused(_) => Err(SignalExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound),
        PeerReply::Later => return None,
    };
    let initiated_event_id = signal.initiated_event_id;
    Some(Input::new(run_id, ExternalSignalled { initiated_event_id, result }))
}

/// Sends a cancel request to another workflow.
pub(super) async fn cancel(
    service: &HistoryService,
    key: &EntityKey,
    run_id: String,
    cancel: &ExternalCancel,
) -> Option<Input> {
    let initiated = &cancel.initiated;
    let target = initiated.workflow_execution.clone().unwrap_or_default();
    let message = MessageBody::RequestCancel(Box::new(RequestCancel {
        request_id: derived_request_id(&run_id, cancel.initiated_event_id),
        reason: initiated.reason.clone(),
        sender: Some((sender(key, &run_id), cancel.initiated_event_id)),
        child_only: initiated.child_workflow_only,
        ..RequestCancel::default()
    }));
    let result = match service.send_to_peer(key, &target.workflow_id, target.run_id, message).await {
        PeerReply::Done { .. } => Ok(()),
        PeerReply::Refused(_) => Err(CancelExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound),
        PeerReply::Later => return None,
    };
    let initiated_event_id = cancel.initiated_event_id;
    Some(Input::new(run_id, ExternalCancelRequested { initiated_event_id, result }))
}

fn sender(key: &EntityKey, run_id: &str) -> WorkflowExecution {
    WorkflowExecution { workflow_id: key.id.to_string(), run_id: run_id.to_owned() }
}
