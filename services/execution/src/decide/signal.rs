//! Signals.

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{HistoryEvent, WorkflowExecutionSignaledEventAttributes};

use super::{task, unchanged};
use crate::draft::{Draft, Notes, resolve, resolve_open};
use crate::input::Signal;
use crate::reply::{Rejection, Reply, Transition};
use crate::run::Run;
use crate::{Env, Workflow};

pub(super) fn signal(workflow: &Workflow, signal: Signal, env: &Env<'_>) -> Result<Transition, Rejection> {
    check_another(signal.sender.as_ref(), env)?;
    if let Some(run_id) = workflow.chain.seen_signal(&signal) {
        resolve(workflow, &signal.run_id, env)?;
        return Ok(unchanged(workflow, Reply::Signalled { run_id: run_id.to_owned() }));
    }
    let run = resolve_open(workflow, &signal.run_id, env)?;
    if signal.child_only {
        check_child_of(run, signal.sender.as_ref(), env)?;
    }
    let run_id = run.core.run_id.clone();
    let mut draft = Draft::of(workflow, env);
    take_signal(&mut draft, &run_id, signal)?;
    task::wake_workflow(&mut draft, &run_id);
    Ok(draft.finish(|_| Reply::Signalled { run_id }))
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
pub(super) fn take_signal(draft: &mut Draft<'_>, run_id: &str, signal: Signal) -> Result<(), Rejection> {
    if draft.next.chain.seen_signal(&signal).is_some() {
        return Ok(());
    }
    let run = draft.run(run_id);
    if run.task.as_ref().is_some_and(|task| task.is_started() && task.keeps_signals_out) {
        let message = "workflow operation can not be applied because workflow is closing";
        return Err(Rejection::NotYet(message.to_owned()));
    }
    let limit = draft.env.limits.signals_max;
    let is_signal = |event: &HistoryEvent| {
        matches!(event.attributes, Some(Attributes::WorkflowExecutionSignaledEventAttributes(_)))
    };
    let buffered = run.buffered.iter().filter(|event| is_signal(event)).count() as i64;
    if run.core.signal_count + buffered >= limit {
        return Err(Rejection::LimitExceeded(format!("the run has received {limit} signals, which is the limit")));
    }
    draft.remember(signal.kind(), &signal.request_id, run_id);
    let notes = Notes { links: signal.links, ..Notes::default() };
    let attributes = WorkflowExecutionSignaledEventAttributes {
        signal_name: signal.name,
        input: signal.input,
        identity: signal.identity,
        header: signal.header,
        external_workflow_execution: signal.sender,
        request_id: signal.request_id,
        ..WorkflowExecutionSignaledEventAttributes::default()
    };
    draft.event_with(run_id, Attributes::WorkflowExecutionSignaledEventAttributes(attributes), notes);
    Ok(())
}
