//! Cancel requests and termination.

use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionCancelRequestedEventAttributes, WorkflowExecutionTerminatedEventAttributes,
};

use super::signal::{check_another, check_child_of};
use super::task::{self, LostTask};
use super::unchanged;
use crate::change::Fact;
use crate::draft::{Draft, Notes, resolve, resolve_open};
use crate::input::{RequestCancel, Terminate};
use crate::reply::{Rejection, Reply, Transition};
use crate::run::Run;
use crate::{Env, Workflow};

pub(super) fn request_cancel(
    workflow: &Workflow,
    cancel: RequestCancel,
    env: &Env<'_>,
) -> Result<Transition, Rejection> {
    check_another(cancel.sender.as_ref().map(|(sender, _)| sender), env)?;
    let run = resolve(workflow, &cancel.run_id, env)?;
    // What has ended already needs no cancellation: that is a success.
    if !run.is_open() {
        return Ok(unchanged(workflow, Reply::Run(run.clone())));
    }
    check_chain(run, &cancel.first_execution_run_id, env)?;
    if cancel.child_only {
        check_child_of(run, cancel.sender.as_ref().map(|(sender, _)| sender), env)?;
    }
    if run.core.cancel_requested {
        return Ok(unchanged(workflow, Reply::Run(run.clone())));
    }
    let run_id = run.core.run_id.clone();
    let mut draft = Draft::of(workflow, env);
    let (sender, initiated_event_id) = cancel.sender.map_or((None, 0), |(sender, id)| (Some(sender), id));
    let attributes = WorkflowExecutionCancelRequestedEventAttributes {
        cause: cancel.reason,
        external_initiated_event_id: initiated_event_id,
        external_workflow_execution: sender,
        identity: cancel.identity,
    };
    let notes = Notes { links: cancel.links, ..Notes::default() };
    draft.event_with(&run_id, Attributes::WorkflowExecutionCancelRequestedEventAttributes(attributes), notes);
    if !cancel.request_id.is_empty() {
        draft.fact(&run_id, Fact::CancelRequestId(cancel.request_id));
    }
    // A cancellation does not wait for the end of a start delay, or for the next time of a cron schedule.
    if draft.run(&run_id).core.first_task_at != 0 {
        draft.fact(&run_id, Fact::FirstTaskAt(0));
    }
    task::wake_workflow(&mut draft, &run_id);
    Ok(draft.finish(|next| Reply::Run(next.runs[&run_id].clone())))
}

pub(super) fn terminate(workflow: &Workflow, terminate: Terminate, env: &Env<'_>) -> Result<Transition, Rejection> {
    let run = resolve_open(workflow, &terminate.run_id, env)?;
    check_chain(run, &terminate.first_execution_run_id, env)?;
    if terminate.parent.is_some() {
        check_child_of(run, terminate.parent.as_ref(), env)?;
    }
    let run_id = run.core.run_id.clone();
    let mut draft = Draft::of(workflow, env);
    let attributes = WorkflowExecutionTerminatedEventAttributes {
        reason: terminate.reason,
        details: terminate.details,
        identity: terminate.identity,
    };
    let notes = Notes { links: terminate.links, ..Notes::default() };
    end_now(&mut draft, &run_id, Attributes::WorkflowExecutionTerminatedEventAttributes(attributes), notes);
    Ok(draft.finish(|next| Reply::Run(next.runs[&run_id].clone())))
}

/// Closes a run whatever its worker is doing: a started workflow task fails, and what was buffered enters the history
/// before its end.
pub(super) fn end_now(draft: &mut Draft<'_>, run_id: &str, closing: Attributes, notes: Notes) {
    if draft.run(run_id).task.as_ref().is_some_and(|task| task.is_started()) {
        task::fail_without_retry(draft, run_id, LostTask::by_server());
    }
    draft.flush_buffered(run_id);
    draft.event_with(run_id, closing, notes);
}

fn check_chain(run: &Run, first_run_id: &str, env: &Env<'_>) -> Result<(), Rejection> {
    if first_run_id.is_empty() || run.start.first_execution_run_id == first_run_id {
        return Ok(());
    }
    Err(Rejection::NotFound(format!(
        "workflow {} has no open run in the chain that began with run {first_run_id}",
        env.workflow_id
    )))
}
