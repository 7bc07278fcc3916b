//! From matching: a poller is about to be given a workflow task.

use api::temporal::api::common::v1::{WorkerVersionCapabilities, WorkerVersionStamp};
use api::temporal::api::workflowservice::v1::PollWorkflowTaskQueueResponse;
use cluster::{OfferedTask, RecordedStart, ServiceError, ServiceResult, TaskKey, TaskQueueKind, TaskStart};
use entities::EntityKey;
use execution::{StartTask, StartWorkflowTask, TaskId, TaskTaken};

use crate::HistoryService;
use crate::kind::WorkflowKind;
use crate::task_response::{Shipped, workflow_task};

pub(super) async fn record_workflow_task_started(
    service: &HistoryService,
    task: &OfferedTask,
    start: TaskStart,
) -> ServiceResult<RecordedStart<PollWorkflowTaskQueueResponse>> {
    let key = entity_of(task);
    let shipped = match task.queue.kind {
        TaskQueueKind::StickyWorkflow => Shipped::New,
        TaskQueueKind::Workflow | TaskQueueKind::Activity | TaskQueueKind::Nexus => Shipped::Whole,
    };
    match service.give(&key, task.task.run_id.as_str(), StartWorkflowTask(start_of(&task.task, start))).await {
        Ok(TaskTaken::Started(run)) => {
            Ok(RecordedStart::Started(Box::new(workflow_task(service, &key, &run, shipped).await?)))
        }
        Ok(TaskTaken::Stale) | Err(ServiceError::NotFound(_)) => Ok(RecordedStart::Stale),
        Err(error) => Err(error),
    }
}

/// The workflow that a task is of.
pub(super) fn entity_of(task: &OfferedTask) -> EntityKey {
    EntityKey::of::<WorkflowKind>(task.queue.namespace.clone(), task.task.workflow_id.as_str())
}

/// The start of a task.
pub(super) fn start_of(task: &TaskKey, start: TaskStart) -> StartTask {
    StartTask {
        task: TaskId { scheduled_event_id: task.scheduled_event_id, attempt: task.attempt, stamp: task.stamp },
        request_id: start.request_id,
        identity: start.identity,
        worker_version: start.worker_version.and_then(version_of),
    }
}

/// The build that a poller says it is.
fn version_of(says: WorkerVersionCapabilities) -> Option<WorkerVersionStamp> {
    let WorkerVersionCapabilities { build_id, use_versioning, .. } = says;
    (!build_id.is_empty()).then_some(WorkerVersionStamp { build_id, use_versioning })
}
