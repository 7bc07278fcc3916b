//! Reset: a new run that goes on from an earlier point of another.
//!
//! It has the events before that point, as they were; then its workflow task fails, what came from outside after the point comes
//! again, and a workflow task follows.

use api::temporal::api::enums::v1::{
    UpdateAdmittedEventOrigin, WorkflowExecutionStatus as Status, WorkflowTaskFailedCause,
};
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{Failure, ResetWorkflowFailureInfo};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    HistoryEvent, WorkflowExecutionTerminatedEventAttributes, WorkflowExecutionUpdateAdmittedEventAttributes,
    WorkflowTaskFailedEventAttributes, WorkflowTaskStartedEventAttributes,
};
use api::temporal::api::update::v1::Request;

use super::answer::{Decision, changed, unchanged};
use super::cancel::end_now;
use super::target::Target;
use super::task;
use crate::chain::{ChainMove, Current};
use crate::change::{Fact, event_bytes};
use crate::draft::{Draft, EventMetadata, RunDraft};
use crate::events::{self, Effect, Pending};
use crate::input::{Reapply, Reset};
use crate::replay::{self, Replayed, Successor, check_reset_point};
use crate::reply::{Rejection, ResetDone};
use crate::requests::RequestKind;
use crate::row::RunRow;
use crate::run::Run;

/// Who ends a run for a reset.
const RESETTER: &str = "history-resetter";
/// The poller's request of a start that no poller made, as clients know it.
const NO_REQUEST: &str = "emptyUuid";

