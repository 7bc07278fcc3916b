"""Child workflows: results, failures, cancellation, and what becomes of them when their parent closes."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    RetryState,
    TerminatedError,
    TimeoutError,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

import laws
from raw import RawWorker, cancel_external, signal_external, start_child
from stage import Stage, eventually, seconds

# Of a workflow task: as long as the stage gives to workflows that it starts.
SLOW = timedelta(seconds=30)


@workflow.defn
class Child:
    """Does what its name says: echo, fail, wait, or continue as new before it answers."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @workflow.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @workflow.run
    async def run(self, behaviour: str) -> str:
        if behaviour == "fail":
            raise ApplicationError("the child failed", "why", type="ChildTrouble")
        if behaviour == "fail once" and workflow.info().attempt == 1:
            raise ApplicationError("the first attempt failed")
        if behaviour == "wait":
            await workflow.wait_condition(lambda: False)
        if behaviour == "one note":
            await workflow.wait_condition(lambda: bool(self.notes))
            return self.notes[0]
        if behaviour == "slow to cancel":
            try:
                await workflow.wait_condition(lambda: False)
            except asyncio.CancelledError:
                await workflow.sleep(timedelta(milliseconds=300))
                raise
        if behaviour.startswith("again "):
            left = int(behaviour.removeprefix("again "))
            if left:
                workflow.continue_as_new(f"again {left - 1}")
            return "the last of the chain"
        info = workflow.info()
        root = info.root.workflow_id if info.root else None
        return f"{behaviour} of {info.parent.workflow_id if info.parent else None} under {root}"


@workflow.defn
class Grandparent:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_child_workflow(
            Parent.run, args=["echo", {}], id=workflow.info().workflow_id + "/parent", task_timeout=SLOW
        )


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, behaviour: str, options: dict) -> str:
        """Starts one child. Then, as the options say: returns at once, cancels it, signals it, or waits for it."""
        policy = ParentClosePolicy[options.get("policy", "TERMINATE")]
        handle = await workflow.start_child_workflow(
            Child.run,
            behaviour,
            id=options.get("id") or workflow.info().workflow_id + "/child",
            parent_close_policy=policy,
            cancellation_type=ChildWorkflowCancellationType[options.get("cancel", "WAIT_CANCELLATION_COMPLETED")],
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=options["attempts"])
            if "attempts" in options
            else None,
            run_timeout=timedelta(seconds=options["run_timeout"]) if "run_timeout" in options else None,
            id_reuse_policy=WorkflowIDReusePolicy[options.get("reuse", "ALLOW_DUPLICATE")],
            static_summary=options.get("summary"),
            task_timeout=SLOW,
        )
        if options.get("leave"):
            return handle.id
        if options.get("signal"):
            await handle.signal("note", options["signal"])
        if "cancel" in options:
            await workflow.sleep(timedelta(milliseconds=100))
            handle.cancel()
        return await handle


@workflow.defn
class ManyChildren:
    @workflow.run
    async def run(self, count: int) -> int:
        results = await asyncio.gather(
            *(
                workflow.execute_child_workflow(
                    Child.run, "echo", id=f"{workflow.info().workflow_id}/{number}", task_timeout=SLOW
                )
                for number in range(count)
            )
        )
        return len(results)


FAMILY = [Child, Parent, Grandparent, ManyChildren]


async def test_a_child_returns_its_result_to_its_parent(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "echo", {"summary": "a child"})
        assert await handle.result() == f"echo of {handle.id} under {handle.id}"
    events = await stage.history(handle)
    names = laws.names(events)
    wanted = [name for name in names if "Child" in name]
    assert wanted == [
        "StartChildWorkflowExecutionInitiated", "ChildWorkflowExecutionStarted", "ChildWorkflowExecutionCompleted",
    ]
    [initiated] = laws.find(events, "StartChildWorkflowExecutionInitiated")
    [started] = laws.find(events, "ChildWorkflowExecutionStarted")
    child = laws.attributes((await stage.history(handle.id + "/child", started.workflow_execution.run_id))[0])
    assert child.parent_workflow_execution.workflow_id == handle.id
    assert child.parent_workflow_execution.run_id == handle.first_execution_run_id
    assert child.parent_initiated_event_id == started.initiated_event_id
    assert child.root_workflow_execution.workflow_id == handle.id
    assert initiated.workflow_type.name == "Child"


async def test_the_root_is_the_oldest_ancestor(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Grandparent.run)
        assert await handle.result() == f"echo of {handle.id}/parent under {handle.id}"


