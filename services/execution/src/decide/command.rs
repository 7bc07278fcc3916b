//! The commands of workflow code, one file per family under `command/`.

mod activity;
mod child;
mod closing;
mod external;
mod properties;
mod timer;

use api::temporal::api::command::v1::Command;
use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::common::v1::Priority;
use api::temporal::api::enums::v1::WorkflowTaskFailedCause as Cause;
use api::temporal::api::taskqueue::v1::TaskQueue;
use prost::Message;

use crate::command_checks::{checked_elements, checked_name};
use crate::draft::{Draft, Notes};
use crate::run::Run;

/// A command that cannot be carried out: the workflow task fails with this cause.
#[derive(Debug)]
pub(super) struct BadCommand {
    pub(super) cause: Cause,
    pub(super) message: String,
    /// Whether the run is ended, since the same command would come again and again.
    pub(super) terminates: bool,
}

/// Shorthand for handlers.
pub(super) type Carried = Result<(), BadCommand>;

/// Whose commands they are.
pub(super) struct Requester {
    pub(super) identity: String,
    pub(super) namespace: String,
}

/// The commands of one completion, in order.
pub(super) struct Commands<'a> {
    pub(super) draft: Draft<'a>,
    pub(super) run_id: String,
    /// The WorkflowTaskCompleted event that all command events refer to.
    pub(super) completed_event_id: i64,
    pub(super) identity: String,
    /// The namespace by name, as the worker's request gave it and the frontend checked it.
    pub(super) namespace: String,
    /// Activities that were started for this worker, by scheduled event id.
    pub(super) eager: Vec<i64>,
    /// Whether an activity that nobody had started was cancelled, of which the workflow must hear.
    pub(super) unstarted_cancelled: bool,
}

impl<'a> Commands<'a> {
    pub(super) fn new(draft: Draft<'a>, run_id: String, completed_event_id: i64, who: Requester) -> Self {
        let Requester { identity, namespace } = who;
        Self { draft, run_id, completed_event_id, identity, namespace, eager: Vec::new(), unstarted_cancelled: false }
    }

    pub(super) fn carry_out(&mut self, command: Command) -> Carried {
        let notes =
            Notes { user_metadata: command.user_metadata, links: Vec::new(), markers: command.event_group_markers };
        let kind = command.command_type;
        let Some(attributes) = command.attributes else {
            return bad(Cause::Unspecified, format!("command of type {kind} has no attributes"));
        };
        if !self.run().is_open() {
            return self.after_close(&attributes);
        }
        // By ending the run, for the reason given at `check_size`.
        checked_elements("the command", Some(&attributes), self.draft.env.limits.elements_max)
            .map_err(|message| BadCommand { cause: cause_of(&attributes), message, terminates: true })?;
        match attributes {
            Attributes::ScheduleActivityTaskCommandAttributes(a) => self.schedule_activity(a, notes),
            Attributes::RequestCancelActivityTaskCommandAttributes(a) => self.cancel_activity(a, notes),
            Attributes::StartTimerCommandAttributes(a) => self.start_timer(a, notes),
            Attributes::CancelTimerCommandAttributes(a) => self.cancel_timer(a, notes),
            Attributes::StartChildWorkflowExecutionCommandAttributes(a) => self.start_child(a, notes),
            Attributes::SignalExternalWorkflowExecutionCommandAttributes(a) => self.signal_external(a, notes),
            Attributes::RequestCancelExternalWorkflowExecutionCommandAttributes(a) => self.cancel_external(a, notes),
            Attributes::RecordMarkerCommandAttributes(a) => self.record_marker(a, notes),
            Attributes::UpsertWorkflowSearchAttributesCommandAttributes(a) => self.upsert_search_attributes(a, notes),
            Attributes::ModifyWorkflowPropertiesCommandAttributes(a) => self.modify_properties(a, notes),
            Attributes::CompleteWorkflowExecutionCommandAttributes(a) => self.complete_workflow(a, notes),
            Attributes::FailWorkflowExecutionCommandAttributes(a) => self.fail_workflow(a, notes),
            Attributes::CancelWorkflowExecutionCommandAttributes(a) => self.cancel_workflow(a, notes),
            Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(a) => self.continue_as_new(a, notes),
            Attributes::ProtocolMessageCommandAttributes(_) => {
                bad(Cause::BadUpdateWorkflowExecutionMessage, "workflow updates are not served".to_owned())
            }
            Attributes::ScheduleNexusOperationCommandAttributes(_)
            | Attributes::RequestCancelNexusOperationCommandAttributes(_) => {
                bad(Cause::FeatureDisabled, "Nexus operations are not served".to_owned())
            }
        }
    }

