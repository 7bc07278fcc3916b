//! Parents and children: starting a child, carrying out the parent close policy, notifying the parent of the close.

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::enums::v1::{ParentClosePolicy, StartChildWorkflowExecutionFailedCause};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest;
use entities::EntityKey;
use execution::{
    Child, ChildClosed, ChildReleased, ChildStarted, Input, Parent, ParentNotified, Rejection, RequestCancel, Run,
    RunRef, Start, Terminate,
};

use super::derived_request_id;
use crate::HistoryService;
use crate::peers::{MessageBody, PeerReply};

const RELEASE_REASON: &str = "by parent close policy";
const IDENTITY: &str = "history-service";

/// Starts a child.
pub(super) async fn start(service: &HistoryService, key: &EntityKey, run: &Run, child: &Child) -> Option<Input> {
    let start = Start {
        request: start_request(run, child),
        parent: Some(Parent {
            namespace: service.name_of(&key.namespace),
            namespace_id: key.namespace.to_string(),
            execution: WorkflowExecution { workflow_id: key.id.to_string(), run_id: run.core.run_id.clone() },
            initiated_event_id: child.initiated_event_id,
            root: run.root(),
        }),
        signal: None,
        update: None,
    };
    let message = MessageBody::Start(Box::new(start));
    let result = match service.send_to_peer(key, &child.initiated.workflow_id, RunRef::Chain, message).await {
        PeerReply::Done { run_id } if !run_id.is_empty() => Ok(run_id),
        PeerReply::Refused(Rejection::AlreadyStarted { .. }) => {
            Err(StartChildWorkflowExecutionFailedCause::WorkflowAlreadyExists)
        }
        PeerReply::Refused(rejection) => {
            tracing::warn!(workflow = %key.id, child = child.initiated.workflow_id, %rejection, "a child cannot start");
            Err(StartChildWorkflowExecutionFailedCause::Unspecified)
        }
        // A start is answered with a run.
        PeerReply::Done { .. } | PeerReply::Later => return None,
    };
    let initiated_event_id = child.initiated_event_id;
    Some(Input::new(run.core.run_id.as_str(), ChildStarted { initiated_event_id, result }))
}

fn start_request(run: &Run, child: &Child) -> StartWorkflowExecutionRequest {
    let initiated = (*child.initiated).clone();
    StartWorkflowExecutionRequest {
        namespace: initiated.namespace,
        workflow_id: initiated.workflow_id,
        workflow_type: initiated.workflow_type,
        task_queue: initiated.task_queue,
        input: initiated.input,
        workflow_execution_timeout: initiated.workflow_execution_timeout,
        workflow_run_timeout: initiated.workflow_run_timeout,
        workflow_task_timeout: initiated.workflow_task_timeout,
        request_id: derived_request_id(&run.core.run_id, child.initiated_event_id),
        workflow_id_reuse_policy: initiated.workflow_id_reuse_policy,
        retry_policy: initiated.retry_policy,
        cron_schedule: initiated.cron_schedule,
        memo: initiated.memo,
        search_attributes: initiated.search_attributes,
        header: initiated.header,
        versioning_override: initiated.versioning_override,
        priority: initiated.priority,
        user_metadata: child.user_metadata.clone(),
        ..StartWorkflowExecutionRequest::default()
    }
}

/// Carries out the parent close policy on a child.
pub(super) async fn release(
    service: &HistoryService,
    key: &EntityKey,
    run_id: String,
    initiated_event_id: i64,
    child: WorkflowExecution,
    policy: ParentClosePolicy,
) -> Option<Input> {
    let released = ChildReleased { initiated_event_id };
    let parent = WorkflowExecution { workflow_id: key.id.to_string(), run_id: run_id.clone() };
    let message = match policy {
        ParentClosePolicy::RequestCancel => MessageBody::RequestCancel(Box::new(RequestCancel {
            request_id: derived_request_id(&run_id, initiated_event_id),
            first_execution_run_id: child.run_id,
            identity: IDENTITY.to_owned(),
            // The event names the requester, and neither why nor since when: as in the public server.
            sender: Some((parent, 0)),
            child_only: true,
            ..RequestCancel::default()
        })),
        ParentClosePolicy::Terminate | ParentClosePolicy::Unspecified => MessageBody::Terminate(Box::new(Terminate {
            first_execution_run_id: child.run_id,
            reason: RELEASE_REASON.to_owned(),
            identity: IDENTITY.to_owned(),
            parent: Some(parent),
            ..Terminate::default()
        })),
        ParentClosePolicy::Abandon => return Some(Input::new(run_id, released)),
    };
    match service.send_to_peer(key, &child.workflow_id, RunRef::Current, message).await {
        // A child that refuses is gone, closed, or another workflow's by now.
        PeerReply::Done { .. } | PeerReply::Refused(_) => Some(Input::new(run_id, released)),
        PeerReply::Later => None,
    }
}

/// Notifies the parent that a child has closed.
pub(super) async fn notify_parent(
    service: &HistoryService,
    key: &EntityKey,
    run_id: String,
    parent: WorkflowExecution,
    initiated_event_id: i64,
    first_run_id: String,
    outcome: Box<Attributes>,
) -> Option<Input> {
    let closed = ChildClosed {
        initiated_event_id,
        child: WorkflowExecution { workflow_id: key.id.to_string(), run_id: first_run_id },
        outcome: *outcome,
    };
    let message = MessageBody::ChildClosed(Box::new(closed));
    match service.send_to_peer(key, &parent.workflow_id, parent.run_id, message).await {
        // A parent that refuses is gone or closed.
        PeerReply::Done { .. } | PeerReply::Refused(_) => Some(Input::new(run_id, ParentNotified)),
        PeerReply::Later => None,
    }
}
