//! UpdateWorkflowExecution.

use std::sync::Arc;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::update::v1::UpdateRef;
use api::temporal::api::workflowservice::v1::{UpdateWorkflowExecutionRequest, UpdateWorkflowExecutionResponse};
use calls::{CallContext, ServiceResult};
use entities::EntityKey;
use execution::{Run, Update};

use super::get_history::watch;
use crate::HistoryService;
use crate::links;
use crate::service::named;
use crate::updates::{Reached, Wait, stage_of, wait};
use crate::watch::Watcher;

pub(super) async fn update_workflow(
    service: &HistoryService,
    ctx: &CallContext,
    request: UpdateWorkflowExecutionRequest,
) -> ServiceResult<UpdateWorkflowExecutionResponse> {
    let execution = named(request.workflow_execution.clone());
    let key = service.key(ctx, &execution.workflow_id);
    // Before it is asked for: no change is missed.
    let mut watcher = watch(service, &key)?;
    let update = update_of(&request);
    let run = service.call(&key, execution.run_id, update.clone()).await?;
    answer_update(service, ctx, &key, &mut watcher, Asked { run, update, request: &request }).await
}

/// The update that a request is for.
pub(super) fn update_of(request: &UpdateWorkflowExecutionRequest) -> Update {
    let first_execution_run_id = request.first_execution_run_id.clone();
    Update { first_execution_run_id, request: Arc::new(request.request.clone().unwrap_or_default()) }
}

/// An update that a run has been asked for.
pub(super) struct Asked<'a> {
    pub(super) run: Arc<Run>,
    pub(super) update: Update,
    pub(super) request: &'a UpdateWorkflowExecutionRequest,
}

/// Waits as long as the caller does, and asks again while memory is lost.
pub(super) async fn answer_update(
    service: &HistoryService,
    ctx: &CallContext,
    key: &EntityKey,
    watcher: &mut Watcher,
    Asked { run, update, request }: Asked<'_>,
) -> ServiceResult<UpdateWorkflowExecutionResponse> {
    let run_id = run.core.run_id.clone();
    let until = stage_of(request.wait_policy.as_ref());
    let deadline = ctx.waits_until(service.runtime.now());
    loop {
        let waited = wait(service, key, watcher, &Wait { run_id: &run_id, id: update.id(), until, deadline }).await?;
        if let Some(reached) = waited {
            return Ok(respond(ctx, update.id(), reached));
        }
        service.call(key, run_id.clone(), update.clone()).await?;
    }
}

fn respond(ctx: &CallContext, id: &str, reached: Reached) -> UpdateWorkflowExecutionResponse {
    let link = if reached.is_rejected {
        links::to_rejected_update(ctx, &reached.run)
    } else {
        links::to_update(ctx, reached.run.execution())
    };
    UpdateWorkflowExecutionResponse {
        update_ref: Some(reference(reached.run.execution(), id)),
        outcome: reached.outcome,
        stage: reached.stage as i32,
        link: Some(link),
    }
}

/// Names an update.
pub(super) fn reference(execution: WorkflowExecution, id: &str) -> UpdateRef {
    UpdateRef { workflow_execution: Some(execution), update_id: id.to_owned() }
}
