//! Start a run: by a caller, a parent, or the run before it.

use api::temporal::api::common::v1::Link;
use api::temporal::api::enums::v1::{
    WorkflowExecutionStatus as Status, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    WorkflowExecutionOptionsUpdatedEventAttributes, WorkflowExecutionStartedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
};
use api::temporal::api::workflow::v1::OnConflictOptions;
use api::texts;

use super::answer::{Decision, changed_run, unchanged};
use super::cancel::end_now;
use super::close::NextRun;
use super::signal::take_signal;
use super::target::Target;
use super::task::{self, Taker};
use super::update;
use crate::chain::{ChainMove, Current};
use crate::change::Fact;
use crate::command_checks::text_payloads;
use crate::draft::{Draft, EventMetadata, RunDraft};
use crate::duration::from_wire;
use crate::input::Start;
use crate::reply::{Rejection, Started};
use crate::requests::RequestKind;
use crate::run_settings::started_by_request;
use crate::{Chain, Env};

pub(super) fn start(on: Target<'_>, start: Start) -> Decision<'_, Started> {
    let (workflow, chain) = (on.workflow, &on.workflow.chain);
    if let Some(run_id) = start.seen_in(chain)
        && let Some(run) = workflow.runs.get(run_id)
    {
        let eager = start.request.request_eager_execution && eager_task_is_callers(run);
        // The request may only have been attached to a run that was there.
        let started = run.core.start_request_id == start.request.request_id;
        return unchanged(Started { run: run.clone(), started, eager, signalled: start.signal.is_some() });
    }
    // The signal of this very request went to a run that may have closed since: it must not come to another.
    if let Some(signal) = &start.signal
        && let Some(run) = signal.seen_in(chain).and_then(|run_id| workflow.runs.get(run_id))
    {
        return unchanged(Started { run: run.clone(), started: false, eager: false, signalled: true });
    }
    if workflow.is_vacant() {
        return begin_chain(on, start);
    }
    if chain.current_status == Status::Running as i32 {
        // An update that the run knows is asked again, whatever the policy says of a start.
        if let Some(update) = &start.update
            && let Some(run) = workflow.current()
            && update::is_under_way(run, update.id())
        {
            return unchanged(Started { run: run.clone(), started: false, eager: false, signalled: false });
        }
        return conflict(on, start);
    }
    match reuse_policy(&start) {
        WorkflowIdReusePolicy::RejectDuplicate => Err(already_started(chain, on.env, "RejectDuplicate")),
        WorkflowIdReusePolicy::AllowDuplicateFailedOnly if !ended_badly(chain) => {
            Err(already_started(chain, on.env, "AllowDuplicateFailedOnly"))
        }
        _ => begin_chain(on, start),
    }
}

fn begin_chain(on: Target<'_>, start: Start) -> Decision<'_, Started> {
    let mut draft = on.draft();
    let run_id = draft.uuid();
    begin(draft, start, run_id)
}

/// Whether the first task is still the one that an eager start gave away.
fn eager_task_is_callers(run: &crate::Run) -> bool {
    run.start.eager_execution_accepted
        && run.task.as_ref().is_some_and(|task| task.is_started() && task.scheduled_event_id == 2)
}

fn reuse_policy(start: &Start) -> WorkflowIdReusePolicy {
    WorkflowIdReusePolicy::try_from(start.request.workflow_id_reuse_policy).unwrap_or_default()
}

fn ended_badly(chain: &Chain) -> bool {
    let bad = [Status::Failed, Status::Canceled, Status::Terminated, Status::TimedOut];
    bad.iter().any(|status| chain.current_status == *status as i32)
}

/// There is an open run.
fn conflict(on: Target<'_>, start: Start) -> Decision<'_, Started> {
    let asked = WorkflowIdConflictPolicy::try_from(start.request.workflow_id_conflict_policy).unwrap_or_default();
    let terminate_if_running = reuse_policy(&start) == WorkflowIdReusePolicy::TerminateIfRunning;
    let policy = match asked {
        WorkflowIdConflictPolicy::Unspecified if terminate_if_running => WorkflowIdConflictPolicy::TerminateExisting,
        WorkflowIdConflictPolicy::Unspecified if start.signal.is_some() => WorkflowIdConflictPolicy::UseExisting,
        WorkflowIdConflictPolicy::Unspecified => WorkflowIdConflictPolicy::Fail,
        policy => policy,
    };
    match policy {
        WorkflowIdConflictPolicy::UseExisting => use_existing(on, start),
        WorkflowIdConflictPolicy::TerminateExisting => {
            let mut draft = on.draft();
            let run_id = draft.uuid();
            let attributes = WorkflowExecutionTerminatedEventAttributes {
                reason: "TerminateIfRunning WorkflowIdReusePolicy".to_owned(),
                identity: task::SERVER_IDENTITY.to_owned(),
                details: Some(text_payloads(&format!("terminated by new runID: {run_id}"))),
            };
            let closing = Attributes::WorkflowExecutionTerminatedEventAttributes(attributes);
            end_now(&mut draft.at(&on.workflow.chain.current_run_id), closing, EventMetadata::default());
            begin(draft, start, run_id)
        }
        WorkflowIdConflictPolicy::Unspecified | WorkflowIdConflictPolicy::Fail => {
            Err(already_started(&on.workflow.chain, on.env, ""))
        }
    }
}

fn use_existing(on: Target<'_>, start: Start) -> Decision<'_, Started> {
    let run_id = on.workflow.chain.current_run_id.clone();
    let mut draft = on.draft();
    let mut run = draft.at(&run_id);
    let signalled = start.signal.is_some();
    if let Some(update) = start.update {
        update::admit(&mut run, update)?;
    }
    if let Some(signal) = start.signal {
        take_signal(&mut run, signal)?;
        // A signal-with-start ends a start delay; cron and retry backoffs stay.
        if run.core.first_task_at != 0 && run.start.initiator == 0 {
            run.fact(Fact::FirstTaskAt(0));
        }
        task::wake_workflow(&mut run);
    } else if let Some(options) = start.request.on_conflict_options {
        attach(&mut run, options, start.request.request_id, start.request.links);
    }
    changed_run(draft, run_id, move |run| Started { run: run.clone(), started: false, eager: false, signalled })
}

/// Adds to an open run what the request wants attached. Clients see it; it wakes no worker.
fn attach(run: &mut RunDraft<'_, '_>, options: OnConflictOptions, request_id: String, links: Vec<Link>) {
    let attached_request_id = if options.attach_request_id { request_id } else { String::new() };
    let links = if options.attach_links { links } else { Vec::new() };
    run.remember(RequestKind::Start, &attached_request_id);
    let attributes = WorkflowExecutionOptionsUpdatedEventAttributes {
        attached_request_id,
        ..WorkflowExecutionOptionsUpdatedEventAttributes::default()
    };
    let attributes = Attributes::WorkflowExecutionOptionsUpdatedEventAttributes(attributes);
    run.event_with(attributes, EventMetadata { links, ..EventMetadata::default() });
}

fn already_started(chain: &Chain, env: &Env<'_>, policy: &str) -> Rejection {
    let (workflow_id, run_id) = (env.workflow_id, &chain.current_run_id);
    let message = if policy.is_empty() {
        texts::already_running(workflow_id, run_id)
    } else {
        texts::already_finished(workflow_id, run_id, policy)
    };
    Rejection::AlreadyStarted {
        message,
        start_request_id: chain.start_request_id.clone(),
        run_id: run_id.clone(),
        first_execution_run_id: chain.first_run_id.clone(),
    }
}

/// Begins a new chain with the run `run_id`.
fn begin(mut draft: Draft<'_>, start: Start, run_id: String) -> Decision<'_, Started> {
    let kind = start.kind();
    let Start { mut request, parent, signal, update } = start;
    let metadata = EventMetadata {
        user_metadata: request.user_metadata.take(),
        links: std::mem::take(&mut request.links),
        markers: Vec::new(),
    };
    let (request_id, identity) = (request.request_id.clone(), request.identity.clone());
    let eager_wanted = request.request_eager_execution;
    let mut started = started_by_request(request, parent, &run_id, (draft.env.now, draft.env.wall), draft.env.limits);
    let delayed = from_wire(started.first_workflow_task_backoff.as_ref()).is_some();
    let eager = eager_wanted && !delayed;
    started.eager_execution_accepted = eager;
    let current = Current {
        run_id: run_id.clone(),
        first_run_id: run_id.clone(),
        start_request_id: request_id.clone(),
        status: Status::Running as i32,
    };
    draft.chain(ChainMove::Current(current));
    let mut run = draft.create(&run_id);
    run.remember(kind, &request_id);
    let signalled = signal.is_some();
    begin_run(&mut run, started, metadata, &request_id);
    check_state(&run)?;
    if let Some(signal) = signal {
        // A new run has no limits to exceed.
        let taken = take_signal(&mut run, signal);
        debug_assert!(taken.is_ok());
    }
    task::wake_workflow(&mut run);
    if let Some(update) = update {
        update::admit(&mut run, update)?;
    }
    if eager {
        let request_id = run.uuid();
        task::take_task(&mut run, Taker { request_id, identity, worker_version: None });
    }
    changed_run(draft, run_id, move |run| Started { run: run.clone(), started: true, eager, signalled })
}

/// A run that could only be ended is not begun.
fn check_state(run: &RunDraft<'_, '_>) -> Result<(), Rejection> {
    let (bytes, most) = (run.state_bytes(), run.env().limits.state_max_bytes);
    if bytes <= most {
        return Ok(());
    }
    let parts = "input, header, memo, search attributes and what else the run begins with";
    Err(Rejection::LimitExceeded(format!("{parts} have {bytes} bytes, at most {most} are allowed")))
}

/// Begins the run that follows `old` in its chain.
pub(super) fn begin_next(old: &mut RunDraft<'_, '_>, next: NextRun) {
    let request_id = old.core.start_request_id.clone();
    let draft = old.draft();
    let current = Current {
        run_id: next.run_id.clone(),
        first_run_id: next.start.first_execution_run_id.clone(),
        start_request_id: draft.next.chain.start_request_id.clone(),
        status: Status::Running as i32,
    };
    draft.chain(ChainMove::Current(current));
    let mut run = draft.create(&next.run_id);
    begin_run(&mut run, next.start, EventMetadata::default(), &request_id);
    task::wake_workflow(&mut run);
}

fn begin_run(
    run: &mut RunDraft<'_, '_>,
    started: WorkflowExecutionStartedEventAttributes,
    metadata: EventMetadata,
    request_id: &str,
) {
    run.event_with(Attributes::WorkflowExecutionStartedEventAttributes(started), metadata);
    run.fact(Fact::StartRequestId(request_id.to_owned()));
}