async def test_a_child_failure_arrives_with_its_cause(stage: Stage):
    async with stage.worker(FAMILY):
        with pytest.raises(WorkflowFailureError) as caught:
            await stage.run(Parent.run, "fail", {})
    error = caught.value.cause
    assert isinstance(error, ChildWorkflowError)
    assert error.retry_state == RetryState.RETRY_POLICY_NOT_SET
    assert isinstance(error.cause, ApplicationError)
    assert error.cause.type == "ChildTrouble" and list(error.cause.details) == ["why"]


async def test_a_retried_child_is_one_child_to_its_parent(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "fail once", {"attempts": 3})
        assert (await handle.result()).startswith("fail once of")
    names = await stage.names(handle)
    assert names.count("ChildWorkflowExecutionStarted") == 1 and "ChildWorkflowExecutionFailed" not in names


async def test_a_child_that_continues_as_new_is_one_child_to_its_parent(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "again 3", {})
        assert await handle.result() == "the last of the chain"
    names = await stage.names(handle)
    assert names.count("ChildWorkflowExecutionStarted") == names.count("ChildWorkflowExecutionCompleted") == 1


async def test_a_timed_out_child(stage: Stage):
    async with stage.worker(FAMILY):
        with pytest.raises(WorkflowFailureError) as caught:
            await stage.run(Parent.run, "wait", {"run_timeout": 0.8})
    assert isinstance(caught.value.cause.cause, TimeoutError)


async def test_a_terminated_child(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "wait", {})
        child = stage.client.get_workflow_handle(handle.id + "/child")

        async def exists():
            return "ChildWorkflowExecutionStarted" in await stage.names(handle)

        await eventually(exists, "the child started")
        await child.terminate("enough")
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause.cause, TerminatedError)


async def test_a_signal_to_a_child_by_its_handle(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "one note", {"signal": "dear child"})
        assert await handle.result() == "dear child"
    names = await stage.names(handle)
    assert names.index("SignalExternalWorkflowExecutionInitiated") < names.index("ExternalWorkflowExecutionSignaled")


@pytest.mark.parametrize("kind", ["TRY_CANCEL", "WAIT_CANCELLATION_COMPLETED", "WAIT_CANCELLATION_REQUESTED", "ABANDON"])
async def test_cancelling_a_child(stage: Stage, kind: str):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "slow to cancel", {"cancel": kind, "policy": "ABANDON"})
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        error = caught.value.cause
        assert isinstance(error, (ChildWorkflowError, CancelledError)), error
        names = await stage.names(handle)
        asked = "RequestCancelExternalWorkflowExecutionInitiated"
        if kind == "ABANDON":
            assert asked not in names
        else:
            assert asked in names
        if kind == "WAIT_CANCELLATION_COMPLETED":
            assert "ChildWorkflowExecutionCanceled" in names
        if kind == "WAIT_CANCELLATION_REQUESTED":
            assert "ExternalWorkflowExecutionCancelRequested" in names
        if kind == "TRY_CANCEL":
            # The parent closes with the very command that asks; whether the request still leaves is not promised.
            return
        child = stage.client.get_workflow_handle(handle.id + "/child")
        wanted = WorkflowExecutionStatus.RUNNING if kind == "ABANDON" else WorkflowExecutionStatus.CANCELED

        async def ended():
            return (await child.describe()).status == wanted

        await eventually(ended, f"the child is {wanted.name}")


@pytest.mark.parametrize(
    "policy,status",
    [("TERMINATE", "TERMINATED"), ("REQUEST_CANCEL", "CANCELED"), ("ABANDON", "RUNNING")],
)
@pytest.mark.parametrize("end", ["complete", "terminate"])
async def test_parent_close_policies(stage: Stage, policy: str, status: str, end: str):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "wait", {"policy": policy, "leave": end == "complete"})
        child = stage.client.get_workflow_handle(handle.id + "/child")
        if end == "complete":
            await handle.result()
        else:

            async def child_started():
                return "ChildWorkflowExecutionStarted" in await stage.names(handle)

            await eventually(child_started, "the child started")
            await handle.terminate("the parent ends here")
        wanted = WorkflowExecutionStatus[status]

        async def settled():
            return (await child.describe()).status == wanted

        await eventually(settled, f"the child is {status}")
        if policy == "ABANDON":
            await asyncio.sleep(0.3)
            assert await settled()


async def test_a_child_id_in_use_fails_the_start(stage: Stage):
    async with stage.worker(FAMILY):
        taken = await stage.start(Child.run, "wait", suffix="taken")
        handle = await stage.start(Parent.run, "echo", {"id": taken.id})
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert "already started" in str(caught.value.cause)
    [failed] = laws.find(await stage.history(handle), "StartChildWorkflowExecutionFailed")
    assert failed.workflow_id == taken.id


