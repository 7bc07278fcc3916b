//! Tasks, their pollers, and how an offer ended.

use api::temporal::api::common::v1::Priority;
use bytes::Bytes;
use ids::{TaskKey, TaskRef, Timestamp};
use prost::{Enumeration, Message};

use super::{Wire, from_pair, pair, required, unknown};
use crate::history::{RecordStart, RecordedStart};
use crate::matching::{OfferOutcome, OfferedTask, QueueName, TaskQueueKind};
use crate::{Relayed, ServiceResult};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Queue {
    #[prost(string, tag = "1")]
    namespace_id: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(enumeration = "Kind", tag = "3")]
    kind: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
enum Kind {
    Unspecified = 0,
    Workflow = 1,
    StickyWorkflow = 2,
    Activity = 3,
    Nexus = 4,
}

pub(super) fn to_queue(queue: &QueueName) -> Queue {
    let kind = match queue.kind {
        TaskQueueKind::Workflow => Kind::Workflow,
        TaskQueueKind::StickyWorkflow => Kind::StickyWorkflow,
        TaskQueueKind::Activity => Kind::Activity,
        TaskQueueKind::Nexus => Kind::Nexus,
    };
    Queue { namespace_id: queue.namespace.as_str().to_owned(), name: queue.name.clone(), kind: kind.into() }
}

pub(super) fn from_queue(queue: Option<Queue>) -> ServiceResult<QueueName> {
    let queue = required(queue, "queue")?;
    let kind = match queue.kind() {
        Kind::Workflow => TaskQueueKind::Workflow,
        Kind::StickyWorkflow => TaskQueueKind::StickyWorkflow,
        Kind::Activity => TaskQueueKind::Activity,
        Kind::Nexus => TaskQueueKind::Nexus,
        Kind::Unspecified => return Err(unknown("kind of queue")),
    };
    Ok(QueueName { namespace: queue.namespace_id.into(), name: queue.name, kind })
}

/// Times are nanoseconds since the Unix epoch.
#[derive(Clone, PartialEq, Message)]
struct Task {
    #[prost(message, optional, tag = "1")]
    queue: Option<Queue>,
    #[prost(string, tag = "2")]
    workflow_id: String,
    #[prost(string, tag = "3")]
    run_id: String,
    #[prost(int64, tag = "4")]
    scheduled_event_id: i64,
    #[prost(int32, tag = "5")]
    attempt: i32,
    #[prost(int64, tag = "6")]
    stamp: i64,
    #[prost(string, tag = "7")]
    normal_name: String,
    #[prost(message, optional, tag = "8")]
    priority: Option<Priority>,
    #[prost(int64, tag = "9")]
    scheduled_at: i64,
    #[prost(int64, optional, tag = "10")]
    expires_at: Option<i64>,
}

fn to_task(task: &OfferedTask) -> Task {
    let TaskKey { workflow_id, run_id, task: TaskRef { scheduled_event_id, attempt, stamp } } = &task.key;
    let (scheduled_event_id, attempt, stamp) = (*scheduled_event_id, *attempt, *stamp);
    Task {
        queue: Some(to_queue(&task.queue)),
        workflow_id: workflow_id.as_str().to_owned(),
        run_id: run_id.as_str().to_owned(),
        scheduled_event_id,
        attempt,
        stamp,
        normal_name: task.normal_name.clone(),
        priority: task.priority.clone(),
        scheduled_at: task.scheduled_at.nanos(),
        expires_at: task.expires_at.map(Timestamp::nanos),
    }
}

fn from_task(task: Task) -> ServiceResult<OfferedTask> {
    Ok(OfferedTask {
        queue: from_queue(task.queue)?,
        key: TaskKey {
            workflow_id: task.workflow_id.into(),
            run_id: task.run_id.into(),
            task: TaskRef { scheduled_event_id: task.scheduled_event_id, attempt: task.attempt, stamp: task.stamp },
        },
        normal_name: task.normal_name,
        priority: task.priority,
        scheduled_at: Timestamp::from_nanos(task.scheduled_at),
        expires_at: task.expires_at.map(Timestamp::from_nanos),
    })
}

impl Wire for OfferedTask {
    fn to_bytes(&self) -> Bytes {
        to_task(self).to_bytes()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        from_task(Task::from_bytes(bytes)?)
    }
}

impl Wire for RecordStart {
    fn to_bytes(&self) -> Bytes {
        pair(&to_task(&self.task), &self.start)
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        let (task, start) = from_pair::<Task, _>(bytes)?;
        Ok(Self { task: from_task(task)?, start })
    }
}

/// Not set: the task is stale.
#[derive(Clone, PartialEq, Message)]
struct Recorded {
    /// The poll response to hand out. Matching passes it on.
    #[prost(bytes = "bytes", optional, tag = "1")]
    started: Option<Bytes>,
}

impl<T: Message + Default + Clone + 'static> Wire for RecordedStart<T> {
    fn to_bytes(&self) -> Bytes {
        let started = match self {
            Self::Started(task) => Some(task.to_bytes()),
            Self::Stale => None,
        };
        Recorded { started }.to_bytes()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        Ok(match Recorded::from_bytes(bytes)?.started {
            Some(task) => Self::Started(Relayed::from_bytes(task)?),
            None => Self::Stale,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(enumeration = "Ending", tag = "1")]
    ending: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
enum Ending {
    Unspecified = 0,
    Taken = 1,
    Persisted = 2,
    Refused = 3,
}

impl Wire for OfferOutcome {
    fn to_bytes(&self) -> Bytes {
        let ending = match self {
            Self::Taken => Ending::Taken,
            Self::Persisted => Ending::Persisted,
            Self::Refused => Ending::Refused,
        };
        Outcome { ending: ending.into() }.to_bytes()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        match Outcome::from_bytes(bytes)?.ending() {
            Ending::Taken => Ok(Self::Taken),
            Ending::Persisted => Ok(Self::Persisted),
            Ending::Refused => Ok(Self::Refused),
            Ending::Unspecified => Err(unknown("ending of an offer")),
        }
    }
}
