//! UpdateWorkflowExecution.

use api::temporal::api::enums::v1::UpdateWorkflowExecutionLifecycleStage as Stage;
use api::temporal::api::update::v1::{Meta, Request, WaitPolicy};
use api::temporal::api::workflowservice::v1 as wire;
use api::texts;
use calls::{ServiceError, ServiceResult};
use settings::RequestLimits;

use crate::Frontend;
use crate::methods::Tenant;
use crate::quotas::Poll;
use crate::validation::{fields, invalid, labels, payloads};

pub(crate) fn check(request: &mut wire::UpdateWorkflowExecutionRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::execution("workflow_execution", request.workflow_execution.as_ref(), limits)?;
    update(request, limits)
}

/// What is asked, whatever the workflow.
pub(super) fn update(request: &wire::UpdateWorkflowExecutionRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::run_id("first_execution_run_id", &request.first_execution_run_id)?;
    wait_policy(request.wait_policy.as_ref())?;
    let Some(Request { meta: Some(meta), input, request_id, links, .. }) = &request.request else {
        return invalid(texts::UPDATE_META_NOT_SET.to_owned());
    };
    update_id("request.meta.update_id", &meta.update_id, limits)?;
    fields::optional_id("request.meta.identity", &meta.identity, limits)?;
    fields::optional_id("request.request_id", request_id, limits)?;
    labels::links(links, limits)?;
    let Some(input) = input else { return invalid(texts::UPDATE_INPUT_NOT_SET.to_owned()) };
    if input.name.is_empty() {
        return invalid(texts::UPDATE_NAME_NOT_SET.to_owned());
    }
    fields::optional_id("request.input.name", &input.name, limits)?;
    payloads::blob("request.input.args", input.args.as_ref(), limits)?;
    payloads::header(input.header.as_ref(), limits)?;
    no_callbacks(request.request.as_ref())
}

fn no_callbacks(request: Option<&Request>) -> ServiceResult<()> {
    let count = request.map_or(0, |request| request.completion_callbacks.len());
    if count == 0 {
        return Ok(());
    }
    Err(ServiceError::FailedPrecondition(format!(
        "request.completion_callbacks has {count} entries, but this server does not call back yet: none are allowed"
    )))
}

/// An update's id as a caller gives it.
pub(super) fn update_id(field: &str, id: &str, limits: &RequestLimits) -> ServiceResult<()> {
    if id.len() > limits.id_bytes {
        let (bytes, most) = (id.len(), limits.id_bytes);
        let text = texts::UPDATE_ID_TOO_LONG;
        return invalid(format!("{text} {field} is {bytes} bytes long, at most {most} are allowed"));
    }
    fields::name(field, id)
}

/// How far a caller may wait.
pub(super) fn wait_policy(policy: Option<&WaitPolicy>) -> ServiceResult<()> {
    let stage = policy.map_or(0, |policy| policy.lifecycle_stage);
    match fields::known::<Stage>("wait_policy.lifecycle_stage", stage)? {
        Stage::Admitted => Err(ServiceError::PermissionDenied(texts::UPDATE_ADMITTED_NOT_AWAITED.to_owned())),
        Stage::Unspecified | Stage::Accepted | Stage::Completed => Ok(()),
    }
}

/// Names an update that its caller has not named, so that all attempts are for one.
pub(super) fn name(frontend: &Frontend, request: &mut wire::UpdateWorkflowExecutionRequest) {
    let meta = request.request.get_or_insert_default().meta.get_or_insert_with(Meta::default);
    if meta.update_id.is_empty() {
        meta.update_id = frontend.runtime().uuid();
    }
}

pub(crate) async fn serve(
    frontend: Frontend,
    Tenant { call, ctx }: Tenant,
    mut request: wire::UpdateWorkflowExecutionRequest,
) -> ServiceResult<wire::UpdateWorkflowExecutionResponse> {
    name(&frontend, &mut request);
    let long_polls = &frontend.settings().long_polls;
    let ctx = ctx.until(call.deadline(long_polls.update, long_polls.margin));
    let _place = frontend.wait(&ctx, Poll::Update)?;
    tokio::select! {
        response = frontend.history().update_workflow(&ctx, request) => response,
        () = frontend.stopping().cancelled() => {
            Err(ServiceError::Unavailable("the server is stopping, try another".to_owned()))
        }
    }
}