pub(super) fn reset(on: Target<'_>, reset: Reset) -> Decision<'_, ResetDone> {
    if let Some(run_id) = on.workflow.chain.requests.get(RequestKind::Reset, &reset.request_id) {
        return unchanged(ResetDone { run_id: run_id.to_owned() });
    }
    let base = on.resolve()?;
    let finish_event_id = reset.past.finish_event_id();
    check_reset_point(base, finish_event_id)?;
    let replayed = reset.past.finish(base)?;
    let is_wanted = reset.reapply.signals || reset.reapply.updates;
    let came_later = if is_wanted { came_to_successors(on, base, reset.successors)? } else { Vec::new() };

    let mut draft = on.draft();
    let run_id = draft.uuid();
    let current = Current {
        run_id: run_id.clone(),
        first_run_id: base.start.first_execution_run_id.clone(),
        start_request_id: base.core.start_request_id.clone(),
        status: Status::Running as i32,
    };
    end_current(&mut draft, &reset.reason);
    draft.at(&base.core.run_id).fact(Fact::ResetTo(run_id.clone()));
    draft.chain(ChainMove::Current(current));

    let mut run = draft.create(&run_id);
    let copied_bytes = replayed.copied.iter().map(event_bytes).sum::<usize>() as i64;
    let later = copy(&mut run, base, replayed);
    start_task(&mut run, copied_bytes);
    fail_task(&mut run, base, finish_event_id, reset.reason)?;
    for event in later.into_iter().chain(came_later) {
        apply_again(&mut run, event, reset.reapply);
    }
    task::schedule_first(&mut run);
    run.remember(RequestKind::Reset, &reset.request_id);
    leave_children(&mut draft, &base.core.run_id, &run_id);
    changed(draft, ResetDone { run_id })
}

/// What came from outside to the runs that `base` has continued as.
fn came_to_successors(on: Target<'_>, base: &Run, given: Vec<Successor>) -> Result<Vec<HistoryEvent>, Rejection> {
    let mut next = replay::continued_as(base).to_owned();
    let mut came = Vec::new();
    for successor in given {
        if successor.run_id != next {
            return Err(replay::changed_meanwhile());
        }
        match on.workflow.runs.get(&successor.run_id) {
            Some(run) => {
                replay::continued_as(run).clone_into(&mut next);
                came.extend(successor.finish(run)?);
            }
            None => {
                next.clone_from(&successor.continued_as);
                came.extend(successor.finished()?);
            }
        }
    }
    if next.is_empty() { Ok(came) } else { Err(replay::changed_meanwhile()) }
}

/// Ends the current run, if it is open. Its parent waits for the new run.
fn end_current(draft: &mut Draft<'_>, reason: &str) {
    let chain = &draft.next.chain;
    if chain.current_status != Status::Running as i32 {
        return;
    }
    let mut run = draft.at(&chain.current_run_id.clone());
    let attributes = WorkflowExecutionTerminatedEventAttributes {
        reason: reason.to_owned(),
        identity: RESETTER.to_owned(),
        ..WorkflowExecutionTerminatedEventAttributes::default()
    };
    end_now(&mut run, Attributes::WorkflowExecutionTerminatedEventAttributes(attributes), EventMetadata::default());
    if run.core.owes_parent {
        run.fact(Fact::OwesParent(false));
    }
}

/// Gives the new run what it has of the other; what is left.
fn copy(run: &mut RunDraft<'_, '_>, base: &Run, replayed: Replayed) -> Vec<HistoryEvent> {
    let Replayed { shared_end, mut state, copied, later } = replayed;
    if shared_end > 1 {
        state.core.run_id.clone_from(&run.core.run_id);
        run.fact(Fact::Forked(Box::new(RunRow::of(&state))));
    }
    for event in copied {
        run.append(event);
    }
    run.fact(Fact::StartRequestId(base.core.start_request_id.clone()));
    let now = run.now().nanos();
    run.fact(Fact::ResetAt(now));
    later
}

/// A task that no worker had at the point is taken for started, since only one that is can fail.
fn start_task(run: &mut RunDraft<'_, '_>, copied_bytes: i64) {
    let Some(task) = run.task.as_ref().filter(|task| !task.is_started()) else { return };
    let attributes = WorkflowTaskStartedEventAttributes {
        scheduled_event_id: task.scheduled_event_id,
        identity: task::SERVER_IDENTITY.to_owned(),
        request_id: NO_REQUEST.to_owned(),
        history_size_bytes: run.core.history_bytes + copied_bytes,
        ..WorkflowTaskStartedEventAttributes::default()
    };
    run.event(Attributes::WorkflowTaskStartedEventAttributes(attributes));
}

/// The task at whose point the new run begins fails.
fn fail_task(run: &mut RunDraft<'_, '_>, base: &Run, finish: i64, reason: String) -> Result<(), Rejection> {
    let Some(scheduled_event_id) = run.task.as_ref().map(|task| task.scheduled_event_id) else {
        return Err(Rejection::InvalidArgument(format!(
            "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: {finish}"
        )));
    };
    let started_event_id = run.task.as_ref().and_then(|task| task.started_event_id()).unwrap_or(0);
    let new_run_id = run.core.run_id.clone();
    let attributes = WorkflowTaskFailedEventAttributes {
        scheduled_event_id,
        started_event_id,
        cause: WorkflowTaskFailedCause::ResetWorkflow as i32,
        failure: Some(Failure {
            message: reason,
            failure_info: Some(FailureInfo::ResetWorkflowFailureInfo(ResetWorkflowFailureInfo::default())),
            ..Failure::default()
        }),
        identity: task::SERVER_IDENTITY.to_owned(),
        base_run_id: base.core.run_id.clone(),
        new_run_id,
        ..WorkflowTaskFailedEventAttributes::default()
    };
    run.event(Attributes::WorkflowTaskFailedEventAttributes(attributes));
    Ok(())
}

/// What came after the point comes to the new run, if that is wanted, and has a place there.
fn apply_again(run: &mut RunDraft<'_, '_>, event: HistoryEvent, reapply: Reapply) {
    let HistoryEvent { attributes, user_metadata, links, event_group_markers: markers, .. } = event;
    let Some(attributes) = attributes else { return };
    let metadata = EventMetadata { user_metadata, links, markers };
    match attributes {
        Attributes::WorkflowExecutionSignaledEventAttributes(signaled) => {
            if reapply.signals {
                let sent = signaled.external_workflow_execution.is_some();
                run.remember(if sent { RequestKind::Sent } else { RequestKind::Signal }, &signaled.request_id);
                run.event_with(Attributes::WorkflowExecutionSignaledEventAttributes(signaled), metadata);
            }
        }
        Attributes::WorkflowExecutionUpdateAdmittedEventAttributes(admitted) => {
            admit_again(run, admitted.request, metadata, reapply);
        }
        Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(accepted) => {
            admit_again(run, accepted.accepted_request, metadata, reapply);
        }
        attributes => hear_of_child(run, attributes, metadata),
    }
}

/// An update that was accepted waits again. One that had been admitted by an event is in that.
fn admit_again(run: &mut RunDraft<'_, '_>, request: Option<Request>, metadata: EventMetadata, reapply: Reapply) {
    let Some(request) = request.filter(|_| reapply.updates) else { return };
    let id = request.meta.as_ref().map_or("", |meta| &meta.update_id);
    if run.has_update(id) {
        return;
    }
    let attributes = WorkflowExecutionUpdateAdmittedEventAttributes {
        request: Some(request),
        origin: UpdateAdmittedEventOrigin::Reapply as i32,
    };
    run.event_with(Attributes::WorkflowExecutionUpdateAdmittedEventAttributes(attributes), metadata);
}

/// A child that the new run has too has started or ended.
fn hear_of_child(run: &mut RunDraft<'_, '_>, mut attributes: Attributes, metadata: EventMetadata) {
    let child_of = |run: &Run, attributes: &Attributes| match events::meaning(attributes).effect {
        Effect::StartsChild(started) => {
            run.children.get(&started.initiated_event_id).filter(|child| !child.is_started()).cloned()
        }
        Effect::Ends(Pending::Child(initiated_event_id)) => run.children.get(&initiated_event_id).cloned(),
        _ => None,
    };
    let Some(child) = child_of(run, &attributes) else { return };
    if let Some(refers_to) = events::started_event_id(&mut attributes) {
        *refers_to = child.started_event_id;
    }
    run.event_with(attributes, metadata);
}

/// Children of the run that was reset live on; those of the current run, if that is another, too, where the new run has them.
fn leave_children(draft: &mut Draft<'_>, base_run_id: &str, new_run_id: &str) {
    let inherited = draft.run(new_run_id).children.clone();
    let touched: Vec<String> = draft.touched_runs().filter(|run_id| *run_id != new_run_id).map(str::to_owned).collect();
    for run_id in touched {
        let children = draft.run(&run_id).children.clone();
        let is_inherited = |run_id: &str| inherited.values().any(|child| child.is_started() && child.run_id == run_id);
        for child in children.values() {
            if run_id == base_run_id || is_inherited(&child.run_id) {
                draft.at(&run_id).fact(Fact::ChildReleased(child.initiated_event_id));
            }
        }
    }
}
