//! Task queues.

use api::temporal::api::enums::v1::TaskQueueKind;
use api::temporal::api::taskqueue::v1::TaskQueue;
use calls::ServiceResult;
use settings::RequestLimits;

use super::{fields, invalid};

/// Names that begin so are for queues within the server.
const RESERVED: &str = "/_sys/";

/// A task queue to poll for workflow or activity tasks, or to describe as one of those: normal or sticky; or to run workflows
/// on, which is the normal one of that name.
pub(crate) fn task_queue(queue: Option<&TaskQueue>, limits: &RequestLimits) -> ServiceResult<()> {
    match named(queue, limits)? {
        TaskQueueKind::Unspecified | TaskQueueKind::Normal | TaskQueueKind::Sticky => Ok(()),
        TaskQueueKind::WorkerCommands => {
            invalid("task_queue.kind is WORKER_COMMANDS, NORMAL and STICKY are allowed".to_owned())
        }
    }
}

/// A task queue of Nexus tasks: any worker's, or the one on which the server would send commands to one worker.
pub(crate) fn nexus_task_queue(queue: Option<&TaskQueue>, limits: &RequestLimits) -> ServiceResult<()> {
    match named(queue, limits)? {
        TaskQueueKind::Unspecified | TaskQueueKind::Normal | TaskQueueKind::WorkerCommands => Ok(()),
        TaskQueueKind::Sticky => {
            invalid("task_queue.kind is STICKY, NORMAL and WORKER_COMMANDS are allowed".to_owned())
        }
    }
}

/// The kind of a task queue whose name is one.
fn named(queue: Option<&TaskQueue>, limits: &RequestLimits) -> ServiceResult<TaskQueueKind> {
    let Some(queue) = queue else { return invalid("task_queue is not set".to_owned()) };
    name("task_queue.name", &queue.name, limits)?;
    fields::optional_id("task_queue.normal_name", &queue.normal_name, limits)?;
    fields::known::<TaskQueueKind>("task_queue.kind", queue.kind)
}

fn name(field: &str, value: &str, limits: &RequestLimits) -> ServiceResult<()> {
    fields::required_id(field, value, limits)?;
    if value.starts_with(RESERVED) {
        return invalid(format!(
            "{field} is {:?}, names that begin with {RESERVED} are reserved",
            fields::beginning(value)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, kind: i32) -> TaskQueue {
        TaskQueue { name: name.to_owned(), kind, normal_name: String::new() }
    }

    #[test]
    fn queues_need_a_name_that_is_not_reserved() {
        let limits = RequestLimits::default();
        let text = |queue: Option<TaskQueue>| match task_queue(queue.as_ref(), &limits) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text(Some(queue("orders", 1))), "");
        assert_eq!(text(Some(queue("orders", 0))), "");
        assert_eq!(text(None), "task_queue is not set");
        assert_eq!(text(Some(queue("", 1))), "task_queue.name is not set");
        assert_eq!(text(Some(queue("worker-1", 2))), "");
        assert_eq!(text(Some(queue("orders", 3))), "task_queue.kind is WORKER_COMMANDS, NORMAL and STICKY are allowed");
        assert_eq!(text(Some(queue("orders", 9))), "task_queue.kind is 9, which is not a value of that enum");
        assert_eq!(
            text(Some(queue("/_sys/orders/1", 1))),
            "task_queue.name is \"/_sys/orders/1\", names that begin with /_sys/ are reserved"
        );
        let text = |kind| match nexus_task_queue(Some(&queue("orders", kind)), &limits) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!([text(0), text(1), text(3)], ["", "", ""]);
        assert_eq!(text(2), "task_queue.kind is STICKY, NORMAL and WORKER_COMMANDS are allowed");
    }
}
