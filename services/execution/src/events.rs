//! The catalogue of events: of each type its number, whether it waits for the workflow task to end, and what it does to the
//! run. There is one row for each type of the API; without its row a new one does not compile.
//!
//! The rows only say what an event means. How state changes by it is in `apply.rs`, and nowhere else.

use api::temporal::api::enums::v1::{EventType, TimeoutType, WorkflowExecutionStatus as Status};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::*;

/// What an event means, by its type and attributes.
pub(crate) struct Meaning<'a> {
    /// Its type.
    pub(crate) kind: EventType,
    /// When it comes into the history.
    pub(crate) recording: Recording,
    /// What it does to the run.
    pub(crate) effect: Effect<'a>,
    /// Whether it ends what had started, and refers to that event.
    pub(crate) refers_to_start: bool,
}

/// When an event comes into the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    /// At once: the server or the worker that has the workflow task writes it.
    Direct,
    /// It comes from outside: while a worker has the workflow task it is buffered, or that worker's commands would not
    /// follow what it has seen.
    Buffered,
}

/// What an event does to its run.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect<'a> {
    /// The run begins.
    Begins(&'a WorkflowExecutionStartedEventAttributes),
    /// The run closes, with the run that follows it in the chain; empty for none.
    Closes(Status, &'a str),
    /// A first attempt of the workflow task is scheduled.
    SchedulesTask(&'a WorkflowTaskScheduledEventAttributes),
    /// The workflow task is given to a worker.
    StartsTask(&'a WorkflowTaskStartedEventAttributes),
    /// The worker has decided.
    CompletesTask(&'a WorkflowTaskCompletedEventAttributes),
    /// The workflow task failed.
    FailsTask,
    /// The workflow task timed out.
    TimesOutTask(TimeoutType),
    /// From now on an activity is pending under the event's id.
    OpensActivity(&'a ActivityTaskScheduledEventAttributes),
    /// From now on a timer is pending.
    OpensTimer(&'a TimerStartedEventAttributes),
    /// From now on a child is pending under the event's id.
    OpensChild(&'a StartChildWorkflowExecutionInitiatedEventAttributes),
    /// From now on a signal to another workflow is pending under the event's id.
    OpensSignal(&'a SignalExternalWorkflowExecutionInitiatedEventAttributes),
    /// From now on a cancel request to another workflow is pending under the event's id.
    OpensCancel(&'a RequestCancelExternalWorkflowExecutionInitiatedEventAttributes),
    /// An activity had started; its end refers to this event.
    StartsActivity(&'a ActivityTaskStartedEventAttributes),
    /// A child has started; its end refers to this event.
    StartsChild(&'a ChildWorkflowExecutionStartedEventAttributes),
    /// An activity is to be cancelled.
    CancelsActivity(&'a ActivityTaskCancelRequestedEventAttributes),
    /// What is pending has ended.
    Ends(Pending<'a>),
    /// A signal has come.
    Signals,
    /// The run is to cancel itself.
    RequestsCancel,
    /// A request is attached to the run.
    Attaches(&'a WorkflowExecutionOptionsUpdatedEventAttributes),
    /// An update waits for the workflow, and the history says so.
    AdmitsUpdate(&'a WorkflowExecutionUpdateAdmittedEventAttributes),
    /// The workflow has accepted an update.
    AcceptsUpdate(&'a WorkflowExecutionUpdateAcceptedEventAttributes),
    /// The workflow has answered an update.
    CompletesUpdate(&'a WorkflowExecutionUpdateCompletedEventAttributes),
    /// Search attributes change.
    SetsSearchAttributes(&'a UpsertWorkflowSearchAttributesEventAttributes),
    /// The memo changes.
    SetsMemo(&'a WorkflowPropertiesModifiedEventAttributes),
    /// None: only workflow code reads it.
    None,
    /// This release neither writes the event nor knows what becomes of the run by it.
    Unknown,
}

/// Something that a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending<'a> {
    /// By its scheduled event.
    Activity(i64),
    /// By the author's id and its started event: the id may name another timer by now.
    Timer(&'a str, i64),
    /// By its initiated event.
    Child(i64),
    /// By its initiated event.
    Signal(i64),
    /// By its initiated event.
    Cancel(i64),
}

/// Makes of the rows the exhaustive matches over all types. A row is: type, recording, attributes => effect; and, where the
/// event ends what had started, the field that names the started event.
macro_rules! catalogue {
    ($($kind:ident $recording:ident $attributes:ident($said:pat) => $effect:expr $(, refers to $started:expr)?;)*) => {
        /// What an event means.
        pub(crate) fn meaning(attributes: &Attributes) -> Meaning<'_> {
            match attributes {
                $(Attributes::$attributes($said) => {
                    let refers_to_start = catalogue!(@is $($started)?);
                    let (kind, recording) = (EventType::$kind, Recording::$recording);
                    Meaning { kind, recording, effect: $effect, refers_to_start }
                })*
            }
        }

        /// Where the end of an activity or a child that had started names the started event; 0 while that is buffered.
        #[allow(unused_variables, reason = "most rows have no such field")]
        pub(crate) fn started_event_id(attributes: &mut Attributes) -> Option<&mut i64> {
            match attributes {
                $(Attributes::$attributes($said) => catalogue!(@field $($started)?),)*
            }
        }
    };
    (@is) => { false };
    (@is $started:expr) => { true };
    (@field) => { None };
    (@field $started:expr) => { Some(&mut $started) };
}

catalogue! {
    // The run.
    WorkflowExecutionStarted Direct WorkflowExecutionStartedEventAttributes(a) => Effect::Begins(a);
    WorkflowExecutionCompleted Direct WorkflowExecutionCompletedEventAttributes(a) => Effect::Closes(Status::Completed, &a.new_execution_run_id);
    WorkflowExecutionFailed Direct WorkflowExecutionFailedEventAttributes(a) => Effect::Closes(Status::Failed, &a.new_execution_run_id);
    WorkflowExecutionTimedOut Direct WorkflowExecutionTimedOutEventAttributes(a) => Effect::Closes(Status::TimedOut, &a.new_execution_run_id);
    WorkflowExecutionCanceled Direct WorkflowExecutionCanceledEventAttributes(_) => Effect::Closes(Status::Canceled, "");
    WorkflowExecutionTerminated Direct WorkflowExecutionTerminatedEventAttributes(_) => Effect::Closes(Status::Terminated, "");
    WorkflowExecutionContinuedAsNew Direct WorkflowExecutionContinuedAsNewEventAttributes(a) => Effect::Closes(Status::ContinuedAsNew, &a.new_execution_run_id);
    WorkflowExecutionSignaled Buffered WorkflowExecutionSignaledEventAttributes(_) => Effect::Signals;
    WorkflowExecutionCancelRequested Buffered WorkflowExecutionCancelRequestedEventAttributes(_) => Effect::RequestsCancel;
    WorkflowExecutionOptionsUpdated Buffered WorkflowExecutionOptionsUpdatedEventAttributes(a) => Effect::Attaches(a);
    UpsertWorkflowSearchAttributes Direct UpsertWorkflowSearchAttributesEventAttributes(a) => Effect::SetsSearchAttributes(a);
    WorkflowPropertiesModified Direct WorkflowPropertiesModifiedEventAttributes(a) => Effect::SetsMemo(a);
    MarkerRecorded Direct MarkerRecordedEventAttributes(_) => Effect::None;

    // The workflow task.
    WorkflowTaskScheduled Direct WorkflowTaskScheduledEventAttributes(a) => Effect::SchedulesTask(a);
    WorkflowTaskStarted Direct WorkflowTaskStartedEventAttributes(a) => Effect::StartsTask(a);
    WorkflowTaskCompleted Direct WorkflowTaskCompletedEventAttributes(a) => Effect::CompletesTask(a);
    WorkflowTaskTimedOut Direct WorkflowTaskTimedOutEventAttributes(a) => Effect::TimesOutTask(a.timeout_type());
    WorkflowTaskFailed Direct WorkflowTaskFailedEventAttributes(_) => Effect::FailsTask;

    // Activities.
    ActivityTaskScheduled Direct ActivityTaskScheduledEventAttributes(a) => Effect::OpensActivity(a);
    ActivityTaskStarted Buffered ActivityTaskStartedEventAttributes(a) => Effect::StartsActivity(a);
    ActivityTaskCancelRequested Direct ActivityTaskCancelRequestedEventAttributes(a) => Effect::CancelsActivity(a);
    ActivityTaskCompleted Buffered ActivityTaskCompletedEventAttributes(a) => Effect::Ends(Pending::Activity(a.scheduled_event_id)), refers to a.started_event_id;
    ActivityTaskFailed Buffered ActivityTaskFailedEventAttributes(a) => Effect::Ends(Pending::Activity(a.scheduled_event_id)), refers to a.started_event_id;
    ActivityTaskTimedOut Buffered ActivityTaskTimedOutEventAttributes(a) => Effect::Ends(Pending::Activity(a.scheduled_event_id)), refers to a.started_event_id;
    ActivityTaskCanceled Buffered ActivityTaskCanceledEventAttributes(a) => Effect::Ends(Pending::Activity(a.scheduled_event_id)), refers to a.started_event_id;

    // Timers.
    TimerStarted Direct TimerStartedEventAttributes(a) => Effect::OpensTimer(a);
    TimerFired Buffered TimerFiredEventAttributes(a) => Effect::Ends(Pending::Timer(&a.timer_id, a.started_event_id));
    TimerCanceled Direct TimerCanceledEventAttributes(a) => Effect::Ends(Pending::Timer(&a.timer_id, a.started_event_id));

    // Children.
    StartChildWorkflowExecutionInitiated Direct StartChildWorkflowExecutionInitiatedEventAttributes(a) => Effect::OpensChild(a);
    StartChildWorkflowExecutionFailed Buffered StartChildWorkflowExecutionFailedEventAttributes(a) => Effect::Ends(Pending::Child(a.initiated_event_id));
    ChildWorkflowExecutionStarted Buffered ChildWorkflowExecutionStartedEventAttributes(a) => Effect::StartsChild(a);
    ChildWorkflowExecutionCompleted Buffered ChildWorkflowExecutionCompletedEventAttributes(a) => Effect::Ends(Pending::Child(a.initiated_event_id)), refers to a.started_event_id;
    ChildWorkflowExecutionFailed Buffered ChildWorkflowExecutionFailedEventAttributes(a) => Effect::Ends(Pending::Child(a.initiated_event_id)), refers to a.started_event_id;
    ChildWorkflowExecutionCanceled Buffered ChildWorkflowExecutionCanceledEventAttributes(a) => Effect::Ends(Pending::Child(a.initiated_event_id)), refers to a.started_event_id;
    ChildWorkflowExecutionTimedOut Buffered ChildWorkflowExecutionTimedOutEventAttributes(a) => Effect::Ends(Pending::Child(a.initiated_event_id)), refers to a.started_event_id;
    ChildWorkflowExecutionTerminated Buffered ChildWorkflowExecutionTerminatedEventAttributes(a) => Effect::Ends(Pending::Child(a.initiated_event_id)), refers to a.started_event_id;

    // Other workflows.
    SignalExternalWorkflowExecutionInitiated Direct SignalExternalWorkflowExecutionInitiatedEventAttributes(a) => Effect::OpensSignal(a);
    SignalExternalWorkflowExecutionFailed Buffered SignalExternalWorkflowExecutionFailedEventAttributes(a) => Effect::Ends(Pending::Signal(a.initiated_event_id));
    ExternalWorkflowExecutionSignaled Buffered ExternalWorkflowExecutionSignaledEventAttributes(a) => Effect::Ends(Pending::Signal(a.initiated_event_id));
    RequestCancelExternalWorkflowExecutionInitiated Direct RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(a) => Effect::OpensCancel(a);
    RequestCancelExternalWorkflowExecutionFailed Buffered RequestCancelExternalWorkflowExecutionFailedEventAttributes(a) => Effect::Ends(Pending::Cancel(a.initiated_event_id));
    ExternalWorkflowExecutionCancelRequested Buffered ExternalWorkflowExecutionCancelRequestedEventAttributes(a) => Effect::Ends(Pending::Cancel(a.initiated_event_id));

    // Updates.
    WorkflowExecutionUpdateAdmitted Buffered WorkflowExecutionUpdateAdmittedEventAttributes(a) => Effect::AdmitsUpdate(a);
    WorkflowExecutionUpdateAccepted Direct WorkflowExecutionUpdateAcceptedEventAttributes(a) => Effect::AcceptsUpdate(a);
    WorkflowExecutionUpdateCompleted Direct WorkflowExecutionUpdateCompletedEventAttributes(a) => Effect::CompletesUpdate(a);

    // Not written yet: serving one begins with saying here what it means.
    WorkflowExecutionUpdateRejected Direct WorkflowExecutionUpdateRejectedEventAttributes(_) => Effect::Unknown;
    WorkflowPropertiesModifiedExternally Buffered WorkflowPropertiesModifiedExternallyEventAttributes(_) => Effect::Unknown;
    ActivityPropertiesModifiedExternally Buffered ActivityPropertiesModifiedExternallyEventAttributes(_) => Effect::Unknown;
    WorkflowExecutionPaused Buffered WorkflowExecutionPausedEventAttributes(_) => Effect::Unknown;
    WorkflowExecutionUnpaused Buffered WorkflowExecutionUnpausedEventAttributes(_) => Effect::Unknown;
    WorkflowExecutionTimeSkippingTransitioned Buffered WorkflowExecutionTimeSkippingTransitionedEventAttributes(_) => Effect::Unknown;
    NexusOperationScheduled Direct NexusOperationScheduledEventAttributes(_) => Effect::Unknown;
    NexusOperationStarted Buffered NexusOperationStartedEventAttributes(_) => Effect::Unknown;
    NexusOperationCompleted Buffered NexusOperationCompletedEventAttributes(_) => Effect::Unknown;
    NexusOperationFailed Buffered NexusOperationFailedEventAttributes(_) => Effect::Unknown;
    NexusOperationCanceled Buffered NexusOperationCanceledEventAttributes(_) => Effect::Unknown;
    NexusOperationTimedOut Buffered NexusOperationTimedOutEventAttributes(_) => Effect::Unknown;
    NexusOperationCancelRequested Direct NexusOperationCancelRequestedEventAttributes(_) => Effect::Unknown;
    NexusOperationCancelRequestCompleted Buffered NexusOperationCancelRequestCompletedEventAttributes(_) => Effect::Unknown;
    NexusOperationCancelRequestFailed Buffered NexusOperationCancelRequestFailedEventAttributes(_) => Effect::Unknown;
}

/// What an event of a history does to its run. One of a type that no release knows has no attributes.
pub(crate) fn effect_of(event: &HistoryEvent) -> Effect<'_> {
    event.attributes.as_ref().map_or(Effect::None, |attributes| meaning(attributes).effect)
}

/// Whether an event ends what had started, and refers to that event.
pub(crate) fn refers_to_start(event: &HistoryEvent) -> bool {
    event.attributes.as_ref().is_some_and(|attributes| meaning(attributes).refers_to_start)
}

/// What an event ends.
pub(crate) fn ended_by(event: &HistoryEvent) -> Option<Pending<'_>> {
    match effect_of(event) {
        Effect::Ends(pending) => Some(pending),
        _ => None,
    }
}

/// Whether an event is the firing of this timer.
pub(crate) fn is_firing_of(event: &HistoryEvent, timer_id: &str) -> bool {
    matches!(&event.attributes, Some(Attributes::TimerFiredEventAttributes(fired)) if fired.timer_id == timer_id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    /// An event with empty attributes of each type of the API: their fields have the tags from 6 on.
    fn one_of_each() -> Vec<Attributes> {
        let decoded = |tag: u32| {
            let mut bytes = Vec::new();
            prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
            bytes.push(0);
            HistoryEvent::decode(bytes.as_slice()).expect("an event decodes").attributes
        };
        (6..100).filter_map(decoded).collect()
    }

    #[test]
    fn each_type_of_the_api_is_that_of_one_event() {
        let kinds: BTreeSet<i32> = one_of_each().iter().map(|attributes| meaning(attributes).kind as i32).collect();
        assert_eq!(kinds.len(), one_of_each().len());
        let known = (1..100).filter(|number| EventType::try_from(*number).is_ok());
        assert_eq!(kinds, known.collect());
    }

    #[test]
    fn a_type_is_named_as_its_attributes_are() {
        for attributes in one_of_each() {
            let debug = format!("{attributes:?}");
            let name = debug.split("EventAttributes").next().unwrap_or_default();
            assert_eq!(format!("{:?}", meaning(&attributes).kind), name);
        }
    }

    #[test]
    fn only_the_end_of_an_activity_or_a_child_refers_to_its_start() {
        for mut attributes in one_of_each() {
            let refers = started_event_id(&mut attributes).is_some();
            assert_eq!(refers, meaning(&attributes).refers_to_start);
            let ends = matches!(meaning(&attributes).effect, Effect::Ends(Pending::Activity(_) | Pending::Child(_)));
            let is_failed_start = meaning(&attributes).kind == EventType::StartChildWorkflowExecutionFailed;
            assert_eq!(refers, ends && !is_failed_start, "{attributes:?}");
        }
    }

    #[test]
    fn nothing_closes_a_run_while_a_worker_has_its_task() {
        for attributes in one_of_each() {
            let meaning = meaning(&attributes);
            let closes = matches!(meaning.effect, Effect::Closes(..));
            assert!(!closes || meaning.recording == Recording::Direct, "{:?}", meaning.kind);
        }
    }
}
