"""Resets: a new run goes on from an earlier point of another."""

import asyncio
import uuid

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType, ResetReapplyType, WorkflowTaskFailedCause
from temporalio.api.workflow.v1 import PostResetOperation
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
    PollWorkflowExecutionUpdateRequest,
    ResetWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
)
from temporalio.api.update.v1 import UpdateRef
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, continue_as_new, schedule_activity, start_child, start_timer
from stage import Stage, eventually, payloads, seconds


async def reset(stage: Stage, workflow_id: str, run_id: str, finish: int, **fields) -> str:
    """The new run."""
    fields.setdefault("request_id", str(uuid.uuid4()))
    response = await stage.service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=stage.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            reason=fields.pop("reason", "for a test"),
            workflow_task_finish_event_id=finish,
            identity="operator",
            **fields,
        )
    )
    stage.note(workflow_id, response.run_id)
    return response.run_id


async def describe(stage: Stage, workflow_id: str, run_id: str = "") -> DescribeWorkflowExecutionResponse:
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = DescribeWorkflowExecutionRequest(namespace=stage.namespace, execution=execution)
    return await stage.service.describe_workflow_execution(request)


async def signal(stage: Stage, workflow_id: str, name: str) -> None:
    await stage.service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace=stage.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            request_id=f"request-{name}",
            identity="caller",
        )
    )


@activity.defn
async def charge(amount: int) -> int:
    return amount


@workflow.defn
class Account:
    @workflow.init
    def __init__(self) -> None:
        self.entries: list[str] = []
        self.open = True

    @workflow.run
    async def run(self) -> list[str]:
        charged = await workflow.execute_activity(charge, 7, start_to_close_timeout=seconds(20))
        self.entries.append(f"charged {charged}")
        await workflow.wait_condition(lambda: not self.open)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.entries

    @workflow.signal
    async def deposit(self, amount: int) -> None:
        self.entries.append(f"deposit {amount}")

    @workflow.update
    async def withdraw(self, amount: int) -> str:
        await workflow.execute_activity(charge, amount, start_to_close_timeout=seconds(20))
        self.entries.append(f"withdraw {amount}")
        return f"{amount} withdrawn"

    @workflow.signal
    def close(self) -> None:
        self.open = False


@workflow.defn(name="Order")
class Buggy:
    @workflow.run
    async def run(self) -> str:
        charged = await workflow.execute_activity(charge, 7, start_to_close_timeout=seconds(20))
        raise ApplicationError(f"cannot ship for {charged}", non_retryable=True)


@workflow.defn(name="Order")
class Mended:
    @workflow.run
    async def run(self) -> str:
        charged = await workflow.execute_activity(charge, 7, start_to_close_timeout=seconds(20))
        return f"shipped for {charged}"


async def an_account(stage: Stage) -> WorkflowHandle:
    """One that has been charged, and has had two signals and two updates."""
    handle = await stage.start(Account.run)

    async def is_charged() -> bool:
        return "ActivityTaskCompleted" in await stage.names(handle)

    await eventually(is_charged, "the account is charged")
    await handle.signal(Account.deposit, 1)
    assert await handle.execute_update(Account.withdraw, 2, id="first") == "2 withdrawn"
    await handle.signal(Account.deposit, 3)
    assert await handle.execute_update(Account.withdraw, 4, id="second") == "4 withdrawn"
    return handle