    /// Of several closing commands the first counts; anything else after it is a mistake of the worker.
    fn after_close(&self, attributes: &Attributes) -> Carried {
        match attributes {
            Attributes::CompleteWorkflowExecutionCommandAttributes(_)
            | Attributes::FailWorkflowExecutionCommandAttributes(_)
            | Attributes::CancelWorkflowExecutionCommandAttributes(_)
            | Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(_) => Ok(()),
            other => bad(cause_of(other), "a command follows the one that closed the workflow".to_owned()),
        }
    }

    pub(super) fn run(&self) -> &Run {
        self.draft.run(&self.run_id)
    }

    /// Refuses what exceeds the payload limit by ending the run: the same payload would come with every retry.
    fn check_size(&self, cause: Cause, field: &str, message: Option<&impl Message>) -> Carried {
        let size = message.map_or(0, Message::encoded_len);
        let limit = self.draft.env.limits.blob_bytes;
        if size <= limit {
            return Ok(());
        }
        let message = format!("{field} exceeds size limit: {size} bytes, at most {limit} are allowed");
        Err(BadCommand { cause, message, terminates: true })
    }

    fn check_id(&self, cause: Cause, field: &str, id: &str) -> Carried {
        let limit = self.draft.env.limits.id_bytes;
        if id.is_empty() {
            return bad(cause, format!("{field} is not set"));
        }
        if id.len() > limit {
            return bad(cause, format!("{field} has {} bytes, at most {limit} are allowed", id.len()));
        }
        checked_name(field, id).or_else(|message| bad(cause, message))
    }

    /// The same where none is needed.
    fn check_optional_id(&self, cause: Cause, field: &str, id: &str) -> Carried {
        if id.is_empty() { Ok(()) } else { self.check_id(cause, field, id) }
    }

    /// Where a task is to wait, and what goes with it there: a page of a backlog has room for so much.
    fn check_route(&self, cause: Cause, queue: Option<&TaskQueue>, priority: Option<&Priority>) -> Carried {
        self.check_optional_id(cause, "TaskQueue", queue.map_or("", |queue| &queue.name))?;
        let (bytes, limit) =
            (priority.map_or(0, |priority| priority.fairness_key.len()), self.draft.env.limits.fairness_key_bytes);
        if bytes <= limit {
            let key = priority.map_or("", |priority| &priority.fairness_key);
            return checked_name("Priority.FairnessKey", key).or_else(|message| bad(cause, message));
        }
        bad(cause, format!("Priority.FairnessKey has {bytes} bytes, at most {limit} are allowed"))
    }

    fn check_pending(&self, cause: Cause, what: &str, pending: usize) -> Carried {
        let limit = self.draft.env.limits.pending_max;
        if pending < limit {
            return Ok(());
        }
        bad(cause, format!("the number of pending {what}, {pending}, has reached the limit of {limit}"))
    }
}

pub(super) fn bad(cause: Cause, message: String) -> Carried {
    Err(BadCommand { cause, message, terminates: false })
}

fn cause_of(attributes: &Attributes) -> Cause {
    match attributes {
        Attributes::ScheduleActivityTaskCommandAttributes(_) => Cause::BadScheduleActivityAttributes,
        Attributes::RequestCancelActivityTaskCommandAttributes(_) => Cause::BadRequestCancelActivityAttributes,
        Attributes::StartTimerCommandAttributes(_) => Cause::BadStartTimerAttributes,
        Attributes::CancelTimerCommandAttributes(_) => Cause::BadCancelTimerAttributes,
        Attributes::StartChildWorkflowExecutionCommandAttributes(_) => Cause::BadStartChildExecutionAttributes,
        Attributes::SignalExternalWorkflowExecutionCommandAttributes(_) => Cause::BadSignalWorkflowExecutionAttributes,
        Attributes::RequestCancelExternalWorkflowExecutionCommandAttributes(_) => {
            Cause::BadRequestCancelExternalWorkflowExecutionAttributes
        }
        Attributes::RecordMarkerCommandAttributes(_) => Cause::BadRecordMarkerAttributes,
        Attributes::UpsertWorkflowSearchAttributesCommandAttributes(_) => Cause::BadSearchAttributes,
        Attributes::ModifyWorkflowPropertiesCommandAttributes(_) => Cause::BadModifyWorkflowPropertiesAttributes,
        _ => Cause::Unspecified,
    }
}
