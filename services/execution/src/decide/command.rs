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
use api::temporal::api::enums::v1::{CommandType, WorkflowTaskFailedCause as Cause};
use api::temporal::api::protocol::v1::Message;
use api::temporal::api::taskqueue::v1::TaskQueue;

use super::update::Said;
use crate::command_checks::{checked_elements, checked_name};
use crate::draft::{EventMetadata, RunDraft};

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
pub(super) struct Commands<'d, 'a> {
    pub(super) run: RunDraft<'d, 'a>,
    /// The WorkflowTaskCompleted event that all command events refer to.
    pub(super) completed_event_id: i64,
    pub(super) identity: String,
    /// The namespace by name, as the worker's request gave it and the frontend checked it.
    pub(super) namespace: String,
    /// Activities that the worker wants eagerly, by scheduled event id.
    eager: Vec<i64>,
    /// Activities that were cancelled before they were started: scheduled event id, and that of the request.
    cancelled: Vec<(i64, i64)>,
    /// Messages about updates that come to events, and have had no place among the commands yet.
    pub(super) messages: Vec<(Message, Said)>,
    /// The ids of messages that reject updates.
    pub(super) rejections: Vec<String>,
}

impl<'d, 'a> Commands<'d, 'a> {
    pub(super) fn new(run: RunDraft<'d, 'a>, completed_event_id: i64, who: Requester) -> Self {
        let Requester { identity, namespace } = who;
        Self {
            run,
            completed_event_id,
            identity,
            namespace,
            eager: Vec::new(),
            cancelled: Vec::new(),
            messages: Vec::new(),
            rejections: Vec::new(),
        }
    }

    pub(super) fn carry_out(&mut self, command: Command) -> Carried {
        let kind = kind_of(&command);
        let metadata = EventMetadata {
            user_metadata: command.user_metadata,
            links: Vec::new(),
            markers: command.event_group_markers,
        };
        let Some(attributes) = command.attributes else {
            return bad(cause_of(kind), format!("{kind:?}CommandAttributes is not set on command"));
        };
        // By ending the run, for the reason given at `check_size`.
        checked_elements("the command", Some(&attributes), self.run.env().limits.elements_max)
            .map_err(|message| BadCommand { cause: cause_of(kind), message, terminates: true })?;
        match attributes {
            Attributes::ScheduleActivityTaskCommandAttributes(a) => self.schedule_activity(a, metadata),
            Attributes::RequestCancelActivityTaskCommandAttributes(a) => self.cancel_activity(a, metadata),
            Attributes::StartTimerCommandAttributes(a) => self.start_timer(a, metadata),
            Attributes::CancelTimerCommandAttributes(a) => self.cancel_timer(a, metadata),
            Attributes::StartChildWorkflowExecutionCommandAttributes(a) => self.start_child(a, metadata),
            Attributes::SignalExternalWorkflowExecutionCommandAttributes(a) => self.signal_external(a, metadata),
            Attributes::RequestCancelExternalWorkflowExecutionCommandAttributes(a) => self.cancel_external(a, metadata),
            Attributes::RecordMarkerCommandAttributes(a) => self.record_marker(a, metadata),
            Attributes::UpsertWorkflowSearchAttributesCommandAttributes(a) => {
                self.upsert_search_attributes(a, metadata)
            }
            Attributes::ModifyWorkflowPropertiesCommandAttributes(a) => self.modify_properties(a, metadata),
            Attributes::CompleteWorkflowExecutionCommandAttributes(a) => self.complete_workflow(a, metadata),
            Attributes::FailWorkflowExecutionCommandAttributes(a) => self.fail_workflow(a, metadata),
            Attributes::CancelWorkflowExecutionCommandAttributes(a) => self.cancel_workflow(a, metadata),
            Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(a) => self.continue_as_new(a, metadata),
            Attributes::ProtocolMessageCommandAttributes(a) => self.place_message(&a),
            Attributes::ScheduleNexusOperationCommandAttributes(_)
            | Attributes::RequestCancelNexusOperationCommandAttributes(_) => {
                bad(Cause::FeatureDisabled, "Nexus operations are not served".to_owned())
            }
        }
    }

