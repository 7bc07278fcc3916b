//! What is said next, by looking at the state: answers to what is owed, work of workers, words of callers; now and then
//! about the wrong run, the wrong event, the wrong attempt.

use std::sync::Arc;

use api::temporal::api::command::v1::command::Attributes as CommandAttributes;
use api::temporal::api::command::v1::{Command, ProtocolMessageCommandAttributes};
use api::temporal::api::common::v1::{WorkflowExecution, WorkflowType};
use api::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause, WorkflowTaskFailedCause,
};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::*;
use api::temporal::api::protocol::v1::Message;
use api::temporal::api::taskqueue::v1::{StickyExecutionAttributes, TaskQueue};
use api::temporal::api::update::v1::outcome::Value;
use api::temporal::api::update::v1::{Acceptance, Input as UpdateInput, Meta, Outcome, Rejection, Request, Response};
use api::temporal::api::workflow::v1::OnConflictOptions;
use api::temporal::api::workflowservice::v1::{
    RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskFailedRequest, StartWorkflowExecutionRequest,
};
use execution::{
    ActivityFailure, ActivityOffered, ActivityResult, ActivitySelector, ActivityState, Ask, CancelActivity,
    ChildClosed, ChildReleased, ChildStarted, CompleteActivity, CompleteWorkflowTask, ExternalCancelRequested,
    ExternalSignalled, FailActivity, FailWorkflowTask, Heartbeat, Input, Obligation, Offered, Parent, ParentNotified,
    Read, RequestCancel, ResetSticky, Run, RunRef, Signal, Start, StartActivity, StartTask, StartWorkflowTask,
    TaskOffer, TaskOffered, Terminate, Update, WakeUp, Workflow, WorkflowTaskOffered, activity_state, obligation,
    obligations,
};
use ids::TaskRef;
use prost::Message as _;

use crate::commands::{commands, duration, failure, id, payloads, retry_policy, sound_duration};
use crate::dice::Dice;

/// Something to say; `None` where no input makes sense on the chosen matter.
pub fn next(workflow: &Workflow, dice: &mut Dice) -> Option<Input> {
    let current = workflow.current().filter(|run| run.is_open());
    let input = match dice.below(100) {
        0..2 => Input::of_chain(start(dice, current.is_some())),
        2..7 => Input::new(run_id(workflow, dice), signal(dice)),
        7 => cancel(workflow, dice),
        8 if dice.percent(30) => terminate(workflow, dice),
        8 => Input::new(run_id(workflow, dice), ResetSticky),
        9 if dice.percent(30) => Input::new(run_id(workflow, dice), Read),
        9 => Input::new(run_id(workflow, dice), update(dice)),
        10..46 => answer(workflow, dice)?,
        46..70 => workflow_worker(current?, dice)?,
        70..88 => activity_worker(current?, dice)?,
        88..92 => child_closes(current?, dice)?,
        _ => Input::of_chain(WakeUp),
    };
    Some(if dice.percent(4) { distorted(input, dice) } else { input })
}

/// A conversation begins with a start more often than not.
pub fn start(dice: &mut Dice, open: bool) -> Start {
    let cron = !open && dice.percent(7);
    let request = StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: "wf".to_owned(),
        workflow_type: Some(WorkflowType { name: "Work".to_owned() }),
        task_queue: Some(TaskQueue { name: "q".to_owned(), ..TaskQueue::default() }),
        input: dice.maybe(30, payloads),
        workflow_execution_timeout: dice.maybe(15, sound_duration),
        workflow_run_timeout: dice.maybe(15, sound_duration),
        workflow_task_timeout: dice.maybe(30, sound_duration),
        request_id: request_id(dice),
        identity: "caller".to_owned(),
        workflow_id_reuse_policy: *dice.pick(&[0, 0, 0, 1, 1, 2, 3, 4]),
        workflow_id_conflict_policy: *dice.pick(&[0, 0, 0, 1, 1, 2, 2, 2, 3]),
        retry_policy: dice.maybe(25, retry_policy),
        cron_schedule: if cron { (*dice.pick(&["@every 3s", "* * * * *"])).to_owned() } else { String::new() },
        request_eager_execution: dice.percent(10),
        workflow_start_delay: if cron { None } else { dice.maybe(10, sound_duration) },
        on_conflict_options: dice.maybe(30, |dice| OnConflictOptions {
            attach_request_id: dice.percent(80),
            ..OnConflictOptions::default()
        }),
        ..StartWorkflowExecutionRequest::default()
    };
    let parent = dice.maybe(30, |_| Parent {
        namespace: "default".to_owned(),
        namespace_id: "namespace-id".to_owned(),
        execution: parent(),
        initiated_event_id: 5,
        root: parent(),
    });
    Start { request, parent, signal: dice.maybe(25, signal), update: dice.maybe(20, update) }
}

