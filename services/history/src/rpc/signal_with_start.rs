//! SignalWithStartWorkflowExecution.

use api::temporal::api::enums::v1::WorkflowIdConflictPolicy;
use api::temporal::api::workflowservice::v1::{
    SignalWithStartWorkflowExecutionRequest, SignalWithStartWorkflowExecutionResponse, StartWorkflowExecutionRequest,
};
use calls::{CallContext, ServiceResult};
use execution::{RunRef, Signal, Start, Started};

use crate::HistoryService;
use crate::links;

pub(super) async fn signal_with_start(
    service: &HistoryService,
    ctx: &CallContext,
    request: SignalWithStartWorkflowExecutionRequest,
) -> ServiceResult<SignalWithStartWorkflowExecutionResponse> {
    let key = service.key(ctx, &request.workflow_id);
    let request_id = service.request_id(request.request_id);
    let signal = Signal {
        request_id: request_id.clone(),
        name: request.signal_name,
        input: request.signal_input,
        header: request.header.clone(),
        identity: request.identity.clone(),
        links: request.links.clone(),
        ..Signal::default()
    };
    let conflict = match request.workflow_id_conflict_policy {
        0 => WorkflowIdConflictPolicy::UseExisting as i32,
        policy => policy,
    };
    let start = StartWorkflowExecutionRequest {
        namespace: request.namespace,
        workflow_id: request.workflow_id,
        workflow_type: request.workflow_type,
        task_queue: request.task_queue,
        input: request.input,
        workflow_execution_timeout: request.workflow_execution_timeout,
        workflow_run_timeout: request.workflow_run_timeout,
        workflow_task_timeout: request.workflow_task_timeout,
        identity: request.identity,
        request_id: request_id.clone(),
        workflow_id_reuse_policy: request.workflow_id_reuse_policy,
        workflow_id_conflict_policy: conflict,
        retry_policy: request.retry_policy,
        cron_schedule: request.cron_schedule,
        memo: request.memo,
        search_attributes: request.search_attributes,
        header: request.header,
        workflow_start_delay: request.workflow_start_delay,
        user_metadata: request.user_metadata,
        links: request.links,
        versioning_override: request.versioning_override,
        priority: request.priority,
        time_skipping_config: request.time_skipping_config,
        ..StartWorkflowExecutionRequest::default()
    };
    let start = Start { request: start, parent: None, signal: Some(signal), update: None };
    let Started { run, started, .. } = service.call(&key, RunRef::Chain, start).await?;
    Ok(SignalWithStartWorkflowExecutionResponse {
        run_id: run.core.run_id.clone(),
        first_execution_run_id: run.start.first_execution_run_id.clone(),
        started,
        signal_link: Some(links::to_signal(ctx, run.execution(), &request_id)),
    })
}
