//! What a run's first event says: from a request, or from the run before it in the chain.

use std::time::Duration;

use api::temporal::api::command::v1::ContinueAsNewWorkflowExecutionCommandAttributes;
use api::temporal::api::common::v1::{Memo, Payloads, SearchAttributes, WorkflowExecution};
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
    let own = WorkflowExecution { workflow_id: request.workflow_id.clone(), run_id: run_id.to_owned() };
    let cron = !request.cron_schedule.is_empty();
    let delay = if cron {
        Cron::parse(&request.cron_schedule).ok().and_then(|cron| cron.backoff(wall.shows, wall.shows))
    } else {
        from_wire(request.workflow_start_delay.as_ref())
    };
    // A delayed run's execution timeout begins when its delay ends.
    let expires = execution_timeout.map(|timeout| wire_time(now + delay.unwrap_or_default() + timeout));
    let initiator = if cron { ContinueAsNewInitiator::CronSchedule } else { ContinueAsNewInitiator::Unspecified };
    let (root, parent) = match parent {
        Some(parent) => (parent.root.clone(), Some(parent)),
        None => (own, None),
    };
    Started {
        workflow_type: request.workflow_type,
        parent_workflow_namespace: parent.as_ref().map(|parent| parent.namespace.clone()).unwrap_or_default(),
        parent_workflow_namespace_id: parent.as_ref().map(|parent| parent.namespace_id.clone()).unwrap_or_default(),
        parent_initiated_event_id: parent.as_ref().map_or(0, |parent| parent.initiated_event_id),
        parent_workflow_execution: parent.map(|parent| parent.execution),
        task_queue: request.task_queue.map(normal_queue),
        input: request.input,
        workflow_execution_timeout: Some(to_wire(execution_timeout.unwrap_or_default())),
        workflow_run_timeout: Some(run_timeout(from_wire(request.workflow_run_timeout.as_ref()), execution_timeout)),
        workflow_task_timeout: Some(task_timeout(from_wire(request.workflow_task_timeout.as_ref()), limits)),
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
        root_workflow_execution: Some(root),
        completion_callbacks: request.completion_callbacks,
        priority: request.priority,
        ..Started::default()
    }
}

/// The run after a continue-as-new.
pub(crate) fn continued_as_new(
    run: &Run,
    run_id: &str,
    command: ContinueAsNewWorkflowExecutionCommandAttributes,
    limits: &Limits,
) -> Started {
    let old = &run.start;
    let timeout = from_wire(command.workflow_run_timeout.as_ref());
    let task = from_wire(command.workflow_task_timeout.as_ref());
    let execution_timeout = from_wire(old.workflow_execution_timeout.as_ref());
    let kept_run_timeout = from_wire(old.workflow_run_timeout.as_ref());
    let kept_task_timeout = from_wire(old.workflow_task_timeout.as_ref());
    let cron = if command.cron_schedule.is_empty() { old.cron_schedule.clone() } else { command.cron_schedule };
    Started {
        workflow_type: command.workflow_type.filter(|kind| !kind.name.is_empty()).or_else(|| old.workflow_type.clone()),
        task_queue: command
            .task_queue
            .filter(|queue| !queue.name.is_empty())
            .map(normal_queue)
            .or_else(|| old.task_queue.clone()),
        input: command.input,
        workflow_run_timeout: Some(run_timeout(timeout.or(kept_run_timeout), execution_timeout)),
        workflow_task_timeout: Some(task_timeout(task.or(kept_task_timeout), limits)),
        continued_failure: command.failure.map(cut),
        last_completion_result: command.last_completion_result.or_else(|| old.last_completion_result.clone()),
        retry_policy: command
            .retry_policy
            .map(|policy| ResolvedRetry::of(&policy).to_policy())
            .or_else(|| old.retry_policy.clone()),
        cron_schedule: cron,
        first_workflow_task_backoff: Some(command.backoff_start_interval.unwrap_or_default()),
        initiator: ContinueAsNewInitiator::Workflow as i32,
        header: command.header,
        memo: command.memo.or_else(|| memo_of(run)),
        search_attributes: command.search_attributes.or_else(|| search_attributes_of(run)),
        attempt: 1,
        ..next_in_chain(run, run_id)
    }
}

/// The run after a failure or timeout that is retried: with what the failed one began with.
pub(crate) fn retried(run: &Run, run_id: &str, failure: &Failure, backoff: Duration) -> Started {
    Started {
        continued_failure: Some(failure.clone()),
        first_workflow_task_backoff: Some(to_wire(backoff)),
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
        ..(*run.start).clone()
    }
}

fn cut(mut failure: Failure) -> Failure {
    crate::cut_failure(&mut failure);
    failure
}

fn memo_of(run: &Run) -> Option<Memo> {
    (!run.memo.is_empty()).then(|| Memo { fields: (*run.memo).clone() })
}

fn search_attributes_of(run: &Run) -> Option<SearchAttributes> {
    let attributes = SearchAttributes { indexed_fields: (*run.search_attributes).clone() };
    (!attributes.indexed_fields.is_empty()).then_some(attributes)
}

fn normal_queue(queue: TaskQueue) -> TaskQueue {
    TaskQueue { name: queue.name, kind: TaskQueueKind::Normal as i32, normal_name: String::new() }
}

/// A run may not outlive its execution timeout; without its own it has the execution's.
fn run_timeout(run: Option<Duration>, execution: Option<Duration>) -> prost_types::Duration {
    to_wire([run, execution].into_iter().flatten().min().unwrap_or_default())
}

fn task_timeout(timeout: Option<Duration>, limits: &Limits) -> prost_types::Duration {
    to_wire(timeout.unwrap_or(limits.workflow_task_timeout).min(limits.workflow_task_timeout_max))
}
