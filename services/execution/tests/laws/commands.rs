//! Commands and requests made up at random: small sets of ids, so that they collide; durations that are fine, absurd,
//! negative.

use api::temporal::api::command::v1::command::Attributes as A;
use api::temporal::api::command::v1::*;
use api::temporal::api::common::v1::{
    ActivityType, Memo, Payload, Payloads, RetryPolicy, SearchAttributes, WorkflowExecution, WorkflowType,
};
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{ApplicationFailureInfo, CanceledFailureInfo, Failure};
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::taskqueue::v1::TaskQueue;
use execution::Run;
use prost_types::Duration;

use crate::dice::Dice;

const IDS: &[&str] = &["A", "B", "C", "D", "E", "F", "G", "H"];

pub fn id(dice: &mut Dice) -> String {
    match dice.below(400) {
        0 => String::new(),
        1 => "long".repeat(300),
        _ => (*dice.pick(IDS)).to_owned(),
    }
}

/// Mostly seconds; now and then what makes no sense, or is decades.
pub fn duration(dice: &mut Dice) -> Duration {
    let seconds = |seconds: i64| Duration { seconds, nanos: 0 };
    match dice.below(200) {
        0 => seconds(-1),
        1 => Duration { seconds: 1, nanos: -5 },
        2 => seconds(i64::MAX),
        3..6 => seconds(10_000 * 365 * 24 * 3600),
        6..14 => seconds(0),
        14..40 => Duration { seconds: 0, nanos: 1 + dice.below(999_999_999) as i32 },
        40..55 => seconds(3600 + dice.below(100_000) as i64),
        _ => seconds(1 + dice.below(20) as i64),
    }
}

/// A duration of a request that the frontend has let through.
pub fn sound_duration(dice: &mut Dice) -> Duration {
    let given = duration(dice);
    let sound = given.seconds >= 0 && given.nanos >= 0 && given.seconds <= 10_000 * 365 * 24 * 3600;
    if sound { given } else { Duration { seconds: 7, nanos: 0 } }
}

pub fn payloads(dice: &mut Dice) -> Payloads {
    let size = if dice.below(300) == 0 { 5000 } else { dice.below(20) };
    let data = vec![b'x'; size].into();
    Payloads { payloads: vec![Payload { data, ..Payload::default() }] }
}

fn fields(dice: &mut Dice) -> std::collections::BTreeMap<String, Payload> {
    (0..1 + dice.below(2))
        .map(|_| {
            let data = if dice.percent(30) { "null" } else { "\"v\"" };
            let metadata = [("encoding".to_owned(), "json/plain".as_bytes().into())].into();
            let payload = Payload { metadata, data: data.as_bytes().into(), ..Payload::default() };
            ((*dice.pick(IDS)).to_owned(), payload)
        })
        .collect()
}

pub fn retry_policy(dice: &mut Dice) -> RetryPolicy {
    RetryPolicy {
        initial_interval: dice.maybe(70, |dice| Duration { seconds: 1 + dice.below(10) as i64, nanos: 0 }),
        backoff_coefficient: *dice.pick(&[0.0, 1.0, 2.0, 1.5, 1e300]),
        maximum_interval: dice.maybe(10, |_| Duration { seconds: 200_000, nanos: 0 }),
        maximum_attempts: dice.below(4) as i32,
        non_retryable_error_types: vec!["Fatal".to_owned()],
    }
}

pub fn failure(dice: &mut Dice) -> Failure {
    let info = if dice.percent(10) {
        FailureInfo::CanceledFailureInfo(CanceledFailureInfo::default())
    } else {
        FailureInfo::ApplicationFailureInfo(ApplicationFailureInfo {
            r#type: (*dice.pick(&["Fatal", "Other"])).to_owned(),
            non_retryable: dice.percent(15),
            next_retry_delay: dice.maybe(20, duration),
            ..ApplicationFailureInfo::default()
        })
    };
    let depth = if dice.percent(5) { 90 } else { dice.below(3) };
    let cause = (0..depth).fold(None, |cause: Option<Box<Failure>>, _| {
        Some(Box::new(Failure { message: "cause".to_owned(), cause, ..Failure::default() }))
    });
    let message = "m".repeat(if dice.percent(5) { 3000 } else { 3 });
    Failure { message, failure_info: Some(info), cause, ..Failure::default() }
}

/// What a worker decides: some commands, now and then a last one.
pub fn commands(dice: &mut Dice, run: &Run) -> Vec<Command> {
    let mut attributes: Vec<A> = (0..dice.below(4)).map(|_| open_command(dice, run)).collect();
    if dice.percent(10) {
        attributes.push(closing_command(dice));
    }
    if dice.percent(1) {
        attributes.push(open_command(dice, run));
    }
    let mut commands: Vec<_> =
        attributes.into_iter().map(|a| Command { attributes: Some(a), ..Command::default() }).collect();
    if dice.below(300) == 0 {
        commands.push(Command::default());
    }
    commands
}

