//! StartWorkflowExecution.

use api::temporal::api::workflowservice::v1::{StartWorkflowExecutionRequest, StartWorkflowExecutionResponse};
use calls::{CallContext, ServiceResult};
use execution::{RunRef, Start, Started};

use crate::HistoryService;
use crate::links;
use crate::task_response::{Shipped, workflow_task};

pub(super) async fn start_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    mut request: StartWorkflowExecutionRequest,
) -> ServiceResult<StartWorkflowExecutionResponse> {
    let key = service.key(ctx, &request.workflow_id);
    request.request_id = service.request_id(request.request_id);
    let request_id = request.request_id.clone();
    let start = Start { request, parent: None, signal: None, update: None };
    let Started { run, started, eager, .. } = service.call(&key, RunRef::Chain, start).await?;
    let eager_workflow_task =
        if eager { Some(workflow_task(service, &key, &run, Shipped::Whole).await?) } else { None };
    Ok(StartWorkflowExecutionResponse {
        run_id: run.core.run_id.clone(),
        first_execution_run_id: run.start.first_execution_run_id.clone(),
        started,
        status: run.core.status,
        eager_workflow_task,
        link: Some(links::to_start(ctx, &run, &request_id)),
    })
}
