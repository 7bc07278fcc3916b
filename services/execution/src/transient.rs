//! The events of a workflow task that is not written: shown before they are, and written as they were shown.

use api::temporal::api::enums::v1::EventType;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    HistoryEvent, WorkflowTaskScheduledEventAttributes, WorkflowTaskStartedEventAttributes,
};
use ids::Timestamp;

use crate::Run;
use crate::duration::{to_wire, wire_time};
use crate::workflow_task::{TaskStart, WorkflowTask};

/// What the run's history would go on with if its transient or speculative task were written now: the scheduled event, and the
/// started one once it has begun. Nothing without such a task, and after events that it has been overtaken by.
pub fn transient_events(run: &Run) -> Vec<HistoryEvent> {
    let next = run.core.next_event_id;
    let task = run.task.as_ref().filter(|task| !task.is_written() && task.scheduled_event_id == next);
    let Some(task) = task else { return Vec::new() };
    let mut events = vec![scheduled(run, task)];
    events.extend(task.start().map(|start| started(task.scheduled_event_id, start)));
    events
}

fn scheduled(run: &Run, task: &WorkflowTask) -> HistoryEvent {
    let timeout = std::time::Duration::from_nanos(u64::try_from(task.timeout_nanos).unwrap_or(0));
    let attributes = WorkflowTaskScheduledEventAttributes {
        task_queue: Some(if task.is_speculative() { run.next_task_queue() } else { run.normal_task_queue() }),
        start_to_close_timeout: Some(to_wire(timeout)),
        attempt: task.attempt,
    };
    HistoryEvent {
        event_id: task.scheduled_event_id,
        event_time: Some(wire_time(Timestamp::from_nanos(task.scheduled_at))),
        event_type: EventType::WorkflowTaskScheduled as i32,
        attributes: Some(Attributes::WorkflowTaskScheduledEventAttributes(attributes)),
        ..HistoryEvent::default()
    }
}

fn started(scheduled_event_id: i64, start: &TaskStart) -> HistoryEvent {
    let attributes = WorkflowTaskStartedEventAttributes {
        scheduled_event_id,
        identity: start.identity.clone(),
        request_id: start.request_id.clone(),
        suggest_continue_as_new: !start.suggest_reasons.is_empty(),
        suggest_continue_as_new_reasons: start.suggest_reasons.clone(),
        history_size_bytes: start.history_size_bytes,
        worker_version: start.worker_version.clone(),
        ..WorkflowTaskStartedEventAttributes::default()
    };
    HistoryEvent {
        event_id: scheduled_event_id + 1,
        event_time: Some(wire_time(Timestamp::from_nanos(start.at))),
        event_type: EventType::WorkflowTaskStarted as i32,
        attributes: Some(Attributes::WorkflowTaskStartedEventAttributes(attributes)),
        ..HistoryEvent::default()
    }
}
