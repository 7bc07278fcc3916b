//! From matching: a poller is about to be given an activity task.

use api::temporal::api::workflowservice::v1::PollActivityTaskQueueResponse;
use calls::{CallContext, RecordStart, RecordedStart, Relayed, ServiceError, ServiceResult};
use execution::{ActivityTaken, StartActivity};

use super::record_workflow_task_started::{entity_of, start_of};
use crate::HistoryService;
use crate::task_response::activity_task;

pub(super) async fn record_activity_task_started(
    service: &HistoryService,
    ctx: &CallContext,
    RecordStart { task, start }: RecordStart,
) -> ServiceResult<RecordedStart<PollActivityTaskQueueResponse>> {
    let key = entity_of(&task);
    let run_id = task.key.run_id.to_string();
    match service.call_unshed(&key, run_id, StartActivity(start_of(ctx, task, start))).await {
        Ok(ActivityTaken::Started { run, activity }) => {
            Ok(RecordedStart::Started(Relayed::new(activity_task(service, &key, &run, &activity))))
        }
        Ok(ActivityTaken::Stale) | Err(ServiceError::NotFound(_)) => Ok(RecordedStart::Stale),
        Err(error) => Err(error),
    }
}
