"""Reading: Describe, and histories in pages, backwards, waiting for news, or only the end."""

import asyncio
import time

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, start_timer
from stage import Stage, eventually, seconds

CLOSE = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


@workflow.defn
class Long:
    def __init__(self) -> None:
        self.count = 0

    @workflow.signal
    def add(self) -> None:
        self.count += 1

    @workflow.run
    async def run(self, wanted: int) -> int:
        await workflow.wait_condition(lambda: self.count >= wanted)
        return self.count


def request(stage: Stage, **fields) -> GetWorkflowExecutionHistoryRequest:
    defaults = dict(namespace=stage.namespace, execution=WorkflowExecution(workflow_id=stage.id()))
    return GetWorkflowExecutionHistoryRequest(**{**defaults, **fields})


async def long_history(stage: Stage, count: int = 30):
    handle = await stage.start(Long.run, count)
    for _ in range(count):
        await handle.signal(Long.add)
    async with stage.worker([Long]):
        assert await handle.result() == count
    return handle


@pytest.mark.once
async def test_pages_add_up_to_the_whole_history(stage: Stage):
    handle = await long_history(stage)
    whole = await stage.history(handle)
    collected, token, pages = [], b"", 0
    while True:
        page = await stage.service.get_workflow_execution_history(
            request(stage, maximum_page_size=4, next_page_token=token)
        )
        assert len(page.history.events) >= 1
        collected.extend(page.history.events)
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    assert [event.event_id for event in collected] == [event.event_id for event in whole]
    assert pages > 2
    for event, other in zip(collected, whole):
        assert event.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


@pytest.mark.once
async def test_reverse_pages_are_the_same_events_backwards(stage: Stage):
    handle = await long_history(stage)
    whole = [event.event_id for event in await stage.history(handle)]
    collected, token = [], b""
    while True:
        page = await stage.service.get_workflow_execution_history_reverse(
            GetWorkflowExecutionHistoryReverseRequest(
                namespace=stage.namespace,
                execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.first_execution_run_id or ""),
                maximum_page_size=5,
                next_page_token=token,
            )
        )
        collected.extend(event.event_id for event in page.history.events)
        token = page.next_page_token
        if not token:
            break
    assert collected == list(reversed(whole))


@pytest.mark.once
@pytest.mark.parametrize("reader", ["temporal-python", "temporal-cli", "temporal-ui"])
async def test_a_later_attempt_is_shown_to_workers_and_not_to_people_before_it_is_written(stage: Stage, reader: str):
    async def read(size: int = 0) -> list[list[int]]:
        pages, token = [], b""
        while not pages or token:
            page = await stage.service.get_workflow_execution_history(
                request(stage, maximum_page_size=size, next_page_token=token), metadata={"client-name": reader}
            )
            pages.append([event.event_id for event in page.history.events])
            token = page.next_page_token
        return pages

    unwritten = [5, 6] if reader == "temporal-python" else []
    await stage.start_raw()
    worker = RawWorker(stage)
    await worker.fail(await worker.poll_workflow())

    async def scheduled() -> bool:
        return await read() == [[1, 2, 3, 4] + unwritten[:1]]

    await eventually(scheduled, "the second attempt is scheduled")
    task = await worker.poll_workflow()
    assert [event.event_id for event in task.history.events] == [1, 2, 3, 4, 5, 6]
    assert await read() == [[1, 2, 3, 4] + unwritten]
    assert sum(await read(size=2), []) == [1, 2, 3, 4] + unwritten
    described = await stage.client.get_workflow_handle(stage.id()).describe()
    assert described.history_length == 4
    await worker.complete(task, complete_workflow())
    assert await read() == [[1, 2, 3, 4, 5, 6, 7, 8]]


@pytest.mark.once
async def test_waiting_for_news_returns_when_there_is_some(stage: Stage):
    handle = await stage.start(Long.run, 2)
    page = await stage.service.get_workflow_execution_history(request(stage, wait_new_event=True))
    assert laws.names(list(page.history.events)) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    assert page.next_page_token, "an open run has more to come"
    waiting = asyncio.create_task(
        stage.service.get_workflow_execution_history(
            request(stage, wait_new_event=True, next_page_token=page.next_page_token)
        )
    )
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await handle.signal(Long.add)
    page = await asyncio.wait_for(waiting, 10)
    assert laws.names(list(page.history.events)) == ["WorkflowExecutionSignaled"]


