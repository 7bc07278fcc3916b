//! Commands that close the run. None may pass over events that the worker has not seen.

use api::temporal::api::command::v1::{
    CancelWorkflowExecutionCommandAttributes, CompleteWorkflowExecutionCommandAttributes,
    ContinueAsNewWorkflowExecutionCommandAttributes, FailWorkflowExecutionCommandAttributes,
};
use api::temporal::api::enums::v1::{ContinueAsNewInitiator, WorkflowTaskFailedCause as Cause};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionCanceledEventAttributes, WorkflowExecutionCompletedEventAttributes,
    WorkflowExecutionContinuedAsNewEventAttributes, WorkflowExecutionFailedEventAttributes,
};

use super::{BadCommand, Carried, Commands, bad};
use crate::command_checks::{checked_duration, checked_retry_policy};
use crate::decide::close::{NextRun, next_after_completion, next_after_failure};
use crate::decide::start::begin_next;
use crate::draft::EventMetadata;
use crate::duration::{from_wire, to_wire};
use crate::run_settings::continued_as_new;

impl Commands<'_, '_> {
    fn check_nothing_unseen(&self) -> Carried {
        if self.run.buffered.is_empty() {
            return Ok(());
        }
        // The name of the cause is the whole of the text, as in `texts::UNHANDLED_COMMAND`.
        bad(Cause::UnhandledCommand, String::new())
    }

    pub(super) fn complete_workflow(
        &mut self,
        command: CompleteWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadCompleteWorkflowExecutionAttributes;
        self.check_nothing_unseen()?;
        self.check_size(cause, "CompleteWorkflowExecutionCommandAttributes.Result", command.result.as_ref())?;
        let next = next_after_completion(&mut self.run, command.result.as_ref());
        let attributes = WorkflowExecutionCompletedEventAttributes {
            result: command.result,
            workflow_task_completed_event_id: self.completed_event_id,
            new_execution_run_id: run_id_of(next.as_ref()),
        };
        let attributes = Attributes::WorkflowExecutionCompletedEventAttributes(attributes);
        self.close(attributes, metadata, next);
        Ok(())
    }

    pub(super) fn fail_workflow(
        &mut self,
        command: FailWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadFailWorkflowExecutionAttributes;
        self.check_nothing_unseen()?;
        let Some(mut failure) = command.failure else {
            return bad(cause, "Failure is not set".to_owned());
        };
        crate::cut_failure(&mut failure);
        self.check_size(cause, "FailWorkflowExecutionCommandAttributes.Failure", Some(&failure))?;
        let (retry_state, next) = next_after_failure(&mut self.run, &failure);
        let attributes = WorkflowExecutionFailedEventAttributes {
            failure: Some(failure),
            retry_state: retry_state as i32,
            workflow_task_completed_event_id: self.completed_event_id,
            new_execution_run_id: run_id_of(next.as_ref()),
        };
        self.close(Attributes::WorkflowExecutionFailedEventAttributes(attributes), metadata, next);
        Ok(())
    }

    pub(super) fn cancel_workflow(
        &mut self,
        command: CancelWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadCancelWorkflowExecutionAttributes;
        self.check_nothing_unseen()?;
        self.check_size(cause, "CancelWorkflowExecutionCommandAttributes.Details", command.details.as_ref())?;
        let attributes = WorkflowExecutionCanceledEventAttributes {
            workflow_task_completed_event_id: self.completed_event_id,
            details: command.details,
        };
        self.close(Attributes::WorkflowExecutionCanceledEventAttributes(attributes), metadata, None);
        Ok(())
    }

    pub(super) fn continue_as_new(
        &mut self,
        mut command: ContinueAsNewWorkflowExecutionCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadContinueAsNewAttributes;
        let refused = |message: String| BadCommand { cause, message, terminates: false };
        self.check_nothing_unseen()?;
        let kind = command.workflow_type.as_ref().map_or("", |kind| &kind.name);
        self.check_optional_id(cause, "WorkflowType", kind)?;
        self.check_route(cause, command.task_queue.as_ref(), None)?;
        self.check_size(cause, "ContinueAsNewWorkflowExecutionCommandAttributes.Input", command.input.as_ref())?;
        self.check_size(cause, "ContinueAsNewWorkflowExecutionCommandAttributes.Memo", command.memo.as_ref())?;
        checked_duration("WorkflowRunTimeout", &mut command.workflow_run_timeout).map_err(refused)?;
        checked_duration("WorkflowTaskTimeout", &mut command.workflow_task_timeout).map_err(refused)?;
        checked_duration("BackoffStartInterval", &mut command.backoff_start_interval).map_err(refused)?;
        checked_retry_policy(command.retry_policy.as_ref()).map_err(refused)?;
        crate::cron::validate(&command.cron_schedule).map_err(refused)?;
        self.check_search_attributes(command.search_attributes.as_ref())?;
        let run = self.run.snapshot();
        let new_run_id = self.run.uuid();
        let start = continued_as_new(&run, &new_run_id, command, self.run.now(), self.run.env().limits);
        let attributes = WorkflowExecutionContinuedAsNewEventAttributes {
            new_execution_run_id: new_run_id.clone(),
            workflow_type: start.workflow_type.clone(),
            task_queue: start.task_queue.clone(),
            input: start.input.clone(),
            workflow_run_timeout: start.workflow_run_timeout,
            workflow_task_timeout: start.workflow_task_timeout,
            workflow_task_completed_event_id: self.completed_event_id,
            backoff_start_interval: Some(to_wire(
                from_wire(start.first_workflow_task_backoff.as_ref()).unwrap_or_default(),
            )),
            initiator: ContinueAsNewInitiator::Workflow as i32,
            failure: start.continued_failure.clone(),
            last_completion_result: start.last_completion_result.clone(),
            header: start.header.clone(),
            memo: start.memo.clone(),
            search_attributes: start.search_attributes.clone(),
            ..WorkflowExecutionContinuedAsNewEventAttributes::default()
        };
        let next = Some(NextRun { run_id: new_run_id, start });
        self.close(Attributes::WorkflowExecutionContinuedAsNewEventAttributes(attributes), metadata, next);
        Ok(())
    }

    fn close(&mut self, attributes: Attributes, metadata: EventMetadata, next: Option<NextRun>) {
        self.run.event_with(attributes, metadata);
        if let Some(next) = next {
            begin_next(&mut self.run, next);
        }
    }
}

fn run_id_of(next: Option<&NextRun>) -> String {
    next.map(|next| next.run_id.clone()).unwrap_or_default()
}
