//! ResetStickyTaskQueue.

use api::temporal::api::workflowservice::v1::{ResetStickyTaskQueueRequest, ResetStickyTaskQueueResponse};
use cluster::{ServiceResult, TenantCtx};
use execution::ResetSticky;

use crate::HistoryService;
use crate::service::named;

pub(super) async fn reset_sticky_task_queue(
    service: &HistoryService,
    ctx: &TenantCtx,
    request: ResetStickyTaskQueueRequest,
) -> ServiceResult<ResetStickyTaskQueueResponse> {
    let execution = named(request.execution);
    let key = service.key(ctx, &execution.workflow_id);
    service.ask(&key, execution.run_id, ResetSticky).await?;
    Ok(ResetStickyTaskQueueResponse::default())
}