@pytest.mark.once
async def test_the_close_filter_waits_for_the_last_event_only(stage: Stage):
    await stage.start_raw()
    waiting = asyncio.create_task(
        stage.service.get_workflow_execution_history(
            request(stage, wait_new_event=True, history_event_filter_type=CLOSE), timeout=seconds(25)
        )
    )
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    await worker.complete(task, start_timer("t", 0.2))
    second = await worker.poll_workflow()
    assert not waiting.done()
    await worker.complete(second, complete_workflow())
    page = await asyncio.wait_for(waiting, 10)
    assert laws.names(list(page.history.events)) == ["WorkflowExecutionCompleted"]
    again = await stage.service.get_workflow_execution_history(request(stage, history_event_filter_type=CLOSE))
    assert laws.names(list(again.history.events)) == ["WorkflowExecutionCompleted"]


@pytest.mark.once
async def test_page_tokens_are_bound_to_their_run_and_cannot_be_made_up(stage: Stage):
    await long_history(stage, 20)
    other = await stage.start(Long.run, 1, suffix="other")
    page = await stage.service.get_workflow_execution_history(request(stage, maximum_page_size=3))
    execution = WorkflowExecution(workflow_id=other.id, run_id=other.first_execution_run_id or "")
    for fields in [
        dict(next_page_token=page.next_page_token, execution=execution),
        dict(next_page_token=b"made up"),
        dict(next_page_token=b"\x00" * 64),
    ]:
        with pytest.raises(RPCError) as caught:
            await stage.service.get_workflow_execution_history(request(stage, **fields))
        assert caught.value.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.NOT_FOUND)


@pytest.mark.once
async def test_describe_through_the_life_of_a_run(stage: Stage):
    await stage.start_raw()
    handle = stage.client.get_workflow_handle(stage.id())
    described = (await handle.describe()).raw_description
    info = described.workflow_execution_info
    assert info.status == WorkflowExecutionStatus.RUNNING and info.history_length == 2
    assert info.type.name == "raw" and info.task_queue == stage.task_queue
    assert info.start_time.seconds > time.time() - 60 and not info.HasField("close_time")
    assert info.first_run_id == info.execution.run_id
    assert described.pending_workflow_task.attempt == 1
    assert described.execution_config.default_workflow_task_timeout.ToTimedelta() == seconds(10)
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    described = (await handle.describe()).raw_description
    assert described.pending_workflow_task.HasField("started_time")
    await worker.complete(task, complete_workflow())
    info = (await handle.describe()).raw_description.workflow_execution_info
    assert info.status == WorkflowExecutionStatus.COMPLETED and info.history_length == 5
    assert info.close_time.ToNanoseconds() >= info.start_time.ToNanoseconds()
    assert info.history_size_bytes > 0


@pytest.mark.once
async def test_describe_of_a_run_that_is_not_there(stage: Stage):
    await stage.start_raw()
    for execution in [
        WorkflowExecution(workflow_id=stage.id("unknown")),
        WorkflowExecution(workflow_id=stage.id(), run_id="01a1d6f8-5fa9-7ce6-9c17-000000000000"),
    ]:
        with pytest.raises(RPCError) as caught:
            await stage.service.describe_workflow_execution(
                DescribeWorkflowExecutionRequest(namespace=stage.namespace, execution=execution)
            )
        assert caught.value.status == RPCStatusCode.NOT_FOUND


@pytest.mark.once
async def test_describe_task_queue_shows_its_pollers(stage: Stage):
    async with stage.worker([Long], identity="poller of this test"):

        async def shown():
            response = await stage.service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=stage.namespace, task_queue=TaskQueue(name=stage.task_queue), task_queue_type=1
                )
            )
            return [poller.identity for poller in response.pollers]

        assert "poller of this test" in await eventually(shown, "a poller is shown")
