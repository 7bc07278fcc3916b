"""Workflow IDs: at most one open run, what happens to a second start, and starts that are sent twice."""

import asyncio
import uuid

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.workflow.v1 import OnConflictOptions
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, duration
from stage import Stage, eventually


@workflow.defn
class Ends:
    @workflow.run
    async def run(self, how: str) -> str:
        if how == "fail":
            raise ApplicationError("asked to")
        if how == "wait":
            await workflow.wait_condition(lambda: False)
        return how


@pytest.mark.once
async def test_a_second_start_of_an_open_workflow_fails_and_names_the_run(stage: Stage):
    handle = await stage.start(Ends.run, "wait")
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await stage.start(Ends.run, "wait")
    assert caught.value.run_id == handle.first_execution_run_id
    assert caught.value.workflow_id == handle.id


@pytest.mark.once
async def test_use_existing_returns_the_open_run(stage: Stage):
    handle = await stage.start(Ends.run, "wait")
    policy = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    response = await stage.start_raw(workflow_id_conflict_policy=policy)
    assert response.run_id == handle.first_execution_run_id and not response.started


@pytest.mark.once
async def test_a_start_attaches_its_request_id_and_links_to_the_open_run(stage: Stage):
    first = await stage.start_raw()
    source = Link(batch_job=Link.BatchJob(job_id="job"))
    attach = dict(
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        on_conflict_options=OnConflictOptions(attach_request_id=True, attach_links=True),
        request_id=str(uuid.uuid4()),
        links=[source],
    )
    options_updated = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED

    async def attached():
        response = await stage.start_raw(**attach)
        assert response.run_id == first.run_id and not response.started
        event = response.link.workflow_event
        assert (event.run_id, event.request_id_ref.request_id) == (first.run_id, attach["request_id"])
        assert event.request_id_ref.event_type == options_updated
        return response

    async def infos():
        described = await stage.client.get_workflow_handle(stage.id()).describe()
        return described.raw_description.workflow_extended_info.request_id_infos

    # Sent again it changes nothing more.
    await attached()
    await attached()
    [event] = [event for event in await stage.history(stage.id()) if event.event_type == options_updated]
    assert event.event_id == 3 and event.worker_may_ignore and list(event.links) == [source]
    assert laws.attributes(event).attached_request_id == attach["request_id"]
    info = (await infos())[attach["request_id"]]
    assert (info.event_type, info.event_id, info.buffered) == (options_updated, 3, False)
    assert len(await infos()) == 2, "the first start's own request is there too"
    # While a worker decides it is kept back, as signals are.
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    attach["request_id"] = str(uuid.uuid4())
    await attached()
    assert (await infos())[attach["request_id"]].buffered
    await worker.complete(task)
    info = (await infos())[attach["request_id"]]
    assert not info.buffered and info.event_id == 6
    # Also after the close it is the run that the request was attached to.
    await stage.client.get_workflow_handle(stage.id()).terminate()
    response = await attached()
    assert response.status == WorkflowExecutionStatus.TERMINATED


@pytest.mark.once
async def test_links_alone_may_be_attached_and_callbacks_want_a_request_id(stage: Stage):
    await stage.start_raw()
    use_existing = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    source = Link(batch_job=Link.BatchJob(job_id="job"))
    response = await stage.start_raw(
        workflow_id_conflict_policy=use_existing,
        on_conflict_options=OnConflictOptions(attach_links=True),
        links=[source],
    )
    assert response.link.workflow_event.event_ref.event_id == 1
    last = (await stage.history(stage.id()))[-1]
    assert last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED and list(last.links) == [source]
    assert not laws.attributes(last).attached_request_id
    with pytest.raises(RPCError) as caught:
        await stage.start_raw(
            workflow_id_conflict_policy=use_existing,
            on_conflict_options=OnConflictOptions(attach_completion_callbacks=True),
        )
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT
    assert caught.value.message == "attaching request ID is required for attaching completion callbacks"


@pytest.mark.once
async def test_the_request_id_of_an_earlier_chain_is_new_to_the_next(stage: Stage):
    request_id = str(uuid.uuid4())
    first = await stage.start_raw(request_id=request_id)
    assert first.link.workflow_event.event_ref.event_id == 1
    await stage.client.get_workflow_handle(stage.id()).terminate()
    second = await stage.start_raw()
    with pytest.raises(RPCError) as caught:
        await stage.start_raw(request_id=request_id)
    failure = WorkflowExecutionAlreadyStartedFailure()
    assert caught.value.grpc_status.details[0].Unpack(failure)
    assert (failure.run_id, failure.first_execution_run_id) == (second.run_id, second.run_id)
    await stage.client.get_workflow_handle(stage.id()).terminate()
    third = await stage.start_raw(request_id=request_id)
    assert third.started and third.run_id not in (first.run_id, second.run_id)


