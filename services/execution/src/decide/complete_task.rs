//! A worker's decisions: the task completes, its commands are carried out, what was buffered comes in, and a next task
//! follows if there is reason for one. All or nothing: a bad command fails the task instead.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::enums::v1::{TimeoutType, WorkflowTaskFailedCause};
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{Failure, ServerFailureInfo};
use api::temporal::api::history::v1::WorkflowTaskCompletedEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use ids::Timestamp;

use super::command::{BadCommand, Commands, Requester};
use super::task::{self, LostTask, Taker};
use crate::change::{Empty, Fact, Sticky};
use crate::draft::Draft;
use crate::duration::{from_wire, nanos};
use crate::input::CompleteWorkflowTask;
use crate::reply::{Rejection, Reply, Transition};
use crate::workflow_task::WorkflowTask;
use crate::{Env, Workflow};

pub(super) fn complete(
    workflow: &Workflow,
    complete: CompleteWorkflowTask,
    env: &Env<'_>,
) -> Result<Transition, Rejection> {
    let (_, task) = task::started_task(workflow, &complete.task, env)?;
    super::command::check_sequence(&complete.request.commands).map_err(Rejection::InvalidArgument)?;
    if is_heartbeat(&complete) && heartbeats_too_long(task, env) {
        return Ok(time_out_heartbeats(workflow, &complete.task.run_id, task, env));
    }
    let identity = complete.request.identity.clone();
    let run_id = complete.task.run_id.clone();
    let worker_version = complete.request.worker_version_stamp.clone();
    let binary_checksum = complete.request.binary_checksum.clone();
    try_complete(workflow, complete, task, env).or_else(|bad| {
        let mut draft = Draft::of(workflow, env);
        let reason = reason_of(&bad);
        let failure = Some(bad_command_failure(&reason));
        let lost = LostTask { cause: bad.cause as i32, failure, identity, worker_version, binary_checksum };
        let was_closing = bad.cause == WorkflowTaskFailedCause::UnhandledCommand;
        if bad.terminates {
            task::end_after_failure(&mut draft, &run_id, lost, reason.clone());
        } else {
            task::lose_to_failure(&mut draft, &run_id, lost);
        }
        if was_closing {
            keep_signals_out(&mut draft, &run_id);
        }
        Ok(draft.finish(|_| Reply::Refused(Rejection::InvalidArgument(reason))))
    })
}

/// A close was refused for events that the worker had not seen: the next task is to find none. Of what can come, only
/// signals come without end.
fn keep_signals_out(draft: &mut Draft<'_>, run_id: &str) {
    draft.fact(run_id, Fact::SignalsKeptOut(Empty {}));
}

fn bad_command_failure(message: &str) -> Failure {
    Failure {
        message: message.to_owned(),
        failure_info: Some(FailureInfo::ServerFailureInfo(ServerFailureInfo::default())),
        ..Failure::default()
    }
}

/// The cause as clients print it, `BadScheduleActivityAttributes`, and what is wrong.
fn reason_of(bad: &BadCommand) -> String {
    match &bad.message[..] {
        "" => format!("{:?}", bad.cause),
        message => format!("{:?}: {message}", bad.cause),
    }
}

/// Whether the worker only wants more time for its local activities.
fn is_heartbeat(complete: &CompleteWorkflowTask) -> bool {
    complete.request.force_create_new_workflow_task && complete.request.commands.is_empty()
}

fn heartbeats_too_long(task: &WorkflowTask, env: &Env<'_>) -> bool {
    let since = env.now.since(Timestamp::from_nanos(task.first_scheduled_at));
    since >= env.limits.workflow_task_heartbeat_max
}

/// Local activities have stretched one task for too long: its worker is taken for stuck.
fn time_out_heartbeats(workflow: &Workflow, run_id: &str, task: &WorkflowTask, env: &Env<'_>) -> Transition {
    let mut draft = Draft::of(workflow, env);
    task::write_transient(&mut draft, run_id);
    let failures = draft.run(run_id).failures_with_this_task();
    task::write_time_out(&mut draft, run_id, task, TimeoutType::StartToClose);
    task::after_loss(&mut draft, run_id, failures, Duration::ZERO);
    draft.finish(|_| Reply::Refused(Rejection::NotFound("workflow task heartbeat timeout".to_owned())))
}

