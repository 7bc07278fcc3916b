//! PollActivityTaskQueue: waits until there is an activity task, a second less than its caller does.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::outgoing;
use crate::Frontend;
use crate::methods::Tenant;
use crate::quotas::Poll;
use crate::validation::{fields, invalid, task_queue, versioning};

pub(crate) fn check(request: &mut wire::PollActivityTaskQueueRequest, limits: &RequestLimits) -> ServiceResult<()> {
    task_queue::task_queue(request.task_queue.as_ref(), limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    fields::optional_id("worker_instance_key", &request.worker_instance_key, limits)?;
    versioning::capabilities(request.worker_version_capabilities.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)?;
    let rate = request.task_queue_metadata.as_ref().and_then(|metadata| metadata.max_tasks_per_second);
    match rate {
        Some(rate) if !(rate.is_finite() && rate >= 0.0) => {
            invalid(format!("task_queue_metadata.max_tasks_per_second is {rate}, 0 or more is allowed"))
        }
        _ => Ok(()),
    }
}

/// An empty response says that there was nothing to do; workers poll again.
pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    request: wire::PollActivityTaskQueueRequest,
) -> ServiceResult<wire::PollActivityTaskQueueResponse> {
    let deadline = call.poll_deadline(&frontend.settings().long_polls)?;
    let ctx = ctx.until(deadline);
    let _place = frontend.wait(&ctx, Poll::ActivityTask)?;
    let mut task = tokio::select! {
        task = frontend.matching().poll_activity_task_queue(&ctx, request) => task?.open()?,
        () = frontend.stopping().cancelled() => wire::PollActivityTaskQueueResponse::default(),
    };
    outgoing::seal_activity_task(&frontend.keys(), &mut task);
    Ok(task)
}
