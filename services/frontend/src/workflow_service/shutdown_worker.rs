//! ShutdownWorker: a worker leaves, its polls come home.

use api::temporal::api::enums::v1::TaskQueueType;
use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, payloads};

pub(crate) fn check(request: &mut wire::ShutdownWorkerRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::optional_id("sticky_task_queue", &request.sticky_task_queue, limits)?;
    fields::optional_id("task_queue", &request.task_queue, limits)?;
    fields::optional_id("worker_instance_key", &request.worker_instance_key, limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    payloads::text("reason", &request.reason, limits)?;
    for task_queue_type in &request.task_queue_types {
        fields::known::<TaskQueueType>("task_queue_types", *task_queue_type)?;
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::ShutdownWorkerRequest,
) -> ServiceResult<wire::ShutdownWorkerResponse> {
    frontend.matching().shutdown_worker(&ctx, request).await
}