fn open_command(dice: &mut Dice, run: &Run) -> A {
    let queue =
        |dice: &mut Dice| dice.maybe(50, |_| TaskQueue { name: "activities".to_owned(), ..TaskQueue::default() });
    match dice.below(100) {
        0..30 => A::ScheduleActivityTaskCommandAttributes(ScheduleActivityTaskCommandAttributes {
            activity_id: id(dice),
            activity_type: Some(ActivityType { name: "Work".to_owned() }),
            task_queue: queue(dice),
            input: dice.maybe(50, payloads),
            schedule_to_close_timeout: dice.maybe(30, duration),
            schedule_to_start_timeout: dice.maybe(30, duration),
            start_to_close_timeout: dice.maybe(90, duration),
            heartbeat_timeout: dice.maybe(30, duration),
            retry_policy: dice.maybe(50, retry_policy),
            request_eager_execution: dice.percent(10),
            ..ScheduleActivityTaskCommandAttributes::default()
        }),
        30..38 => A::RequestCancelActivityTaskCommandAttributes(RequestCancelActivityTaskCommandAttributes {
            scheduled_event_id: match dice.any(run.activities.keys().copied()) {
                Some(id) if dice.percent(95) => id,
                _ if dice.percent(80) => return marker(dice),
                _ => dice.below(30) as i64,
            },
        }),
        38..55 => A::StartTimerCommandAttributes(StartTimerCommandAttributes {
            timer_id: match dice.any(&run.buffered) {
                // The worker does not know that the timer with this id has just fired.
                Some(event) if dice.percent(70) => fired_timer(event).unwrap_or_else(|| id(dice)),
                _ => id(dice),
            },
            start_to_fire_timeout: dice.maybe(99, duration),
        }),
        55..60 => A::CancelTimerCommandAttributes(CancelTimerCommandAttributes {
            timer_id: match dice.any(run.timers.keys().map(str::to_owned)) {
                Some(id) if dice.percent(90) => id,
                _ if dice.percent(80) => return marker(dice),
                _ => id(dice),
            },
        }),
        60..72 => A::StartChildWorkflowExecutionCommandAttributes(StartChildWorkflowExecutionCommandAttributes {
            workflow_id: id(dice),
            workflow_type: Some(WorkflowType { name: "Child".to_owned() }),
            task_queue: queue(dice),
            parent_close_policy: dice.below(5) as i32,
            workflow_run_timeout: dice.maybe(20, duration),
            ..StartChildWorkflowExecutionCommandAttributes::default()
        }),
        72..78 => {
            A::SignalExternalWorkflowExecutionCommandAttributes(SignalExternalWorkflowExecutionCommandAttributes {
                execution: Some(WorkflowExecution { workflow_id: id(dice), run_id: String::new() }),
                signal_name: id(dice),
                ..SignalExternalWorkflowExecutionCommandAttributes::default()
            })
        }
        78..84 => A::RequestCancelExternalWorkflowExecutionCommandAttributes(
            RequestCancelExternalWorkflowExecutionCommandAttributes {
                workflow_id: id(dice),
                ..RequestCancelExternalWorkflowExecutionCommandAttributes::default()
            },
        ),
        84..89 => marker(dice),
        89..94 => A::UpsertWorkflowSearchAttributesCommandAttributes(UpsertWorkflowSearchAttributesCommandAttributes {
            search_attributes: Some(SearchAttributes { indexed_fields: fields(dice) }),
        }),
        94..99 => A::ModifyWorkflowPropertiesCommandAttributes(ModifyWorkflowPropertiesCommandAttributes {
            upserted_memo: Some(Memo { fields: fields(dice) }),
        }),
        _ => A::ProtocolMessageCommandAttributes(ProtocolMessageCommandAttributes::default()),
    }
}

fn fired_timer(event: &HistoryEvent) -> Option<String> {
    match &event.attributes {
        Some(Attributes::TimerFiredEventAttributes(fired)) => Some(fired.timer_id.clone()),
        _ => None,
    }
}

fn marker(dice: &mut Dice) -> A {
    A::RecordMarkerCommandAttributes(RecordMarkerCommandAttributes {
        marker_name: id(dice),
        failure: dice.maybe(30, failure),
        ..RecordMarkerCommandAttributes::default()
    })
}

fn closing_command(dice: &mut Dice) -> A {
    match dice.below(4) {
        0 => A::CompleteWorkflowExecutionCommandAttributes(CompleteWorkflowExecutionCommandAttributes {
            result: dice.maybe(50, payloads),
        }),
        1 => A::FailWorkflowExecutionCommandAttributes(FailWorkflowExecutionCommandAttributes {
            failure: dice.maybe(95, failure),
        }),
        2 => A::CancelWorkflowExecutionCommandAttributes(CancelWorkflowExecutionCommandAttributes::default()),
        _ => A::ContinueAsNewWorkflowExecutionCommandAttributes(ContinueAsNewWorkflowExecutionCommandAttributes {
            input: dice.maybe(50, payloads),
            workflow_run_timeout: dice.maybe(20, duration),
            backoff_start_interval: dice.maybe(20, duration),
            retry_policy: dice.maybe(20, retry_policy),
            failure: dice.maybe(10, failure),
            ..ContinueAsNewWorkflowExecutionCommandAttributes::default()
        }),
    }
}
