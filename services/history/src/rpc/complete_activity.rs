//! RespondActivityTaskCompleted, by token and by id.

use api::temporal::api::workflowservice::v1::{
    RespondActivityTaskCompletedRequest, RespondActivityTaskCompletedResponse,
};
use calls::{ActivityReport, CallContext, ServiceResult};
use execution::CompleteActivity;

use super::activity_result;
use crate::HistoryService;

pub(super) async fn complete_activity(
    service: &HistoryService,
    ctx: &CallContext,
    ActivityReport { activity, request }: ActivityReport<RespondActivityTaskCompletedRequest>,
) -> ServiceResult<RespondActivityTaskCompletedResponse> {
    let (named, result) = activity_result(activity, request.identity, request.worker_version, request.result);
    let key = service.key(ctx, &named.workflow_id);
    service.call_unshed(&key, named.run_id, CompleteActivity(result)).await?;
    Ok(RespondActivityTaskCompletedResponse::default())
}
