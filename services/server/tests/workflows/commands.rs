//! Commands of workflow code, in short.

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{
    Command, CompleteWorkflowExecutionCommandAttributes, ContinueAsNewWorkflowExecutionCommandAttributes,
    RecordMarkerCommandAttributes, ScheduleActivityTaskCommandAttributes,
    SignalExternalWorkflowExecutionCommandAttributes, StartChildWorkflowExecutionCommandAttributes,
    StartTimerCommandAttributes,
};
use api::temporal::api::common::v1::{ActivityType, RetryPolicy, WorkflowType};
use api::temporal::api::enums::v1::{CommandType, ParentClosePolicy};

use super::rig::{QUEUE, execution, normal, payloads, seconds};

fn command(kind: CommandType, attributes: Attributes) -> Command {
    Command { command_type: kind as i32, attributes: Some(attributes), ..Default::default() }
}

pub fn activity(id: &str) -> Command {
    activity_with(id, RetryPolicy { initial_interval: seconds(1), ..Default::default() })
}

pub fn activity_with(id: &str, retry: RetryPolicy) -> Command {
    let attributes = ScheduleActivityTaskCommandAttributes {
        activity_id: id.to_owned(),
        activity_type: Some(ActivityType { name: "act".to_owned() }),
        task_queue: Some(normal(QUEUE)),
        input: payloads("in"),
        start_to_close_timeout: seconds(30),
        retry_policy: Some(retry),
        ..Default::default()
    };
    command(CommandType::ScheduleActivityTask, Attributes::ScheduleActivityTaskCommandAttributes(attributes))
}

pub fn timer(id: &str, after: i64) -> Command {
    let attributes = StartTimerCommandAttributes { timer_id: id.to_owned(), start_to_fire_timeout: seconds(after) };
    command(CommandType::StartTimer, Attributes::StartTimerCommandAttributes(attributes))
}

pub fn child(workflow_id: &str, kind: &str, policy: ParentClosePolicy) -> Command {
    let attributes = StartChildWorkflowExecutionCommandAttributes {
        namespace: "default".to_owned(),
        workflow_id: workflow_id.to_owned(),
        workflow_type: Some(WorkflowType { name: kind.to_owned() }),
        task_queue: Some(normal(QUEUE)),
        parent_close_policy: policy as i32,
        ..Default::default()
    };
    command(
        CommandType::StartChildWorkflowExecution,
        Attributes::StartChildWorkflowExecutionCommandAttributes(attributes),
    )
}

pub fn signal_external(workflow_id: &str, name: &str) -> Command {
    let attributes = SignalExternalWorkflowExecutionCommandAttributes {
        execution: execution(workflow_id, ""),
        signal_name: name.to_owned(),
        ..Default::default()
    };
    command(
        CommandType::SignalExternalWorkflowExecution,
        Attributes::SignalExternalWorkflowExecutionCommandAttributes(attributes),
    )
}

pub fn marker(name: &str) -> Command {
    let attributes = RecordMarkerCommandAttributes { marker_name: name.to_owned(), ..Default::default() };
    command(CommandType::RecordMarker, Attributes::RecordMarkerCommandAttributes(attributes))
}

pub fn complete(result: &str) -> Command {
    let attributes = CompleteWorkflowExecutionCommandAttributes { result: payloads(result) };
    command(CommandType::CompleteWorkflowExecution, Attributes::CompleteWorkflowExecutionCommandAttributes(attributes))
}

pub fn continue_as_new(kind: &str) -> Command {
    let attributes = ContinueAsNewWorkflowExecutionCommandAttributes {
        workflow_type: Some(WorkflowType { name: kind.to_owned() }),
        task_queue: Some(normal(QUEUE)),
        ..Default::default()
    };
    command(
        CommandType::ContinueAsNewWorkflowExecution,
        Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(attributes),
    )
}
