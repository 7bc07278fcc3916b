"""Signals and cancel requests from one workflow to another."""

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

import laws
from stage import Stage


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
        handle = await stage.start(Sender.run, action, stage.id("nobody"), None)
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
