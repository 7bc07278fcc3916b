"""Activities that fail and retry, time out, heartbeat, and are cancelled or completed from elsewhere."""

import asyncio
import time
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import RetryPolicy as ApiRetryPolicy
from temporalio.api.enums.v1 import ActivityTaskFailedCause, PendingActivityState, TimeoutType as ApiTimeoutType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice.v1 import (
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskFailedByIdRequest,
)
from temporalio.client import AsyncActivityCancelledError, WorkflowFailureError
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TimeoutError,
    TimeoutType,
)
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, duration, schedule_activity
from stage import Stage, eventually, payloads, seconds

ATTEMPTS: dict[str, list[float]] = {}
TOKENS: dict[str, bytes] = {}


@workflow.defn
class OneActivity:
    """Runs one activity with the options it is given, in a form that passes through JSON."""

    @workflow.run
    async def run(self, name: str, arg: str, options: dict) -> str:
        policy = options.get("retry")
        return await workflow.execute_activity(
            name,
            arg,
            result_type=str,
            task_queue=options.get("task_queue"),
            start_to_close_timeout=limit(options, "start_to_close", 30),
            schedule_to_close_timeout=limit(options, "schedule_to_close"),
            schedule_to_start_timeout=limit(options, "schedule_to_start"),
            heartbeat_timeout=limit(options, "heartbeat"),
            retry_policy=policy and retry_policy(policy),
            priority=Priority(priority_key=options["priority"]) if "priority" in options else Priority.default,
            cancellation_type=workflow.ActivityCancellationType[options.get("cancellation", "TRY_CANCEL")],
        )


def limit(options: dict, key: str, default: float | None = None) -> timedelta | None:
    value = options.get(key, default)
    return None if value is None else timedelta(seconds=value)


def retry_policy(fields: dict) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=fields.get("initial", 0.1)),
        backoff_coefficient=fields.get("coefficient", 1.0),
        maximum_interval=limit(fields, "maximum_interval"),
        maximum_attempts=fields.get("attempts", 0),
        non_retryable_error_types=fields.get("non_retryable"),
    )


@activity.defn
async def greet(name: str) -> str:
    return f"hello {name}"


@activity.defn
async def fail_until(arg: str) -> str:
    """`key/n`: fails until attempt n, noting when each attempt ran."""
    key, enough = arg.rsplit("/", 1)
    ATTEMPTS.setdefault(key, []).append(time.monotonic())
    if activity.info().attempt < int(enough):
        raise ApplicationError(f"attempt {activity.info().attempt}", "detail", type="NotYet")
    return f"attempt {activity.info().attempt}"


@activity.defn
async def fail_for_good(kind: str) -> str:
    ATTEMPTS.setdefault(kind, []).append(time.monotonic())
    raise ApplicationError("no", type="Hopeless", non_retryable=kind.endswith("flag"))


@activity.defn
async def fail_with_delay(key: str) -> str:
    ATTEMPTS.setdefault(key, []).append(time.monotonic())
    if activity.info().attempt < 3:
        raise ApplicationError("soon", next_retry_delay=timedelta(milliseconds=200))
    return "after delays"


@activity.defn
async def hang_first(_: str) -> str:
    if activity.info().attempt == 1:
        await asyncio.sleep(10)
    return f"attempt {activity.info().attempt}"


@activity.defn
async def hang(_: str) -> str:
    await asyncio.sleep(30)
    return "never"


@activity.defn
async def heartbeat_then_hang(_: str) -> str:
    if activity.info().attempt == 1:
        activity.heartbeat("step", 7)
        await asyncio.sleep(10)
    return f"{list(activity.info().heartbeat_details)}"


@activity.defn
async def heartbeat_until_cancelled(kind: str) -> str:
    try:
        while True:
            activity.heartbeat("alive")
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        if kind == "ignore":
            return "finished anyway"
        if kind == "fail":
            raise ApplicationError("broke while cancelling", non_retryable=True)
        raise


@activity.defn
async def complete_elsewhere(key: str) -> str:
    TOKENS[key] = activity.info().task_token
    activity.raise_complete_async()


