//! Signal other workflows, and ask them to cancel.

use std::sync::Arc;

use api::temporal::api::command::v1::{
    RequestCancelExternalWorkflowExecutionCommandAttributes, SignalExternalWorkflowExecutionCommandAttributes,
};
use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::enums::v1::WorkflowTaskFailedCause as Cause;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes,
};

use super::{Carried, Commands, bad};
use crate::command_checks::is_uuid;
use crate::draft::EventMetadata;
use crate::pending::Child;

impl Commands<'_, '_> {
    pub(super) fn signal_external(
        &mut self,
        command: SignalExternalWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadSignalWorkflowExecutionAttributes;
        let target = command.execution.unwrap_or_default();
        self.check_id(cause, "Execution.WorkflowId", &target.workflow_id)?;
        check_run_id(cause, "Execution.RunId", &target.run_id)?;
        self.check_id(cause, "SignalName", &command.signal_name)?;
        self.check_own_namespace(cause, &command.namespace)?;
        let size_cause = Cause::BadSignalInputSize;
        self.check_size(size_cause, "SignalExternalWorkflowExecutionCommandAttributes.Input", command.input.as_ref())?;
        self.check_pending(Cause::PendingSignalsLimitExceeded, "external signals", self.run.signals.len())?;
        let attributes = SignalExternalWorkflowExecutionInitiatedEventAttributes {
            workflow_task_completed_event_id: self.completed_event_id,
            namespace: self.namespace.clone(),
            namespace_id: self.run.env().namespace_id.to_owned(),
            workflow_execution: Some(target),
            signal_name: command.signal_name,
            input: command.input,
            control: command.control,
            child_workflow_only: command.child_workflow_only,
            header: command.header,
        };
        let attributes = Attributes::SignalExternalWorkflowExecutionInitiatedEventAttributes(attributes);
        self.run.event_with(attributes, metadata);
        Ok(())
    }

    pub(super) fn cancel_external(
        &mut self,
        command: RequestCancelExternalWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadRequestCancelExternalWorkflowExecutionAttributes;
        self.check_id(cause, "WorkflowId", &command.workflow_id)?;
        check_run_id(cause, "RunId", &command.run_id)?;
        self.check_own_namespace(cause, &command.namespace)?;
        self.check_not_started_here(cause, &command.workflow_id)?;
        self.check_pending(Cause::PendingRequestCancelLimitExceeded, "cancel requests", self.run.cancels.len())?;
        let target = WorkflowExecution { workflow_id: command.workflow_id, run_id: command.run_id };
        let attributes = RequestCancelExternalWorkflowExecutionInitiatedEventAttributes {
            workflow_task_completed_event_id: self.completed_event_id,
            namespace: self.namespace.clone(),
            namespace_id: self.run.env().namespace_id.to_owned(),
            workflow_execution: Some(target),
            control: command.control,
            child_workflow_only: command.child_workflow_only,
            reason: command.reason,
        };
        let attributes = Attributes::RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(attributes);
        self.run.event_with(attributes, metadata);
        Ok(())
    }

    /// A worker that wants a child cancelled which it starts with the same task need not start it.
    fn check_not_started_here(&self, cause: Cause, workflow_id: &str) -> Carried {
        let started_here = |child: &Arc<Child>| child.initiated_event_id > self.completed_event_id;
        let mut children = self.run.children.values().rev().take_while(|child| started_here(child));
        if !children.any(|child| child.initiated.workflow_id == workflow_id) {
            return Ok(());
        }
        bad(
            cause,
            format!(
                "Start and RequestCancel for child workflow is not allowed in same workflow task. \
                 WorkflowId {workflow_id:?} is that of a child which this task starts"
            ),
        )
    }
}

fn check_run_id(cause: Cause, field: &str, run_id: &str) -> Carried {
    if run_id.is_empty() || is_uuid(run_id) {
        return Ok(());
    }
    let beginning: String = run_id.chars().take(64).collect();
    bad(cause, format!("{field} is {beginning:?}, a UUID is needed"))
}
