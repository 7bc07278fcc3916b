//! Start and cancel timers.

use api::temporal::api::command::v1::{CancelTimerCommandAttributes, StartTimerCommandAttributes};
use api::temporal::api::enums::v1::WorkflowTaskFailedCause as Cause;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{TimerCanceledEventAttributes, TimerStartedEventAttributes};

use super::{BadCommand, Carried, Commands, bad};
use crate::change::Fact;
use crate::command_checks::checked_duration;
use crate::draft::EventMetadata;
use crate::events::is_firing_of;

impl Commands<'_, '_> {
    pub(super) fn start_timer(&mut self, mut command: StartTimerCommandAttributes, metadata: EventMetadata) -> Carried {
        let cause = Cause::BadStartTimerAttributes;
        self.check_id(cause, "TimerId", &command.timer_id)?;
        if command.start_to_fire_timeout.is_none() {
            return bad(cause, "StartToFireTimeout is not set".to_owned());
        }
        // Zero is fine: such a timer fires at once.
        checked_duration("StartToFireTimeout", &mut command.start_to_fire_timeout).map_err(|message| BadCommand {
            cause,
            message,
            terminates: false,
        })?;
        if self.run.timers.contains_key(&command.timer_id) {
            let message = format!("timer id {:?} is already in use", command.timer_id);
            return bad(Cause::StartTimerDuplicateId, message);
        }
        let attributes = TimerStartedEventAttributes {
            timer_id: command.timer_id,
            start_to_fire_timeout: command.start_to_fire_timeout,
            workflow_task_completed_event_id: self.completed_event_id,
        };
        self.run.event_with(Attributes::TimerStartedEventAttributes(attributes), metadata);
        Ok(())
    }

    /// A timer that has fired, while the worker was deciding to cancel it, has not fired after all.
    pub(super) fn cancel_timer(&mut self, command: CancelTimerCommandAttributes, metadata: EventMetadata) -> Carried {
        let cause = Cause::BadCancelTimerAttributes;
        self.check_id(cause, "TimerId", &command.timer_id)?;
        let fired = self.run.buffered.iter().find(|event| is_firing_of(event, &command.timer_id));
        let fired = fired.and_then(|event| match &event.attributes {
            Some(Attributes::TimerFiredEventAttributes(fired)) => Some(fired.started_event_id),
            _ => None,
        });
        let running = self.run.timers.get(&command.timer_id).map(|timer| timer.started_event_id);
        let Some(started_event_id) = running.or(fired) else {
            return bad(cause, format!("timer id {:?} names no running timer", command.timer_id));
        };
        if running.is_none() {
            self.run.fact(Fact::UnbufferedTimer(command.timer_id.clone()));
        }
        let attributes = TimerCanceledEventAttributes {
            timer_id: command.timer_id,
            started_event_id,
            workflow_task_completed_event_id: self.completed_event_id,
            identity: self.identity.clone(),
        };
        self.run.event_with(Attributes::TimerCanceledEventAttributes(attributes), metadata);
        Ok(())
    }
}
