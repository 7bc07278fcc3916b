//! Bounds that any input can push a run over: they are looked at when a transition ends.

use api::temporal::api::history::v1::WorkflowExecutionTerminatedEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use api::texts;

use super::cancel::end_now;
use super::task::{SERVER_IDENTITY, TaskFailure, fail_and_reschedule};
use crate::draft::{Draft, EventMetadata, RunDraft};
use crate::reply::Rejection;

/// What a run may hold in memory for each byte that its row may have. What people write holds two to ten; lists of nothing
/// hold fifty.
const HELD_PER_BYTE: usize = 16;

/// Ends runs whose history has outgrown its limits, and takes the workflow task from a worker while whose thinking too
/// much has come in.
pub(super) fn enforce_limits(draft: &mut Draft<'_>) {
    let limits = draft.env.limits;
    for run_id in draft.touched_open_runs() {
        let mut run = draft.at(&run_id);
        if run.buffered.len() > limits.buffered_max || run.buffered_bytes > limits.buffered_max_bytes {
            fail_and_reschedule(&mut run, TaskFailure::by_server());
        }
        let reason = if run.last_event_id() >= limits.history_max_events {
            texts::HISTORY_TOO_LONG
        } else if run.core.history_bytes >= limits.history_max_bytes {
            texts::HISTORY_TOO_LARGE
        } else {
            continue;
        };
        end(&mut run, reason);
    }
}

/// What happens instead of a transition after which a run's row would be too large to be stored: nothing of it, but the end
/// of the run that it began from, whose row does fit. The caller gets the reason.
pub(super) fn end_instead<'a>(draft: &Draft<'a>) -> Option<(Draft<'a>, Rejection)> {
    let touched = draft.touched_runs();
    if !touched.clone().any(|run_id| is_too_large(draft, run_id)) {
        return None;
    }
    let was_open = |run_id: &&str| draft.before.runs.get(*run_id).is_some_and(|run| run.is_open());
    let ending: Vec<&str> = touched.filter(was_open).collect();
    let mut end_of = Draft::of(draft.before, draft.env);
    for run_id in &ending {
        end(&mut end_of.at(run_id), texts::STATE_TOO_LARGE);
    }
    (!ending.is_empty()).then(|| (end_of, Rejection::InvalidArgument(texts::STATE_TOO_LARGE.to_owned())))
}

/// Whether a run's row, or what the run holds in memory, is larger than it may be. The closing event comes on top, and whatever a run was before, it can be
/// closed.
fn is_too_large(draft: &Draft<'_>, run_id: &str) -> bool {
    let limits = draft.env.limits;
    let run = draft.run(run_id);
    let most = if run.is_open() {
        limits.state_max_bytes
    } else {
        let before = draft.before.runs.get(run_id).map_or(0, |run| run.state_bytes());
        limits.state_max_bytes.max(before).saturating_add(limits.closing_max_bytes)
    };
    let is_heavy = run.is_open() && run.state_held_bytes() > limits.state_max_bytes.saturating_mul(HELD_PER_BYTE);
    run.state_bytes() > most || is_heavy
}

fn end(run: &mut RunDraft<'_, '_>, reason: &str) {
    let attributes = WorkflowExecutionTerminatedEventAttributes {
        reason: reason.to_owned(),
        identity: SERVER_IDENTITY.to_owned(),
        ..WorkflowExecutionTerminatedEventAttributes::default()
    };
    end_now(run, Attributes::WorkflowExecutionTerminatedEventAttributes(attributes), EventMetadata::default());
}
