//! What an input changes. Each kind of input has its file under `decide/`.

mod activity;
mod cancel;
mod children;
mod close;
mod command;
mod complete_task;
mod external;
mod limits;
mod offered;
mod signal;
mod start;
mod task;
mod wake;

pub(crate) use limits::{end_instead, enforce_limits};

use crate::draft::resolve;
use crate::input::Input;
use crate::reply::{Rejection, Reply, Transition};
use crate::{Env, Workflow};

/// The run whose row must be looked up before this input can be decided: give it to [`Workflow::runs`], or, if there is
/// none, to [`Workflow::absent`].
pub fn needs(workflow: &Workflow, input: &Input) -> Option<String> {
    if workflow.is_vacant() {
        return None;
    }
    let named = match input {
        // An open run is in memory; of closed ones only the one that this very request went to is asked about.
        Input::Start(start) => {
            let signal = || workflow.chain.seen_signal(start.signal.as_ref()?);
            workflow.chain.seen_start(start).or_else(signal)?
        }
        Input::Signal(signal) => &signal.run_id,
        Input::RequestCancel(cancel) => &cancel.run_id,
        Input::Terminate(terminate) => &terminate.run_id,
        Input::ResetSticky { run_id } | Input::Read { run_id } => run_id,
        Input::StartWorkflowTask(start) | Input::StartActivity(start) => &start.run_id,
        Input::CompleteWorkflowTask(complete) => &complete.task.run_id,
        Input::FailWorkflowTask(fail) => &fail.task.run_id,
        Input::CompleteActivity(result) | Input::CancelActivity(result) | Input::Heartbeat(result) => &result.run_id,
        Input::FailActivity(result) => &result.run_id,
        Input::WorkflowTaskOffered(offered) | Input::ActivityOffered(offered) => &offered.run_id,
        Input::ChildStarted { run_id, .. }
        | Input::ChildReleased { run_id, .. }
        | Input::ParentNotified { run_id }
        | Input::ExternalSignalled { run_id, .. }
        | Input::ExternalCancelRequested { run_id, .. } => run_id,
        Input::ChildClosed(closed) => &closed.run_id,
        Input::WakeUp => return None,
    };
    let run_id = if named.is_empty() { &workflow.chain.current_run_id } else { named };
    let known = workflow.runs.contains_key(run_id) || workflow.absent.contains(run_id);
    (!known).then(|| run_id.to_owned())
}

/// Decides. Deterministic: the same workflow, input and env give the same transition. A rejection changes nothing.
pub fn decide(workflow: &Workflow, input: Input, env: &Env<'_>) -> Result<Transition, Rejection> {
    match input {
        Input::Start(start) => start::start(workflow, *start, env),
        Input::Signal(signal) => signal::signal(workflow, *signal, env),
        Input::RequestCancel(cancel) => cancel::request_cancel(workflow, *cancel, env),
        Input::Terminate(terminate) => cancel::terminate(workflow, *terminate, env),
        Input::ResetSticky { run_id } => task::reset_sticky(workflow, &run_id, env),
        Input::Read { run_id } => {
            let run = resolve(workflow, &run_id, env)?.clone();
            Ok(unchanged(workflow, Reply::Run(run)))
        }
        Input::StartWorkflowTask(start) => task::start_task(workflow, *start, env),
        Input::CompleteWorkflowTask(complete) => complete_task::complete(workflow, *complete, env),
        Input::FailWorkflowTask(fail) => task::fail_task(workflow, *fail, env),
        Input::StartActivity(start) => activity::start_attempt(workflow, *start, env),
        Input::CompleteActivity(result) => activity::complete(workflow, *result, env),
        Input::FailActivity(result) => activity::fail(workflow, *result, env),
        Input::CancelActivity(result) => activity::accept_cancel(workflow, *result, env),
        Input::Heartbeat(result) => activity::heartbeat(workflow, *result, env),
        Input::WakeUp => Ok(wake::wake_up(workflow, env)),
        Input::WorkflowTaskOffered(offered) => Ok(offered::workflow_task(workflow, &offered, env)),
        Input::ActivityOffered(offered) => Ok(offered::activity(workflow, &offered, env)),
        Input::ChildStarted { run_id, initiated_event_id, result } => {
            Ok(children::started(workflow, &run_id, initiated_event_id, result, env))
        }
        Input::ChildClosed(closed) => children::closed(workflow, *closed, env),
        Input::ChildReleased { run_id, initiated_event_id } => {
            Ok(children::released(workflow, &run_id, initiated_event_id, env))
        }
        Input::ParentNotified { run_id } => Ok(children::parent_notified(workflow, &run_id, env)),
        Input::ExternalSignalled { run_id, initiated_event_id, result } => {
            Ok(external::signalled(workflow, &run_id, initiated_event_id, result, env))
        }
        Input::ExternalCancelRequested { run_id, initiated_event_id, result } => {
            Ok(external::cancel_requested(workflow, &run_id, initiated_event_id, result, env))
        }
    }
}

/// A transition without changes.
fn unchanged(workflow: &Workflow, reply: Reply) -> Transition {
    Transition { changes: Vec::new(), next: workflow.clone(), reply }
}
