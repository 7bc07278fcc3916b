//! From matching: a poller is about to be given an activity task.

use api::temporal::api::workflowservice::v1::PollActivityTaskQueueResponse;
use cluster::{OfferedTask, RecordedStart, ServiceError, ServiceResult, TaskStart};
use execution::{ActivityTaken, StartActivity};

use super::record_workflow_task_started::{entity_of, start_of};
use crate::HistoryService;
use crate::task_response::activity_task;

pub(super) async fn record_activity_task_started(
    service: &HistoryService,
    task: &OfferedTask,
    start: TaskStart,
) -> ServiceResult<RecordedStart<PollActivityTaskQueueResponse>> {
    let key = entity_of(task);
    match service.give(&key, task.task.run_id.as_str(), StartActivity(start_of(&task.task, start))).await {
        Ok(ActivityTaken::Started { run, activity }) => {
            Ok(RecordedStart::Started(Box::new(activity_task(service, &key, &run, &activity))))
        }
        Ok(ActivityTaken::Stale) | Err(ServiceError::NotFound(_)) => Ok(RecordedStart::Stale),
        Err(error) => Err(error),
    }
}
