"""Signals: kept in order, once each, also when the workflow is busy, not yet started, or the sender resends."""

import asyncio
import uuid
from collections.abc import Sequence

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, continue_as_new
from stage import Stage, payloads


@workflow.defn
class Collects:
    """Collects signals until `done`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.done = False

    @workflow.signal
    def add(self, text: str) -> None:
        self.seen.append(text)

    @workflow.signal
    async def finish(self) -> None:
        self.done = True

    @workflow.signal(dynamic=True)
    def anything(self, name: str, _args: Sequence[RawValue]) -> None:
        self.seen.append(f"dynamic {name}")

    @workflow.query
    def so_far(self) -> list[str]:
        return self.seen

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.done)
        return self.seen


def signal_request(stage: Stage, run_id: str = "", request_id: str | None = None, text: str = "x", name: str = "add"):
    return SignalWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_execution=WorkflowExecution(workflow_id=stage.id(), run_id=run_id),
        signal_name=name,
        input=payloads(text),
        request_id=request_id or str(uuid.uuid4()),
        identity="conformance",
    )


async def test_signals_arrive_in_the_order_they_were_acknowledged(stage: Stage):
    async with stage.worker([Collects]):
        handle = await stage.start(Collects.run)
        for number in range(40):
            await handle.signal(Collects.add, str(number))
        await handle.signal(Collects.finish)
        assert await handle.result() == [str(number) for number in range(40)]
    signals = laws.find(await stage.history(handle), "WorkflowExecutionSignaled")
    assert len(signals) == 41 and signals[3].input.payloads[0].data == b'"3"' and signals[3].identity


async def test_signals_sent_at_once_are_all_there(stage: Stage):
    async with stage.worker([Collects]):
        handle = await stage.start(Collects.run)
        await asyncio.gather(*(handle.signal(Collects.add, str(number)) for number in range(60)))
        await handle.signal(Collects.finish)
        assert sorted(await handle.result(), key=int) == [str(number) for number in range(60)]


async def test_signals_before_the_first_worker_wait_for_it(stage: Stage):
    handle = await stage.start(Collects.run)
    await handle.signal(Collects.add, "early")
    await handle.signal("not declared", "x")
    await handle.signal(Collects.finish)
    async with stage.worker([Collects]):
        assert await handle.result() == ["early", "dynamic not declared"]


@pytest.mark.once
async def test_the_same_request_id_signals_once(stage: Stage):
    handle = await stage.start(Collects.run)
    request = signal_request(stage, request_id="one-and-the-same")
    for _ in range(3):
        await stage.service.signal_workflow_execution(request)
    await handle.signal(Collects.finish)
    async with stage.worker([Collects]):
        assert await handle.result() == ["x"]
    assert len(laws.find(await stage.history(handle), "WorkflowExecutionSignaled")) == 2


@pytest.mark.once
async def test_a_signal_to_a_closed_or_unknown_workflow_is_not_found(stage: Stage):
    handle = await stage.start(Collects.run)
    await handle.signal(Collects.finish)
    async with stage.worker([Collects]):
        await handle.result()
    for request in [
        signal_request(stage),
        signal_request(stage, run_id=handle.first_execution_run_id or ""),
        signal_request(stage, run_id=str(uuid.uuid4())),
    ]:
        with pytest.raises(RPCError) as caught:
            await stage.service.signal_workflow_execution(request)
        assert caught.value.status == RPCStatusCode.NOT_FOUND
    with pytest.raises(RPCError) as caught:
        await stage.client.get_workflow_handle(stage.id("never-started")).signal("add", "x")
    assert caught.value.status == RPCStatusCode.NOT_FOUND


@pytest.mark.once
async def test_a_signal_during_a_workflow_task_is_buffered_and_scheduled_after_it(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    await stage.service.signal_workflow_execution(signal_request(stage, name="late"))
    await worker.complete(task)
    second = await worker.poll_workflow()
    await worker.complete(second, complete_workflow())
    assert await stage.names(stage.id()) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]


@pytest.mark.once
async def test_completing_past_an_unseen_signal_is_an_unhandled_command(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    await stage.service.signal_workflow_execution(signal_request(stage, name="unseen"))
    with pytest.raises(RPCError) as caught:
        await worker.complete(task, complete_workflow())
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT
    second = await worker.poll_workflow()
    assert "WorkflowExecutionSignaled" in laws.names(list(second.history.events))
    await worker.complete(second, complete_workflow())
    names = await stage.names(stage.id())
    assert names.count("WorkflowTaskFailed") == 1
    assert names[-1] == "WorkflowExecutionCompleted"


def signal_with_start(stage: Stage, text: str, **fields) -> SignalWithStartWorkflowExecutionRequest:
    defaults = dict(
        namespace=stage.namespace,
        workflow_id=stage.id(),
        workflow_type=WorkflowType(name="Collects"),
        task_queue=TaskQueue(name=stage.task_queue),
        signal_name="add",
        signal_input=payloads(text),
        request_id=str(uuid.uuid4()),
        identity="conformance",
    )
    return SignalWithStartWorkflowExecutionRequest(**{**defaults, **fields})


async def test_signal_with_start_starts_once_and_signals_every_time(stage: Stage):
    handle = await stage.start(Collects.run, start_signal="add", start_signal_args=["first"])
    response = await stage.service.signal_with_start_workflow_execution(signal_with_start(stage, "second"))
    assert not response.started
    await handle.signal(Collects.finish)
    async with stage.worker([Collects]):
        assert await handle.result() == ["first", "second"]
    names = await stage.names(handle)
    assert names[:3] == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


@pytest.mark.once
async def test_signal_with_start_on_a_closed_workflow_opens_a_new_run(stage: Stage):
    first = await stage.service.signal_with_start_workflow_execution(signal_with_start(stage, "one"))
    assert first.started
    stage.note(stage.id(), first.run_id)
    await stage.client.get_workflow_handle(stage.id()).terminate()
    second = await stage.service.signal_with_start_workflow_execution(signal_with_start(stage, "two"))
    stage.note(stage.id(), second.run_id)
    assert second.started and second.run_id != first.run_id
    [signal] = laws.find(await stage.history(stage.id(), second.run_id), "WorkflowExecutionSignaled")
    assert signal.input.payloads[0].data == b'"two"'


@pytest.mark.once
async def test_signal_with_start_resent_is_one_start_and_one_signal(stage: Stage):
    request = signal_with_start(stage, "once")
    runs = {(await stage.service.signal_with_start_workflow_execution(request)).run_id for _ in range(3)}
    assert len(runs) == 1
    stage.note(stage.id(), runs.pop())
    assert len(laws.find(await stage.history(stage.id()), "WorkflowExecutionSignaled")) == 1


@pytest.mark.once
async def test_signal_with_start_may_terminate_the_existing_run_but_not_fail_on_it(stage: Stage):
    first = await stage.service.signal_with_start_workflow_execution(signal_with_start(stage, "old"))
    stage.note(stage.id(), first.run_id)
    terminate = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    second = await stage.service.signal_with_start_workflow_execution(
        signal_with_start(stage, "new", workflow_id_conflict_policy=terminate)
    )
    stage.note(stage.id(), second.run_id)
    assert second.run_id != first.run_id
    assert (await stage.names(stage.id(), first.run_id))[-1] == "WorkflowExecutionTerminated"
    fail = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL
    with pytest.raises(RPCError) as caught:
        await stage.service.signal_with_start_workflow_execution(
            signal_with_start(stage, "never", workflow_id_conflict_policy=fail)
        )
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT


@pytest.mark.once
async def test_a_request_id_holds_for_one_chain_of_runs(stage: Stage):
    first = await stage.start_raw()
    request_id = str(uuid.uuid4())

    async def signal() -> str:
        """Sends it (again); the run that it is in."""
        response = await stage.service.signal_workflow_execution(signal_request(stage, request_id=request_id))
        event = response.link.workflow_event
        assert event.namespace == stage.namespace and event.workflow_id == stage.id()
        assert event.request_id_ref.request_id == request_id
        assert event.request_id_ref.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        return event.run_id

    async def signals(run_id: str) -> int:
        return (await stage.names(stage.id(), run_id)).count("WorkflowExecutionSignaled")

    assert await signal() == first.run_id
    worker = RawWorker(stage)
    await worker.complete(await worker.poll_workflow(), continue_as_new())
    # Across a continue-as-new it is the same signal, and after the close, while the chain is the newest.
    assert await signal() == first.run_id
    second = (await stage.client.get_workflow_handle(stage.id()).describe()).run_id
    await stage.client.get_workflow_handle(stage.id()).terminate()
    assert await signal() == first.run_id
    assert (await signals(first.run_id), await signals(second)) == (1, 0)
    # In the next chain it is a signal that has not been sent yet.
    third = await stage.start_raw()
    assert [await signal(), await signal()] == [third.run_id, third.run_id]
    assert await signals(third.run_id) == 1


@pytest.mark.once
async def test_a_signal_with_start_links_to_the_signal(stage: Stage):
    for started in (True, False):
        request_id = str(uuid.uuid4())
        request = signal_with_start(stage, "x", request_id=request_id)
        response = await stage.service.signal_with_start_workflow_execution(request)
        stage.note(stage.id(), response.run_id)
        assert response.started == started and response.first_execution_run_id == response.run_id
        event = response.signal_link.workflow_event
        assert (event.run_id, event.request_id_ref.request_id) == (response.run_id, request_id)
        assert event.request_id_ref.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
