"""Local activities: they run inside a workflow task, which the server must keep alive while they take their time."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from stage import Stage, seconds


@activity.defn
async def quick(name: str) -> str:
    return f"local {name}"


@activity.defn
async def slow(wait_s: float) -> str:
    await asyncio.sleep(wait_s)
    return "slow but done"


@activity.defn
async def third_time(_: str) -> str:
    if activity.info().attempt < 3:
        raise ApplicationError("not yet")
    return f"attempt {activity.info().attempt}"


@activity.defn
async def hopeless(_: str) -> str:
    raise ApplicationError("hopeless", non_retryable=True)


@workflow.defn
class Local:
    @workflow.run
    async def run(self, name: str, arg: str, backoff_s: float, threshold_s: float) -> str:
        return await workflow.execute_local_activity(
            name,
            arg,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=backoff_s), backoff_coefficient=1.0),
            local_retry_threshold=timedelta(seconds=threshold_s),
        )


@workflow.defn
class Slow:
    @workflow.run
    async def run(self, wait_s: float) -> str:
        first = await workflow.execute_local_activity(
            slow, wait_s, start_to_close_timeout=timedelta(seconds=20)
        )
        await workflow.sleep(timedelta(milliseconds=50))
        return first


LOCALS = [quick, slow, third_time, hopeless]


async def test_a_local_activity_is_one_marker(stage: Stage):
    async with stage.worker([Local], LOCALS):
        handle = await stage.start(Local.run, "quick", "one", 0.1, 10)
        assert await handle.result() == "local one"
    assert await stage.names(handle) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
        "MarkerRecorded",
        "WorkflowExecutionCompleted",
    ]


async def test_short_retries_stay_inside_the_task(stage: Stage):
    async with stage.worker([Local], LOCALS):
        handle = await stage.start(Local.run, "third_time", "", 0.1, 10)
        assert await handle.result() == "attempt 3"
    assert "TimerStarted" not in await stage.names(handle)


async def test_long_retries_become_timers(stage: Stage):
    async with stage.worker([Local], LOCALS):
        handle = await stage.start(Local.run, "third_time", "", 0.6, 0.2)
        assert await handle.result() == "attempt 3"
    names = await stage.names(handle)
    assert names.count("TimerFired") == 2 and names.count("MarkerRecorded") == 3


async def test_a_failing_local_activity_fails_the_workflow(stage: Stage):
    async with stage.worker([Local], LOCALS):
        with pytest.raises(WorkflowFailureError) as caught:
            await stage.run(Local.run, "hopeless", "", 0.1, 10)
    assert caught.value.cause.message == "hopeless"


async def test_task_heartbeats_carry_a_local_activity_past_the_task_timeout(stage: Stage):
    async with stage.worker([Slow], LOCALS):
        # A worker reports after four fifths of the timeout: what is left is for machines that are slow.
        handle = await stage.start(Slow.run, 13.5, task_timeout=seconds(8))
        assert await handle.result() == "slow but done"
    names = await stage.names(handle)
    assert "WorkflowTaskTimedOut" not in names and "WorkflowTaskFailed" not in names, names
    before_the_marker = names[: names.index("MarkerRecorded")]
    assert before_the_marker.count("WorkflowTaskCompleted") >= 3, names
    # A forced task follows its predecessor directly: completed, scheduled, started.
    heartbeat = names.index("WorkflowTaskCompleted")
    assert names[heartbeat + 1 : heartbeat + 3] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]


async def test_a_signal_during_a_long_local_activity_is_kept(stage: Stage):
    async with stage.worker([SlowWithSignal], LOCALS):
        handle = await stage.start(SlowWithSignal.run, task_timeout=seconds(8))
        await asyncio.sleep(0.8)
        await handle.signal("note", "hello")
        assert await handle.result() == ["hello"]


@workflow.defn
class SlowWithSignal:
    def __init__(self) -> None:
        self.notes: list[str] = []

    @workflow.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.execute_local_activity(slow, 8.0, start_to_close_timeout=timedelta(seconds=20))
        await workflow.wait_condition(lambda: bool(self.notes))
        return self.notes
