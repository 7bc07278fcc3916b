//! A worker's decisions: the task completes, its commands are carried out, what was buffered comes in, and a next task
//! follows if there is reason for one. All or nothing: a bad command fails the task instead.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::WorkerVersionStamp;
use api::temporal::api::enums::v1::{TimeoutType, WorkflowTaskFailedCause};
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{Failure, ServerFailureInfo};
use api::temporal::api::history::v1::WorkflowTaskCompletedEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use ids::Timestamp;

use super::answer::{Answer, Decision};
use super::command::{BadCommand, Commands, Requester};
use super::target::Target;
use super::task::{self, Taker, TaskFailure};
use super::update::{self, Said};
use crate::Env;
use crate::change::{Empty, Fact, Sticky};
use crate::draft::RunDraft;
use crate::duration::{from_wire, nanos};
use crate::input::CompleteWorkflowTask;
use crate::reply::{Rejection, TaskCompleted};
use crate::run::Run;
use crate::updates::UpdateEnd;
use crate::workflow_task::WorkflowTask;

pub(super) fn complete(on: Target<'_>, complete: CompleteWorkflowTask) -> Decision<'_, TaskCompleted> {
    let (before, task) = task::started_task(on, complete.task)?;
    let run_id = &before.core.run_id;
    super::command::check_sequence(&complete.request.commands).map_err(Rejection::InvalidArgument)?;
    if is_heartbeat(&complete) && heartbeats_too_long(task, on.env) {
        return Ok(time_out_heartbeats(on, run_id, task));
    }
    if leaves_no_trace(before, task, &complete) {
        return Ok(drop_task(on, complete, before, task));
    }
    let identity = complete.request.identity.clone();
    let worker_version = complete.request.worker_version_stamp.clone();
    let binary_checksum = complete.request.binary_checksum.clone();
    try_complete(on, complete, run_id, task).or_else(|bad| {
        let mut draft = on.draft();
        let mut run = draft.at(run_id);
        let reason = reason_of(&bad);
        let failure = Some(bad_command_failure(&reason));
        let failed = TaskFailure { cause: bad.cause as i32, failure, identity, worker_version, binary_checksum };
        let was_closing = bad.cause == WorkflowTaskFailedCause::UnhandledCommand;
        if bad.terminates {
            task::end_after_failure(&mut run, failed, reason.clone());
        } else {
            task::fail_and_reschedule(&mut run, failed);
        }
        // A close was refused for events that the worker had not seen: the next task is to find none. Of what can come, only
        // signals come without end.
        if bad.cause == WorkflowTaskFailedCause::BadUpdateWorkflowExecutionMessage {
            let end = |run: &mut Run| run.volatile.end_carried(task.stamp, &UpdateEnd::TaskFailed);
            run.change_volatile(end);
        }
        if was_closing {
            run.fact(Fact::SignalsKeptOut(Empty {}));
        }
        Ok(Answer::Refused(draft, Rejection::InvalidArgument(reason)))
    })
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
fn time_out_heartbeats<'a>(on: Target<'a>, run_id: &str, task: &WorkflowTask) -> Answer<'a, TaskCompleted> {
    let mut draft = on.draft();
    let mut run = draft.at(run_id);
    task::write_unwritten(&mut run);
    let failures = run.failures_with_this_task();
    task::write_time_out(&mut run, task, TimeoutType::StartToClose);
    task::reschedule(&mut run, failures, Duration::ZERO);
    Answer::Refused(draft, Rejection::NotFound("workflow task heartbeat timeout".to_owned()))
}

