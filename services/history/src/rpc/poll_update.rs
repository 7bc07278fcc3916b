//! PollWorkflowExecutionUpdate.

use api::temporal::api::enums::v1::UpdateWorkflowExecutionLifecycleStage as Stage;
use api::temporal::api::workflowservice::v1::{
    PollWorkflowExecutionUpdateRequest, PollWorkflowExecutionUpdateResponse,
};
use calls::{CallContext, ServiceError, ServiceResult};

use super::get_history::watch;
use super::update_workflow::reference;
use crate::HistoryService;
use crate::service::named;
use crate::updates::{Wait, stage_of, wait};

pub(super) async fn poll_update(
    service: &HistoryService,
    ctx: &CallContext,
    request: PollWorkflowExecutionUpdateRequest,
) -> ServiceResult<PollWorkflowExecutionUpdateResponse> {
    let update = request.update_ref.unwrap_or_default();
    let execution = named(update.workflow_execution);
    let key = service.key(ctx, &execution.workflow_id);
    let id = &update.update_id;
    let mut watcher = watch(service, &key)?;
    let run = service.read(&key, &execution.run_id).await?;
    let not_found = || ServiceError::NotFound(format!("update {id:?} not found"));
    run.update(id).ok_or_else(not_found)?;
    // A caller that wants nothing in particular learns how far it has come.
    let until = match request.wait_policy {
        Some(policy) if policy.lifecycle_stage() != Stage::Unspecified => stage_of(Some(&policy)),
        _ => Stage::Unspecified,
    };
    let deadline = ctx.waits_until(service.runtime.now());
    let run_id = &run.core.run_id;
    let reached = wait(service, &key, &mut watcher, &Wait { run_id, id, until, deadline }).await?;
    let reached = reached.ok_or_else(not_found)?;
    Ok(PollWorkflowExecutionUpdateResponse {
        outcome: reached.outcome,
        stage: reached.stage as i32,
        update_ref: Some(reference(reached.run.execution(), id)),
    })
}
