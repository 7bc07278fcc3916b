//! ExecuteMultiOperation: update with start.

use api::temporal::api::workflowservice::v1 as wire;
use api::temporal::api::workflowservice::v1::execute_multi_operation_request::operation::Operation;
use api::temporal::api::workflowservice::v1::execute_multi_operation_response as response;
use calls::{CallContext, ServiceError, ServiceResult};
use execution::{RunRef, Start, Started};

use super::get_history::watch;
use super::update_workflow::{Asked, answer_update, update_of};
use crate::HistoryService;
use crate::links;

/// The operations, by their places in the request.
const START: usize = 0;
const UPDATE: usize = 1;
const OPERATIONS: usize = 2;

pub(super) async fn execute_multi_operation(
    service: &HistoryService,
    ctx: &CallContext,
    request: wire::ExecuteMultiOperationRequest,
) -> ServiceResult<wire::ExecuteMultiOperationResponse> {
    let (start_request, update_request) = operations_of(request)?;
    let key = service.key(ctx, &start_request.workflow_id);
    let mut watcher = watch(service, &key)?;
    let update = update_of(&update_request);
    let request_id = start_request.request_id.clone();
    let start = Start { request: start_request, parent: None, signal: None, update: Some(update.clone()) };
    let started = service.call(&key, RunRef::Chain, start).await;
    let Started { run, started, .. } = started.map_err(|error| of_operation(operation_of(&error), error))?;
    let start_response = wire::StartWorkflowExecutionResponse {
        run_id: run.core.run_id.clone(),
        first_execution_run_id: run.start.first_execution_run_id.clone(),
        started,
        status: run.core.status,
        eager_workflow_task: None,
        link: Some(links::to_start(ctx, &run, &request_id)),
    };
    let asked = Asked { run, update, request: &update_request };
    let answered = answer_update(service, ctx, &key, &mut watcher, asked).await;
    let update_response = answered.map_err(|error| of_operation(UPDATE, error))?;
    let respond = |response| response::Response { response: Some(response) };
    Ok(wire::ExecuteMultiOperationResponse {
        responses: vec![
            respond(response::response::Response::StartWorkflow(start_response)),
            respond(response::response::Response::UpdateWorkflow(update_response)),
        ],
    })
}

fn operations_of(
    request: wire::ExecuteMultiOperationRequest,
) -> ServiceResult<(wire::StartWorkflowExecutionRequest, wire::UpdateWorkflowExecutionRequest)> {
    let mut operations = request.operations.into_iter().map(|operation| operation.operation);
    match (operations.next().flatten(), operations.next().flatten()) {
        (Some(Operation::StartWorkflow(start)), Some(Operation::UpdateWorkflow(update))) => Ok((start, update)),
        _ => Err(ServiceError::Internal("the frontend lets nothing pass but a start and an update".to_owned())),
    }
}

/// Whose fault an error of both together is: policies and sizes are the start's, the rest is the update's.
fn operation_of(error: &ServiceError) -> usize {
    match error {
        ServiceError::WorkflowAlreadyStarted { .. } | ServiceError::InvalidArgument(_) => START,
        _ => UPDATE,
    }
}

/// An error of one operation; that of the server itself stays as it is, so that it is tried again.
fn of_operation(operation: usize, error: ServiceError) -> ServiceError {
    match error {
        ServiceError::NotOwner(_)
        | ServiceError::Unavailable(_)
        | ServiceError::DataLoss(_)
        | ServiceError::Internal(_)
        | ServiceError::DeadlineExceeded(_) => error,
        error => ServiceError::MultiOperation { operation, count: OPERATIONS, error: Box::new(error) },
    }
}