@activity.defn
async def show_info(_: str) -> dict:
    info = activity.info()
    return {
        "attempt": info.attempt,
        "schedule_to_close": info.schedule_to_close_timeout and info.schedule_to_close_timeout.total_seconds(),
        "start_to_close": info.start_to_close_timeout and info.start_to_close_timeout.total_seconds(),
        "heartbeat": info.heartbeat_timeout and info.heartbeat_timeout.total_seconds(),
        "scheduled_before_started": info.scheduled_time <= info.current_attempt_scheduled_time <= info.started_time,
        "retry": info.retry_policy
        and {
            "initial": info.retry_policy.initial_interval.total_seconds(),
            "coefficient": info.retry_policy.backoff_coefficient,
            "maximum": info.retry_policy.maximum_interval and info.retry_policy.maximum_interval.total_seconds(),
            "attempts": info.retry_policy.maximum_attempts,
        },
        "priority": info.priority.priority_key,
        "workflow_type": info.workflow_type,
        "namespace": info.workflow_namespace,
    }


@workflow.defn
class ShowInfo:
    @workflow.run
    async def run(self, options: dict) -> dict:
        return await workflow.execute_activity(
            "show_info",
            "",
            result_type=dict,
            start_to_close_timeout=limit(options, "start_to_close"),
            schedule_to_close_timeout=limit(options, "schedule_to_close"),
            heartbeat_timeout=limit(options, "heartbeat"),
            priority=Priority(priority_key=2),
        )


ACTIVITIES = [
    greet, fail_until, fail_for_good, fail_with_delay, hang_first, hang, heartbeat_then_hang,
    heartbeat_until_cancelled, complete_elsewhere, show_info,
]


async def failure_of(stage: Stage, name: str, arg: str = "", **options) -> tuple[ActivityError, list]:
    """The ActivityError that the workflow ended with, and its history."""
    handle = await stage.start(OneActivity.run, name, arg, options)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ActivityError)
    return caught.value.cause, await stage.history(handle)


async def test_an_activity_writes_three_events_between_two_workflow_tasks(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "greet", "world", {})
        assert await handle.result() == "hello world"
    assert await stage.names(handle) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
        "ActivityTaskScheduled", "ActivityTaskStarted", "ActivityTaskCompleted",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]


async def test_retries_leave_one_started_event_with_the_last_attempt_and_failure(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "fail_until", stage.id() + "/3", {"retry": {}})
        assert await handle.result() == "attempt 3"
    [started] = laws.find(await stage.history(handle), "ActivityTaskStarted")
    assert started.attempt == 3
    assert started.last_failure.message == "attempt 2"
    assert started.last_failure.application_failure_info.type == "NotYet"


@pytest.mark.once
async def test_intervals_grow_by_the_coefficient_up_to_the_maximum(stage: Stage):
    key = stage.id()
    async with stage.worker([OneActivity], ACTIVITIES):
        policy = {"initial": 0.2, "coefficient": 3.0, "maximum_interval": 0.7}
        assert await stage.run(OneActivity.run, "fail_until", key + "/4", {"retry": policy}) == "attempt 4"
    times = ATTEMPTS[key]
    gaps = [after - before for before, after in zip(times, times[1:])]
    for gap, least in zip(gaps, [0.2, 0.6, 0.7]):
        # How late an attempt is depends on the machine, and how early it may be does not.
        assert least - 0.02 <= gap <= least + 15.0, gaps


