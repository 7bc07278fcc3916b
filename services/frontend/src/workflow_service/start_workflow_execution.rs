//! StartWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use calls::{ServiceError, ServiceResult};
use settings::RequestLimits;

use super::outgoing;
use crate::Frontend;
use crate::methods::NewWork;
use crate::validation::{failures, invalid, payloads, start, versioning};

pub(crate) fn check(request: &mut wire::StartWorkflowExecutionRequest, limits: &RequestLimits) -> ServiceResult<()> {
    start::start(start::borrow_start!(request), limits)?;
    start::policies(request.workflow_id_reuse_policy, request.workflow_id_conflict_policy, false)?;
    payloads::blob("last_completion_result", request.last_completion_result.as_ref(), limits)?;
    failures::cut_causes(request.continued_failure.as_mut());
    versioning::deployment_options(request.eager_worker_deployment_options.as_ref(), limits)?;
    if !request.completion_callbacks.is_empty() {
        return Err(ServiceError::FailedPrecondition(format!(
            "completion_callbacks has {} entries, but this server does not call back yet: none are allowed",
            request.completion_callbacks.len()
        )));
    }
    if request
        .on_conflict_options
        .as_ref()
        .is_some_and(|options| options.attach_completion_callbacks && !options.attach_request_id)
    {
        return invalid("attaching request ID is required for attaching completion callbacks".to_owned());
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    NewWork { ctx, .. }: NewWork,
    mut request: wire::StartWorkflowExecutionRequest,
) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
    if request.request_id.is_empty() {
        request.request_id = frontend.runtime().uuid();
    }
    let mut response = frontend.history().start_workflow(&ctx, request).await?;
    if let Some(task) = &mut response.eager_workflow_task {
        outgoing::seal_workflow_task(&frontend.keys(), task);
    }
    Ok(response)
}
