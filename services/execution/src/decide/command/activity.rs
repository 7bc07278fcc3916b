//! Schedule and cancel activities.

use std::time::Duration;

use api::temporal::api::command::v1::{
    RequestCancelActivityTaskCommandAttributes, ScheduleActivityTaskCommandAttributes,
};
use api::temporal::api::enums::v1::{TaskQueueKind, WorkflowTaskFailedCause as Cause};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    ActivityTaskCancelRequestedEventAttributes, ActivityTaskCanceledEventAttributes,
    ActivityTaskScheduledEventAttributes,
};
use api::temporal::api::taskqueue::v1::TaskQueue;

use super::{BadCommand, Carried, Commands, bad, inherited};
use crate::change::Fact;
use crate::command_checks::{checked_duration, checked_retry_policy};
use crate::draft::EventMetadata;
use crate::duration::to_wire;
use crate::events::{Pending, ended_by};
use crate::pending::{ActivityProgress, ActivityState, activity_state};
use crate::retry::ResolvedRetry;

/// What details a cancelled activity has that was never started.
const NOT_STARTED: &str = "ACTIVITY_ID_NOT_STARTED";

/// What followed from the commands of a completion.
pub(in crate::decide) struct Consequences {
    /// Activities that were started for the worker, by scheduled event id.
    pub(in crate::decide) eager: Vec<i64>,
    /// Whether an activity was cancelled before it was started, of which the workflow must be notified.
    pub(in crate::decide) cancelled: bool,
}

impl Commands<'_, '_> {
    pub(super) fn schedule_activity(
        &mut self,
        command: ScheduleActivityTaskCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadScheduleActivityAttributes;
        self.check_id(cause, "ActivityId", &command.activity_id)?;
        let kind = command.activity_type.as_ref().map_or("", |kind| &kind.name);
        self.check_id(cause, "ActivityType", kind)?;
        self.check_route(cause, command.task_queue.as_ref(), command.priority.as_ref())?;
        self.check_size(cause, "ScheduleActivityTaskCommandAttributes.Input", command.input.as_ref())?;
        self.check_pending(Cause::PendingActivitiesLimitExceeded, "activities", self.run.activities.len())?;
        if self.run.activity_by_id(&command.activity_id).is_some() {
            let message = format!("activity id {:?} is already in use", command.activity_id);
            return bad(Cause::ScheduleActivityDuplicateId, message);
        }
        let eager = command.request_eager_execution;
        let attributes = self.resolved(command).map_err(|message| BadCommand { cause, message, terminates: false })?;
        let attributes = Attributes::ActivityTaskScheduledEventAttributes(attributes);
        let id = self.run.event_with(attributes, metadata);
        if eager {
            self.eager.push(id);
        }
        Ok(())
    }

    /// Fills in timeouts and retry policy: unset ones follow from those that are set, and from the run's own timeout.
    fn resolved(
        &self,
        mut command: ScheduleActivityTaskCommandAttributes,
    ) -> Result<ActivityTaskScheduledEventAttributes, String> {
        let run_timeout = crate::duration::from_wire(self.run.start.workflow_run_timeout.as_ref());
        let close = checked_duration("ScheduleToCloseTimeout", &mut command.schedule_to_close_timeout)?;
        let start = checked_duration("ScheduleToStartTimeout", &mut command.schedule_to_start_timeout)?;
        let run = checked_duration("StartToCloseTimeout", &mut command.start_to_close_timeout)?;
        let heartbeat = checked_duration("HeartbeatTimeout", &mut command.heartbeat_timeout)?;
        if close.is_none() && run.is_none() {
            let id = &command.activity_id;
            return Err(format!(
                "a valid StartToClose or ScheduleToCloseTimeout is not set on command for activity {id:?}"
            ));
        }
        let within = |timeout: Duration, bound: Option<Duration>| bound.map_or(timeout, |bound| timeout.min(bound));
        let close = match (close, run_timeout) {
            (Some(close), bound) => Some(within(close, bound)),
            (None, bound) => bound,
        };
        let start = start.map(|start| within(start, close)).or(close);
        let run = run.map(|run| within(run, close)).or(close);
        let heartbeat = heartbeat.map(|heartbeat| within(heartbeat, run));
        checked_retry_policy(command.retry_policy.as_ref())?;
        let policy = command.retry_policy.clone().unwrap_or_default();
        let queue = command.task_queue.filter(|queue| !queue.name.is_empty());
        let name = queue.map_or_else(|| self.run.task_queue_name().to_owned(), |queue| queue.name);
        let wire = |timeout: Option<Duration>| Some(to_wire(timeout.unwrap_or_default()));
        Ok(ActivityTaskScheduledEventAttributes {
            activity_id: command.activity_id,
            activity_type: command.activity_type,
            task_queue: Some(TaskQueue { name, kind: TaskQueueKind::Normal as i32, normal_name: String::new() }),
            header: command.header,
            input: command.input,
            schedule_to_close_timeout: wire(close),
            schedule_to_start_timeout: wire(start),
            start_to_close_timeout: wire(run),
            heartbeat_timeout: wire(heartbeat),
            workflow_task_completed_event_id: self.completed_event_id,
            retry_policy: Some(ResolvedRetry::of(&policy).to_policy()),
            use_workflow_build_id: command.use_workflow_build_id,
            priority: inherited(command.priority, self.run.start.priority.as_ref()),
        })
    }

