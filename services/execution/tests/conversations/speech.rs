//! What can be said to a workflow, line by line:
//!
//! ```text
//! start | signal NAME | update ID | cancel | terminate | reset-sticky | read        by callers
//! reset EVENT | reset EVENT share=EVENT                       the same; the events before the second are in the table
//! poll | complete + COMMAND + COMMAND | fail-task                       by workflow workers
//! complete + accept ID + respond ID + reject ID                         the same, of updates
//! take A | done A | failed A | canceled A | heartbeat A                 by activity workers, of activity A
//! persisted | refused                                                        by matching, of the workflow task
//! persisted-activity A                                                       by matching
//! child-started C as=RUN | child-not-started C | child-closed C completed | child-released C | parent-notified
//! signalled EVENT | not-signalled EVENT | cancel-asked EVENT | cancel-not-asked EVENT
//! wait 5s | clock 5s | limits blob=100 | crash | show                           the world
//! ```

use std::sync::Arc;

use api::temporal::api::command::v1::command::Attributes as CommandAttributes;
use api::temporal::api::command::v1::{Command, ProtocolMessageCommandAttributes};
use api::temporal::api::common::v1::link::{BatchJob, Variant};
use api::temporal::api::common::v1::{
    Link, Memo, MeteringMetadata, SearchAttributes, WorkerVersionStamp, WorkflowExecution, WorkflowType,
};
use api::temporal::api::deployment::v1::WorkerDeploymentOptions;
use api::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, RetryState, SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause, WorkerVersioningMode, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowTaskFailedCause,
};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::*;
use api::temporal::api::protocol::v1::Message;
use api::temporal::api::sdk::v1::WorkflowTaskCompletedMetadata;
use api::temporal::api::taskqueue::v1::{StickyExecutionAttributes, TaskQueue};
use api::temporal::api::update::v1::outcome::Value;
use api::temporal::api::update::v1::{Acceptance, Input as UpdateInput, Meta, Outcome, Rejection, Request, Response};
use api::temporal::api::workflow::v1::OnConflictOptions;
use api::temporal::api::workflowservice::v1::{
    RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskFailedRequest, StartWorkflowExecutionRequest,
};
use execution::{
    ActivityFailure, ActivityOffered, ActivityResult, ActivitySelector, CancelActivity, ChildClosed, ChildReleased,
    ChildStarted, CompleteActivity, CompleteWorkflowTask, ExternalCancelRequested, ExternalSignalled, FailActivity,
    FailWorkflowTask, Heartbeat, Input, Offered, Parent, ParentNotified, Read, Reapply, Replay, RequestCancel, Reset,
    ResetSticky, Run, Signal, Start, StartActivity, StartTask, StartWorkflowTask, Successor, TaskOffered, Terminate,
    Update, WorkflowTaskOffered,
};
use ids::TaskRef;
use prost::Message as _;

use crate::commands::{command, failure};
use crate::words::Words;
use crate::world::World;

/// Reads one line.
pub fn input<'a>(world: &World, words: &Words, commands: impl Iterator<Item = &'a str>) -> Result<Input, String> {
    let run_id = words.get("run").map(|name| world.run_id(name)).unwrap_or_default();
    Ok(match words.verb.as_str() {
        "start" => Input::of_chain(start(words)?),
        "signal" => Input::new(run_id, signal(words, words.name()?)),
        "cancel" => {
            let cancel = RequestCancel {
                request_id: words.text("request"),
                first_execution_run_id: words.get("first").map(|name| world.run_id(name)).unwrap_or_default(),
                reason: words.text("reason"),
                identity: "caller".to_owned(),
                sender: words.get("sender").map(|sender| (execution(sender), 7)),
                child_only: words.flag("child-only"),
                ..RequestCancel::default()
            };
            Input::new(run_id, cancel)
        }
        "update" => {
            let first_execution_run_id = words.get("first").map(|name| world.run_id(name)).unwrap_or_default();
            Input::new(run_id, Update { first_execution_run_id, ..update(words, words.name()?) })
        }
        "terminate" => {
            let terminate = Terminate {
                first_execution_run_id: words.get("first").map(|name| world.run_id(name)).unwrap_or_default(),
                reason: words.text("reason"),
                identity: "caller".to_owned(),
                parent: words.get("parent").map(execution),
                ..Terminate::default()
            };
            Input::new(run_id, terminate)
        }
        "reset" => reset(world, words)?,
        "reset-sticky" => Input::new(run_id, ResetSticky),
        "read" => Input::new(run_id, Read),
        "poll" | "persisted" | "refused" | "complete" | "fail-task" => workflow_worker(world, words, commands)?,
        "take" | "done" | "failed" | "canceled" | "heartbeat" | "persisted-activity" => activity_worker(world, words)?,
        _ => outside(world, words)?,
    })
}

