//! DescribeWorkflowExecution.

use api::temporal::api::activity::v1::ActivityOptions;
use api::temporal::api::common::v1::{Memo, SearchAttributes, WorkflowType};
use api::temporal::api::enums::v1::{EventType, PendingActivityState, PendingWorkflowTaskState};
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::workflow::v1::{
    PendingActivityInfo, PendingChildExecutionInfo, PendingWorkflowTaskInfo, RequestIdInfo, WorkflowExecutionConfig,
    WorkflowExecutionExtendedInfo, WorkflowExecutionInfo,
};
use api::temporal::api::workflowservice::v1::{DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse};
use calls::{CallContext, ServiceResult};
use execution::{Activity, AttachedRequest, Child, Run, WorkflowTask, activity_state, from_wire, to_wire, wire_time};
use ids::Timestamp;

use crate::HistoryService;
use crate::pages::read_forward;
use crate::service::named;
use crate::task_response::wire_nanos;

pub(super) async fn describe_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    request: DescribeWorkflowExecutionRequest,
) -> ServiceResult<DescribeWorkflowExecutionResponse> {
    let execution = named(request.execution);
    let key = service.key(ctx, &execution.workflow_id);
    let run = service.read(&key, &execution.run_id).await?;
    let page = read_forward(&*service.store.table, &key, &run, 1, 2, 1).await?;
    let first = page.events.first();
    Ok(DescribeWorkflowExecutionResponse {
        execution_config: Some(config_of(&run, first)),
        workflow_execution_info: Some(info_of(&run)),
        pending_activities: run.activities.values().map(|activity| describe_activity(&run, activity)).collect(),
        pending_children: run.children.values().filter(|_| run.is_open()).map(|child| describe_child(child)).collect(),
        pending_workflow_task: run.task.as_ref().map(describe_task),
        workflow_extended_info: Some(extended_info_of(&run, first)),
        ..DescribeWorkflowExecutionResponse::default()
    })
}

fn config_of(run: &Run, first: Option<&HistoryEvent>) -> WorkflowExecutionConfig {
    WorkflowExecutionConfig {
        task_queue: Some(run.normal_task_queue()),
        workflow_execution_timeout: run.start.workflow_execution_timeout,
        workflow_run_timeout: run.start.workflow_run_timeout,
        default_workflow_task_timeout: Some(to_wire(run.timeouts().task)),
        user_metadata: first.and_then(|event| event.user_metadata.clone()),
    }
}

/// When the first workflow task was due.
fn begins(run: &Run) -> Timestamp {
    let backoff = from_wire(run.start.first_workflow_task_backoff.as_ref()).unwrap_or_default();
    Timestamp::from_nanos(run.core.started_at) + backoff
}

fn info_of(run: &Run) -> WorkflowExecutionInfo {
    let start = &run.start;
    WorkflowExecutionInfo {
        execution: Some(run.execution()),
        r#type: Some(WorkflowType { name: run.type_name().to_owned() }),
        start_time: wire_nanos(run.core.started_at),
        close_time: run.closed_at().map(wire_time),
        status: run.core.status,
        history_length: run.last_event_id(),
        parent_namespace_id: start.parent_workflow_namespace_id.clone(),
        parent_execution: start.parent_workflow_execution.clone(),
        execution_time: Some(wire_time(begins(run))),
        memo: Some(Memo { fields: (*run.memo).clone() }),
        search_attributes: Some(SearchAttributes { indexed_fields: (*run.search_attributes).clone() }),
        task_queue: run.task_queue_name().to_owned(),
        state_transition_count: run.core.transitions,
        history_size_bytes: run.core.history_bytes,
        execution_duration: run.closed_at().map(|at| to_wire(at.since(begins(run)))),
        most_recent_worker_version_stamp: run.core.worker_version.clone(),
        worker_deployment_name: run.core.worker_deployment_name.clone(),
        root_execution: Some(run.root()),
        first_run_id: start.first_execution_run_id.clone(),
        priority: start.priority.clone(),
        ..WorkflowExecutionInfo::default()
    }
}

