//! What a run's first event says: from a request, or from the run before it in the chain.

use std::time::Duration;

use api::temporal::api::command::v1::ContinueAsNewWorkflowExecutionCommandAttributes;
use api::temporal::api::common::v1::Payloads;
use api::temporal::api::enums::v1::{ContinueAsNewInitiator, TaskQueueKind};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::WorkflowExecutionStartedEventAttributes as Started;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest;
use ids::{Timestamp, WallClock};

use crate::cron::Cron;
use crate::duration::{from_wire, to_wire, wire_time};
use crate::input::Parent;
use crate::limits::Limits;
use crate::retry::ResolvedRetry;
use crate::run::Run;

/// The first run of a chain.
pub(crate) fn started_by_request(
    request: StartWorkflowExecutionRequest,
    parent: Option<Parent>,
    run_id: &str,
    (now, wall): (Timestamp, WallClock),
    limits: &Limits,
) -> Started {
    let execution_timeout = from_wire(request.workflow_execution_timeout.as_ref());
    let cron = !request.cron_schedule.is_empty();
    let delay = if cron {
        Cron::parse(&request.cron_schedule).ok().and_then(|cron| cron.backoff(wall.shows, wall.shows))
    } else {
        from_wire(request.workflow_start_delay.as_ref())
    };
    // A delay does not put it off.
    let expires = execution_timeout.map(|timeout| wire_time(now + timeout));
    let initiator = if cron { ContinueAsNewInitiator::CronSchedule } else { ContinueAsNewInitiator::Unspecified };
    let run_timeout = run_timeout(from_wire(request.workflow_run_timeout.as_ref()), execution_timeout);
    let task_timeout = task_timeout(from_wire(request.workflow_task_timeout.as_ref()), run_timeout, limits);
    Started {
        workflow_type: request.workflow_type,
        parent_workflow_namespace: parent.as_ref().map(|parent| parent.namespace.clone()).unwrap_or_default(),
        parent_workflow_namespace_id: parent.as_ref().map(|parent| parent.namespace_id.clone()).unwrap_or_default(),
        parent_initiated_event_id: parent.as_ref().map_or(0, |parent| parent.initiated_event_id),
        root_workflow_execution: parent.as_ref().map(|parent| parent.root.clone()),
        parent_workflow_execution: parent.map(|parent| parent.execution),
        task_queue: request.task_queue.map(queue_as_asked),
        input: request.input,
        workflow_execution_timeout: execution_timeout.map(to_wire),
        workflow_run_timeout: run_timeout.map(to_wire),
        workflow_task_timeout: Some(to_wire(task_timeout)),
        continued_failure: request.continued_failure.map(cut),
        last_completion_result: request.last_completion_result,
        original_execution_run_id: run_id.to_owned(),
        first_execution_run_id: run_id.to_owned(),
        identity: request.identity,
        retry_policy: request.retry_policy.map(|policy| ResolvedRetry::of(&policy).to_policy()),
        attempt: 1,
        workflow_execution_expiration_time: expires,
        cron_schedule: request.cron_schedule,
        first_workflow_task_backoff: Some(to_wire(delay.unwrap_or_default())),
        initiator: initiator as i32,
        memo: request.memo,
        search_attributes: request.search_attributes,
        header: request.header,
        workflow_id: request.workflow_id,
        completion_callbacks: request.completion_callbacks,
        priority: request.priority,
        ..Started::default()
    }
}