fn try_complete(
    workflow: &Workflow,
    complete: CompleteWorkflowTask,
    task: &WorkflowTask,
    env: &Env<'_>,
) -> Result<Transition, BadCommand> {
    let heartbeat = is_heartbeat(&complete);
    let CompleteWorkflowTask { task: id, request, more_wanted } = complete;
    let run_id = id.run_id;
    let mut draft = Draft::of(workflow, env);
    task::write_transient(&mut draft, &run_id);
    let completed_event_id = draft.event(
        &run_id,
        Attributes::WorkflowTaskCompletedEventAttributes(WorkflowTaskCompletedEventAttributes {
            scheduled_event_id: task.scheduled_event_id,
            started_event_id: task.started_event_id().unwrap_or(0),
            identity: request.identity.clone(),
            binary_checksum: request.binary_checksum.clone(),
            worker_version: request.worker_version_stamp.clone(),
            sdk_metadata: request.sdk_metadata.clone(),
            metering_metadata: request.metering_metadata,
            deployment: request.deployment.clone(),
            versioning_behavior: request.versioning_behavior,
            worker_deployment_version: String::new(),
            worker_deployment_name: request
                .deployment_options
                .as_ref()
                .map(|options| options.deployment_name.clone())
                .unwrap_or_default(),
            deployment_version: None,
        }),
    );
    set_sticky(&mut draft, &run_id, request.sticky_attributes.as_ref());
    let who = Requester { identity: request.identity.clone(), namespace: request.namespace.clone() };
    let mut commands = Commands::new(draft, run_id.clone(), completed_event_id, who);
    for command in request.commands {
        commands.carry_out(command)?;
    }
    let consequences = commands.follow_through();
    let (mut draft, eager) = (commands.draft, consequences.eager);

    let mut new_task = false;
    if draft.run(&run_id).is_open() {
        let news = draft.flush_buffered(&run_id) || consequences.cancelled;
        if news || request.force_create_new_workflow_task || more_wanted {
            task::schedule(&mut draft, &run_id);
            if heartbeat {
                draft.fact(&run_id, Fact::HeartbeatsSince(task.first_scheduled_at));
            }
            if request.return_new_workflow_task {
                let request_id = draft.uuid();
                let (identity, worker_version) = (request.identity, request.worker_version_stamp);
                task::take_task(&mut draft, &run_id, Taker { request_id, identity, worker_version });
                new_task = true;
            }
        }
    }
    Ok(draft.finish(|next| {
        let run = next.runs[&run_id].clone();
        let eager_activities = eager.iter().filter_map(|id| run.activities.get(id)).map(Arc::clone).collect();
        Reply::TaskCompleted { run, new_task, eager_activities }
    }))
}

fn set_sticky(
    draft: &mut Draft<'_>,
    run_id: &str,
    wanted: Option<&api::temporal::api::taskqueue::v1::StickyExecutionAttributes>,
) {
    let queue = wanted.and_then(|wanted| wanted.worker_task_queue.as_ref()).map_or("", |queue| &queue.name);
    let timeout = wanted.and_then(|wanted| from_wire(wanted.schedule_to_start_timeout.as_ref())).map_or(0, nanos);
    let sticky = if queue.is_empty() || timeout == 0 {
        Sticky::default()
    } else {
        Sticky { queue: queue.to_owned(), timeout_nanos: timeout }
    };
    let core = &draft.run(run_id).core;
    if core.sticky_queue != sticky.queue || core.sticky_timeout_nanos != sticky.timeout_nanos {
        draft.fact(run_id, Fact::Sticky(sticky));
    }
}

#[cfg(test)]
mod tests {
    use api::temporal::api::enums::v1::WorkflowTaskFailedCause as Cause;

    use super::*;

    #[test]
    fn what_sdks_compare_is_the_name_of_the_cause_and_nothing_else() {
        let bad = BadCommand { cause: Cause::UnhandledCommand, message: String::new(), terminates: false };
        assert_eq!(reason_of(&bad), api::texts::UNHANDLED_COMMAND);
    }
}
