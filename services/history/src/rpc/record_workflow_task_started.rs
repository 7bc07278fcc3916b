//! From matching: a poller is about to be given a workflow task.

use api::temporal::api::common::v1::{WorkerVersionCapabilities, WorkerVersionStamp};
use api::temporal::api::workflowservice::v1::PollWorkflowTaskQueueResponse;
use calls::{
    CallContext, OfferedTask, RecordStart, RecordedStart, Relayed, ServiceError, ServiceResult, TaskQueueKind,
    TaskStart,
};
use entities::EntityKey;
use execution::{StartTask, StartWorkflowTask, TaskTaken};

use crate::HistoryService;
use crate::kind::WorkflowKind;
use crate::task_response::{Shipped, workflow_task};

pub(super) async fn record_workflow_task_started(
    service: &HistoryService,
    ctx: &CallContext,
    RecordStart { task, start }: RecordStart,
) -> ServiceResult<RecordedStart<PollWorkflowTaskQueueResponse>> {
    let key = entity_of(&task);
    let shipped = match task.queue.kind {
        TaskQueueKind::StickyWorkflow => Shipped::New,
        TaskQueueKind::Workflow | TaskQueueKind::Activity | TaskQueueKind::Nexus => Shipped::Whole,
    };
    let run_id = task.key.run_id.to_string();
    match service.call_unshed(&key, run_id, StartWorkflowTask(start_of(ctx, task, start))).await {
        Ok(TaskTaken::Started(run)) => {
            Ok(RecordedStart::Started(Relayed::new(workflow_task(service, &key, &run, shipped).await?)))
        }
        Ok(TaskTaken::Stale) | Err(ServiceError::NotFound(_)) => Ok(RecordedStart::Stale),
        Err(error) => Err(error),
    }
}

/// The workflow that a task is of.
pub(super) fn entity_of(task: &OfferedTask) -> EntityKey {
    EntityKey::of::<WorkflowKind>(task.queue.namespace.clone(), task.key.workflow_id.as_str())
}

/// The start of a task.
pub(super) fn start_of(ctx: &CallContext, task: OfferedTask, start: TaskStart) -> StartTask {
    StartTask {
        task: task.key.task,
        request_id: ctx.request_id.to_string(),
        identity: start.identity,
        worker_version: start.worker_version.and_then(version_of),
    }
}

/// The build that a poller says it is.
fn version_of(says: WorkerVersionCapabilities) -> Option<WorkerVersionStamp> {
    let WorkerVersionCapabilities { build_id, use_versioning, .. } = says;
    (!build_id.is_empty()).then_some(WorkerVersionStamp { build_id, use_versioning })
}
