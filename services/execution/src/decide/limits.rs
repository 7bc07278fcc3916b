//! Bounds that any input can push a run over: they are looked at when a transition ends.

use api::temporal::api::history::v1::WorkflowExecutionTerminatedEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use prost::Message;

use super::cancel::end_now;
use super::task::{LostTask, SERVER_IDENTITY, lose_to_failure};
use crate::draft::{Draft, Notes};

/// Ends runs whose history has outgrown its limits, and takes the workflow task from a worker while whose thinking too
/// much has come in.
pub(crate) fn enforce_limits(draft: &mut Draft<'_>) {
    let limits = draft.env.limits;
    for run_id in draft.touched_open_runs() {
        let run = draft.run(&run_id);
        let buffered_bytes = || run.buffered.iter().map(|event| event.encoded_len()).sum::<usize>();
        if run.buffered.len() > limits.buffered_max || buffered_bytes() > limits.buffered_max_bytes {
            lose_to_failure(draft, &run_id, LostTask::by_server());
        }
        let run = draft.run(&run_id);
        let reason = if run.last_event_id() >= limits.history_max_events {
            "Workflow history count exceeds limit."
        } else if run.core.history_bytes >= limits.history_max_bytes {
            "Workflow history size exceeds limit."
        } else {
            continue;
        };
        let attributes = WorkflowExecutionTerminatedEventAttributes {
            reason: reason.to_owned(),
            identity: SERVER_IDENTITY.to_owned(),
            ..WorkflowExecutionTerminatedEventAttributes::default()
        };
        let attributes = Attributes::WorkflowExecutionTerminatedEventAttributes(attributes);
        end_now(draft, &run_id, attributes, Notes::default());
    }
}
