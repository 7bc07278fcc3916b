//! DescribeTaskQueue: the pollers, and how much is waiting.

use api::temporal::api::enums::v1::{DescribeTaskQueueMode, TaskQueueType};
use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::validation::{fields, task_queue};

pub(crate) fn check(request: &mut wire::DescribeTaskQueueRequest, limits: &RequestLimits) -> ServiceResult<()> {
    match fields::known("task_queue_type", request.task_queue_type)? {
        TaskQueueType::Nexus => task_queue::nexus_task_queue(request.task_queue.as_ref(), limits)?,
        _ => task_queue::task_queue(request.task_queue.as_ref(), limits)?,
    }
    fields::known::<DescribeTaskQueueMode>("api_mode", request.api_mode)?;
    for task_queue_type in &request.task_queue_types {
        fields::known::<TaskQueueType>("task_queue_types", *task_queue_type)?;
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { ctx, .. }: Tenant,
    request: wire::DescribeTaskQueueRequest,
) -> ServiceResult<wire::DescribeTaskQueueResponse> {
    frontend.matching().describe_task_queue(&ctx, request).await
}