fn parent() -> WorkflowExecution {
    WorkflowExecution { workflow_id: "parent".to_owned(), run_id: "parent-run".to_owned() }
}

fn request_id(dice: &mut Dice) -> String {
    if dice.percent(20) { String::new() } else { format!("request-{}", dice.below(40)) }
}

fn signal(dice: &mut Dice) -> Signal {
    Signal {
        request_id: request_id(dice),
        name: id(dice),
        input: dice.maybe(50, payloads),
        sender: dice.maybe(20, |_| parent()),
        child_only: dice.percent(10),
        ..Signal::default()
    }
}

fn update(dice: &mut Dice) -> Update {
    let meta = Some(Meta { update_id: format!("update-{}", dice.below(20)), identity: "caller".to_owned() });
    let input = Some(UpdateInput { name: id(dice), args: dice.maybe(50, payloads), ..UpdateInput::default() });
    let first_execution_run_id = if dice.percent(3) { "nowhere".to_owned() } else { String::new() };
    Update { first_execution_run_id, request: Arc::new(Request { meta, input, ..Request::default() }) }
}

/// What a worker says of the updates that its task carries, and of those that it has accepted: mostly each once, and most with a
/// place among the commands.
fn answers_to_updates(dice: &mut Dice, run: &Run, commands: &mut Vec<Command>) -> Vec<Message> {
    let any = |name: &str, value: Vec<u8>| {
        Some(prost_types::Any { type_url: format!("type.googleapis.com/temporal.api.update.v1.{name}"), value })
    };
    let mut messages = Vec::new();
    let mut say = |dice: &mut Dice, id: &str, verb: &str, body| {
        let message =
            Message { id: format!("{id}/{verb}"), protocol_instance_id: id.to_owned(), body, ..Message::default() };
        if verb != "reject" && dice.percent(80) {
            let place = ProtocolMessageCommandAttributes { message_id: message.id.clone() };
            let attributes = Some(CommandAttributes::ProtocolMessageCommandAttributes(place));
            let at = if dice.percent(50) { messages.len().min(commands.len()) } else { commands.len() };
            let closing = commands.len().saturating_sub(1);
            // Nothing follows a command that closes the run.
            commands.insert(at.min(closing), Command { attributes, ..Command::default() });
        }
        messages.push(message);
    };
    let mut accepted: Vec<String> = run.accepted_updates.keys().map(str::to_owned).collect();
    for carried in execution::update_messages(run) {
        let id = carried.protocol_instance_id;
        match dice.below(10) {
            0..5 => {
                let accepted_request = dice.maybe(30, |_| Request::default());
                let acceptance = Acceptance { accepted_request, ..Acceptance::default() };
                say(dice, &id, "accept", any("Acceptance", acceptance.encode_to_vec()));
                accepted.push(id);
            }
            5..9 => {
                let rejection = Rejection { failure: dice.maybe(90, failure), ..Rejection::default() };
                say(dice, &id, "reject", any("Rejection", rejection.encode_to_vec()));
            }
            _ => {}
        }
    }
    for id in run.reapplied_updates.keys().map(str::to_owned) {
        match dice.below(10) {
            0..3 => say(dice, &id, "accept", any("Acceptance", Acceptance::default().encode_to_vec())),
            3 => say(dice, &id, "reject", any("Rejection", Rejection::default().encode_to_vec())),
            _ => {}
        }
    }
    for id in accepted {
        if dice.percent(40) {
            let value = dice.maybe(90, payloads).map(Value::Success);
            let response = Response { outcome: Some(Outcome { value }), ..Response::default() };
            say(dice, &id, "complete", any("Response", response.encode_to_vec()));
        }
    }
    if dice.percent(2) {
        say(dice, "unknown", "accept", any("Acceptance", Acceptance::default().encode_to_vec()));
    }
    messages
}

