//! SignalWithStartWorkflowExecution.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::NewWork;
use crate::validation::{fields, payloads, start};

pub(crate) fn check(
    request: &mut wire::SignalWithStartWorkflowExecutionRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    start::start(start::borrow_start!(request), limits)?;
    start::policies(request.workflow_id_reuse_policy, request.workflow_id_conflict_policy, true)?;
    fields::required_id("signal_name", &request.signal_name, limits)?;
    payloads::blob("signal_input", request.signal_input.as_ref(), limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    NewWork { ctx, .. }: NewWork,
    mut request: wire::SignalWithStartWorkflowExecutionRequest,
) -> ServiceResult<wire::SignalWithStartWorkflowExecutionResponse> {
    if request.request_id.is_empty() {
        request.request_id = frontend.runtime().uuid();
    }
    frontend.history().signal_with_start(&ctx, request).await
}
