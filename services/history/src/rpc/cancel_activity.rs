//! RespondActivityTaskCanceled, by token and by id.

use api::temporal::api::workflowservice::v1::{
    RespondActivityTaskCanceledRequest, RespondActivityTaskCanceledResponse,
};
use calls::{ActivityReport, CallContext, ServiceResult};
use execution::CancelActivity;

use super::activity_result;
use crate::HistoryService;

pub(super) async fn cancel_activity(
    service: &HistoryService,
    ctx: &CallContext,
    ActivityReport { activity, request }: ActivityReport<RespondActivityTaskCanceledRequest>,
) -> ServiceResult<RespondActivityTaskCanceledResponse> {
    let (named, result) = activity_result(activity, request.identity, request.worker_version, request.details);
    let key = service.key(ctx, &named.workflow_id);
    service.call_unshed(&key, named.run_id, CancelActivity(result)).await?;
    Ok(RespondActivityTaskCanceledResponse::default())
}