fn start(words: &Words) -> Result<Start, String> {
    let reuse = match words.get("reuse") {
        None => WorkflowIdReusePolicy::Unspecified,
        Some("allow") => WorkflowIdReusePolicy::AllowDuplicate,
        Some("failed-only") => WorkflowIdReusePolicy::AllowDuplicateFailedOnly,
        Some("reject") => WorkflowIdReusePolicy::RejectDuplicate,
        #[allow(deprecated, reason = "clients still send it")]
        Some("terminate") => WorkflowIdReusePolicy::TerminateIfRunning,
        Some(other) => return Err(format!("{other:?} is no reuse policy")),
    };
    let conflict = match words.get("conflict") {
        None => WorkflowIdConflictPolicy::Unspecified,
        Some("fail") => WorkflowIdConflictPolicy::Fail,
        Some("use") => WorkflowIdConflictPolicy::UseExisting,
        Some("terminate") => WorkflowIdConflictPolicy::TerminateExisting,
        Some(other) => return Err(format!("{other:?} is no conflict policy")),
    };
    let request = StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: "wf".to_owned(),
        workflow_type: Some(WorkflowType { name: "Work".to_owned() }),
        task_queue: Some(TaskQueue { name: "q".to_owned(), ..TaskQueue::default() }),
        input: words.payloads("input"),
        workflow_execution_timeout: words.duration("execution")?,
        workflow_run_timeout: words.duration("run")?,
        workflow_task_timeout: words.duration("task")?,
        identity: "caller".to_owned(),
        request_id: words.text("request"),
        workflow_id_reuse_policy: reuse as i32,
        workflow_id_conflict_policy: conflict as i32,
        retry_policy: words.retry()?,
        cron_schedule: words.text("cron"),
        memo: words.fields("memo").map(|fields| Memo { fields }),
        search_attributes: words.fields("attributes").map(|indexed_fields| SearchAttributes { indexed_fields }),
        request_eager_execution: words.flag("eager"),
        workflow_start_delay: words.duration("delay")?,
        on_conflict_options: (words.flag("attach") || words.flag("attach-links")).then(|| OnConflictOptions {
            attach_request_id: words.flag("attach"),
            attach_links: words.flag("attach-links"),
            ..OnConflictOptions::default()
        }),
        links: words.get("link").map(link).into_iter().collect(),
        ..StartWorkflowExecutionRequest::default()
    };
    let parent = words.get("parent").map(|parent| Parent {
        namespace: "default".to_owned(),
        namespace_id: "namespace-id".to_owned(),
        execution: execution(parent),
        initiated_event_id: 5,
        root: execution("root/root-run"),
    });
    let signal = words.get("signal").map(|name| Signal { request_id: words.text("request"), ..signal(words, name) });
    let update = words.get("update").map(|id| update(words, id));
    Ok(Start { request, parent, signal, update })
}

fn link(job_id: &str) -> Link {
    Link { variant: Some(Variant::BatchJob(BatchJob { job_id: job_id.to_owned() })) }
}

fn signal(words: &Words, name: &str) -> Signal {
    Signal {
        request_id: words.text("request"),
        name: name.to_owned(),
        input: words.payloads("input"),
        identity: "caller".to_owned(),
        sender: words.get("sender").map(execution),
        child_only: words.flag("child-only"),
        ..Signal::default()
    }
}

fn update(words: &Words, id: &str) -> Update {
    let request = Request {
        meta: Some(Meta { update_id: id.to_owned(), identity: "caller".to_owned() }),
        input: Some(UpdateInput { name: words.text("name"), args: words.payloads("input"), ..UpdateInput::default() }),
        ..Request::default()
    };
    Update { request: Arc::new(request), ..Update::default() }
}

/// What is not read here, is read where it is decided.
fn reset(world: &World, words: &Words) -> Result<Input, String> {
    let base = world.run(words)?;
    let finish = words.name()?.parse::<i64>().map_err(|_| "an event id is wanted".to_owned())?;
    let mut past = Replay::new(finish, words.number("share")?.unwrap_or(1));
    let mut successors = Vec::new();
    if words.flag("read") || words.get("share").is_some() {
        history(world, base).into_iter().try_for_each(|event| past.read(event))?;
    }
    let mut next = base.core.next_run_id.clone();
    while let Some(run) = world.workflow.runs.get(&next) {
        successors.push(Successor::of(run));
        next.clone_from(&run.core.next_run_id);
    }
    let reapply = Reapply { signals: !words.flag("no-signals"), updates: !words.flag("no-updates") };
    let (request_id, reason) = (words.text("request"), words.text("reason"));
    let run_id = base.core.run_id.clone();
    Ok(Input::new(run_id, Reset { request_id, reason, reapply, past, successors }))
}

