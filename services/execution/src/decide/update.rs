//! Updates: how they are admitted, and what a worker says of them.
//!
//! A worker answers with messages. One that comes to an event has its place among the commands, by a command that names it;
//! those that no command names come after all commands, in their own order.

use std::sync::Arc;

use api::temporal::api::command::v1::ProtocolMessageCommandAttributes;
use api::temporal::api::enums::v1::WorkflowTaskFailedCause as Cause;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionUpdateAcceptedEventAttributes, WorkflowExecutionUpdateCompletedEventAttributes,
};
use api::temporal::api::protocol::v1::Message;
use api::temporal::api::update::v1::outcome::Value;
use api::temporal::api::update::v1::{Acceptance, Rejection as Rejected, Response};
use api::texts;
use prost::Message as _;

use super::answer::{Decision, changed_run, unchanged};
use super::cancel::check_chain;
use super::command::{BadCommand, Carried, Commands};
use super::target::Target;
use super::task;
use crate::change::Fact;
use crate::draft::RunDraft;
use crate::held::owned;
use crate::input::Update;
use crate::reply::Rejection;
use crate::run::Run;
use crate::updates::UpdateEnd;

/// From this attempt on, a workflow task is taken for one that will go on failing.
const FAILING_ATTEMPT: i32 = 3;

