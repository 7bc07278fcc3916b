//! What an input changes. Each kind of input has its file under `decide/`.

mod activity;
mod answer;
mod cancel;
mod children;
mod close;
mod command;
mod complete_task;
mod external;
mod limits;
mod offered;
mod reset;
mod signal;
mod start;
mod target;
mod task;
mod update;
mod wake;

use crate::draft::Draft;
use crate::input::{Ask, Asked, Input};
use crate::refs::RunRef;
use crate::reply::{Rejection, Transition};
use crate::{Env, Workflow, input};

use self::answer::{Answer, Decision};
use self::target::Target;

/// The run whose row must be looked up before this input can be decided: give it to [`Workflow::runs`], or, if there is
/// none, to [`Workflow::absent`].
pub fn needs(workflow: &Workflow, input: &Input) -> Option<String> {
    if workflow.is_vacant() {
        return None;
    }
    let run_id = match (&input.run, &input.ask) {
        // An open run is in memory; of closed ones only the one that this very request went to is asked about.
        (RunRef::Chain, Ask::Start(start)) => {
            let signal = || start.signal.as_ref()?.seen_in(&workflow.chain);
            start.seen_in(&workflow.chain).or_else(signal)?
        }
        (run, _) => workflow.run_id_of(run)?,
    };
    let is_known = workflow.runs.contains_key(run_id) || workflow.absent.contains(run_id);
    (!is_known).then(|| run_id.to_owned())
}

/// Decides. Deterministic: the same workflow, input and env give the same transition. A rejection changes nothing.
pub fn decide(workflow: &Workflow, input: Input, env: &Env<'_>) -> Result<Transition, Rejection> {
    let Input { run, ask } = input;
    let on = Target { workflow, run: &run, env };
    match ask {
        Ask::Start(ask) => settle::<input::Start>(on, start::start(on, *ask)),
        Ask::Signal(ask) => settle::<input::Signal>(on, signal::signal(on, *ask)),
        Ask::RequestCancel(ask) => settle::<input::RequestCancel>(on, cancel::request_cancel(on, *ask)),
        Ask::Update(ask) => settle::<input::Update>(on, update::update(on, *ask)),
        Ask::Terminate(ask) => settle::<input::Terminate>(on, cancel::terminate(on, *ask)),
        Ask::Reset(ask) => settle::<input::Reset>(on, reset::reset(on, *ask)),
        Ask::ResetSticky(_) => settle::<input::ResetSticky>(on, task::reset_sticky(on)),
        Ask::Read(_) => settle::<input::Read>(on, on.resolve().map(|run| Answer::Unchanged(run.clone()))),
        Ask::StartWorkflowTask(ask) => settle::<input::StartWorkflowTask>(on, task::start_task(on, ask.0)),
        Ask::CompleteWorkflowTask(ask) => settle::<input::CompleteWorkflowTask>(on, complete_task::complete(on, *ask)),
        Ask::FailWorkflowTask(ask) => settle::<input::FailWorkflowTask>(on, task::fail_task(on, *ask)),
        Ask::StartActivity(ask) => settle::<input::StartActivity>(on, activity::start_attempt(on, ask.0)),
        Ask::CompleteActivity(ask) => settle::<input::CompleteActivity>(on, activity::complete(on, ask.0)),
        Ask::FailActivity(ask) => settle::<input::FailActivity>(on, activity::fail(on, ask.0)),
        Ask::CancelActivity(ask) => settle::<input::CancelActivity>(on, activity::accept_cancel(on, ask.0)),
        Ask::Heartbeat(ask) => settle::<input::Heartbeat>(on, activity::heartbeat(on, ask.0)),
        Ask::WakeUp(_) => settle::<input::WakeUp>(on, wake::wake_up(on)),
        Ask::WorkflowTaskOffered(ask) => settle::<input::WorkflowTaskOffered>(on, offered::workflow_task(on, &ask.0)),
        Ask::ActivityOffered(ask) => settle::<input::ActivityOffered>(on, offered::activity(on, &ask.0)),
        Ask::ChildStarted(ask) => settle::<input::ChildStarted>(on, children::started(on, *ask)),
        Ask::ChildClosed(ask) => settle::<input::ChildClosed>(on, children::closed(on, *ask)),
        Ask::ChildReleased(ask) => settle::<input::ChildReleased>(on, children::released(on, *ask)),
        Ask::ParentNotified(_) => settle::<input::ParentNotified>(on, children::parent_notified(on)),
        Ask::ExternalSignalled(ask) => settle::<input::ExternalSignalled>(on, external::signalled(on, *ask)),
        Ask::ExternalCancelRequested(ask) => {
            settle::<input::ExternalCancelRequested>(on, external::cancel_requested(on, *ask))
        }
    }
}

/// Makes a transition of what was decided, or of what the limits say instead. The reply is the one that `A` has.
fn settle<A: Asked>(on: Target<'_>, decided: Decision<'_, A::Reply>) -> Result<Transition, Rejection> {
    match decided? {
        Answer::Unchanged(reply) => {
            let next = on.workflow.clone();
            Ok(Transition { changes: Vec::new(), is_volatile: false, next, reply: Ok(reply.into()) })
        }
        Answer::Changed(draft, reply) => Ok(finish(draft, |next| Ok(reply(next).into()))),
        Answer::Refused(draft, rejection) => Ok(finish(draft, |_| Err(rejection))),
    }
}

/// Ends the transition, as the limits allow.
fn finish<R>(mut draft: Draft<'_>, reply: R) -> Transition
where
    R: FnOnce(&Workflow) -> Result<crate::Reply, Rejection>,
{
    limits::enforce_limits(&mut draft);
    match limits::end_instead(&draft) {
        Some((ended, rejection)) => close(ended, |_| Err(rejection)),
        None => close(draft, reply),
    }
}

fn close<R>(draft: Draft<'_>, reply: R) -> Transition
where
    R: FnOnce(&Workflow) -> Result<crate::Reply, Rejection>,
{
    let is_volatile = draft.is_volatile;
    let (changes, next) = draft.close();
    let reply = reply(&next);
    Transition { changes, is_volatile, next, reply }
}