/// The whole history of a run: what it shares with its ancestors is in memory with them.
fn history(world: &World, run: &Run) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    for ancestor in &run.core.ancestors {
        let next = events.len() as i64 + 1;
        let of_ancestor = world.workflow.runs[&ancestor.run_id].batches.values().flat_map(|batch| batch.events());
        events.extend(of_ancestor.filter(|event| (next..ancestor.end_event_id).contains(&event.event_id)));
    }
    events.extend(run.batches.values().flat_map(|batch| batch.events()));
    events
}

/// A worker's answer to an update, and the command that gives it its place.
fn answer_to_update(text: &str) -> Result<(Option<Message>, Option<Command>), String> {
    let words = Words::read(text);
    let of_type = |name: &str, value: Vec<u8>| {
        Some(prost_types::Any { type_url: format!("type.googleapis.com/temporal.api.update.v1.{name}"), value })
    };
    let (id, kind, body) = match words.verb.as_str() {
        "accept" => {
            let id = words.name()?;
            let acceptance = Acceptance {
                accepted_request_message_id: format!("{id}/request"),
                accepted_request_sequencing_event_id: words.number("after")?.unwrap_or_default(),
                accepted_request: words.flag("whole").then(|| (*update(&words, id).request).clone()),
            };
            (id, "accept", of_type("Acceptance", acceptance.encode_to_vec()))
        }
        "reject" => {
            let failure = Some(failure(&words)?);
            (
                words.name()?,
                "reject",
                of_type("Rejection", Rejection { failure, ..Rejection::default() }.encode_to_vec()),
            )
        }
        "respond" => {
            let value = match words.payloads("result") {
                Some(result) => Value::Success(result),
                None => Value::Failure(failure(&words)?),
            };
            let meta = Some(Meta { update_id: words.name()?.to_owned(), identity: "caller".to_owned() });
            let response = Response { meta, outcome: Some(Outcome { value: Some(value) }) };
            (words.name()?, "complete", of_type("Response", response.encode_to_vec()))
        }
        "place" => {
            let attributes = ProtocolMessageCommandAttributes { message_id: words.name()?.to_owned() };
            let attributes = Some(CommandAttributes::ProtocolMessageCommandAttributes(attributes));
            return Ok((None, Some(Command { attributes, ..Command::default() })));
        }
        _ => return Ok((None, Some(command(text)?))),
    };
    let id = id.to_owned();
    let message = Message { id: format!("{id}/{kind}"), protocol_instance_id: id, body, ..Message::default() };
    let has_place = kind != "reject" && !words.flag("unplaced");
    let attributes = ProtocolMessageCommandAttributes { message_id: message.id.clone() };
    let attributes = Some(CommandAttributes::ProtocolMessageCommandAttributes(attributes));
    Ok((Some(message), has_place.then_some(Command { attributes, ..Command::default() })))
}

/// `workflow/run`.
fn execution(text: &str) -> WorkflowExecution {
    let (workflow_id, run_id) = text.split_once('/').unwrap_or((text, ""));
    WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: run_id.to_owned() }
}