    /// Refuses what exceeds the payload limit by ending the run: the same payload would come with every retry.
    pub(super) fn check_size(&self, cause: Cause, field: &str, message: Option<&impl prost::Message>) -> Carried {
        let size = message.map_or(0, |message| message.encoded_len());
        let limit = self.run.env().limits.blob_bytes;
        if size <= limit {
            return Ok(());
        }
        let message = format!("{field} exceeds size limit: {size} bytes, at most {limit} are allowed");
        Err(BadCommand { cause, message, terminates: true })
    }

    pub(super) fn check_id(&self, cause: Cause, field: &str, id: &str) -> Carried {
        let limit = self.run.env().limits.id_bytes;
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
        let Some(Priority { priority_key, fairness_key, .. }) = priority else { return Ok(()) };
        if *priority_key < 0 {
            return bad(cause, format!("Priority.PriorityKey is {priority_key}, 0 or more is allowed"));
        }
        let (bytes, limit) = (fairness_key.len(), self.run.env().limits.fairness_key_bytes);
        if bytes > limit {
            return bad(cause, format!("Priority.FairnessKey has {bytes} bytes, at most {limit} are allowed"));
        }
        checked_name("Priority.FairnessKey", fairness_key).or_else(|message| bad(cause, message))
    }

    fn check_pending(&self, cause: Cause, what: &str, pending: usize) -> Carried {
        let limit = self.run.env().limits.pending_max;
        if pending < limit {
            return Ok(());
        }
        bad(cause, format!("the number of pending {what}, {pending}, has reached the limit of {limit}"))
    }
}

/// A priority, of which each field that is not set is the workflow's own. SDKs send an empty one.
fn inherited(own: Option<Priority>, of_run: Option<&Priority>) -> Option<Priority> {
    let Some(of_run) = of_run else { return own };
    let own = own.unwrap_or_default();
    Some(Priority {
        priority_key: if own.priority_key == 0 { of_run.priority_key } else { own.priority_key },
        fairness_key: if own.fairness_key.is_empty() { of_run.fairness_key.clone() } else { own.fairness_key },
        fairness_weight: if own.fairness_weight == 0.0 { of_run.fairness_weight } else { own.fairness_weight },
    })
}

pub(super) fn bad(cause: Cause, message: String) -> Carried {
    Err(BadCommand { cause, message, terminates: false })
}

/// Nothing may follow a command that closes the run: that is a mistake of the worker's, by which nothing happens.
pub(super) fn check_sequence(commands: &[Command]) -> Result<(), String> {
    let kinds: Vec<CommandType> = commands.iter().map(kind_of).collect();
    let Some((_, before)) = kinds.split_last() else { return Ok(()) };
    let Some(closing) = before.iter().find(|kind| closes(**kind)) else { return Ok(()) };
    // Long lists are cut, the error's text is.
    let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
    Err(format!("invalid command sequence: [{}], command {closing:?} must be the last command.", names.join(", ")))
}

/// What a command is: its attributes say so, and its type where it has none.
fn kind_of(command: &Command) -> CommandType {
    match &command.attributes {
        None => CommandType::try_from(command.command_type).unwrap_or_default(),
        Some(Attributes::ScheduleActivityTaskCommandAttributes(_)) => CommandType::ScheduleActivityTask,
        Some(Attributes::RequestCancelActivityTaskCommandAttributes(_)) => CommandType::RequestCancelActivityTask,
        Some(Attributes::StartTimerCommandAttributes(_)) => CommandType::StartTimer,
        Some(Attributes::CancelTimerCommandAttributes(_)) => CommandType::CancelTimer,
        Some(Attributes::CompleteWorkflowExecutionCommandAttributes(_)) => CommandType::CompleteWorkflowExecution,
        Some(Attributes::FailWorkflowExecutionCommandAttributes(_)) => CommandType::FailWorkflowExecution,
        Some(Attributes::CancelWorkflowExecutionCommandAttributes(_)) => CommandType::CancelWorkflowExecution,
        Some(Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(_)) => {
            CommandType::ContinueAsNewWorkflowExecution
        }
        Some(Attributes::StartChildWorkflowExecutionCommandAttributes(_)) => CommandType::StartChildWorkflowExecution,
        Some(Attributes::SignalExternalWorkflowExecutionCommandAttributes(_)) => {
            CommandType::SignalExternalWorkflowExecution
        }
        Some(Attributes::RequestCancelExternalWorkflowExecutionCommandAttributes(_)) => {
            CommandType::RequestCancelExternalWorkflowExecution
        }
        Some(Attributes::RecordMarkerCommandAttributes(_)) => CommandType::RecordMarker,
        Some(Attributes::UpsertWorkflowSearchAttributesCommandAttributes(_)) => {
            CommandType::UpsertWorkflowSearchAttributes
        }
        Some(Attributes::ModifyWorkflowPropertiesCommandAttributes(_)) => CommandType::ModifyWorkflowProperties,
        Some(Attributes::ProtocolMessageCommandAttributes(_)) => CommandType::ProtocolMessage,
        Some(Attributes::ScheduleNexusOperationCommandAttributes(_)) => CommandType::ScheduleNexusOperation,
        Some(Attributes::RequestCancelNexusOperationCommandAttributes(_)) => CommandType::RequestCancelNexusOperation,
    }
}

