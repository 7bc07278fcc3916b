//! What a decision comes to, before the limits are looked at.

use std::sync::Arc;

use crate::Workflow;
use crate::draft::Draft;
use crate::reply::Rejection;
use crate::run::Run;

/// What has been decided on an input, or the rejection of it. `R` is the reply that the input has.
pub(super) type Decision<'a, R> = Result<Answer<'a, R>, Rejection>;

/// What has been decided on an input.
pub(super) enum Answer<'a, R> {
    /// Nothing changes.
    Unchanged(R),
    /// The draft becomes the state; the reply is of the state after it.
    Changed(Draft<'a>, Box<dyn FnOnce(&Workflow) -> R + 'a>),
    /// The draft becomes the state, but the caller gets a rejection.
    Refused(Draft<'a>, Rejection),
}

/// Nothing changes.
pub(super) fn unchanged<'a, R>(reply: R) -> Decision<'a, R> {
    Ok(Answer::Unchanged(reply))
}

/// The draft becomes the state, with a reply that is known by now.
pub(super) fn changed<'a, R: 'a>(draft: Draft<'a>, reply: R) -> Decision<'a, R> {
    Ok(Answer::Changed(draft, Box::new(|_| reply)))
}

/// The draft becomes the state, with a reply about a run as it is then.
pub(super) fn changed_run<'a, R>(
    draft: Draft<'a>,
    run_id: String,
    reply: impl FnOnce(&Arc<Run>) -> R + 'a,
) -> Decision<'a, R> {
    Ok(Answer::Changed(draft, Box::new(move |next| reply(&next.runs[&run_id]))))
}
