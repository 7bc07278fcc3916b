//! StartWorkflowExecution.

use api::temporal::api::common::v1::Link;
use api::temporal::api::common::v1::link;
use api::temporal::api::enums::v1::EventType;
use api::temporal::api::workflowservice::v1::{StartWorkflowExecutionRequest, StartWorkflowExecutionResponse};
use cluster::{ServiceResult, TenantCtx};
use execution::{Input, Reply, Run, Start};

use crate::HistoryService;
use crate::errors::unexpected;
use crate::task_response::{Shipped, workflow_task};

pub(super) async fn start_workflow(
    service: &HistoryService,
    ctx: &TenantCtx,
    mut request: StartWorkflowExecutionRequest,
) -> ServiceResult<StartWorkflowExecutionResponse> {
    let key = service.key(ctx, &request.workflow_id);
    request.request_id = service.request_id(request.request_id);
    let start = Start { request, parent: None, signal: None };
    let reply = service.ask(&key, Input::Start(Box::new(start))).await?;
    let Reply::Started { run, started, eager, .. } = reply else { return Err(unexpected("Start")) };
    let eager_workflow_task =
        if eager { Some(workflow_task(service, &key, &run, Shipped::Whole).await?) } else { None };
    Ok(StartWorkflowExecutionResponse {
        run_id: run.core.run_id.clone(),
        first_execution_run_id: run.start.first_execution_run_id.clone(),
        started,
        status: run.core.status,
        eager_workflow_task,
        link: Some(link_to_start(ctx, &run)),
    })
}

/// A link to the run's first event.
fn link_to_start(ctx: &TenantCtx, run: &Run) -> Link {
    let reference =
        link::workflow_event::EventReference { event_id: 1, event_type: EventType::WorkflowExecutionStarted as i32 };
    let event = link::WorkflowEvent {
        namespace: ctx.namespace.name.clone(),
        workflow_id: run.start.workflow_id.clone(),
        run_id: run.core.run_id.clone(),
        reference: Some(link::workflow_event::Reference::EventRef(reference)),
    };
    Link { variant: Some(link::Variant::WorkflowEvent(event)) }
}
