//! Tasks, to whom they are given, and how an offer ended.

use cluster::{OfferOutcome, OfferedTask, QueueName, ServiceResult, TaskKey, TaskQueueKind, TaskStart};
use ids::Timestamp;
use internal_api::history as proto;
use internal_api::matching::OfferOutcome as ProtoOutcome;
use internal_api::matching::offer_outcome::Ending;

use super::{required, unreadable};

pub(super) fn to_queue(queue: QueueName) -> proto::QueueName {
    let kind = match queue.kind {
        TaskQueueKind::Workflow => proto::QueueKind::Workflow,
        TaskQueueKind::StickyWorkflow => proto::QueueKind::StickyWorkflow,
        TaskQueueKind::Activity => proto::QueueKind::Activity,
        TaskQueueKind::Nexus => proto::QueueKind::Nexus,
    };
    proto::QueueName { namespace_id: queue.namespace.as_str().to_owned(), name: queue.name, kind: kind.into() }
}

pub(super) fn from_queue(queue: Option<proto::QueueName>) -> ServiceResult<QueueName> {
    let queue = required(queue, "queue")?;
    let kind = match queue.kind() {
        proto::QueueKind::Workflow => TaskQueueKind::Workflow,
        proto::QueueKind::StickyWorkflow => TaskQueueKind::StickyWorkflow,
        proto::QueueKind::Activity => TaskQueueKind::Activity,
        proto::QueueKind::Nexus => TaskQueueKind::Nexus,
        proto::QueueKind::Unspecified => return Err(unreadable("queue.kind")),
    };
    Ok(QueueName { namespace: queue.namespace_id.into(), name: queue.name, kind })
}

pub(crate) fn to_task(task: OfferedTask) -> Option<proto::OfferedTask> {
    Some(proto::OfferedTask {
        queue: Some(to_queue(task.queue)),
        workflow_id: task.task.workflow_id.as_str().to_owned(),
        run_id: task.task.run_id.as_str().to_owned(),
        scheduled_event_id: task.task.scheduled_event_id,
        attempt: task.task.attempt,
        stamp: task.task.stamp,
        normal_name: task.normal_name,
        priority: task.priority,
        scheduled_at: task.scheduled_at.nanos(),
        expires_at: task.expires_at.map(Timestamp::nanos),
    })
}

pub(crate) fn from_task(task: Option<proto::OfferedTask>) -> ServiceResult<OfferedTask> {
    let task = required(task, "task")?;
    Ok(OfferedTask {
        queue: from_queue(task.queue)?,
        task: TaskKey {
            workflow_id: task.workflow_id.into(),
            run_id: task.run_id.into(),
            scheduled_event_id: task.scheduled_event_id,
            attempt: task.attempt,
            stamp: task.stamp,
        },
        normal_name: task.normal_name,
        priority: task.priority,
        scheduled_at: Timestamp::from_nanos(task.scheduled_at),
        expires_at: task.expires_at.map(Timestamp::from_nanos),
    })
}

pub(crate) fn to_start(start: TaskStart) -> Option<proto::TaskStart> {
    Some(proto::TaskStart {
        request_id: start.request_id,
        identity: start.identity,
        polled_queue: start.polled_queue,
        worker_version: start.worker_version,
        worker_instance_key: start.worker_instance_key,
    })
}

pub(crate) fn from_start(start: Option<proto::TaskStart>) -> ServiceResult<TaskStart> {
    let start = required(start, "start")?;
    Ok(TaskStart {
        request_id: start.request_id,
        identity: start.identity,
        polled_queue: start.polled_queue,
        worker_version: start.worker_version,
        worker_instance_key: start.worker_instance_key,
    })
}

pub(crate) fn to_ending(outcome: OfferOutcome) -> ProtoOutcome {
    let ending = match outcome {
        OfferOutcome::Taken => Ending::Taken,
        OfferOutcome::Kept => Ending::Kept,
        OfferOutcome::Refused => Ending::Refused,
    };
    ProtoOutcome { ending: ending.into() }
}

pub(crate) fn from_ending(outcome: ProtoOutcome) -> ServiceResult<OfferOutcome> {
    match outcome.ending() {
        Ending::Taken => Ok(OfferOutcome::Taken),
        Ending::Kept => Ok(OfferOutcome::Kept),
        Ending::Refused => Ok(OfferOutcome::Refused),
        Ending::Unspecified => Err(unreadable("ending of an offer")),
    }
}