fn run_id(workflow: &Workflow, dice: &mut Dice) -> String {
    if dice.percent(70) { String::new() } else { dice.any(workflow.runs.keys().map(str::to_owned)).unwrap_or_default() }
}

fn cancel(workflow: &Workflow, dice: &mut Dice) -> Input {
    let run_id = run_id(workflow, dice);
    let cancel = RequestCancel {
        request_id: request_id(dice),
        sender: dice.maybe(20, |_| (parent(), 7)),
        child_only: dice.percent(10),
        ..RequestCancel::default()
    };
    Input::new(run_id, cancel)
}

fn terminate(workflow: &Workflow, dice: &mut Dice) -> Input {
    let run_id = run_id(workflow, dice);
    Input::new(run_id, Terminate { parent: dice.maybe(20, |_| parent()), ..Terminate::default() })
}

/// The answer to something owed; or a task that matching keeps is taken at last.
fn answer(workflow: &Workflow, dice: &mut Dice) -> Option<Input> {
    if dice.percent(30)
        && let Some(persisted) = persisted(workflow, dice)
    {
        return Some(persisted);
    }
    let id = dice.any(obligations(workflow))?;
    Some(answer_to(&obligation(workflow, &id)?, dice, 80))
}

/// How something owed ends: well, in so many of a hundred cases.
pub fn answer_to(owed: &Obligation, dice: &mut Dice, well: usize) -> Input {
    let offered = |offer: &TaskOffer, outcome| TaskOffered { task: offer.task, outcome };
    match owed {
        Obligation::OfferWorkflowTask(offer) if dice.percent(well) => {
            Input::new(offer.run_id.as_str(), StartWorkflowTask(take(offer, dice)))
        }
        Obligation::OfferWorkflowTask(offer) => {
            let outcome = if offer.sticky_of.is_some() { Offered::Refused } else { Offered::Persisted };
            Input::new(offer.run_id.as_str(), WorkflowTaskOffered(offered(offer, outcome)))
        }
        Obligation::OfferActivity(offer) if dice.percent(well) => {
            Input::new(offer.run_id.as_str(), StartActivity(take(offer, dice)))
        }
        Obligation::OfferActivity(offer) => {
            Input::new(offer.run_id.as_str(), ActivityOffered(offered(offer, Offered::Persisted)))
        }
        Obligation::StartChild { run, child } => {
            let failed = StartChildWorkflowExecutionFailedCause::WorkflowAlreadyExists;
            let result = if dice.percent(well) { Ok(child_run(child.initiated_event_id)) } else { Err(failed) };
            let initiated_event_id = child.initiated_event_id;
            Input::new(run.core.run_id.as_str(), ChildStarted { initiated_event_id, result })
        }
        Obligation::SignalExternal { run_id, signal } => {
            let failed = SignalExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound;
            let result = if dice.percent(well) { Ok(()) } else { Err(failed) };
            let initiated_event_id = signal.initiated_event_id;
            Input::new(run_id.as_str(), ExternalSignalled { initiated_event_id, result })
        }
        Obligation::CancelExternal { run_id, cancel } => {
            let failed = CancelExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound;
            let result = if dice.percent(well) { Ok(()) } else { Err(failed) };
            let initiated_event_id = cancel.initiated_event_id;
            Input::new(run_id.as_str(), ExternalCancelRequested { initiated_event_id, result })
        }
        Obligation::ReleaseChild { run_id, initiated_event_id, .. } => {
            Input::new(run_id.as_str(), ChildReleased { initiated_event_id: *initiated_event_id })
        }
        Obligation::NotifyParent { run_id, .. } => Input::new(run_id.as_str(), ParentNotified),
    }
}

fn child_run(initiated_event_id: i64) -> String {
    format!("child-run-{initiated_event_id}")
}

fn take(offer: &TaskOffer, dice: &mut Dice) -> StartTask {
    StartTask {
        task: offer.task,
        request_id: format!("poll-{}", dice.number()),
        identity: (*dice.pick(&["worker-1", "worker-2", ""])).to_owned(),
        ..StartTask::default()
    }
}

