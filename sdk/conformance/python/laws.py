"""What holds for every history, whatever the workflow did."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

CLOSING = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}
IN_STEP = CLOSING | {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
}
# The events that end a workflow task, and below an activity, with the name of their attributes.
TASK_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: "workflow_task_completed_event_attributes",
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED: "workflow_task_failed_event_attributes",
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: "workflow_task_timed_out_event_attributes",
}
ACTIVITY_ENDS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}


def name(event: HistoryEvent) -> str:
    """`ActivityTaskScheduled` for EVENT_TYPE_ACTIVITY_TASK_SCHEDULED."""
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def names(events: list[HistoryEvent]) -> list[str]:
    return [name(event) for event in events]


def attributes(event: HistoryEvent):
    return getattr(event, event.WhichOneof("attributes"))


def find(events: list[HistoryEvent], wanted: str) -> list:
    """The attributes of all events of that name, in order."""
    return [attributes(event) for event in events if name(event) == wanted]


def instant(event: HistoryEvent) -> int:
    """Event time in nanoseconds."""
    return event.event_time.ToNanoseconds()


def timeline(events: list[HistoryEvent]) -> str:
    """The events with the seconds at which they happened, to see where time went."""
    begin = instant(events[0])
    return "\n" + "\n".join(f"{(instant(event) - begin) / 1e9:9.3f}  {event.event_id:3} {name(event)}" for event in events)


def check(events: list[HistoryEvent]) -> None:
    """Raises AssertionError, with the shape of the history, when a law is broken."""
    shape = f"in {names(events)}"
    assert events, "a history has at least its first event"
    assert [event.event_id for event in events] == list(range(1, len(events) + 1)), f"ids not contiguous {shape}"
    assert name(events[0]) == "WorkflowExecutionStarted", shape
    started = attributes(events[0])
    assert started.original_execution_run_id, "the started event names its own run"
    assert started.first_execution_run_id, "the started event names the first run of its chain"
    assert started.attempt >= 1
    latest = 0
    for event in events:
        # Events that were kept back (buffered ones, the start of an activity that has now ended) may carry the time at
        # which they happened; the others are written as they happen.
        if event.event_type in IN_STEP:
            assert latest <= instant(event), f"time went backwards at event {event.event_id} {shape}"
            latest = instant(event)
    for event in events[:-1]:
        assert event.event_type not in CLOSING, f"an event follows the closing event {shape}"
    check_workflow_tasks(events, shape)
    check_activities(events, shape)
    check_timers(events, shape)


def check_workflow_tasks(events: list[HistoryEvent], shape: str) -> None:
    """One workflow task at a time: scheduled, started, ended; each event points at the ones before it."""
    scheduled = started = 0
    for event in events:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            assert scheduled == 0, f"two workflow tasks at once at event {event.event_id} {shape}"
            scheduled, started = event.event_id, 0
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            assert scheduled and not started, f"event {event.event_id} starts nothing {shape}"
            assert attributes(event).scheduled_event_id == scheduled
            started = event.event_id
        elif kind in TASK_ENDS:
            end = attributes(event)
            assert end.scheduled_event_id == scheduled, f"event {event.event_id} ends another task {shape}"
            assert end.started_event_id == started
            if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                assert event.event_id == started + 1, f"an event between started and completed {shape}"
            scheduled = started = 0


def check_activities(events: list[HistoryEvent], shape: str) -> None:
    """Every end of an activity names its scheduled event, once; a start that is recorded comes just before it."""
    ended: set[int] = set()
    by_id = {event.event_id: event for event in events}
    for event in events:
        if event.event_type not in ACTIVITY_ENDS:
            continue
        end = attributes(event)
        assert end.scheduled_event_id not in ended, f"activity {end.scheduled_event_id} ended twice {shape}"
        ended.add(end.scheduled_event_id)
        assert name(by_id[end.scheduled_event_id]) == "ActivityTaskScheduled", shape
        if end.started_event_id:
            start = by_id[end.started_event_id]
            assert name(start) == "ActivityTaskStarted", shape
            assert attributes(start).scheduled_event_id == end.scheduled_event_id


def check_timers(events: list[HistoryEvent], shape: str) -> None:
    """A timer fires once, and never before its duration has passed."""
    by_id = {event.event_id: event for event in events}
    ended: set[int] = set()
    for event in events:
        if event.event_type not in (EventType.EVENT_TYPE_TIMER_FIRED, EventType.EVENT_TYPE_TIMER_CANCELED):
            continue
        end = attributes(event)
        assert end.started_event_id not in ended, f"timer {end.timer_id} ended twice {shape}"
        ended.add(end.started_event_id)
        start = by_id[end.started_event_id]
        assert attributes(start).timer_id == end.timer_id
        if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED:
            waited = instant(event) - instant(start)
            asked = attributes(start).start_to_fire_timeout.ToNanoseconds()
            assert waited >= asked, f"timer {end.timer_id} fired {asked - waited} ns early {shape}"