fn workflow_worker<'a>(world: &World, words: &Words, commands: impl Iterator<Item = &'a str>) -> Result<Input, String> {
    let worker = words.get("worker").unwrap_or("worker").to_owned();
    match words.verb.as_str() {
        "poll" | "persisted" | "refused" => {
            let run = world.run(words)?;
            let task = run.task.as_ref().map(|task| task.id()).unwrap_or_default();
            let task = TaskRef {
                stamp: words.number("stamp")?.unwrap_or(task.stamp),
                scheduled_event_id: words.number("event")?.unwrap_or(task.scheduled_event_id),
                ..task
            };
            let run_id = run.core.run_id.as_str();
            if words.verb == "poll" {
                let request_id = words.get("request").map_or(format!("poll-{}", task.stamp), str::to_owned);
                let start = StartTask { task, request_id, identity: worker, worker_version: build(words) };
                return Ok(Input::new(run_id, StartWorkflowTask(start)));
            }
            let outcome = if words.verb == "persisted" { Offered::Persisted } else { Offered::Refused };
            Ok(Input::new(run_id, WorkflowTaskOffered(TaskOffered { task, outcome })))
        }
        "complete" => {
            let sticky_attributes = words.get("sticky").map(|name| StickyExecutionAttributes {
                worker_task_queue: Some(TaskQueue { name: name.to_owned(), ..TaskQueue::default() }),
                schedule_to_start_timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            });
            let said = commands.map(answer_to_update).collect::<Result<Vec<_>, _>>()?;
            let (messages, commands): (Vec<_>, Vec<_>) = said.into_iter().unzip();
            let request = RespondWorkflowTaskCompletedRequest {
                namespace: "default".to_owned(),
                commands: commands.into_iter().flatten().collect(),
                messages: messages.into_iter().flatten().collect(),
                identity: worker,
                sticky_attributes,
                return_new_workflow_task: words.flag("return-new"),
                force_create_new_workflow_task: words.flag("force"),
                binary_checksum: words.text("checksum"),
                worker_version_stamp: build(words),
                deployment_options: words.get("deployment").map(|name| WorkerDeploymentOptions {
                    deployment_name: name.to_owned(),
                    worker_versioning_mode: WorkerVersioningMode::Unversioned as i32,
                    ..WorkerDeploymentOptions::default()
                }),
                sdk_metadata: words.get("sdk").map(|name| WorkflowTaskCompletedMetadata {
                    core_used_flags: vec![1, 2],
                    lang_used_flags: vec![3],
                    sdk_name: name.to_owned(),
                    ..WorkflowTaskCompletedMetadata::default()
                }),
                metering_metadata: words
                    .flag("metering")
                    .then_some(MeteringMetadata { nonfirst_local_activity_execution_attempts: 4 }),
                ..RespondWorkflowTaskCompletedRequest::default()
            };
            let ((run_id, task), more_wanted) = (token(world, words)?, words.flag("queries"));
            Ok(Input::new(run_id, CompleteWorkflowTask { task, request, more_wanted }))
        }
        _ => {
            let cause = match words.get("cause") {
                None => WorkflowTaskFailedCause::WorkflowWorkerUnhandledFailure as i32,
                Some("nondeterminism") => WorkflowTaskFailedCause::NonDeterministicError as i32,
                Some("too-large") => WorkflowTaskFailedCause::GrpcMessageTooLarge as i32,
                Some(_) => words.number("cause")?.unwrap_or_default(),
            };
            let request = RespondWorkflowTaskFailedRequest {
                cause,
                failure: Some(failure(words)?),
                identity: worker,
                ..RespondWorkflowTaskFailedRequest::default()
            };
            let (run_id, task) = token(world, words)?;
            Ok(Input::new(run_id, FailWorkflowTask { task, request }))
        }
    }
}

fn build(words: &Words) -> Option<WorkerVersionStamp> {
    let build_id = words.get("build")?.to_owned();
    Some(WorkerVersionStamp { build_id, use_versioning: false })
}

fn token(world: &World, words: &Words) -> Result<(String, TaskRef), String> {
    let (run_id, held) = world.task.clone();
    Ok((run_id, TaskRef { attempt: words.number("attempt")?.unwrap_or(held.attempt), ..held }))
}

fn activity_worker(world: &World, words: &Words) -> Result<Input, String> {
    let run = world.run(words)?;
    let run_id = run.core.run_id.clone();
    let id = words.name()?;
    let known = run.activity_by_id(id);
    let scheduled_event_id = known.map_or(words.number("event")?.unwrap_or(0), |known| known.scheduled_event_id);
    let attempt = words.number("attempt")?.or(known.map(|known| known.progress.attempt)).unwrap_or(1);
    let worker = words.get("worker").unwrap_or("worker").to_owned();
    let activity = if words.flag("by-id") {
        ActivitySelector::Id(id.to_owned())
    } else {
        ActivitySelector::Attempt { scheduled_event_id, attempt }
    };
    let details = || words.payloads("details");
    let task = TaskRef { scheduled_event_id, attempt, stamp: 0 };
    let worker_version = build(words);
    let detailed = |activity, outcome| ActivityResult {
        activity,
        identity: worker.clone(),
        worker_version: worker_version.clone(),
        outcome,
    };
    Ok(match words.verb.as_str() {
        "take" => {
            let request_id = words.get("request").map_or(format!("poll-{id}-{attempt}"), str::to_owned);
            let start = StartTask { task, request_id, identity: worker, ..StartTask::default() };
            Input::new(run_id, StartActivity(start))
        }
        "persisted-activity" => Input::new(run_id, ActivityOffered(TaskOffered { task, outcome: Offered::Persisted })),
        "done" => Input::new(run_id, CompleteActivity(detailed(activity, words.payloads("result")))),
        "failed" => {
            let outcome = ActivityFailure {
                failure: Some(failure(words)?),
                cause: words.number("cause")?.unwrap_or_default(),
                heartbeat_details: details(),
            };
            Input::new(run_id, FailActivity(ActivityResult { activity, identity: worker, worker_version, outcome }))
        }
        "canceled" => Input::new(run_id, CancelActivity(detailed(activity, details()))),
        _ => Input::new(run_id, Heartbeat(detailed(activity, details()))),
    })
}