/// A poller takes what matching persisted.
pub fn persisted(workflow: &Workflow, dice: &mut Dice) -> Option<Input> {
    let run = workflow.current().filter(|run| run.is_open())?;
    let start = |task, dice: &mut Dice| StartTask {
        task,
        request_id: format!("poll-{}", dice.number()),
        identity: "worker-3".to_owned(),
        ..StartTask::default()
    };
    let run_id = run.core.run_id.as_str();
    if let Some(task) = run.task.as_ref().filter(|task| task.is_backlogged()) {
        return Some(Input::new(run_id, StartWorkflowTask(start(task.id(), dice))));
    }
    let waiting = run
        .activities
        .values()
        .filter(|activity| activity.progress.persisted && activity_state(activity) == ActivityState::Waiting);
    let activity = dice.any(waiting)?;
    let (scheduled_event_id, attempt) = (activity.scheduled_event_id, activity.progress.attempt);
    let task = TaskRef { scheduled_event_id, attempt, stamp: 0 };
    Some(Input::new(run_id, StartActivity(start(task, dice))))
}

/// The worker that has the task says what it decides.
fn workflow_worker(run: &Run, dice: &mut Dice) -> Option<Input> {
    let task = held_task(run)?;
    if dice.percent(10) {
        let cause = *dice.pick(&[
            WorkflowTaskFailedCause::WorkflowWorkerUnhandledFailure,
            WorkflowTaskFailedCause::NonDeterministicError,
            WorkflowTaskFailedCause::NonDeterministicError,
            WorkflowTaskFailedCause::ResetStickyTaskQueue,
            WorkflowTaskFailedCause::GrpcMessageTooLarge,
        ]);
        let request = RespondWorkflowTaskFailedRequest {
            cause: cause as i32,
            failure: dice.maybe(80, failure),
            ..RespondWorkflowTaskFailedRequest::default()
        };
        return Some(Input::new(run.core.run_id.as_str(), FailWorkflowTask { task, request }));
    }
    let sticky_attributes = dice.maybe(40, |dice| StickyExecutionAttributes {
        worker_task_queue: Some(TaskQueue { name: "sticky-1".to_owned(), ..TaskQueue::default() }),
        schedule_to_start_timeout: dice.maybe(90, duration),
    });
    let mut commands = if run.volatile.admitted.is_empty() || dice.percent(40) { commands(dice, run) } else { vec![] };
    let messages = answers_to_updates(dice, run, &mut commands);
    let request = RespondWorkflowTaskCompletedRequest {
        namespace: "default".to_owned(),
        commands,
        messages,
        identity: "worker-1".to_owned(),
        sticky_attributes,
        return_new_workflow_task: dice.percent(20),
        force_create_new_workflow_task: dice.percent(15),
        ..RespondWorkflowTaskCompletedRequest::default()
    };
    let more_wanted = dice.percent(5);
    Some(Input::new(run.core.run_id.as_str(), CompleteWorkflowTask { task, request, more_wanted }))
}

pub fn held_task(run: &Run) -> Option<TaskRef> {
    Some(run.task.as_ref().filter(|task| task.is_started())?.id())
}

/// A worker reports on an activity that it runs, or another client does by id.
fn activity_worker(run: &Run, dice: &mut Dice) -> Option<Input> {
    let by_id = dice.percent(10);
    let started = |started: &ActivityState| *started == ActivityState::Started;
    let known = run.activities.values().filter(|activity| by_id || started(&activity_state(activity)));
    let activity = dice.any(known)?;
    let selector = if by_id {
        ActivitySelector::Id(activity.id().to_owned())
    } else {
        let (scheduled_event_id, attempt) = (activity.scheduled_event_id, activity.progress.attempt);
        ActivitySelector::Attempt { scheduled_event_id, attempt }
    };
    let run_id = run.core.run_id.clone();
    let details = dice.maybe(50, payloads);
    Some(match dice.below(10) {
        0..3 => Input::new(run_id, CompleteActivity(result(selector, details))),
        3..6 => {
            let failure = dice.maybe(95, failure);
            let failed = ActivityFailure { failure, cause: dice.below(4) as i32, heartbeat_details: details };
            Input::new(run_id, FailActivity(result(selector, failed)))
        }
        6 => Input::new(run_id, CancelActivity(result(selector, details))),
        _ => Input::new(run_id, Heartbeat(result(selector, details))),
    })
}

pub fn result<T>(activity: ActivitySelector, outcome: T) -> ActivityResult<T> {
    ActivityResult { activity, identity: "worker-2".to_owned(), worker_version: None, outcome }
}