fn closes(kind: CommandType) -> bool {
    matches!(
        kind,
        CommandType::CompleteWorkflowExecution
            | CommandType::FailWorkflowExecution
            | CommandType::CancelWorkflowExecution
            | CommandType::ContinueAsNewWorkflowExecution
    )
}

/// The cause of a failed task, by the command that is to blame.
fn cause_of(kind: CommandType) -> Cause {
    match kind {
        CommandType::Unspecified => Cause::Unspecified,
        CommandType::ScheduleActivityTask => Cause::BadScheduleActivityAttributes,
        CommandType::RequestCancelActivityTask => Cause::BadRequestCancelActivityAttributes,
        CommandType::StartTimer => Cause::BadStartTimerAttributes,
        CommandType::CancelTimer => Cause::BadCancelTimerAttributes,
        CommandType::CompleteWorkflowExecution => Cause::BadCompleteWorkflowExecutionAttributes,
        CommandType::FailWorkflowExecution => Cause::BadFailWorkflowExecutionAttributes,
        CommandType::CancelWorkflowExecution => Cause::BadCancelWorkflowExecutionAttributes,
        CommandType::ContinueAsNewWorkflowExecution => Cause::BadContinueAsNewAttributes,
        CommandType::StartChildWorkflowExecution => Cause::BadStartChildExecutionAttributes,
        CommandType::SignalExternalWorkflowExecution => Cause::BadSignalWorkflowExecutionAttributes,
        CommandType::RequestCancelExternalWorkflowExecution => {
            Cause::BadRequestCancelExternalWorkflowExecutionAttributes
        }
        CommandType::RecordMarker => Cause::BadRecordMarkerAttributes,
        CommandType::UpsertWorkflowSearchAttributes => Cause::BadSearchAttributes,
        CommandType::ModifyWorkflowProperties => Cause::BadModifyWorkflowPropertiesAttributes,
        CommandType::ProtocolMessage => Cause::BadUpdateWorkflowExecutionMessage,
        CommandType::ScheduleNexusOperation => Cause::BadScheduleNexusOperationAttributes,
        CommandType::RequestCancelNexusOperation => Cause::BadRequestCancelNexusOperationAttributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(priority_key: i32, fairness_key: &str) -> Priority {
        Priority { priority_key, fairness_key: fairness_key.to_owned(), ..Priority::default() }
    }

    #[test]
    fn each_field_of_a_priority_that_a_command_leaves_out_is_the_workflows_own() {
        let of_run = priority(1, "t1");
        assert_eq!(inherited(Some(Priority::default()), Some(&of_run)), Some(priority(1, "t1")), "SDKs send it empty");
        assert_eq!(inherited(None, Some(&of_run)), Some(priority(1, "t1")));
        assert_eq!(inherited(Some(priority(4, "")), Some(&of_run)), Some(priority(4, "t1")));
        assert_eq!(inherited(Some(priority(0, "mine")), Some(&of_run)), Some(priority(1, "mine")));
        assert_eq!(inherited(None, None), None);
    }
}