/// Answers to obligations.
fn outside(world: &World, words: &Words) -> Result<Input, String> {
    let run = world.run(words)?;
    let run_id = run.core.run_id.clone();
    let child = |words: &Words| -> Result<i64, String> {
        let name = words.name()?;
        let child = run.children.values().find(|child| child.initiated.workflow_id == name);
        Ok(child.map_or(words.number("event")?.unwrap_or(0), |child| child.initiated_event_id))
    };
    let event = |words: &Words| words.name()?.parse::<i64>().map_err(|_| "an event id is wanted".to_owned());
    Ok(match words.verb.as_str() {
        "child-started" => {
            Input::new(run_id, ChildStarted { initiated_event_id: child(words)?, result: Ok(words.text("as")) })
        }
        "child-not-started" => {
            let cause = StartChildWorkflowExecutionFailedCause::WorkflowAlreadyExists;
            Input::new(run_id, ChildStarted { initiated_event_id: child(words)?, result: Err(cause) })
        }
        "child-closed" => {
            let closed = ChildClosed {
                initiated_event_id: child(words)?,
                child: execution(&format!("{}/{}", words.name()?, words.text("as"))),
                outcome: outcome(words)?,
            };
            Input::new(run_id, closed)
        }
        "child-released" => Input::new(run_id, ChildReleased { initiated_event_id: child(words)? }),
        "parent-notified" => Input::new(run_id, ParentNotified),
        "signalled" => Input::new(run_id, ExternalSignalled { initiated_event_id: event(words)?, result: Ok(()) }),
        "not-signalled" => {
            let cause = SignalExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound;
            Input::new(run_id, ExternalSignalled { initiated_event_id: event(words)?, result: Err(cause) })
        }
        "cancel-asked" => {
            Input::new(run_id, ExternalCancelRequested { initiated_event_id: event(words)?, result: Ok(()) })
        }
        "cancel-not-asked" => {
            let cause = CancelExternalWorkflowExecutionFailedCause::ExternalWorkflowExecutionNotFound;
            Input::new(run_id, ExternalCancelRequested { initiated_event_id: event(words)?, result: Err(cause) })
        }
        other => return Err(format!("{other:?} says nothing")),
    })
}

/// How a child closed.
fn outcome(words: &Words) -> Result<Attributes, String> {
    let (result, details) = (words.payloads("result"), words.payloads("details"));
    Ok(if words.flag("completed") {
        let attributes = WorkflowExecutionCompletedEventAttributes {
            result,
            ..WorkflowExecutionCompletedEventAttributes::default()
        };
        Attributes::WorkflowExecutionCompletedEventAttributes(attributes)
    } else if words.flag("failed") {
        Attributes::WorkflowExecutionFailedEventAttributes(WorkflowExecutionFailedEventAttributes {
            failure: Some(failure(words)?),
            retry_state: RetryState::RetryPolicyNotSet as i32,
            ..WorkflowExecutionFailedEventAttributes::default()
        })
    } else if words.flag("canceled") {
        let attributes =
            WorkflowExecutionCanceledEventAttributes { details, ..WorkflowExecutionCanceledEventAttributes::default() };
        Attributes::WorkflowExecutionCanceledEventAttributes(attributes)
    } else if words.flag("terminated") {
        Attributes::WorkflowExecutionTerminatedEventAttributes(WorkflowExecutionTerminatedEventAttributes::default())
    } else if words.flag("timed-out") {
        Attributes::WorkflowExecutionTimedOutEventAttributes(WorkflowExecutionTimedOutEventAttributes {
            retry_state: RetryState::Timeout as i32,
            ..WorkflowExecutionTimedOutEventAttributes::default()
        })
    } else {
        return Err("how did the child close?".to_owned());
    })
}
