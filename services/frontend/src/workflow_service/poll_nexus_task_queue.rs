//! PollNexusTaskQueue: waits a second less than its caller does, and ends empty. Nexus is not served, but workers with Nexus
//! handlers poll all the same, and must come home when they shut down.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::quotas::Poll;
use crate::validation::{fields, task_queue, versioning};

pub(crate) fn check(request: &mut wire::PollNexusTaskQueueRequest, limits: &RequestLimits) -> ServiceResult<()> {
    task_queue::nexus_task_queue(request.task_queue.as_ref(), limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    fields::optional_id("worker_instance_key", &request.worker_instance_key, limits)?;
    versioning::capabilities(request.worker_version_capabilities.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)
}

/// An empty response says that there was nothing to do; workers poll again.
pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    request: wire::PollNexusTaskQueueRequest,
) -> ServiceResult<wire::PollNexusTaskQueueResponse> {
    let deadline = call.poll_deadline(&frontend.settings().long_polls)?;
    let ctx = ctx.until(deadline);
    let _place = frontend.wait(&ctx, Poll::NexusTask)?;
    tokio::select! {
        task = frontend.matching().poll_nexus_task_queue(&ctx, request) => task?.open(),
        () = frontend.stopping().cancelled() => Ok(wire::PollNexusTaskQueueResponse::default()),
    }
}
