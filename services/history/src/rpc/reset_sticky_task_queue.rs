//! ResetStickyTaskQueue.

use api::temporal::api::workflowservice::v1::{ResetStickyTaskQueueRequest, ResetStickyTaskQueueResponse};
use calls::{CallContext, ServiceResult};
use execution::ResetSticky;

use crate::HistoryService;
use crate::service::named;

pub(super) async fn reset_sticky_task_queue(
    service: &HistoryService,
    ctx: &CallContext,
    request: ResetStickyTaskQueueRequest,
) -> ServiceResult<ResetStickyTaskQueueResponse> {
    let execution = named(request.execution);
    let key = service.key(ctx, &execution.workflow_id);
    service.call(&key, execution.run_id, ResetSticky).await?;
    Ok(ResetStickyTaskQueueResponse::default())
}
