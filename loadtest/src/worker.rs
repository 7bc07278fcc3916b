//! The worker's side by hand: long polls for workflow tasks and activity tasks, each answered at once.
//!
//! The workflow type's name says how many activities there are and whether they run together, so a worker needs no
//! input to decide. With a sticky queue a task brings only new events; what went before is counted for each run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{
    Command, CompleteWorkflowExecutionCommandAttributes, ScheduleActivityTaskCommandAttributes,
};
use api::temporal::api::common::v1::{ActivityType, WorkflowExecution};
use api::temporal::api::enums::v1::{CommandType, EventType, TaskQueueKind};
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::taskqueue::v1::{StickyExecutionAttributes, TaskQueue};
use api::temporal::api::workflowservice::v1::{
    GetWorkflowExecutionHistoryRequest, PollActivityTaskQueueRequest, PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest, PollWorkflowTaskQueueResponse, RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
};
use tokio::task::JoinHandle;

use crate::load::{Client, Shape, Shared, payloads};

/// A little more than a server holds a poll, so that it is the server that answers.
const POLL_TIMEOUT: Duration = Duration::from_secs(70);

/// What is known of the runs that are open, by run id.
type Progress = Arc<Mutex<HashMap<String, Completed>>>;

/// The activities of a run that are known to have completed.
#[derive(Clone, Copy, Default)]
struct Completed {
    count: u32,
    /// The last event that says so. A task that the server gave up meanwhile may be looked at after the one that came in its
    /// place, and each shows events that the other has shown.
    last_event_id: i64,
}

impl Completed {
    /// Counts those that are new in these events; says whether there are any, new or not.
    fn add(&mut self, events: &[HistoryEvent]) -> bool {
        let mut any = false;
        for event in events.iter().filter(|event| event.event_type() == EventType::ActivityTaskCompleted) {
            any = true;
            if event.event_id > self.last_event_id {
                self.last_event_id = event.event_id;
                self.count += 1;
            }
        }
        any
    }
}

/// The workflow type that stands for a shape.
pub fn workflow_type(shape: Shape) -> String {
    format!("{}-{}", if shape.parallel { "together" } else { "in-turn" }, shape.activities)
}

fn shape_of(workflow_type: &str) -> Option<Shape> {
    let (order, activities) = workflow_type.rsplit_once('-')?;
    Some(Shape { activities: activities.parse().ok()?, parallel: order == "together" })
}

/// Starts all pollers, spread over the connections.
pub fn poll(clients: &[Client], shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let progress = Progress::default();
    let mut pollers = Vec::new();
    for number in 0..shared.tuning.pollers.max(1) {
        let client = &clients[number % clients.len()];
        // With a sticky queue, first tasks come on the normal one and all others on the sticky one.
        pollers.push(tokio::spawn(poll_workflow_tasks(client.clone(), shared.clone(), progress.clone(), false)));
        if !shared.tuning.no_sticky {
            pollers.push(tokio::spawn(poll_workflow_tasks(client.clone(), shared.clone(), progress.clone(), true)));
        }
        pollers.push(tokio::spawn(poll_activity_tasks(client.clone(), shared.clone())));
    }
    pollers
}

fn with_timeout<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(POLL_TIMEOUT);
    request
}

async fn poll_workflow_tasks(mut client: Client, shared: Arc<Shared>, progress: Progress, sticky: bool) {
    let queue = if sticky { sticky_queue(&shared) } else { normal_queue(&shared) };
    loop {
        let request = PollWorkflowTaskQueueRequest {
            namespace: shared.namespace.clone(),
            task_queue: Some(queue.clone()),
            identity: "loadtest".to_owned(),
            ..Default::default()
        };
        match client.poll_workflow_task_queue(with_timeout(request)).await {
            Ok(response) => work_on(&mut client, &shared, &progress, response.into_inner()).await,
            Err(status) => pause_after(&shared, "PollWorkflowTaskQueue", &status).await,
        }
    }
}

async fn poll_activity_tasks(mut client: Client, shared: Arc<Shared>) {
    loop {
        let request = PollActivityTaskQueueRequest {
            namespace: shared.namespace.clone(),
            task_queue: Some(normal_queue(&shared)),
            identity: "loadtest".to_owned(),
            ..Default::default()
        };
        match client.poll_activity_task_queue(with_timeout(request)).await {
            Ok(response) => complete_activity(&mut client, &shared, response.into_inner()).await,
            Err(status) => pause_after(&shared, "PollActivityTaskQueue", &status).await,
        }
    }
}

/// Completes a workflow task, and the one that its response may bring, until there is none.
async fn work_on(client: &mut Client, shared: &Arc<Shared>, progress: &Progress, first: PollWorkflowTaskQueueResponse) {
    let mut next = Some(first);
    while let Some(task) = next.take() {
        if task.task_token.is_empty() {
            return;
        }
        let Ok(task) = with_all_pages(client, shared, task).await else { return };
        let Some(decided) = decide(shared, progress, &task) else { return };
        let request = RespondWorkflowTaskCompletedRequest {
            namespace: shared.namespace.clone(),
            task_token: task.task_token,
            commands: decided.commands,
            identity: "loadtest".to_owned(),
            sticky_attributes: (!shared.tuning.no_sticky).then(|| StickyExecutionAttributes {
                worker_task_queue: Some(sticky_queue(shared)),
                schedule_to_start_timeout: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
            }),
            return_new_workflow_task: true,
            ..Default::default()
        };
        match client.respond_workflow_task_completed(request).await {
            Ok(response) => {
                if let Some(run) = decided.closes {
                    progress.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.run_id);
                    shared.closed(&run.workflow_id);
                }
                let response = response.into_inner();
                for activity in response.activity_tasks {
                    let (mut client, shared) = (client.clone(), shared.clone());
                    tokio::spawn(async move { complete_activity(&mut client, &shared, activity).await });
                }
                next = response.workflow_task;
            }
            // The server gave the task up meanwhile, as it does when a hundred events have come; there is another.
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => shared.failed("RespondWorkflowTaskCompleted", &status),
        }
    }
}

