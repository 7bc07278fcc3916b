"""Signals and cancel requests from one workflow to another."""

import uuid

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, cancel_external, complete_workflow, duration, signal_external, start_child
from stage import Stage, eventually


@workflow.defn
class Target:
    def __init__(self) -> None:
        self.notes: list[str] = []

    @workflow.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @workflow.run
    async def run(self, wanted: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.notes) >= wanted)
        return self.notes


@workflow.defn
class Sender:
    @workflow.run
    async def run(self, action: str, target: str, run_id: str | None) -> str:
        handle = workflow.get_external_workflow_handle(target, run_id=run_id)
        try:
            if action == "cancel":
                await handle.cancel()
            else:
                for number in range(3):
                    await handle.signal("note", f"{action} {number}")
        except ApplicationError as error:
            return f"failed: {error.type}"
        return "sent"


async def test_signals_reach_another_workflow_in_order(stage: Stage):
    async with stage.worker([Target, Sender]):
        target = await stage.start(Target.run, 3, suffix="target")
        sender = await stage.start(Sender.run, "hello", target.id, None, suffix="sender")
        assert await sender.result() == "sent"
        assert await target.result() == ["hello 0", "hello 1", "hello 2"]
    names = await stage.names(sender)
    assert names.count("SignalExternalWorkflowExecutionInitiated") == 3
    assert names.count("ExternalWorkflowExecutionSignaled") == 3
    [first, *_] = laws.find(await stage.history(target), "WorkflowExecutionSignaled")
    assert first.external_workflow_execution.workflow_id == sender.id


async def test_a_cancel_request_reaches_another_workflow(stage: Stage):
    async with stage.worker([Target, Sender]):
        target = await stage.start(Target.run, 1, suffix="target")
        sender = await stage.start(Sender.run, "cancel", target.id, target.first_execution_run_id, suffix="sender")
        assert await sender.result() == "sent"
        with pytest.raises(WorkflowFailureError) as caught:
            await target.result()
        assert isinstance(caught.value.cause, CancelledError)
    assert "ExternalWorkflowExecutionCancelRequested" in await stage.names(sender)
    [asked] = laws.find(await stage.history(target), "WorkflowExecutionCancelRequested")
    assert asked.external_workflow_execution.workflow_id == sender.id


@pytest.mark.parametrize("action", ["hello", "cancel"])
async def test_an_unknown_target_fails_inside_the_workflow(stage: Stage, action: str):
    async with stage.worker([Target, Sender]):
        handle = await stage.start(Sender.run, action, stage.id("missing"), None)
        assert (await handle.result()).startswith("failed")
    names = await stage.names(handle)
    wanted = "RequestCancelExternal" if action == "cancel" else "SignalExternal"
    assert f"{wanted}WorkflowExecutionFailed" in names


async def test_a_closed_target_fails_inside_the_workflow(stage: Stage):
    async with stage.worker([Target, Sender]):
        target = await stage.start(Target.run, 0, suffix="target")
        await target.result()
        sender = await stage.start(Sender.run, "late", target.id, None, suffix="sender")
        assert (await sender.result()).startswith("failed")


def elsewhere(stage: Stage, what: str, namespace: str):
    target = stage.id("target")
    return {
        "child": start_child(stage, target, namespace=namespace),
        "signal": signal_external(target, namespace=namespace),
        "cancel": cancel_external(target, namespace=namespace),
    }[what]


@pytest.mark.once
@pytest.mark.parametrize("what", ["child", "signal", "cancel"])
async def test_a_command_into_an_unknown_namespace_is_refused_and_writes_nothing(stage: Stage, what: str):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    with pytest.raises(RPCError) as caught:
        await worker.complete(task, elsewhere(stage, what, "nowhere"))
    assert caught.value.status == RPCStatusCode.NOT_FOUND
    assert caught.value.message == "Namespace nowhere is not found."
    failure = NamespaceNotFoundFailure()
    assert caught.value.grpc_status.details[0].Unpack(failure) and failure.namespace == "nowhere"
    assert await stage.names(stage.id()) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
    # The task is still the worker's.
    await worker.complete(task, complete_workflow())


@pytest.mark.once
@pytest.mark.parametrize("what", ["child", "signal", "cancel"])
async def test_a_command_into_another_namespace_fails_the_task(stage: Stage, what: str):
    other = f"other-{uuid.uuid4().hex[:8]}"
    await stage.service.register_namespace(
        RegisterNamespaceRequest(namespace=other, workflow_execution_retention_period=duration(86400))
    )
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    with pytest.raises(RPCError) as caught:
        await worker.complete(task, elsewhere(stage, what, other))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT
    cause = {
        "child": WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES,
        "signal": WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES,
        "cancel": WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES,
    }[what]
    [failed] = laws.find(await stage.history(stage.id()), "WorkflowTaskFailed")
    assert failed.cause == cause


@pytest.mark.once
async def test_a_workflow_cannot_signal_or_cancel_itself(stage: Stage):
    response = await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    me = stage.id()
    await worker.complete(
        task,
        signal_external(me),
        signal_external(me, run_id=response.run_id),
        cancel_external(me),
        cancel_external(me, run_id=response.run_id),
    )

    async def failures():
        names = await stage.names(me)
        signals = names.count("SignalExternalWorkflowExecutionFailed")
        return signals + names.count("RequestCancelExternalWorkflowExecutionFailed") == 4

    await eventually(failures, "all four have failed")
    names = await stage.names(me)
    assert "WorkflowExecutionSignaled" not in names and "WorkflowExecutionCancelRequested" not in names


@pytest.mark.once
async def test_signals_to_one_workflow_arrive_in_the_order_of_the_commands(stage: Stage):
    target = stage.id("target")
    await stage.start_raw(workflow_id=target, task_queue=TaskQueue(name=f"{stage.task_queue}-target"))
    await stage.start_raw()
    worker = RawWorker(stage)
    sent = [f"signal-{number}" for number in range(30)]
    await worker.complete(await worker.poll_workflow(), *(signal_external(target, name) for name in sent))

    async def arrived():
        signals = laws.find(await stage.history(target), "WorkflowExecutionSignaled")
        return [signal.signal_name for signal in signals] if len(signals) == len(sent) else None

    assert await eventually(arrived, "all signals have arrived") == sent
