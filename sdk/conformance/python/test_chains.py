"""Chains of runs: continue-as-new, workflow retry, cron, start delay, and what all runs of a chain share."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import ContinueAsNewInitiator
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, TerminatedError, TimeoutError

import laws
from stage import Stage, eventually, seconds


@workflow.defn
class Again:
    def __init__(self) -> None:
        self.notes: list[str] = []

    @workflow.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @workflow.run
    async def run(self, left: int, total: list[str]) -> list[str]:
        if left < 0:
            await workflow.sleep(timedelta(milliseconds=250))
            workflow.continue_as_new(args=[left, total])
        await workflow.sleep(timedelta(milliseconds=30))
        total = total + self.notes + [workflow.memo_value("colour", "none")]
        if left:
            memo = {"colour": "green"} if left == 1 else None
            workflow.continue_as_new(args=[left - 1, total], memo=memo)
        return total


@workflow.defn
class Fails:
    @workflow.run
    async def run(self, until: int, kind: str) -> str:
        info = workflow.info()
        if info.attempt < until:
            raise ApplicationError(f"attempt {info.attempt}", type=kind, non_retryable=kind == "final")
        return f"attempt {info.attempt} after {workflow.get_last_failure()}"


@workflow.defn
class Tick:
    @workflow.run
    async def run(self, fail_on: int) -> int:
        last = workflow.get_last_completion_result(int) if workflow.has_last_completion_result() else 0
        failed = workflow.get_last_failure()
        if fail_on and last + 1 == fail_on and failed is None:
            raise ApplicationError("this tick fails")
        return last + 1


@workflow.defn
class Quick:
    @workflow.run
    async def run(self) -> str:
        return "quick"


async def chain(stage: Stage, workflow_id: str, run_id: str) -> list:
    """The histories of all runs of a chain, from the first."""
    histories = []
    while run_id:
        events = await stage.history(workflow_id, run_id)
        histories.append(events)
        run_id = getattr(laws.attributes(events[-1]), "new_execution_run_id", "")
    return histories


async def test_continue_as_new_keeps_the_identity_of_the_chain(stage: Stage):
    async with stage.worker([Again]):
        handle = await stage.start(Again.run, 3, [], memo={"colour": "red"})
        assert await handle.result() == ["red", "red", "red", "green"]
    first_run = handle.first_execution_run_id or ""
    histories = await chain(stage, handle.id, first_run)
    assert len(histories) == 4
    previous = None
    for events in histories:
        started = laws.attributes(events[0])
        assert started.first_execution_run_id == first_run
        assert started.attempt == 1
        if previous is not None:
            ended = laws.attributes(previous[-1])
            assert laws.name(previous[-1]) == "WorkflowExecutionContinuedAsNew"
            assert started.continued_execution_run_id == laws.attributes(previous[0]).original_execution_run_id
            assert started.original_execution_run_id == ended.new_execution_run_id
            assert started.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
        previous = events


async def test_continue_as_new_keeps_the_execution_deadline(stage: Stage):
    async with stage.worker([Again]):
        handle = await stage.start(Again.run, -1, [], execution_timeout=seconds(5))
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, TimeoutError)
    histories = await chain(stage, handle.id, handle.first_execution_run_id or "")
    assert len(histories) >= 2
    deadlines = {
        laws.attributes(events[0]).workflow_execution_expiration_time.ToNanoseconds() for events in histories
    }
    assert len(deadlines) == 1
    lived = laws.instant(histories[-1][-1]) - laws.instant(histories[0][0])
    assert 5e9 <= lived < 25e9


async def test_no_signal_is_lost_between_the_runs_of_a_chain(stage: Stage):
    async with stage.worker([Again]):
        handle = await stage.start(Again.run, 12, [])
        sent = []
        for number in range(25):
            try:
                await stage.client.get_workflow_handle(handle.id).signal(Again.note, f"n{number}")
                sent.append(f"n{number}")
            except Exception:
                break
            await asyncio.sleep(0.015)
        result = [text for text in await handle.result() if text.startswith("n") and text != "none"]
    histories = await chain(stage, handle.id, handle.first_execution_run_id or "")
    in_history = [
        signal.input.payloads[0].data.decode().strip('"')
        for events in histories
        for signal in laws.find(events, "WorkflowExecutionSignaled")
    ]
    assert in_history == sent
    assert result == sent[: len(result)]


async def test_a_workflow_retries_as_a_chain_of_runs(stage: Stage):
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=300), backoff_coefficient=1.0)
    async with stage.worker([Fails]):
        handle = await stage.start(Fails.run, 3, "x", retry_policy=policy)
        assert (await handle.result()).startswith("attempt 3 after")
    first_run = handle.first_execution_run_id or ""
    histories = await chain(stage, handle.id, first_run)
    assert [laws.attributes(events[0]).attempt for events in histories] == [1, 2, 3]
    for number, events in enumerate(histories):
        started = laws.attributes(events[0])
        assert started.first_execution_run_id == first_run
        if number:
            assert started.continued_failure.message == f"attempt {number}"
            assert started.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY
            # A server may hold back a chain whose runs follow each other within a second.
            assert 0.2e9 < started.first_workflow_task_backoff.ToNanoseconds() <= 1.1e9
            task = next(event for event in events if laws.name(event) == "WorkflowTaskScheduled")
            assert laws.instant(task) - laws.instant(events[0]) >= 0.25e9
    assert laws.name(histories[0][-1]) == "WorkflowExecutionFailed"


@pytest.mark.parametrize("policy,kind", [({"maximum_attempts": 2}, "x"), ({"non_retryable_error_types": ["x"]}, "x"), ({}, "final")])
async def test_what_ends_the_retries_of_a_workflow(stage: Stage, policy: dict, kind: str):
    full = RetryPolicy(initial_interval=timedelta(milliseconds=50), **policy)
    async with stage.worker([Fails]):
        handle = await stage.start(Fails.run, 99, kind, retry_policy=full)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    histories = await chain(stage, handle.id, handle.first_execution_run_id or "")
    assert len(histories) == (2 if "maximum_attempts" in policy else 1)


@pytest.mark.once
async def test_cron_runs_again_and_hands_on_the_last_result(stage: Stage):
    async with stage.worker([Tick]):
        handle = await stage.start(Tick.run, 0, cron_schedule="@every 1s")

        async def third_run():
            histories = await chain(stage, handle.id, handle.first_execution_run_id or "")
            return histories if len(histories) >= 4 else None

        histories = await eventually(third_run, "three runs of the cron have closed", 60)
        await stage.client.get_workflow_handle(handle.id).terminate()
    results = []
    for events in histories[:3]:
        end = laws.attributes(events[-1])
        assert laws.name(events[-1]) == "WorkflowExecutionCompleted", laws.names(events)
        results.append(int(end.result.payloads[0].data))
    assert results == [1, 2, 3]
    for events in histories[1:]:
        started = laws.attributes(events[0])
        assert started.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
        assert started.cron_schedule == "@every 1s"
        assert started.last_completion_result.payloads
        assert started.first_execution_run_id == handle.first_execution_run_id
        assert 0 < started.first_workflow_task_backoff.ToNanoseconds() <= 1e9


@pytest.mark.once
async def test_a_failed_cron_run_hands_on_its_failure_and_the_last_good_result(stage: Stage):
    async with stage.worker([Tick]):
        handle = await stage.start(Tick.run, 2, cron_schedule="@every 1s")

        async def enough():
            histories = await chain(stage, handle.id, handle.first_execution_run_id or "")
            return histories if len(histories) >= 4 else None

        histories = await eventually(enough, "a run after the failed one has closed", 60)
        await stage.client.get_workflow_handle(handle.id).terminate()
    assert laws.name(histories[1][-1]) == "WorkflowExecutionFailed"
    after = laws.attributes(histories[2][0])
    assert after.continued_failure.message == "this tick fails"
    assert after.last_completion_result.payloads[0].data == b"1"


@pytest.mark.once
@pytest.mark.parametrize("schedule", ["* * * * *", "CRON_TZ=Europe/Berlin 0 12 * * MON-FRI", "@hourly"])
async def test_cron_waits_for_its_first_moment(stage: Stage, schedule: str):
    handle = await stage.start(Quick.run, cron_schedule=schedule, execution_timeout=None)
    events = await stage.history(handle)
    assert laws.names(events) == ["WorkflowExecutionStarted"]
    backoff = laws.attributes(events[0]).first_workflow_task_backoff.ToTimedelta()
    assert timedelta(0) < backoff <= timedelta(days=4)
    described = await handle.describe()
    assert described.execution_time > described.start_time
    if schedule == "* * * * *":
        assert backoff <= timedelta(seconds=60)
        assert abs((described.execution_time.timestamp() + 0.5) % 60 - 0.5) < 1.1


async def test_start_delay_holds_back_the_first_task(stage: Stage):
    async with stage.worker([Quick]):
        handle = await stage.start(Quick.run, start_delay=seconds(0.8))
        assert await handle.result() == "quick"
    events = await stage.history(handle)
    started = laws.attributes(events[0])
    assert started.first_workflow_task_backoff.ToTimedelta() == seconds(0.8)
    assert laws.instant(events[1]) - laws.instant(events[0]) >= 0.8e9


@pytest.mark.once
async def test_a_delayed_workflow_can_be_terminated_before_it_began(stage: Stage):
    handle = await stage.start(Quick.run, start_delay=seconds(3600))
    await handle.terminate("not today")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TerminatedError)
    assert await stage.names(handle) == ["WorkflowExecutionStarted", "WorkflowExecutionTerminated"]


@pytest.mark.once
@pytest.mark.parametrize("which", ["execution_timeout", "run_timeout"])
async def test_workflow_timeouts(stage: Stage, which: str):
    handle = await stage.start(Quick.run, **{"execution_timeout": None, which: seconds(0.8)})
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TimeoutError)
    events = await stage.history(handle)
    assert laws.names(events) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowExecutionTimedOut"]
    assert laws.instant(events[-1]) - laws.instant(events[0]) >= 0.8e9
    assert (await handle.describe()).status == WorkflowExecutionStatus.TIMED_OUT


@pytest.mark.once
async def test_a_run_timeout_is_retried_by_the_policy_until_the_execution_timeout(stage: Stage):
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1.0)
    handle = await stage.start(
        Quick.run, run_timeout=seconds(0.9), execution_timeout=seconds(6), retry_policy=policy
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TimeoutError)
    histories = await chain(stage, handle.id, handle.first_execution_run_id or "")
    assert 2 <= len(histories) <= 6
    assert all(laws.name(events[-1]) == "WorkflowExecutionTimedOut" for events in histories)