/// `task` with the events that are on further pages of its history.
async fn with_all_pages(
    client: &mut Client,
    shared: &Shared,
    mut task: PollWorkflowTaskQueueResponse,
) -> Result<PollWorkflowTaskQueueResponse, tonic::Status> {
    while !task.next_page_token.is_empty() {
        let request = GetWorkflowExecutionHistoryRequest {
            namespace: shared.namespace.clone(),
            execution: task.workflow_execution.clone(),
            next_page_token: std::mem::take(&mut task.next_page_token),
            ..Default::default()
        };
        let page = client.get_workflow_execution_history(request).await;
        let page = page.inspect_err(|status| shared.failed("GetWorkflowExecutionHistory", status))?.into_inner();
        task.history.get_or_insert_default().events.extend(page.history.unwrap_or_default().events);
        task.next_page_token = page.next_page_token;
    }
    Ok(task)
}

struct Decided {
    commands: Vec<Command>,
    /// The run, when these commands close it.
    closes: Option<WorkflowExecution>,
}

/// What the workflow does next, from the events of its task. None when the task is not one of this driver's.
fn decide(shared: &Shared, progress: &Progress, task: &PollWorkflowTaskQueueResponse) -> Option<Decided> {
    let shape = shape_of(&task.workflow_type.as_ref()?.name)?;
    let execution = task.workflow_execution.as_ref()?;
    let events = task.history.as_ref().map(|history| history.events.as_slice()).unwrap_or_default();
    let first_task = task.previous_started_event_id == 0;
    let (any, completed) = {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let known = progress.entry(execution.run_id.clone()).or_default();
        (known.add(events), known.count)
    };
    if completed >= shape.activities {
        return Some(Decided { commands: vec![complete_workflow()], closes: Some(execution.clone()) });
    }
    let scheduled = if shape.parallel {
        // All were scheduled by the first task; later ones only wait for the rest.
        if first_task { 0..shape.activities } else { 0..0 }
    } else if first_task || any {
        completed..completed + 1
    } else {
        0..0
    };
    let commands = scheduled.map(|number| schedule_activity(shared, number)).collect();
    Some(Decided { commands, closes: None })
}

fn complete_workflow() -> Command {
    let attributes = CompleteWorkflowExecutionCommandAttributes { result: Some(payloads(8)) };
    Command {
        command_type: CommandType::CompleteWorkflowExecution as i32,
        attributes: Some(Attributes::CompleteWorkflowExecutionCommandAttributes(attributes)),
        ..Default::default()
    }
}

fn schedule_activity(shared: &Shared, number: u32) -> Command {
    let attributes = ScheduleActivityTaskCommandAttributes {
        activity_id: number.to_string(),
        activity_type: Some(ActivityType { name: "noop".to_owned() }),
        task_queue: Some(normal_queue(shared)),
        input: Some(payloads(shared.tuning.payload_bytes)),
        start_to_close_timeout: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        request_eager_execution: shared.tuning.eager,
        ..Default::default()
    };
    Command {
        command_type: CommandType::ScheduleActivityTask as i32,
        attributes: Some(Attributes::ScheduleActivityTaskCommandAttributes(attributes)),
        ..Default::default()
    }
}

async fn complete_activity(client: &mut Client, shared: &Shared, task: PollActivityTaskQueueResponse) {
    if task.task_token.is_empty() {
        return;
    }
    let request = RespondActivityTaskCompletedRequest {
        namespace: shared.namespace.clone(),
        task_token: task.task_token,
        result: Some(payloads(8)),
        identity: "loadtest".to_owned(),
        ..Default::default()
    };
    if let Err(status) = client.respond_activity_task_completed(request).await {
        shared.failed("RespondActivityTaskCompleted", &status);
    }
}

/// Counts a failed poll and waits, so that a server that is gone is not hammered.
async fn pause_after(shared: &Shared, call: &str, status: &tonic::Status) {
    shared.failed(call, status);
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn normal_queue(shared: &Shared) -> TaskQueue {
    TaskQueue { name: shared.task_queue.clone(), kind: TaskQueueKind::Normal as i32, ..Default::default() }
}

fn sticky_queue(shared: &Shared) -> TaskQueue {
    TaskQueue {
        name: shared.sticky_queue.clone(),
        kind: TaskQueueKind::Sticky as i32,
        normal_name: shared.task_queue.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_counts_once_however_often_and_in_whichever_order_tasks_show_it() {
        let shown = |ids: &[i64]| -> Vec<HistoryEvent> {
            let event = |&event_id| HistoryEvent {
                event_id,
                event_type: EventType::ActivityTaskCompleted as i32,
                ..Default::default()
            };
            ids.iter().map(event).collect()
        };
        let mut known = Completed::default();
        let added = [&[10, 12][..], &[10, 12, 20], &[10], &[], &[12, 20, 21, 30]].map(|ids| known.add(&shown(ids)));
        assert_eq!((added, known.count), ([true, true, true, false, true], 5));
    }

    #[test]
    fn a_workflow_type_names_its_shape() {
        for shape in [Shape { activities: 1, parallel: false }, Shape { activities: 10, parallel: true }] {
            assert_eq!(shape_of(&workflow_type(shape)), Some(shape));
        }
        assert_eq!(shape_of("another-programs"), None);
    }
}
