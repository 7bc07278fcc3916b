//! Cancel requests and termination.

use std::sync::Arc;

use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionCancelRequestedEventAttributes, WorkflowExecutionTerminatedEventAttributes,
};

use super::answer::{Decision, changed_run, unchanged};
use super::signal::{check_another, check_child_of};
use super::target::Target;
use super::task::{self, TaskFailure};
use crate::Env;
use crate::change::Fact;
use crate::draft::{EventMetadata, RunDraft};
use crate::input::{RequestCancel, Terminate};
use crate::reply::Rejection;
use crate::run::Run;

pub(super) fn request_cancel(on: Target<'_>, cancel: RequestCancel) -> Decision<'_, Arc<Run>> {
    check_another(cancel.sender.as_ref().map(|(sender, _)| sender), on.env)?;
    let before = on.resolve()?;
    // What has ended already needs no cancellation: that is a success.
    if !before.is_open() {
        return unchanged(before.clone());
    }
    check_chain(before, &cancel.first_execution_run_id, on.env)?;
    if cancel.child_only {
        check_child_of(before, cancel.sender.as_ref().map(|(sender, _)| sender), on.env)?;
    }
    if before.core.cancel_requested {
        return unchanged(before.clone());
    }
    let mut draft = on.draft();
    let mut run = draft.at(&before.core.run_id);
    let (sender, initiated_event_id) = cancel.sender.map_or((None, 0), |(sender, id)| (Some(sender), id));
    let attributes = WorkflowExecutionCancelRequestedEventAttributes {
        cause: cancel.reason,
        external_initiated_event_id: initiated_event_id,
        external_workflow_execution: sender,
        identity: cancel.identity,
    };
    let metadata = EventMetadata { links: cancel.links, ..EventMetadata::default() };
    run.event_with(Attributes::WorkflowExecutionCancelRequestedEventAttributes(attributes), metadata);
    if !cancel.request_id.is_empty() {
        run.fact(Fact::CancelRequestId(cancel.request_id));
    }
    // A cancellation does not wait for the end of a start delay, or for the next time of a cron schedule.
    if run.core.first_task_at != 0 {
        run.fact(Fact::FirstTaskAt(0));
    }
    task::wake_workflow(&mut run);
    changed_run(draft, before.core.run_id.clone(), Arc::clone)
}

pub(super) fn terminate(on: Target<'_>, terminate: Terminate) -> Decision<'_, Arc<Run>> {
    let before = on.resolve_open()?;
    check_chain(before, &terminate.first_execution_run_id, on.env)?;
    if terminate.parent.is_some() {
        check_child_of(before, terminate.parent.as_ref(), on.env)?;
    }
    let mut draft = on.draft();
    let attributes = WorkflowExecutionTerminatedEventAttributes {
        reason: terminate.reason,
        details: terminate.details,
        identity: terminate.identity,
    };
    let metadata = EventMetadata { links: terminate.links, ..EventMetadata::default() };
    let closing = Attributes::WorkflowExecutionTerminatedEventAttributes(attributes);
    end_now(&mut draft.at(&before.core.run_id), closing, metadata);
    changed_run(draft, before.core.run_id.clone(), Arc::clone)
}

/// Closes a run whatever its worker is doing: a started workflow task fails, and what was buffered enters the history
/// before its end.
pub(super) fn end_now(run: &mut RunDraft<'_, '_>, closing: Attributes, metadata: EventMetadata) {
    match &run.task {
        Some(task) if task.is_started() => task::fail_without_retry(run, TaskFailure::by_server()),
        // No worker has seen it.
        Some(task) if task.is_speculative() => run.change_volatile(|run| run.task = None),
        _ => {}
    }
    run.flush_buffered();
    run.event_with(closing, metadata);
}

pub(super) fn check_chain(run: &Run, first_run_id: &str, env: &Env<'_>) -> Result<(), Rejection> {
    if first_run_id.is_empty() || run.start.first_execution_run_id == first_run_id {
        return Ok(());
    }
    Err(Rejection::NotFound(format!(
        "workflow execution not found: {} has no open run in the chain that began with run {first_run_id}",
        env.workflow_id
    )))
}