@pytest.mark.once
async def test_terminate_existing_closes_the_open_run_and_starts_another(stage: Stage):
    handle = await stage.start(Ends.run, "wait")
    second = await stage.start(Ends.run, "wait", id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
    assert second.first_execution_run_id != handle.first_execution_run_id
    assert (await stage.names(handle.id, handle.first_execution_run_id))[-1] == "WorkflowExecutionTerminated"
    described = await stage.client.get_workflow_handle(handle.id).describe()
    assert described.run_id == second.first_execution_run_id and described.status == WorkflowExecutionStatus.RUNNING


@pytest.mark.once
async def test_the_old_reuse_policy_terminate_if_running_still_works(stage: Stage):
    first = await stage.start_raw()
    policy = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
    second = await stage.start_raw(workflow_id_reuse_policy=policy)
    assert second.run_id != first.run_id
    assert (await stage.names(stage.id(), first.run_id))[-1] == "WorkflowExecutionTerminated"


@pytest.mark.once
@pytest.mark.parametrize(
    "policy,how,allowed",
    [
        ("ALLOW_DUPLICATE", "complete", True),
        ("ALLOW_DUPLICATE", "fail", True),
        ("ALLOW_DUPLICATE_FAILED_ONLY", "complete", False),
        ("ALLOW_DUPLICATE_FAILED_ONLY", "fail", True),
        ("REJECT_DUPLICATE", "complete", False),
        ("REJECT_DUPLICATE", "fail", False),
    ],
)
async def test_reuse_policies_of_a_closed_workflow(stage: Stage, policy: str, how: str, allowed: bool):
    async with stage.worker([Ends]):
        first = await stage.start(Ends.run, how)
        try:
            await first.result()
        except WorkflowFailureError:
            assert how == "fail"
        if allowed:
            second = await stage.start(Ends.run, "again", id_reuse_policy=WorkflowIDReusePolicy[policy])
            assert second.first_execution_run_id != first.first_execution_run_id
            assert await second.result() == "again"
        else:
            with pytest.raises(WorkflowAlreadyStartedError):
                await stage.start(Ends.run, "again", id_reuse_policy=WorkflowIDReusePolicy[policy])


@pytest.mark.once
async def test_a_start_sent_again_with_its_request_id_is_the_same_start(stage: Stage):
    request_id = str(uuid.uuid4())
    runs = {(await stage.start_raw(request_id=request_id)).run_id for _ in range(3)}
    assert len(runs) == 1
    # Also after the run has closed, within the time in which a caller may resend.
    task = await RawWorker(stage).poll_workflow()
    await RawWorker(stage).complete(task, complete_workflow())
    assert (await stage.start_raw(request_id=request_id)).run_id in runs
    with pytest.raises(RPCError) as caught:
        policy = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
        await stage.start_raw(workflow_id_reuse_policy=policy)
    assert caught.value.status == RPCStatusCode.ALREADY_EXISTS


@pytest.mark.once
async def test_ten_starts_at_once_open_one_run(stage: Stage):
    results = await asyncio.gather(*(stage.start_raw() for _ in range(10)), return_exceptions=True)
    started = [result for result in results if not isinstance(result, BaseException)]
    refused = [result for result in results if isinstance(result, RPCError)]
    assert len(started) == 1 and len(refused) == 9
    assert all(error.status == RPCStatusCode.ALREADY_EXISTS for error in refused)


@pytest.mark.once
async def test_terminate_and_cancel(stage: Stage):
    handle = await stage.start(Ends.run, "wait")
    await handle.cancel()
    async with stage.worker([Ends]):
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    names = await stage.names(handle)
    assert names.count("WorkflowExecutionCancelRequested") == 1 and names[-1] == "WorkflowExecutionCanceled"
    second = await stage.start(Ends.run, "wait")
    await second.terminate("because", reason="a reason")
    events = await stage.history(second)
    end = laws.attributes(events[-1])
    assert end.reason == "a reason" and end.details.payloads[0].data == b'"because"' and end.identity
    with pytest.raises(RPCError) as caught:
        await second.terminate()
    assert caught.value.status == RPCStatusCode.NOT_FOUND


@pytest.mark.once
async def test_the_first_run_guard_protects_a_later_chain(stage: Stage):
    first = await stage.start(Ends.run, "wait")
    await first.terminate()
    second = await stage.start(Ends.run, "wait")
    guarded = stage.client.get_workflow_handle(first.id, first_execution_run_id=first.first_execution_run_id)
    for call in (guarded.terminate, guarded.cancel):
        with pytest.raises(RPCError) as caught:
            await call()
        assert caught.value.status == RPCStatusCode.NOT_FOUND
    assert (await second.describe()).status == WorkflowExecutionStatus.RUNNING


@pytest.mark.once
async def test_cancelling_twice_writes_one_event_per_request(stage: Stage):
    handle = await stage.start(Ends.run, "wait")
    await handle.cancel()
    try:
        await handle.cancel()
    except RPCError as error:
        assert error.status == RPCStatusCode.ALREADY_EXISTS
    assert 1 <= (await stage.names(handle)).count("WorkflowExecutionCancelRequested") <= 2


@pytest.mark.once
async def test_an_eager_start_brings_the_first_task_in_its_response(stage: Stage):
    response = await stage.start_raw(request_eager_execution=True)
    task = response.eager_workflow_task
    assert task.task_token and task.started_event_id == 3
    assert laws.names(list(task.history.events)) == [
        "WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted",
    ]
    await RawWorker(stage).complete(task, complete_workflow())
    events = await stage.history(stage.id())
    assert events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
    assert laws.attributes(events[0]).eager_execution_accepted


async def test_the_sdk_starts_eagerly_on_its_own_worker(stage: Stage):
    async with stage.worker([Ends]):
        for number in range(5):
            assert await stage.run(Ends.run, "eager", suffix=str(number), request_eager_start=True) == "eager"


@pytest.mark.once
@pytest.mark.timeouts
async def test_an_eager_task_that_is_never_completed_times_out_and_goes_to_the_queue(stage: Stage):
    await stage.start_raw(request_eager_execution=True, workflow_task_timeout=duration(4))
    worker = RawWorker(stage)

    async def second_attempt():
        task = await worker.poll_workflow(wait_s=5)
        return task if task.task_token else None

    task = await eventually(second_attempt, "the task is dispatched to the queue")
    assert task.attempt == 2
    await worker.complete(task, complete_workflow())