async def test_signals_and_updates_come_to_the_new_run_again(stage: Stage):
    async with stage.worker([Account], [charge]):
        handle = await an_account(stage)
        new = await reset(stage, handle.id, handle.result_run_id, 4)
        events = await stage.history(handle.id, new)
        assert laws.names(events)[:4] == [
            "WorkflowExecutionStarted",
            "WorkflowTaskScheduled",
            "WorkflowTaskStarted",
            "WorkflowTaskFailed",
        ]
        failed = laws.attributes(events[3])
        assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
        assert (failed.base_run_id, failed.new_run_id) == (handle.result_run_id, new)
        assert failed.failure.message == "for a test" and failed.failure.HasField("reset_workflow_failure_info")
        assert failed.identity == "history-service"
        run = stage.client.get_workflow_handle_for(Account.run, handle.id, run_id=new)
        # The updates wait in the new run, where their callers can ask for them again.
        assert await run.get_update_handle_for(Account.withdraw, "first").result() == "2 withdrawn"
        assert await run.execute_update(Account.withdraw, 4, id="second") == "4 withdrawn"
        await run.signal(Account.close)
        entries = await run.result()
        assert sorted(entries) == ["charged 7", "deposit 1", "deposit 3", "withdraw 2", "withdraw 4"]
        names = await stage.names(handle.id, new)
        assert names.count("WorkflowExecutionUpdateAdmitted") == names.count("WorkflowExecutionUpdateCompleted") == 2
        accepted = laws.find(await stage.history(handle.id, new), "WorkflowExecutionUpdateAccepted")
        assert not any(event.HasField("accepted_request") for event in accepted)


@pytest.mark.parametrize(
    "fields, again",
    [
        ({}, ["S", "U", "S", "U"]),
        (dict(reset_reapply_exclude_types=[ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL]), ["U", "U"]),
        (dict(reset_reapply_exclude_types=[ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE]), ["S", "S"]),
        (dict(reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_SIGNAL), ["S", "S"]),
        (dict(reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_NONE), []),
        (dict(reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE), ["S", "U", "S", "U"]),
    ],
    ids=str,
)
async def test_what_comes_again_can_be_chosen(stage: Stage, fields, again):
    async with stage.worker([Account], [charge]):
        handle = await an_account(stage)
        await handle.cancel()
    # Without a worker, so that nothing happens but the reset.
    new = await reset(stage, handle.id, handle.result_run_id, 3, **fields)
    short = {"WorkflowExecutionSignaled": "S", "WorkflowExecutionUpdateAdmitted": "U"}
    events = await stage.history(handle.id, new)
    assert [short[name] for name in laws.names(events) if name in short] == again
    assert laws.names(events)[-1] == "WorkflowTaskScheduled"
    assert laws.attributes(events[-1]).attempt == 1
    assert "WorkflowExecutionCancelRequested" not in laws.names(events)


async def test_a_workflow_that_failed_by_a_bug_goes_on_from_before_it(stage: Stage):
    async with stage.worker([Buggy], [charge]):
        handle = await stage.start(Buggy.run)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    stage.workflows.clear()
    events = await stage.history(handle)
    points = [event.event_id for event in events if laws.name(event) == "WorkflowTaskStarted"]
    async with stage.worker([Mended], [charge]):
        new = await reset(stage, handle.id, handle.result_run_id, points[-1] + 1)
        assert await stage.client.get_workflow_handle(handle.id, run_id=new).result() == "shipped for 7"
    stage.workflows.clear()
    # The activity was not done again.
    assert (await stage.names(handle.id, new)).count("ActivityTaskCompleted") == 1
    # Clients that follow the first run do not come to the new one.
    with pytest.raises(WorkflowFailureError):
        await handle.result()