async def test_a_child_id_used_before_is_rejected_when_duplicates_are(stage: Stage):
    async with stage.worker(FAMILY):
        used = await stage.start(Child.run, "echo", suffix="used")
        await used.result()
        with pytest.raises(WorkflowFailureError):
            await stage.run(Parent.run, "echo", {"id": used.id, "reuse": "REJECT_DUPLICATE"}, suffix="rejects")
        assert (await stage.run(Parent.run, "echo", {"id": used.id}, suffix="allows")).startswith("echo")


async def test_twenty_children_at_once(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(ManyChildren.run, 20)
        assert await handle.result() == 20
    assert (await stage.names(handle)).count("ChildWorkflowExecutionCompleted") == 20


@pytest.mark.once
async def test_describe_shows_pending_children(stage: Stage):
    async with stage.worker(FAMILY):
        handle = await stage.start(Parent.run, "wait", {"policy": "REQUEST_CANCEL"})

        async def pending():
            return [c for c in (await handle.describe()).raw_description.pending_children if c.run_id]

        [child] = await eventually(pending, "a child is pending")
        assert child.workflow_id == handle.id + "/child" and child.workflow_type_name == "Child"
        assert child.initiated_id > 0 and child.parent_close_policy == 3
        described = await stage.client.get_workflow_handle(child.workflow_id).describe()
        info = described.raw_description.workflow_execution_info
        assert info.parent_execution.workflow_id == handle.id
        assert info.root_execution.workflow_id == handle.id
        await handle.terminate()


@pytest.mark.once
async def test_a_parent_whose_child_is_unstarted_can_close(stage: Stage):
    """The child's queue has no worker; its parent is terminated and takes the child along."""
    async with stage.worker([Parent, ManyChildren]):
        handle = await stage.start(Parent.run, "wait", {"id": stage.id("orphan")}, execution_timeout=seconds(30))

        async def child_started():
            return "ChildWorkflowExecutionStarted" in await stage.names(handle)

        await eventually(child_started, "the child exists")
    await handle.terminate()
    child = stage.client.get_workflow_handle(stage.id("orphan"))

    async def gone():
        return (await child.describe()).status == WorkflowExecutionStatus.TERMINATED

    await eventually(gone, "the child is terminated")


@pytest.mark.once
async def test_a_signal_to_a_child_comes_after_its_start(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    children = [stage.id(f"child-{number}") for number in range(20)]
    commands = [
        command
        for child in children
        for command in (start_child(stage, child), signal_external(child, "hello", child_workflow_only=True))
    ]
    await worker.complete(await worker.poll_workflow(), *commands)

    async def all_signalled():
        return (await stage.names(stage.id())).count("ExternalWorkflowExecutionSignaled") == len(children)

    await eventually(all_signalled, "every signal has been taken")
    for child in children:
        assert (await stage.names(child)).count("WorkflowExecutionSignaled") == 1


@pytest.mark.once
async def test_starting_a_child_and_cancelling_it_with_one_task_fails_the_task(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    child = stage.id("child")
    with pytest.raises(RPCError) as caught:
        await worker.complete(await worker.poll_workflow(), start_child(stage, child), cancel_external(child))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT
    assert "Start and RequestCancel for child workflow is not allowed in same workflow task" in caught.value.message
    [failed] = laws.find(await stage.history(stage.id()), "WorkflowTaskFailed")
    assert failed.cause == (
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES
    )
    with pytest.raises(RPCError) as caught:
        await stage.history(child)
    assert caught.value.status == RPCStatusCode.NOT_FOUND


@pytest.mark.once
async def test_a_cancel_request_always_reaches_the_child_that_was_started_before(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    children = [stage.id(f"child-{number}") for number in range(20)]
    task = await worker.poll_workflow()
    # The worker decides again before it has heard of any start.
    response = await worker.complete(
        task,
        *(start_child(stage, child) for child in children),
        return_new_workflow_task=True,
        force_create_new_workflow_task=True,
    )
    await worker.complete(response.workflow_task, *(cancel_external(child) for child in children))

    async def all_cancelled():
        names = await stage.names(stage.id())
        assert "RequestCancelExternalWorkflowExecutionFailed" not in names
        return names.count("ExternalWorkflowExecutionCancelRequested") == len(children)

    await eventually(all_cancelled, "every child has been asked")
    for child in children:
        assert "WorkflowExecutionCancelRequested" in await stage.names(child)
