//! ExecuteMultiOperation: a start and an update of what it starts, carried out together.

use api::temporal::api::workflowservice::v1 as wire;
use api::temporal::api::workflowservice::v1::execute_multi_operation_request::Operation;
use api::temporal::api::workflowservice::v1::execute_multi_operation_request::operation::Operation as Kind;
use api::texts;
use calls::{ServiceError, ServiceResult};
use settings::RequestLimits;

use super::{start_workflow_execution, update_workflow_execution};
use crate::Frontend;
use crate::methods::NewWork;
use crate::quotas::Poll;
use crate::validation::{fields, invalid};

/// The operations, by their places.
const START: usize = 0;
const UPDATE: usize = 1;
const OPERATIONS: usize = 2;

pub(crate) fn check(request: &mut wire::ExecuteMultiOperationRequest, limits: &RequestLimits) -> ServiceResult<()> {
    let namespace = request.namespace.clone();
    let [
        Operation { operation: Some(Kind::StartWorkflow(start)) },
        Operation { operation: Some(Kind::UpdateWorkflow(update)) },
    ] = request.operations.as_mut_slice()
    else {
        return invalid(texts::OPERATIONS_NOT_START_AND_UPDATE.to_owned());
    };
    check_start(start, &namespace, limits).map_err(|error| of_operation(START, error))?;
    check_update(update, &start.workflow_id, &namespace, limits).map_err(|error| of_operation(UPDATE, error))
}

fn of_operation(operation: usize, error: ServiceError) -> ServiceError {
    ServiceError::MultiOperation { operation, count: OPERATIONS, error: Box::new(error) }
}

fn same_namespace(own: &str, of_request: &str) -> ServiceResult<()> {
    if own.is_empty() || own == of_request {
        return Ok(());
    }
    invalid("Operation namespace did not match request's namespace.".to_owned())
}

fn check_start(
    start: &mut wire::StartWorkflowExecutionRequest,
    namespace: &str,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    same_namespace(&start.namespace, namespace)?;
    if !start.cron_schedule.is_empty() {
        return invalid("CronSchedule is not allowed.".to_owned());
    }
    if start.request_eager_execution {
        return invalid("RequestEagerExecution is not supported.".to_owned());
    }
    if start.workflow_start_delay.is_some() {
        return invalid("WorkflowStartDelay is not supported.".to_owned());
    }
    start_workflow_execution::check(start, limits)
}

fn check_update(
    update: &wire::UpdateWorkflowExecutionRequest,
    workflow_id: &str,
    namespace: &str,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    same_namespace(&update.namespace, namespace)?;
    let execution = update.workflow_execution.as_ref();
    fields::execution("workflow_execution", execution, limits)?;
    let Some(execution) = execution else { return Ok(()) };
    if !execution.run_id.is_empty() {
        return invalid("RunId is not allowed.".to_owned());
    }
    if execution.workflow_id != workflow_id {
        return invalid("WorkflowId is not consistent with previous operation(s).".to_owned());
    }
    update_workflow_execution::update(update, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    NewWork { call, ctx }: NewWork,
    mut request: wire::ExecuteMultiOperationRequest,
) -> ServiceResult<wire::ExecuteMultiOperationResponse> {
    for operation in &mut request.operations {
        match &mut operation.operation {
            Some(Kind::StartWorkflow(start)) => {
                start.namespace.clone_from(&request.namespace);
                if start.request_id.is_empty() {
                    start.request_id = frontend.runtime().uuid();
                }
            }
            Some(Kind::UpdateWorkflow(update)) => {
                update.namespace.clone_from(&request.namespace);
                update_workflow_execution::name(&frontend, update);
            }
            None => {}
        }
    }
    let long_polls = &frontend.settings().long_polls;
    let ctx = ctx.until(call.deadline(long_polls.update, long_polls.margin));
    let _place = frontend.wait(&ctx, Poll::Update)?;
    tokio::select! {
        response = frontend.history().execute_multi_operation(&ctx, request) => response,
        () = frontend.stopping().cancelled() => {
            Err(ServiceError::Unavailable("the server is stopping, try another".to_owned()))
        }
    }
}