/// The run after a continue-as-new: of memo, search attributes, retry policy, cron schedule and last result it has what the
/// command carries, and nothing else (SDKs send what is to be kept).
pub(crate) fn continued_as_new(
    run: &Run,
    run_id: &str,
    command: ContinueAsNewWorkflowExecutionCommandAttributes,
    now: Timestamp,
    limits: &Limits,
) -> Started {
    let old = &run.start;
    let timeout = from_wire(command.workflow_run_timeout.as_ref());
    let task = from_wire(command.workflow_task_timeout.as_ref());
    let execution_timeout = from_wire(old.workflow_execution_timeout.as_ref());
    let kept_run_timeout = from_wire(old.workflow_run_timeout.as_ref());
    let kept_task_timeout = from_wire(old.workflow_task_timeout.as_ref());
    let run_timeout = run_timeout(timeout.or(kept_run_timeout), execution_timeout);
    let task_timeout = task_timeout(task.or(kept_task_timeout), run_timeout, limits);
    let backoff = from_wire(command.backoff_start_interval.as_ref()).unwrap_or_default();
    Started {
        workflow_type: command.workflow_type.filter(|kind| !kind.name.is_empty()).or_else(|| old.workflow_type.clone()),
        task_queue: command
            .task_queue
            .filter(|queue| !queue.name.is_empty())
            .map(normal_queue)
            .or_else(|| old.task_queue.clone()),
        input: command.input,
        workflow_run_timeout: run_timeout.map(to_wire),
        workflow_task_timeout: Some(to_wire(task_timeout)),
        continued_failure: command.failure.map(cut),
        last_completion_result: command.last_completion_result,
        retry_policy: command.retry_policy.map(|policy| ResolvedRetry::of(&policy).to_policy()),
        cron_schedule: command.cron_schedule,
        first_workflow_task_backoff: Some(to_wire(apart(run, now, backoff))),
        initiator: ContinueAsNewInitiator::Workflow as i32,
        header: command.header,
        memo: command.memo,
        search_attributes: command.search_attributes,
        attempt: 1,
        ..next_in_chain(run, run_id)
    }
}

/// The run after a failure or timeout that is retried: with what the failed one began with.
pub(crate) fn retried(run: &Run, run_id: &str, failure: &Failure, now: Timestamp, backoff: Duration) -> Started {
    Started {
        continued_failure: Some(failure.clone()),
        first_workflow_task_backoff: Some(to_wire(apart(run, now, backoff))),
        initiator: ContinueAsNewInitiator::Retry as i32,
        attempt: run.start.attempt.saturating_add(1),
        ..next_in_chain(run, run_id)
    }
}

/// The next run of a cron schedule.
pub(crate) fn scheduled_by_cron(
    run: &Run,
    run_id: &str,
    backoff: Duration,
    result: Option<Payloads>,
    failure: Option<Failure>,
) -> Started {
    Started {
        continued_failure: failure,
        last_completion_result: result.or_else(|| run.start.last_completion_result.clone()),
        first_workflow_task_backoff: Some(to_wire(backoff)),
        initiator: ContinueAsNewInitiator::CronSchedule as i32,
        attempt: 1,
        ..next_in_chain(run, run_id)
    }
}

/// What every later run of a chain takes over from the one before.
fn next_in_chain(run: &Run, run_id: &str) -> Started {
    Started {
        continued_execution_run_id: run.core.run_id.clone(),
        original_execution_run_id: run_id.to_owned(),
        eager_execution_accepted: false,
        identity: String::new(),
        ..(*run.start).clone()
    }
}

fn cut(mut failure: Failure) -> Failure {
    crate::cut_failure(&mut failure);
    failure
}

/// Runs of a chain begin at least so long apart, or one that fails or continues as new at once would go round as fast as
/// the machine can. As in the public server.
const APART: Duration = Duration::from_secs(1);

/// The backoff after which the next run begins, when `run` closes at `now`.
fn apart(run: &Run, now: Timestamp, backoff: Duration) -> Duration {
    let lived = now.since(Timestamp::from_nanos(run.core.started_at));
    backoff.max(APART.saturating_sub(lived))
}

/// Whatever kind of queue a caller names: the workflow's tasks wait on the normal one of that name.
fn queue_as_asked(queue: TaskQueue) -> TaskQueue {
    if queue.kind == TaskQueueKind::Sticky as i32 { queue } else { normal_queue(queue) }
}

fn normal_queue(queue: TaskQueue) -> TaskQueue {
    TaskQueue { name: queue.name, kind: TaskQueueKind::Normal as i32, normal_name: String::new() }
}

/// A run may not outlive its execution timeout; without its own it has the execution's.
fn run_timeout(run: Option<Duration>, execution: Option<Duration>) -> Option<Duration> {
    [run, execution].into_iter().flatten().min()
}

/// No longer than the run may take.
fn task_timeout(timeout: Option<Duration>, run: Option<Duration>, limits: &Limits) -> Duration {
    let timeout = timeout.unwrap_or(limits.workflow_task_timeout).min(limits.workflow_task_timeout_max);
    run.map_or(timeout, |run| timeout.min(run))
}
