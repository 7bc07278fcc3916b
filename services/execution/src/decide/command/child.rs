//! Start child workflows.

use api::temporal::api::command::v1::StartChildWorkflowExecutionCommandAttributes;
use api::temporal::api::enums::v1::{
    ParentClosePolicy, TaskQueueKind, WorkflowIdReusePolicy, WorkflowTaskFailedCause as Cause,
};
use api::temporal::api::history::v1::StartChildWorkflowExecutionInitiatedEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::taskqueue::v1::TaskQueue;

use super::{BadCommand, Carried, Commands, bad, inherited};
use crate::command_checks::{checked_duration, checked_retry_policy};
use crate::draft::EventMetadata;

impl Commands<'_, '_> {
    pub(super) fn start_child(
        &mut self,
        mut command: StartChildWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadStartChildExecutionAttributes;
        let refused = |message: String| BadCommand { cause, message, terminates: false };
        self.check_id(cause, "WorkflowId", &command.workflow_id)?;
        let kind = command.workflow_type.as_ref().map_or("", |kind| &kind.name);
        self.check_id(cause, "WorkflowType", kind)?;
        self.check_route(cause, command.task_queue.as_ref(), command.priority.as_ref())?;
        self.check_own_namespace(cause, &command.namespace)?;
        self.check_size(cause, "StartChildWorkflowExecutionCommandAttributes.Input", command.input.as_ref())?;
        self.check_size(cause, "StartChildWorkflowExecutionCommandAttributes.Memo", command.memo.as_ref())?;
        self.check_pending(Cause::PendingChildWorkflowsLimitExceeded, "child workflows", self.run.children.len())?;
        checked_duration("WorkflowExecutionTimeout", &mut command.workflow_execution_timeout).map_err(refused)?;
        checked_duration("WorkflowRunTimeout", &mut command.workflow_run_timeout).map_err(refused)?;
        checked_duration("WorkflowTaskTimeout", &mut command.workflow_task_timeout).map_err(refused)?;
        checked_retry_policy(command.retry_policy.as_ref()).map_err(refused)?;
        crate::cron::validate(&command.cron_schedule).map_err(refused)?;
        self.check_search_attributes(command.search_attributes.as_ref())?;
        if command.versioning_override.is_some() {
            return bad(Cause::FeatureDisabled, "VersioningOverride is not served".to_owned());
        }
        let queue = command.task_queue.filter(|queue| !queue.name.is_empty());
        let name = queue.map_or_else(|| self.run.task_queue_name().to_owned(), |queue| queue.name);
        let reuse = match WorkflowIdReusePolicy::try_from(command.workflow_id_reuse_policy) {
            Ok(WorkflowIdReusePolicy::Unspecified) => WorkflowIdReusePolicy::AllowDuplicate,
            Ok(policy) => policy,
            Err(_) => {
                return bad(cause, format!("WorkflowIdReusePolicy {} is unknown", command.workflow_id_reuse_policy));
            }
        };
        let close = match ParentClosePolicy::try_from(command.parent_close_policy) {
            Ok(ParentClosePolicy::Unspecified) => ParentClosePolicy::Terminate,
            Ok(policy) => policy,
            Err(_) => return bad(cause, format!("ParentClosePolicy {} is unknown", command.parent_close_policy)),
        };
        let attributes = StartChildWorkflowExecutionInitiatedEventAttributes {
            namespace: self.namespace.clone(),
            namespace_id: self.run.env().namespace_id.to_owned(),
            workflow_id: command.workflow_id,
            workflow_type: command.workflow_type,
            task_queue: Some(TaskQueue { name, kind: TaskQueueKind::Normal as i32, normal_name: String::new() }),
            input: command.input,
            workflow_execution_timeout: command.workflow_execution_timeout,
            workflow_run_timeout: command.workflow_run_timeout,
            workflow_task_timeout: command.workflow_task_timeout,
            parent_close_policy: close as i32,
            control: command.control,
            workflow_task_completed_event_id: self.completed_event_id,
            workflow_id_reuse_policy: reuse as i32,
            retry_policy: command.retry_policy,
            cron_schedule: command.cron_schedule,
            header: command.header,
            memo: command.memo,
            search_attributes: command.search_attributes,
            priority: inherited(command.priority, self.run.start.priority.as_ref()),
            ..StartChildWorkflowExecutionInitiatedEventAttributes::default()
        };
        let attributes = Attributes::StartChildWorkflowExecutionInitiatedEventAttributes(attributes);
        self.run.event_with(attributes, metadata);
        Ok(())
    }

    /// Commands into another namespace are refused: a worker's permission does not reach there.
    pub(super) fn check_own_namespace(&self, cause: Cause, namespace: &str) -> Carried {
        let own = &self.namespace;
        if namespace.is_empty() || namespace == own {
            return Ok(());
        }
        bad(
            cause,
            format!("Namespace {namespace:?} is not the workflow's own, {own:?}: commands do not cross namespaces"),
        )
    }
}
