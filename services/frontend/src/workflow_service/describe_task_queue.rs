//! DescribeTaskQueue: who polls, and how much is waiting.

use api::temporal::api::enums::v1::{DescribeTaskQueueMode, TaskQueueType};
use api::temporal::api::workflowservice::v1 as wire;
use cluster::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::deadline::Call;
use crate::validation::{fields, invalid, task_queue};

pub(crate) fn check(request: &mut wire::DescribeTaskQueueRequest, limits: &RequestLimits) -> ServiceResult<()> {
    task_queue::task_queue(request.task_queue.as_ref(), limits)?;
    fields::known::<DescribeTaskQueueMode>("api_mode", request.api_mode)?;
    for task_queue_type in &request.task_queue_types {
        served(*task_queue_type)?;
    }
    served(request.task_queue_type)
}

/// Queues of Nexus tasks do not exist here.
fn served(task_queue_type: i32) -> ServiceResult<()> {
    match fields::known::<TaskQueueType>("task_queue_type", task_queue_type)? {
        TaskQueueType::Nexus => invalid("task_queue_type is NEXUS, WORKFLOW and ACTIVITY are allowed".to_owned()),
        TaskQueueType::Unspecified | TaskQueueType::Workflow | TaskQueueType::Activity => Ok(()),
    }
}

pub(crate) async fn serve(
    frontend: &Frontend,
    _: Call,
    request: wire::DescribeTaskQueueRequest,
) -> ServiceResult<wire::DescribeTaskQueueResponse> {
    let ctx = frontend.tenant(&request.namespace).await?;
    frontend.matching().describe_task_queue(&ctx, request).await
}
