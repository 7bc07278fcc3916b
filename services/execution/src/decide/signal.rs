//! Signals.

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::history::v1::WorkflowExecutionSignaledEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use api::texts;

use super::answer::{Decision, changed, unchanged};
use super::target::Target;
use super::task;
use crate::Env;
use crate::draft::{EventMetadata, RunDraft};
use crate::events::{Effect, effect_of};
use crate::input::Signal;
use crate::reply::{Rejection, Signalled};
use crate::run::Run;

pub(super) fn signal(on: Target<'_>, signal: Signal) -> Decision<'_, Signalled> {
    check_another(signal.sender.as_ref(), on.env)?;
    if let Some(run_id) = signal.seen_in(&on.workflow.chain) {
        on.resolve()?;
        return unchanged(Signalled { run_id: run_id.to_owned() });
    }
    let before = on.resolve_open()?;
    if signal.child_only {
        check_child_of(before, signal.sender.as_ref(), on.env)?;
    }
    let run_id = before.core.run_id.clone();
    let mut draft = on.draft();
    let mut run = draft.at(&run_id);
    take_signal(&mut run, signal)?;
    task::wake_workflow(&mut run);
    changed(draft, Signalled { run_id })
}

/// A workflow neither signals nor cancels itself, whichever of its runs it names.
pub(super) fn check_another(sender: Option<&WorkflowExecution>, env: &Env<'_>) -> Result<(), Rejection> {
    if sender.is_some_and(|sender| sender.workflow_id == env.workflow_id) {
        return Err(Rejection::NotFound(format!("workflow {} is the sender itself", env.workflow_id)));
    }
    Ok(())
}

/// Whether the run is a child of the workflow that wants something of it.
pub(super) fn check_child_of(run: &Run, sender: Option<&WorkflowExecution>, env: &Env<'_>) -> Result<(), Rejection> {
    let parent = run.start.parent_workflow_execution.as_ref();
    if parent.is_some() && parent == sender {
        return Ok(());
    }
    Err(Rejection::NotFound(format!("workflow {} is not a child of the sender", env.workflow_id)))
}

/// Adds a signal to an open run's history or buffer.
pub(super) fn take_signal(run: &mut RunDraft<'_, '_>, signal: Signal) -> Result<(), Rejection> {
    if signal.seen_in(&run.draft().next.chain).is_some() {
        return Ok(());
    }
    if run.task.as_ref().is_some_and(|task| task.is_started() && task.keeps_signals_out) {
        return Err(Rejection::NotYet(texts::WORKFLOW_IS_CLOSING.to_owned()));
    }
    let limit = run.env().limits.signals_max;
    let buffered = run.buffered.iter().filter(|event| effect_of(event) == Effect::Signals).count() as i64;
    if run.core.signal_count + buffered >= limit {
        return Err(Rejection::LimitExceeded(format!("the run has received {limit} signals, which is the limit")));
    }
    run.remember(signal.kind(), &signal.request_id);
    let metadata = EventMetadata { links: signal.links, ..EventMetadata::default() };
    let attributes = WorkflowExecutionSignaledEventAttributes {
        signal_name: signal.name,
        input: signal.input,
        identity: signal.identity,
        header: signal.header,
        external_workflow_execution: signal.sender,
        request_id: signal.request_id,
        ..WorkflowExecutionSignaledEventAttributes::default()
    };
    run.event_with(Attributes::WorkflowExecutionSignaledEventAttributes(attributes), metadata);
    Ok(())
}