    /// What follows from the commands, once all of them are carried out: their own events lie side by side, by whose order
    /// the Go SDK knows their ids beforehand.
    pub(in crate::decide) fn follow_through(&mut self) -> Consequences {
        let cancelled = std::mem::take(&mut self.cancelled);
        let mut consequences = Consequences { eager: Vec::new(), cancelled: !cancelled.is_empty() };
        if !self.run.is_open() {
            return consequences;
        }
        for (scheduled_event_id, requested_event_id) in cancelled {
            self.end_unstarted(scheduled_event_id, requested_event_id);
        }
        for scheduled_event_id in std::mem::take(&mut self.eager) {
            // Cancelled by a later command of the same completion: there is nothing to take along.
            if self.run.activities.contains_key(&scheduled_event_id) {
                self.start_eagerly(scheduled_event_id);
                consequences.eager.push(scheduled_event_id);
            }
        }
        consequences
    }

    fn end_unstarted(&mut self, scheduled_event_id: i64, requested_event_id: i64) {
        let canceled = ActivityTaskCanceledEventAttributes {
            details: Some(crate::command_checks::text_payloads(NOT_STARTED)),
            latest_cancel_requested_event_id: requested_event_id,
            scheduled_event_id,
            identity: self.identity.clone(),
            ..ActivityTaskCanceledEventAttributes::default()
        };
        self.run.event(Attributes::ActivityTaskCanceledEventAttributes(canceled));
    }

    /// The worker that completes the task takes the activity along with the answer.
    fn start_eagerly(&mut self, scheduled_event_id: i64) {
        let request_id = self.run.uuid();
        let now = self.run.now().nanos();
        let identity = self.identity.clone();
        let Some(activity) = self.run.activities.get(&scheduled_event_id) else { return };
        let progress = ActivityProgress { started_at: now, request_id, identity, ..activity.progress.clone() };
        self.run.fact(Fact::moved(scheduled_event_id, progress));
    }

    pub(super) fn cancel_activity(
        &mut self,
        command: RequestCancelActivityTaskCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let scheduled_event_id = command.scheduled_event_id;
        let activity = self.run.activities.get(&scheduled_event_id).cloned();
        // While the worker was deciding the activity may have ended.
        let just_ended =
            || self.run.buffered.iter().any(|event| ended_by(event) == Some(Pending::Activity(scheduled_event_id)));
        if activity.is_none() && !just_ended() {
            let message = format!("ScheduledEventId {scheduled_event_id} names no pending activity");
            return bad(Cause::BadRequestCancelActivityAttributes, message);
        }
        if activity.as_ref().is_some_and(|activity| activity.cancel_requested()) {
            let message =
                format!("cancellation of the activity with ScheduledEventId {scheduled_event_id} is requested already");
            return bad(Cause::BadRequestCancelActivityAttributes, message);
        }
        let requested = ActivityTaskCancelRequestedEventAttributes {
            scheduled_event_id,
            workflow_task_completed_event_id: self.completed_event_id,
        };
        let attributes = Attributes::ActivityTaskCancelRequestedEventAttributes(requested);
        let requested_event_id = self.run.event_with(attributes, metadata);
        // An activity that has ended meanwhile needs nothing more; one that no worker runs ends at once.
        if activity.is_some_and(|activity| activity_state(&activity) != ActivityState::Started) {
            self.cancelled.push((scheduled_event_id, requested_event_id));
        }
        Ok(())
    }
}