fn extended_info_of(run: &Run, first: Option<&HistoryEvent>) -> WorkflowExecutionExtendedInfo {
    let timeouts = run.timeouts();
    let started_by = RequestIdInfo {
        event_type: EventType::WorkflowExecutionStarted as i32,
        event_id: 1,
        ..RequestIdInfo::default()
    };
    let request_id = Some(&run.core.start_request_id).filter(|id| !id.is_empty());
    let attached = run.attached.values().map(|attached| (attached.request_id.clone(), describe_attached(attached)));
    WorkflowExecutionExtendedInfo {
        execution_expiration_time: timeouts.execution_deadline.map(wire_time),
        run_expiration_time: timeouts.run_deadline.map(wire_time),
        cancel_requested: run.core.cancel_requested,
        last_reset_time: wire_nanos(run.core.reset_at),
        original_start_time: first.and_then(|event| event.event_time),
        reset_run_id: run.core.reset_run_id.clone(),
        request_id_infos: attached.chain(request_id.map(|id| (id.clone(), started_by))).collect(),
        ..WorkflowExecutionExtendedInfo::default()
    }
}

fn describe_attached(attached: &AttachedRequest) -> RequestIdInfo {
    RequestIdInfo {
        event_type: EventType::WorkflowExecutionOptionsUpdated as i32,
        event_id: attached.event_id,
        buffered: attached.event_id == 0,
    }
}

fn describe_activity(run: &Run, activity: &Activity) -> PendingActivityInfo {
    let (schedule, progress) = (&activity.schedule, &activity.progress);
    let retry = activity.retry();
    let stands = activity_state(activity);
    let state = match stands {
        _ if activity.cancel_requested() => PendingActivityState::CancelRequested,
        execution::ActivityState::Started => PendingActivityState::Started,
        execution::ActivityState::Waiting | execution::ActivityState::BackingOff => PendingActivityState::Scheduled,
    };
    let backing_off = stands == execution::ActivityState::BackingOff;
    let interval =
        Timestamp::from_nanos(progress.scheduled_at).since(Timestamp::from_nanos(progress.last_attempt_ended_at));
    // An attempt that timed out has not been completed by a worker.
    let last_info = progress.last_failure.as_ref().and_then(|failure| failure.failure_info.as_ref());
    let ended_by_worker = !matches!(last_info, Some(FailureInfo::TimeoutFailureInfo(_)));
    let priority = schedule.priority.clone().or_else(|| run.start.priority.clone());
    PendingActivityInfo {
        activity_id: schedule.activity_id.clone(),
        activity_type: schedule.activity_type.clone(),
        state: state as i32,
        heartbeat_details: progress.heartbeat_details.clone(),
        last_heartbeat_time: wire_nanos(progress.heartbeat_at),
        last_started_time: wire_nanos(progress.started_at),
        attempt: progress.attempt,
        maximum_attempts: retry.as_ref().map_or(0, |retry| retry.attempts),
        scheduled_time: wire_nanos(progress.scheduled_at),
        expiration_time: activity.close_deadline().map(wire_time),
        last_failure: progress.last_failure.clone(),
        last_worker_identity: progress.identity.clone(),
        current_retry_interval: backing_off.then(|| to_wire(interval)),
        last_attempt_complete_time: ended_by_worker.then(|| wire_nanos(progress.last_attempt_ended_at)).flatten(),
        next_attempt_schedule_time: if backing_off { wire_nanos(progress.scheduled_at) } else { None },
        priority: priority.clone(),
        activity_options: Some(ActivityOptions {
            task_queue: schedule.task_queue.clone(),
            schedule_to_close_timeout: schedule.schedule_to_close_timeout,
            schedule_to_start_timeout: schedule.schedule_to_start_timeout,
            start_to_close_timeout: schedule.start_to_close_timeout,
            heartbeat_timeout: schedule.heartbeat_timeout,
            retry_policy: retry.map(|retry| retry.to_policy()),
            priority,
            ..ActivityOptions::default()
        }),
        ..PendingActivityInfo::default()
    }
}

fn describe_child(child: &Child) -> PendingChildExecutionInfo {
    PendingChildExecutionInfo {
        workflow_id: child.initiated.workflow_id.clone(),
        run_id: child.run_id.clone(),
        workflow_type_name: child.initiated.workflow_type.clone().unwrap_or_default().name,
        initiated_id: child.initiated_event_id,
        parent_close_policy: child.close_policy() as i32,
    }
}

fn describe_task(task: &WorkflowTask) -> PendingWorkflowTaskInfo {
    let state = if task.is_started() { PendingWorkflowTaskState::Started } else { PendingWorkflowTaskState::Scheduled };
    PendingWorkflowTaskInfo {
        state: state as i32,
        scheduled_time: wire_nanos(task.scheduled_at),
        original_scheduled_time: wire_nanos(task.first_scheduled_at),
        started_time: task.start().and_then(|start| wire_nanos(start.at)),
        attempt: task.attempt,
    }
}
