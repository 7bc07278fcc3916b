//! PollWorkflowTaskQueue: waits until there is a workflow task, a second less than its caller does.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::outgoing;
use crate::Frontend;
use crate::methods::Tenant;
use crate::quotas::Poll;
use crate::validation::{fields, task_queue, versioning};

pub(crate) fn check(request: &mut wire::PollWorkflowTaskQueueRequest, limits: &RequestLimits) -> ServiceResult<()> {
    task_queue::task_queue(request.task_queue.as_ref(), limits)?;
    fields::optional_id("identity", &request.identity, limits)?;
    fields::optional_id("worker_instance_key", &request.worker_instance_key, limits)?;
    versioning::capabilities(request.worker_version_capabilities.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)
}

/// An empty response says that there was nothing to do; workers poll again.
pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    request: wire::PollWorkflowTaskQueueRequest,
) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
    let deadline = call.poll_deadline(&frontend.settings().long_polls)?;
    let ctx = ctx.until(deadline);
    let _place = frontend.wait(&ctx, Poll::WorkflowTask)?;
    let mut task = tokio::select! {
        task = frontend.matching().poll_workflow_task_queue(&ctx, request) => task?.open()?,
        () = frontend.stopping().cancelled() => wire::PollWorkflowTaskQueueResponse::default(),
    };
    outgoing::seal_workflow_task(&frontend.keys(), &mut task);
    Ok(task)
}