async def test_maximum_attempts_end_the_retries(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        error, events = await failure_of(stage, "fail_until", stage.id() + "/99", retry={"attempts": 3})
    assert error.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED
    assert isinstance(error.cause, ApplicationError) and error.cause.message == "attempt 3"
    assert len(ATTEMPTS[stage.id()]) == 3
    [failed] = laws.find(events, "ActivityTaskFailed")
    assert failed.failure.application_failure_info.details.payloads[0].data == b'"detail"'


@pytest.mark.parametrize("kind", ["flag", "type"])
async def test_non_retryable_failures_are_not_retried(stage: Stage, kind: str):
    key = f"{stage.id()}-{kind}"
    async with stage.worker([OneActivity], ACTIVITIES):
        error, _ = await failure_of(stage, "fail_for_good", key, retry={"non_retryable": ["Other", "Hopeless"]})
    assert error.retry_state == RetryState.NON_RETRYABLE_FAILURE
    assert len(ATTEMPTS[key]) == 1


async def test_next_retry_delay_overrides_the_policy(stage: Stage):
    key = stage.id()
    async with stage.worker([OneActivity], ACTIVITIES):
        result = await stage.run(OneActivity.run, "fail_with_delay", key, {"retry": {"initial": 40}})
    assert result == "after delays"
    gaps = [after - before for before, after in zip(ATTEMPTS[key], ATTEMPTS[key][1:])]
    assert all(gap >= 0.18 for gap in gaps), gaps


async def test_schedule_to_start_ends_an_activity_that_no_worker_took(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        error, events = await failure_of(
            stage, "greet", "world", task_queue=stage.task_queue + "-no-pollers", schedule_to_start=0.7
        )
    assert isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START
    [timed_out] = laws.find(events, "ActivityTaskTimedOut")
    assert timed_out.started_event_id == 0 or timed_out.started_event_id > timed_out.scheduled_event_id
    assert timed_out.failure.timeout_failure_info.timeout_type == ApiTimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START


async def test_start_to_close_ends_an_attempt_and_the_next_one_runs(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "hang_first", "", {"start_to_close": 4, "retry": {}})
        assert await handle.result() == "attempt 2"
    [started] = laws.find(await stage.history(handle), "ActivityTaskStarted")
    assert started.attempt == 2
    assert (
        started.last_failure.timeout_failure_info.timeout_type == ApiTimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    )


async def test_start_to_close_of_the_last_attempt_fails_the_activity(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        error, events = await failure_of(stage, "hang", start_to_close=0.7, retry={"attempts": 1})
    assert isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.START_TO_CLOSE
    assert error.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED
    assert laws.names(events).count("ActivityTaskTimedOut") == 1


async def test_schedule_to_close_bounds_all_attempts_together(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        error, _ = await failure_of(
            stage, "fail_until", stage.id() + "/999", schedule_to_close=5, retry={"initial": 0.5}
        )
    assert error.retry_state == RetryState.TIMEOUT
    assert isinstance(error.cause, (ApplicationError, TimeoutError))
    assert 2 <= len(ATTEMPTS[stage.id()]) <= 11


async def test_schedule_to_close_ends_a_running_attempt(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        error, events = await failure_of(stage, "hang", schedule_to_close=0.8, start_to_close=20, retry={})
    assert isinstance(error.cause, TimeoutError)
    assert error.cause.type in (TimeoutType.SCHEDULE_TO_CLOSE, TimeoutType.START_TO_CLOSE)
    assert laws.names(events).count("ActivityTaskTimedOut") == 1


async def test_heartbeat_details_of_a_silent_attempt_reach_the_next_one(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "heartbeat_then_hang", "", {"heartbeat": 4, "retry": {}})
        assert await handle.result() == "['step', 7]"
    [started] = laws.find(await stage.history(handle), "ActivityTaskStarted")
    assert started.last_failure.timeout_failure_info.timeout_type == ApiTimeoutType.TIMEOUT_TYPE_HEARTBEAT


async def test_heartbeat_timeout_of_the_last_attempt_carries_the_details(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        error, _ = await failure_of(stage, "heartbeat_then_hang", heartbeat=4, retry={"attempts": 1})
    assert isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.HEARTBEAT
    assert list(error.cause.last_heartbeat_details) == ["step", 7]


async def test_activity_tasks_carry_resolved_timeouts_and_retry_policy(stage: Stage):
    async with stage.worker([ShowInfo], ACTIVITIES):
        one = await stage.run(ShowInfo.run, {"schedule_to_close": 40, "heartbeat": 9}, suffix="a")
        two = await stage.run(ShowInfo.run, {"start_to_close": 12}, suffix="b")
    assert one["start_to_close"] == 40 and one["schedule_to_close"] == 40 and one["heartbeat"] == 9
    assert two["start_to_close"] == 12
    assert one["scheduled_before_started"] and one["attempt"] == 1
    assert one["retry"] == {"initial": 1.0, "coefficient": 2.0, "maximum": 100.0, "attempts": 0}
    assert one["priority"] == 2
    assert one["workflow_type"] == "ShowInfo" and one["namespace"] == "default"


@pytest.mark.once
async def test_describe_shows_attempt_last_failure_and_next_retry(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(
            OneActivity.run, "fail_until", stage.id() + "/99", {"retry": {"initial": 20, "attempts": 7}}
        )

        async def backing_off():
            pending = (await handle.describe()).raw_description.pending_activities
            waiting = [a for a in pending if a.attempt == 2]
            return waiting and waiting[0]

        pending = await eventually(backing_off, "the activity waits for its second attempt")
        assert pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        assert pending.activity_type.name == "fail_until"
        assert pending.maximum_attempts == 7
        assert pending.last_failure.message == "attempt 1"
        assert pending.last_worker_identity
        assert 15 < pending.current_retry_interval.ToTimedelta().total_seconds() < 20.1
        wait = pending.next_attempt_schedule_time.ToNanoseconds() - pending.last_attempt_complete_time.ToNanoseconds()
        assert 15e9 < wait <= 21e9


@pytest.mark.once
async def test_describe_shows_a_started_activity_and_its_heartbeat(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "heartbeat_until_cancelled", "ignore", {"heartbeat": 10})

        async def beating():
            pending = (await handle.describe()).raw_description.pending_activities
            beaten = [a for a in pending if a.heartbeat_details.payloads]
            return beaten and beaten[0]

        pending = await eventually(beating, "a heartbeat is shown")
        assert pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        assert pending.heartbeat_details.payloads[0].data == b'"alive"'
        assert pending.last_heartbeat_time.ToNanoseconds() >= pending.last_started_time.ToNanoseconds()
        await handle.terminate("seen")


@workflow.defn
class CancelsActivity:
    """Cancels its activity on a signal."""

    def __init__(self) -> None:
        self.cancelling = False

    @workflow.signal
    def cancel_it(self) -> None:
        self.cancelling = True

    @workflow.run
    async def run(self, kind: str, behaviour: str, task_queue: str | None) -> str:
        running = workflow.start_activity(
            "heartbeat_until_cancelled",
            behaviour,
            result_type=str,
            task_queue=task_queue,
            start_to_close_timeout=timedelta(seconds=20),
            heartbeat_timeout=timedelta(seconds=5),
            cancellation_type=workflow.ActivityCancellationType[kind],
        )
        await workflow.wait_condition(lambda: self.cancelling)
        running.cancel()
        try:
            return await running
        except ActivityError as error:
            return f"{type(error.cause).__name__}"


async def cancelled_activity(stage: Stage, kind: str, behaviour: str, task_queue: str | None = None):
    """A workflow whose activity was cancelled while it ran, or before a worker took it, when it has a queue of its own."""
    handle = await stage.start(CancelsActivity.run, kind, behaviour, task_queue)

    async def there():
        wanted = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED if task_queue else STARTED
        return [a for a in (await handle.describe()).raw_description.pending_activities if a.state == wanted]

    await eventually(there, "the activity is there")
    await handle.signal(CancelsActivity.cancel_it)
    return handle


STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
CANCEL = dict(max_heartbeat_throttle_interval=seconds(0.1), default_heartbeat_throttle_interval=seconds(0.1))


async def test_try_cancel_asks_and_does_not_wait(stage: Stage):
    async with stage.worker([CancelsActivity], ACTIVITIES, **CANCEL):
        handle = await cancelled_activity(stage, "TRY_CANCEL", "obey")
        assert await handle.result() == "CancelledError"
    names = await stage.names(handle)
    assert "ActivityTaskCancelRequested" in names


async def test_wait_cancellation_completed_waits_for_the_activity_to_say_so(stage: Stage):
    async with stage.worker([CancelsActivity], ACTIVITIES, **CANCEL):
        handle = await cancelled_activity(stage, "WAIT_CANCELLATION_COMPLETED", "obey")
        assert await handle.result() == "CancelledError"
    events = await stage.history(handle)
    [requested] = laws.find(events, "ActivityTaskCancelRequested")
    [canceled] = laws.find(events, "ActivityTaskCanceled")
    assert canceled.latest_cancel_requested_event_id > requested.scheduled_event_id
    assert canceled.scheduled_event_id == requested.scheduled_event_id


@pytest.mark.parametrize("behaviour,outcome", [("ignore", "finished anyway"), ("fail", "ApplicationError")])
async def test_an_activity_may_refuse_to_be_cancelled(stage: Stage, behaviour: str, outcome: str):
    async with stage.worker([CancelsActivity], ACTIVITIES, **CANCEL):
        handle = await cancelled_activity(stage, "WAIT_CANCELLATION_COMPLETED", behaviour)
        assert await handle.result() == outcome
    names = await stage.names(handle)
    assert "ActivityTaskCanceled" not in names


async def test_abandon_never_notifies_the_activity(stage: Stage):
    async with stage.worker([CancelsActivity], ACTIVITIES, **CANCEL):
        handle = await cancelled_activity(stage, "ABANDON", "obey")
        assert await handle.result() == "CancelledError"
        assert "ActivityTaskCancelRequested" not in await stage.names(handle)


async def test_cancelling_an_activity_without_a_worker_ends_it_at_once(stage: Stage):
    async with stage.worker([CancelsActivity], ACTIVITIES, **CANCEL):
        handle = await cancelled_activity(
            stage, "WAIT_CANCELLATION_COMPLETED", "obey", stage.task_queue + "-no-pollers"
        )
        assert await handle.result() == "CancelledError"
    names = await stage.names(handle)
    assert names.count("ActivityTaskCanceled") == 1 and "ActivityTaskStarted" not in names


@pytest.mark.once
@pytest.mark.parametrize("by", ["token", "id"])
async def test_completion_from_elsewhere(stage: Stage, by: str):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "complete_elsewhere", stage.id(), {"heartbeat": 10})
        activity_handle = await elsewhere(stage, handle, by)
        await activity_handle.heartbeat("from outside")
        await activity_handle.complete("from elsewhere")
        assert await handle.result() == "from elsewhere"
        with pytest.raises(RPCError) as again:
            await activity_handle.complete("twice")
        assert again.value.status == RPCStatusCode.NOT_FOUND


@pytest.mark.once
@pytest.mark.parametrize("by", ["token", "id"])
async def test_failure_from_elsewhere_is_retried_by_the_policy(stage: Stage, by: str):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "complete_elsewhere", stage.id(), {"retry": {"attempts": 2}})
        first = await elsewhere(stage, handle, by)
        TOKENS.pop(stage.id(), None)
        await first.fail(ApplicationError("first"))
        second = await elsewhere(stage, handle, by)
        await second.fail(ApplicationError("second", type="Second"))
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert caught.value.cause.cause.type == "Second"
    [started] = laws.find(await stage.history(handle), "ActivityTaskStarted")
    assert started.attempt == 2 and started.last_failure.message == "first"


@pytest.mark.once
async def test_a_cancelled_activity_hears_it_from_elsewhere_too(stage: Stage):
    options = {"heartbeat": 10, "cancellation": "WAIT_CANCELLATION_COMPLETED"}
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "complete_elsewhere", stage.id(), options)
        activity_handle = await elsewhere(stage, handle, "token")
        await handle.cancel()

        async def cancel_requested():
            try:
                await activity_handle.heartbeat("still here")
            except AsyncActivityCancelledError:
                return True

        await eventually(cancel_requested, "a heartbeat says that cancellation was requested")
        await activity_handle.report_cancellation("cleaned up")
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
    [canceled] = laws.find(await stage.history(handle), "ActivityTaskCanceled")
    assert canceled.details.payloads[0].data == b'"cleaned up"'


@pytest.mark.once
async def test_completing_an_unknown_activity_id_is_not_found(stage: Stage):
    async with stage.worker([OneActivity], ACTIVITIES):
        handle = await stage.start(OneActivity.run, "complete_elsewhere", stage.id(), {})
        await elsewhere(stage, handle, "token")
        with pytest.raises(RPCError) as caught:
            await stage.service.respond_activity_task_completed_by_id(
                RespondActivityTaskCompletedByIdRequest(
                    namespace=stage.namespace, workflow_id=handle.id, activity_id="unknown", result=payloads("x")
                )
            )
        assert caught.value.status == RPCStatusCode.NOT_FOUND
        assert caught.value.message == (
            "cannot find pending activity with ActivityID unknown, check workflow execution history for more details"
        )


@pytest.mark.once
async def test_an_answer_that_comes_too_late_hears_what_became_of_its_activity(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    await worker.complete(await worker.poll_workflow(), schedule_activity(stage, "a"), schedule_activity(stage, "b"))
    tasks = [await worker.poll_activity(), await worker.poll_activity()]
    await worker.complete_activity(tasks[0])
    with pytest.raises(RPCError) as caught:
        await worker.complete_activity(tasks[0])
    assert caught.value.status == RPCStatusCode.NOT_FOUND
    gone = "invalid activityID or activity already timed out or invoking workflow is completed"
    assert caught.value.message == gone
    await stage.client.get_workflow_handle(stage.id()).terminate()
    with pytest.raises(RPCError) as caught:
        await worker.complete_activity(tasks[1])
    assert caught.value.status == RPCStatusCode.NOT_FOUND
    assert caught.value.message == "workflow execution already completed"


@pytest.mark.once
async def test_a_failure_by_id_keeps_the_heartbeat_that_it_brings(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    retry = ApiRetryPolicy(initial_interval=duration(0.2), maximum_attempts=2)
    await worker.complete(await worker.poll_workflow(), schedule_activity(stage, "a", retry_policy=retry))
    await worker.poll_activity()
    fail = dict(
        namespace=stage.namespace,
        workflow_id=stage.id(),
        activity_id="a",
        failure=Failure(message="no", application_failure_info=ApplicationFailureInfo(type="No")),
        cause=ActivityTaskFailedCause.ACTIVITY_TASK_FAILED_CAUSE_EXTERNAL_STORAGE_FAILURE,
    )
    await stage.service.respond_activity_task_failed_by_id(
        RespondActivityTaskFailedByIdRequest(**fail, last_heartbeat_details=payloads("half"))
    )
    described = await stage.client.get_workflow_handle(stage.id()).describe()
    [pending] = described.raw_description.pending_activities
    assert pending.HasField("last_heartbeat_time") and pending.heartbeat_details == payloads("half")
    assert (await worker.poll_activity()).heartbeat_details == payloads("half")
    # What the last attempt failed of is in the history, as the worker said it.
    await stage.service.respond_activity_task_failed_by_id(RespondActivityTaskFailedByIdRequest(**fail))
    [failed] = laws.find(await stage.history(stage.id()), "ActivityTaskFailed")
    assert failed.cause == fail["cause"]


async def elsewhere(stage: Stage, handle, by: str):
    """A handle on the started attempt, made outside of the activity."""

    async def token():
        return TOKENS.get(stage.id())

    found = await eventually(token, "the activity started")
    if by == "token":
        return stage.client.get_async_activity_handle(task_token=found)

    async def pending():
        return (await handle.describe()).raw_description.pending_activities

    [info] = await eventually(pending, "the activity is pending")
    return stage.client.get_async_activity_handle(
        workflow_id=handle.id, run_id=handle.first_execution_run_id, activity_id=info.activity_id
    )


@workflow.defn
class ManyActivities:
    @workflow.run
    async def run(self, count: int) -> int:
        results = await asyncio.gather(
            *(
                workflow.execute_activity(
                    "greet", str(index), result_type=str, start_to_close_timeout=timedelta(seconds=30)
                )
                for index in range(count)
            )
        )
        return len([r for r in results if r.startswith("hello")])


async def test_fifty_activities_at_once(stage: Stage):
    async with stage.worker([ManyActivities], ACTIVITIES):
        handle = await stage.start(ManyActivities.run, 50)
        assert await handle.result() == 50
    names = await stage.names(handle)
    assert names.count("ActivityTaskScheduled") == names.count("ActivityTaskCompleted") == 50


@pytest.mark.once
async def test_a_worker_may_limit_the_rate_of_its_queue(stage: Stage):
    async with stage.worker(
        [ManyActivities], ACTIVITIES, max_task_queue_activities_per_second=5.0, disable_eager_activity_execution=True
    ):
        began = time.monotonic()
        assert await stage.run(ManyActivities.run, 20) == 20
    # Twenty at five a second, less the burst of about one second that limiters allow.
    assert time.monotonic() - began >= 2.0