pub(super) fn update(on: Target<'_>, update: Update) -> Decision<'_, Arc<Run>> {
    let before = on.resolve()?;
    check_chain(before, &update.first_execution_run_id, on.env)?;
    if is_under_way(before, update.id()) {
        return unchanged(before.clone());
    }
    let run_id = on.resolve_open()?.core.run_id.clone();
    let mut draft = on.draft();
    admit(&mut draft.at(&run_id), update)?;
    changed_run(draft, run_id, Arc::clone)
}

/// Whether the run knows the update, so that asking again changes nothing. One that was rejected may be asked again.
pub(super) fn is_under_way(run: &Run, id: &str) -> bool {
    run.has_update(id)
}

/// Lets an update wait for the next workflow task of an open run, and makes one if there is none.
pub(super) fn admit(run: &mut RunDraft<'_, '_>, update: Update) -> Result<(), Rejection> {
    if is_under_way(run, update.id()) {
        return Ok(());
    }
    if run.task.as_ref().is_some_and(|task| task.attempt >= FAILING_ATTEMPT) {
        return Err(Rejection::NotReady(texts::UPDATE_NOT_READY.to_owned()));
    }
    if run.task.as_ref().is_some_and(|task| task.is_started() && task.keeps_signals_out) {
        return Err(Rejection::NotYet(texts::WORKFLOW_IS_CLOSING.to_owned()));
    }
    check_limits(run, &update)?;
    let id = update.id().to_owned();
    // It outlives the request that brought it.
    let request = Arc::new(owned(Arc::unwrap_or_clone(update.request)));
    run.change_volatile(|run| run.volatile.admit(id, request));
    task::schedule_for_updates(run);
    Ok(())
}

fn check_limits(run: &RunDraft<'_, '_>, update: &Update) -> Result<(), Rejection> {
    let limits = run.env().limits;
    let most = limits.updates_in_flight_max;
    if run.accepted_updates.len() + run.waiting_updates() >= most {
        return Err(Rejection::TooManyInFlight(format!(
            "limit on number of concurrent in-flight updates has been reached ({most})"
        )));
    }
    let most = limits.updates_admitted_max_bytes;
    if run.volatile.request_bytes() + update.request.encoded_len() > most {
        return Err(Rejection::TooManyInFlight(format!(
            "limit on the total size of in-flight updates has been reached ({most} bytes)"
        )));
    }
    let most = limits.updates_max;
    if run.update_count() >= most {
        return Err(Rejection::NotReady(texts::too_many_updates(most)));
    }
    Ok(())
}

/// What a worker says of updates, by the messages of its completion.
pub(super) enum Said {
    Accepts(Acceptance),
    Rejects(Rejected),
    Answers(Response),
}

/// What a message says. The error names what is wrong with it.
pub(super) fn said(message: &Message) -> Result<Said, String> {
    let Some(body) = &message.body else { return Err(format!("message {:?} has no body", message.id)) };
    let name = body.type_url.rsplit('/').next().unwrap_or_default();
    let bytes = body.value.as_slice();
    let said = match name {
        "temporal.api.update.v1.Acceptance" => Acceptance::decode(bytes).map(Said::Accepts),
        "temporal.api.update.v1.Rejection" => Rejected::decode(bytes).map(Said::Rejects),
        "temporal.api.update.v1.Response" => Response::decode(bytes).map(Said::Answers),
        _ => {
            return Err(format!(
                "message {:?} has a body of type {name:?}, which is no answer to an update",
                message.id
            ));
        }
    };
    said.map_err(|error| format!("the body of message {:?} does not decode: {error}", message.id))
}

/// Takes in messages that reject updates.
pub(super) fn take_rejections(run: &mut RunDraft<'_, '_>, messages: Vec<Message>) {
    for message in messages {
        if let Ok(Said::Rejects(rejected)) = said(&message) {
            reject(run, &message.protocol_instance_id, rejected);
        }
    }
}

fn reject(run: &mut RunDraft<'_, '_>, id: &str, rejected: Rejected) {
    let mut failure = rejected.failure.unwrap_or_default();
    crate::cut_failure(&mut failure);
    let end = UpdateEnd::Rejected(Arc::new(owned(failure)));
    if run.reapplied_updates.contains_key(id) {
        run.fact(Fact::UpdateRejected(id.to_owned()));
        return run.change_volatile(|run| run.volatile.note_end(id, end));
    }
    run.change_volatile(|run| run.volatile.end(id, end));
}

impl Commands<'_, '_> {
    /// Takes in the messages of a completion. What is rejected is so at once, whatever the commands do to the run.
    pub(super) fn take_messages(&mut self, messages: Vec<Message>) -> Carried {
        for message in messages {
            match said(&message).or_else(bad_message)? {
                Said::Rejects(rejected) => {
                    reject(&mut self.run, &message.protocol_instance_id, rejected);
                    self.rejections.push(message.id);
                }
                said => self.messages.push((message, said)),
            }
        }
        Ok(())
    }

    /// The place of a message among the commands.
    pub(super) fn place_message(&mut self, command: &ProtocolMessageCommandAttributes) -> Carried {
        let id = &command.message_id;
        // A rejection has had its effect.
        let Some(at) = self.messages.iter().position(|(message, _)| message.id == *id) else {
            return if self.rejections.contains(id) {
                Ok(())
            } else {
                bad_message(format!("ProtocolMessageCommand referenced absent message ID {id}"))
            };
        };
        let (message, said) = self.messages.remove(at);
        self.take_said(&message.protocol_instance_id, said)
    }

    /// The messages that no command has given a place.
    pub(super) fn take_other_messages(&mut self) -> Carried {
        for (message, said) in std::mem::take(&mut self.messages) {
            if self.run.is_open() {
                self.take_said(&message.protocol_instance_id, said)?;
            }
        }
        Ok(())
    }

    fn take_said(&mut self, id: &str, said: Said) -> Carried {
        match said {
            Said::Accepts(acceptance) => self.accept(id, acceptance),
            Said::Answers(response) => self.answer(id, response),
            Said::Rejects(_) => Ok(()),
        }
    }

    fn accept(&mut self, id: &str, acceptance: Acceptance) -> Carried {
        if self.run.accepted_updates.contains_key(id) || self.run.completed_updates.contains_key(id) {
            return bad_message(format!("update {id:?} has been accepted before"));
        }
        self.check_id(Cause::BadUpdateWorkflowExecutionMessage, "ProtocolInstanceId", id)?;
        let request = if self.run.reapplied_updates.contains_key(id) {
            // The event that admitted it has the request.
            None
        } else {
            let admitted = self.run.change_volatile(|run| run.volatile.take(id));
            // Memory may have been lost since the worker got it, and what it says of the request is as good.
            let request = admitted.map(|admitted| (*admitted.request).clone()).or(acceptance.accepted_request);
            if request.is_none() {
                return bad_message(format!("update {id:?} is not known"));
            }
            request
        };
        let attributes = WorkflowExecutionUpdateAcceptedEventAttributes {
            protocol_instance_id: id.to_owned(),
            accepted_request_message_id: acceptance.accepted_request_message_id,
            accepted_request_sequencing_event_id: acceptance.accepted_request_sequencing_event_id,
            accepted_request: request,
        };
        self.run.event(Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(attributes));
        Ok(())
    }

    fn answer(&mut self, id: &str, response: Response) -> Carried {
        let Some(accepted) = self.run.accepted_updates.get(id) else {
            return bad_message(format!("update {id:?} is answered and not accepted"));
        };
        let accepted_event_id = accepted.accepted_event_id;
        let cause = Cause::BadUpdateWorkflowExecutionMessage;
        self.check_size(cause, "Response.Outcome", response.outcome.as_ref())?;
        let mut outcome = response.outcome;
        if let Some(Value::Failure(failure)) = outcome.as_mut().and_then(|outcome| outcome.value.as_mut()) {
            crate::cut_failure(failure);
        }
        let meta = response.meta.unwrap_or_default();
        let attributes = WorkflowExecutionUpdateCompletedEventAttributes {
            meta: Some(api::temporal::api::update::v1::Meta { update_id: id.to_owned(), ..meta }),
            accepted_event_id,
            outcome,
        };
        self.run.event(Attributes::WorkflowExecutionUpdateCompletedEventAttributes(attributes));
        Ok(())
    }
}

fn bad_message<T>(message: String) -> Result<T, BadCommand> {
    Err(BadCommand { cause: Cause::BadUpdateWorkflowExecutionMessage, message, terminates: false })
}