async def test_the_current_run_ends_and_the_new_one_is_described(stage: Stage):
    worker = RawWorker(stage)
    run_id = (await stage.start_raw(workflow_run_timeout=seconds(1000), workflow_execution_timeout=seconds(5000))).run_id
    await worker.complete(await worker.poll_workflow(), start_timer("long", 600), schedule_activity(stage, "a"))
    await signal(stage, stage.id(), "S")
    held = await worker.poll_workflow()
    await signal(stage, stage.id(), "W")
    taken = await worker.poll_activity()
    before = await describe(stage, stage.id())
    new = await reset(stage, stage.id(), "", 8 + 1)
    old_events = await stage.history(stage.id(), run_id)
    assert laws.names(old_events)[-3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowExecutionTerminated"]
    ended = laws.attributes(old_events[-1])
    assert (ended.reason, ended.identity) == ("for a test", "history-resetter")
    for late in (worker.complete(held, complete_workflow()), worker.complete_activity(taken)):
        with pytest.raises(RPCError) as error:
            await late
        assert error.value.status == RPCStatusCode.NOT_FOUND

    events = await stage.history(stage.id(), new)
    assert events[:8] == old_events[:8]
    assert laws.names(events)[8:] == [
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    made_up = laws.attributes(events[8])
    assert (made_up.identity, made_up.request_id) == ("history-service", "emptyUuid")
    again = laws.attributes(events[10])
    assert (again.signal_name, again.request_id, again.identity) == ("W", "request-W", "caller")

    assert (await describe(stage, stage.id(), run_id)).workflow_extended_info.reset_run_id == new
    described = await describe(stage, stage.id())
    info, more = described.workflow_execution_info, described.workflow_extended_info
    assert info.execution.run_id == new and info.first_run_id == run_id
    assert info.start_time == info.execution_time == more.last_reset_time
    assert info.start_time.ToNanoseconds() > before.workflow_execution_info.start_time.ToNanoseconds()
    assert more.original_start_time == before.workflow_execution_info.start_time
    lasts = lambda until: until.ToNanoseconds() - info.start_time.ToNanoseconds()
    assert (lasts(more.run_expiration_time), lasts(more.execution_expiration_time)) == (1000 * 10**9, 5000 * 10**9)
    pending = described.pending_activities[0]
    assert (pending.activity_id, pending.attempt, pending.scheduled_time) == ("a", 1, info.start_time)
    # The activity is delivered again, and the workflow goes on.
    await worker.complete_activity(await worker.poll_activity())
    await worker.complete(await worker.poll_workflow(), complete_workflow())
    assert (await describe(stage, stage.id())).workflow_execution_info.status == 2


async def test_a_request_that_comes_again_makes_no_second_run(stage: Stage):
    worker = RawWorker(stage)
    run_id = (await stage.start_raw()).run_id
    await worker.complete(await worker.poll_workflow(), start_timer("long", 600))
    new = await reset(stage, stage.id(), run_id, 4, request_id="once")
    assert await reset(stage, stage.id(), run_id, 4, request_id="once") == new
    assert await reset(stage, stage.id(), "", 4, request_id="once") == new
    another = await reset(stage, stage.id(), run_id, 4, request_id="twice")
    assert another != new
    assert (await describe(stage, stage.id(), run_id)).workflow_extended_info.reset_run_id == another
    # The second run was not reset, it only had to make room.
    assert (await describe(stage, stage.id(), new)).workflow_extended_info.reset_run_id == ""


async def test_runs_that_were_reset_can_be_reset_again(stage: Stage):
    worker = RawWorker(stage)
    first = (await stage.start_raw()).run_id
    await worker.complete(await worker.poll_workflow(), start_timer("long", 600))
    await signal(stage, stage.id(), "S")
    await worker.complete(await worker.poll_workflow(), start_timer("longer", 700))
    second = await reset(stage, stage.id(), first, 8)
    await worker.complete(await worker.poll_workflow(), complete_workflow())
    third = await reset(stage, stage.id(), second, 4)
    fourth = await reset(stage, stage.id(), third, 4)
    for run_id in (third, fourth):
        assert laws.find(await stage.history(stage.id(), run_id), "WorkflowExecutionSignaled")[0].signal_name == "S"
    assert (await describe(stage, stage.id(), third)).workflow_extended_info.reset_run_id == fourth
    await worker.complete(await worker.poll_workflow(), complete_workflow())
    assert (await describe(stage, stage.id())).workflow_execution_info.status == 2


async def test_signals_of_the_runs_that_followed_come_again_too(stage: Stage):
    worker = RawWorker(stage)
    first = (await stage.start_raw()).run_id
    await worker.complete(await worker.poll_workflow(), start_timer("long", 600))
    await signal(stage, stage.id(), "S1")
    await worker.complete(await worker.poll_workflow(), continue_as_new())
    await signal(stage, stage.id(), "S2")
    await worker.complete(await worker.poll_workflow(), continue_as_new())
    await signal(stage, stage.id(), "S3")
    held = await worker.poll_workflow()
    assert held.workflow_execution.run_id != first
    await signal(stage, stage.id(), "S4")
    new = await reset(stage, stage.id(), first, 4)
    signals = laws.find(await stage.history(stage.id(), new), "WorkflowExecutionSignaled")
    assert [signaled.signal_name for signaled in signals] == ["S1", "S2", "S3", "S4"]


async def test_children_live_on_and_report_to_the_new_run(stage: Stage):
    worker, children = RawWorker(stage), f"{stage.task_queue}-children"
    first = (await stage.start_raw()).run_id
    early, late = stage.id("early"), stage.id("late")
    await worker.complete(await worker.poll_workflow(), start_child(stage, early))
    await worker.complete(await worker.poll_workflow(), start_child(stage, late))
    task = await worker.poll_workflow()
    await worker.complete(task, start_timer("long", 600))
    new = await reset(stage, stage.id(), first, task.started_event_id)
    again = await reset(stage, stage.id(), first, 8)
    # The parent close policy would have terminated them.
    await asyncio.sleep(0.5)
    for child in (early, late):
        assert (await describe(stage, child)).workflow_execution_info.status == 1
    assert [child.workflow_id for child in (await describe(stage, stage.id())).pending_children] == [early]
    child = RawWorker(stage)
    done = await child.poll_workflow(queue=children)
    if done.workflow_execution.workflow_id != early:
        await child.complete(done, start_timer("long", 600))
        done = await child.poll_workflow(queue=children)
    await child.complete(done, complete_workflow("grown up"))

    async def is_heard() -> bool:
        return "ChildWorkflowExecutionCompleted" in await stage.names(stage.id(), again)

    await eventually(is_heard, "the new run hears of its child")
    assert "ChildWorkflowExecutionCompleted" not in await stage.names(stage.id(), new)
    assert "ChildWorkflowExecutionCompleted" not in await stage.names(stage.id(), first)


async def test_the_parent_of_a_child_that_is_reset_waits_on(stage: Stage):
    worker, children = RawWorker(stage), f"{stage.task_queue}-children"
    parent = (await stage.start_raw()).run_id
    child_id = stage.id("child")
    await worker.complete(await worker.poll_workflow(), start_child(stage, child_id))
    await worker.complete(await worker.poll_workflow(), start_timer("long", 600))
    child = RawWorker(stage)
    await child.complete(await child.poll_workflow(queue=children), start_timer("long", 600))
    await reset(stage, child_id, "", 4)
    await asyncio.sleep(0.5)
    assert "ChildWorkflowExecutionTerminated" not in await stage.names(stage.id(), parent)
    await child.complete(await child.poll_workflow(queue=children), complete_workflow())

    async def is_heard() -> bool:
        return "ChildWorkflowExecutionCompleted" in await stage.names(stage.id(), parent)

    await eventually(is_heard, "the parent hears of its child's new run")


async def test_a_history_of_several_pages_is_that_of_the_new_run_too(stage: Stage):
    worker = RawWorker(stage)
    first = (await stage.start_raw()).run_id
    task = await worker.poll_workflow()
    for turn in range(60):
        timers = [start_timer(f"{turn}-{number}", 600) for number in range(8)]
        answer = await worker.complete(
            task, *timers, force_create_new_workflow_task=True, return_new_workflow_task=True
        )
        task = answer.workflow_task
    await worker.complete(task, schedule_activity(stage, "last"))
    events = await stage.history(stage.id(), first)
    assert len(events) > 600
    points = [event.event_id for event in events if laws.name(event) == "WorkflowTaskStarted"]
    base = first
    for point in (points[-1], points[40], points[20], points[2]):
        new = await reset(stage, stage.id(), base, point + 1)
        history = await stage.history(stage.id(), new)
        assert history[:point] == events[:point]
        assert laws.names(history)[point:] == ["WorkflowTaskFailed", "WorkflowTaskScheduled"]
        reverse, token = [], b""
        while True:
            page = await stage.service.get_workflow_execution_history_reverse(
                GetWorkflowExecutionHistoryReverseRequest(
                    namespace=stage.namespace,
                    execution=WorkflowExecution(workflow_id=stage.id(), run_id=new),
                    maximum_page_size=100,
                    next_page_token=token,
                )
            )
            reverse.extend(page.history.events)
            token = page.next_page_token
            if not token:
                break
        assert reverse[::-1] == history
        base = new
    # What the worker is shown is the same.
    task = await worker.poll_workflow()
    assert [event.event_id for event in task.history.events] == list(range(1, points[2] + 4))
    await worker.complete(task, complete_workflow())


async def test_an_update_that_waits_again_can_be_polled_for(stage: Stage):
    async with stage.worker([Account], [charge]):
        handle = await an_account(stage)
    new = await reset(stage, handle.id, handle.result_run_id, 4)
    execution = WorkflowExecution(workflow_id=handle.id, run_id=new)
    with pytest.raises(RPCError) as error:
        await stage.service.poll_workflow_execution_update(
            PollWorkflowExecutionUpdateRequest(
                namespace=stage.namespace,
                update_ref=UpdateRef(workflow_execution=execution, update_id="unknown"),
            )
        )
    assert error.value.status == RPCStatusCode.NOT_FOUND
    answer = await stage.service.poll_workflow_execution_update(
        PollWorkflowExecutionUpdateRequest(
            namespace=stage.namespace, update_ref=UpdateRef(workflow_execution=execution, update_id="first")
        )
    )
    assert answer.stage == 1 and not answer.HasField("outcome")


NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "fields, status, text",
    [
        (dict(finish=0), RPCStatusCode.INVALID_ARGUMENT, "Workflow task finish ID must be > 1 && <= workflow last event ID."),
        (dict(finish=1), RPCStatusCode.INVALID_ARGUMENT, "Workflow task finish ID must be > 1 && <= workflow last event ID."),
        (dict(finish=-3), RPCStatusCode.INVALID_ARGUMENT, "2 to 5 are allowed"),
        (dict(finish=6), RPCStatusCode.INVALID_ARGUMENT, "workflow_task_finish_event_id is 6"),
        (dict(finish=2), RPCStatusCode.INVALID_ARGUMENT, "Can only reset workflow to event ID in range"),
        (dict(finish=5), RPCStatusCode.INVALID_ARGUMENT, "Can only reset workflow to event ID in range"),
        (dict(request_id=""), RPCStatusCode.INVALID_ARGUMENT, "RequestId is not set on request."),
        (dict(request_id="x" * 1001), RPCStatusCode.INVALID_ARGUMENT, "request_id"),
        (dict(run_id="nonsense"), RPCStatusCode.INVALID_ARGUMENT, "Invalid RunId."),
        (dict(run_id=NOWHERE), RPCStatusCode.NOT_FOUND, NOWHERE),
        (dict(workflow_id=""), RPCStatusCode.INVALID_ARGUMENT, "workflow_id is not set"),
        (dict(workflow_id="nowhere-here", run_id=""), RPCStatusCode.NOT_FOUND, "workflow not found for ID: nowhere-here"),
        (dict(reset_reapply_type=99), RPCStatusCode.INVALID_ARGUMENT, "reset_reapply_type is 99"),
        (dict(reset_reapply_exclude_types=[99]), RPCStatusCode.INVALID_ARGUMENT, "reset_reapply_exclude_types is 99"),
        (
            dict(post_reset_operations=[PostResetOperation(signal_workflow=PostResetOperation.SignalWorkflow())]),
            RPCStatusCode.INVALID_ARGUMENT,
            "unsupported post reset operation: *workflow.PostResetOperation_SignalWorkflow_",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_reset_that_makes_no_sense_changes_nothing(stage: Stage, fields, status, text):
    worker = RawWorker(stage)
    run_id = (await stage.start_raw()).run_id
    await worker.complete(await worker.poll_workflow(), start_timer("long", 600))
    before = await stage.history(stage.id(), run_id)
    asked = {"workflow_id": stage.id(), "run_id": run_id, "finish": 4, **fields}
    with pytest.raises(RPCError) as error:
        await reset(stage, asked.pop("workflow_id"), asked.pop("run_id"), asked.pop("finish"), **asked)
    assert (error.value.status, text in error.value.message) == (status, True), error.value.message
    assert await stage.history(stage.id(), run_id) == before
    assert (await describe(stage, stage.id())).workflow_execution_info.execution.run_id == run_id