fn try_complete<'a>(
    on: Target<'a>,
    complete: CompleteWorkflowTask,
    run_id: &str,
    task: &WorkflowTask,
) -> Result<Answer<'a, TaskCompleted>, BadCommand> {
    let heartbeat = is_heartbeat(&complete);
    let CompleteWorkflowTask { request, more_wanted, .. } = complete;
    let mut draft = on.draft();
    let mut run = draft.at(run_id);
    task::write_unwritten(&mut run);
    let completed_event_id =
        run.event(Attributes::WorkflowTaskCompletedEventAttributes(WorkflowTaskCompletedEventAttributes {
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
        }));
    set_sticky(&mut run, request.sticky_attributes.as_ref());
    let who = Requester { identity: request.identity.clone(), namespace: request.namespace.clone() };
    let mut commands = Commands::new(run, completed_event_id, who);
    commands.take_messages(request.messages)?;
    request.commands.into_iter().try_for_each(|command| commands.carry_out(command))?;
    commands.take_other_messages()?;
    let consequences = commands.follow_through();
    let (mut run, eager) = (commands.run, consequences.eager);

    let mut new_task = false;
    if run.is_open() {
        // A worker that only wants more time has not looked at them yet.
        if !heartbeat {
            end_unprocessed(&mut run, task.stamp);
        }
        let has_new_events = run.flush_buffered() || consequences.cancelled;
        if has_new_events || request.force_create_new_workflow_task || more_wanted {
            task::schedule(&mut run);
            if heartbeat {
                run.fact(Fact::HeartbeatsSince(task.first_scheduled_at));
            }
        } else {
            task::schedule_for_updates(&mut run);
        }
        new_task = run.task.is_some() && request.return_new_workflow_task;
        if new_task {
            take_inline(&mut run, request.identity, request.worker_version_stamp);
        }
    }
    let run_id = run_id.to_owned();
    Ok(Answer::Changed(
        draft,
        Box::new(move |next| {
            let run = next.runs[&run_id].clone();
            let eager_activities = eager.iter().filter_map(|id| run.activities.get(id)).map(Arc::clone).collect();
            TaskCompleted { run, new_task, eager_activities, reset_to: None }
        }),
    ))
}

/// The worker that has just completed a task goes on with the next one.
fn take_inline(run: &mut RunDraft<'_, '_>, identity: String, worker_version: Option<WorkerVersionStamp>) {
    let request_id = run.uuid();
    task::take_task(run, Taker { request_id, identity, worker_version });
}

/// A worker has to answer all that a task carries, or it would be carried again and again.
fn end_unprocessed(run: &mut RunDraft<'_, '_>, stamp: i64) {
    if run.volatile.carried_by(stamp).next().is_some() {
        run.change_volatile(|run| run.volatile.end_carried(stamp, &UpdateEnd::unprocessed()));
    }
}

/// Whether a task was there only for updates that come to nothing: the history does without it. Not if it shows the worker
/// anything else that it will not be shown again.
fn leaves_no_trace(run: &Run, task: &WorkflowTask, complete: &CompleteWorkflowTask) -> bool {
    let request = &complete.request;
    // The events between: completed.
    let shows_no_more = task.scheduled_event_id == run.core.previous_started_event_id + 2;
    task.is_speculative()
        && shows_no_more
        && !request.force_create_new_workflow_task
        && !complete.more_wanted
        && request.commands.is_empty()
        && request.messages.iter().all(|message| matches!(update::said(message), Ok(Said::Rejects(_))))
}

/// Takes the worker's answers from a task that leaves no trace.
fn drop_task<'a>(
    on: Target<'a>,
    complete: CompleteWorkflowTask,
    before: &Run,
    task: &WorkflowTask,
) -> Answer<'a, TaskCompleted> {
    let CompleteWorkflowTask { request, .. } = complete;
    let run_id = before.core.run_id.clone();
    let mut draft = on.draft();
    let mut run = draft.at(&run_id);
    run.change_volatile(|run| run.task = None);
    set_sticky(&mut run, request.sticky_attributes.as_ref());
    update::take_rejections(&mut run, request.messages);
    end_unprocessed(&mut run, task.stamp);
    task::schedule_for_updates(&mut run);
    let new_task = run.task.is_some() && request.return_new_workflow_task;
    if new_task {
        take_inline(&mut run, request.identity, request.worker_version_stamp);
    }
    let reset_to = Some(before.core.previous_started_event_id);
    Answer::Changed(
        draft,
        Box::new(move |next| {
            let run = next.runs[&run_id].clone();
            TaskCompleted { run, new_task, eager_activities: Vec::new(), reset_to }
        }),
    )
}

fn set_sticky(
    run: &mut RunDraft<'_, '_>,
    wanted: Option<&api::temporal::api::taskqueue::v1::StickyExecutionAttributes>,
) {
    let queue = wanted.and_then(|wanted| wanted.worker_task_queue.as_ref()).map_or("", |queue| &queue.name);
    let timeout = wanted.and_then(|wanted| from_wire(wanted.schedule_to_start_timeout.as_ref())).map_or(0, nanos);
    let sticky = if queue.is_empty() || timeout == 0 {
        Sticky::default()
    } else {
        Sticky { queue: queue.to_owned(), timeout_nanos: timeout }
    };
    if run.core.sticky_queue != sticky.queue || run.core.sticky_timeout_nanos != sticky.timeout_nanos {
        run.fact(Fact::Sticky(sticky));
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