fn child_closes(run: &Run, dice: &mut Dice) -> Option<Input> {
    let child = dice.any(run.children.values())?;
    let outcome = match dice.below(5) {
        0 => {
            Attributes::WorkflowExecutionCompletedEventAttributes(WorkflowExecutionCompletedEventAttributes::default())
        }
        1 => Attributes::WorkflowExecutionFailedEventAttributes(WorkflowExecutionFailedEventAttributes::default()),
        2 => Attributes::WorkflowExecutionCanceledEventAttributes(WorkflowExecutionCanceledEventAttributes::default()),
        3 => Attributes::WorkflowExecutionTimedOutEventAttributes(WorkflowExecutionTimedOutEventAttributes::default()),
        _ => {
            Attributes::WorkflowExecutionTerminatedEventAttributes(WorkflowExecutionTerminatedEventAttributes::default())
        }
    };
    Some(closed(run, child.initiated_event_id, outcome))
}

/// The child that this event initiated closes.
pub fn closed(run: &Run, initiated_event_id: i64, outcome: Attributes) -> Input {
    let child = &run.children[&initiated_event_id];
    // A start that was reported of another child gave it another run.
    let run_id = if child.is_started() { child.run_id.clone() } else { child_run(initiated_event_id) };
    let child = WorkflowExecution { workflow_id: child.initiated.workflow_id.clone(), run_id };
    Input::new(run.core.run_id.as_str(), ChildClosed { initiated_event_id, child, outcome })
}

/// The same words about something else.
fn distorted(mut input: Input, dice: &mut Dice) -> Input {
    let event = dice.below(40) as i64;
    let which = dice.below(3);
    let nowhere = || RunRef::Run("nowhere".to_owned());
    let attempt = |activity: &mut ActivitySelector| {
        *activity = ActivitySelector::Attempt { scheduled_event_id: event, attempt: 1 };
    };
    let start_of_another = |task: &mut TaskRef| match which {
        1 => task.scheduled_event_id = event,
        _ => task.stamp += 1,
    };
    match &mut input.ask {
        Ask::Signal(_) | Ask::Terminate(_) | Ask::ParentNotified(_) | Ask::Read(_) | Ask::ResetSticky(_) => {
            input.run = nowhere();
        }
        Ask::Reset(_) => input.run = nowhere(),
        Ask::Update(update) => update.first_execution_run_id = "nowhere".to_owned(),
        Ask::RequestCancel(cancel) => cancel.first_execution_run_id = "nowhere".to_owned(),
        Ask::StartWorkflowTask(_) | Ask::StartActivity(_) | Ask::CompleteWorkflowTask(_) | Ask::FailWorkflowTask(_)
            if which == 0 =>
        {
            input.run = nowhere();
        }
        Ask::StartWorkflowTask(start) => start_of_another(&mut start.0.task),
        Ask::StartActivity(start) => start_of_another(&mut start.0.task),
        Ask::CompleteWorkflowTask(complete) if which == 1 => complete.task.scheduled_event_id = event,
        Ask::CompleteWorkflowTask(complete) => complete.task.attempt += 1,
        Ask::FailWorkflowTask(fail) if which == 1 => fail.task.scheduled_event_id = event,
        Ask::FailWorkflowTask(fail) => fail.task.attempt += 1,
        Ask::CompleteActivity(result) => attempt(&mut result.0.activity),
        Ask::CancelActivity(result) => attempt(&mut result.0.activity),
        Ask::Heartbeat(result) => attempt(&mut result.0.activity),
        Ask::WorkflowTaskOffered(offered) => offered.0.task.scheduled_event_id = event,
        Ask::ActivityOffered(offered) => offered.0.task.scheduled_event_id = event,
        Ask::ChildStarted(ended) => ended.initiated_event_id = event,
        Ask::ChildReleased(released) => released.initiated_event_id = event,
        Ask::ExternalSignalled(ended) => ended.initiated_event_id = event,
        Ask::ExternalCancelRequested(ended) => ended.initiated_event_id = event,
        Ask::ChildClosed(closed) => closed.child.workflow_id = "nowhere".to_owned(),
        Ask::FailActivity(_) => input.run = nowhere(),
        Ask::Start(_) | Ask::WakeUp(_) => {}
    }
    input
}
