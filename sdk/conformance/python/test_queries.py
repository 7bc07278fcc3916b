"""Queries: answered from the workflow's present state, without leaving a trace in its history."""

import asyncio

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.query.v1 import WorkflowQuery, WorkflowQueryResult
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest, RespondQueryTaskCompletedRequest
from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow
from stage import Stage, payloads, seconds


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.count = 0
        self.mode = "run"

    @workflow.signal
    def add(self, number: int) -> None:
        self.count += number

    @workflow.signal
    def end(self, mode: str) -> None:
        self.mode = mode

    @workflow.query
    def value(self) -> int:
        return self.count

    @workflow.query
    def times(self, factor: int) -> int:
        return self.count * factor

    @workflow.query
    def broken(self) -> int:
        raise ValueError("this query always fails")

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.mode != "run")
        if self.mode == "fail":
            raise ApplicationError("asked to fail")
        return self.count


async def test_an_idle_workflow_answers_and_its_history_does_not_grow(stage: Stage):
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        await handle.signal(Counter.add, 5)
        assert await handle.query(Counter.value) == 5
        before = await stage.names(handle)
        for _ in range(5):
            assert await handle.query(Counter.times, 3) == 15
        assert await stage.names(handle) == before


async def test_a_query_sees_every_signal_acknowledged_before_it(stage: Stage):
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        for number in range(1, 16):
            await handle.signal(Counter.add, 1)
            assert await handle.query(Counter.value) == number


@pytest.mark.once
async def test_an_answer_links_to_the_run_that_gave_it(stage: Stage):
    request = QueryWorkflowRequest(
        namespace=stage.namespace,
        execution=WorkflowExecution(workflow_id=stage.id()),
        query=WorkflowQuery(query_type="value"),
    )
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        await handle.query(Counter.value)
        response = await stage.service.query_workflow(request)
    link = response.link.workflow
    assert (link.namespace, link.workflow_id, link.run_id) == (
        stage.namespace, stage.id(), handle.first_execution_run_id,
    )


@pytest.mark.once
async def test_many_queries_at_once(stage: Stage):
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        await handle.signal(Counter.add, 2)
        answers = await asyncio.gather(*(handle.query(Counter.times, factor) for factor in range(12)))
        assert answers == [2 * factor for factor in range(12)]


async def test_a_query_before_the_first_worker_waits_for_it(stage: Stage):
    handle = await stage.start(Counter.run)
    waiting = asyncio.create_task(handle.query(Counter.value, rpc_timeout=seconds(50)))
    await asyncio.sleep(0.3)
    async with stage.worker([Counter]):
        assert await waiting == 0


async def test_closed_workflows_answer_too(stage: Stage):
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        await handle.signal(Counter.add, 9)
        await handle.signal(Counter.end, "complete")
        assert await handle.result() == 9
        before = await stage.names(handle)
        assert await handle.query(Counter.value) == 9
        assert await stage.names(handle) == before
    async with stage.worker([Counter]):
        assert await handle.query(Counter.value) == 9


async def test_a_failing_or_unknown_query_fails_the_caller_not_the_workflow(stage: Stage):
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        with pytest.raises(WorkflowQueryFailedError) as caught:
            await handle.query(Counter.broken)
        assert "this query always fails" in str(caught.value)
        with pytest.raises(WorkflowQueryFailedError):
            await handle.query("no such query")
        await handle.signal(Counter.add, 1)
        assert await handle.query(Counter.value) == 1
        assert "WorkflowTaskFailed" not in await stage.names(handle)


@pytest.mark.once
async def test_reject_conditions(stage: Stage):
    async with stage.worker([Counter]):
        done = await stage.start(Counter.run, suffix="done")
        failed = await stage.start(Counter.run, suffix="failed")
        opened = await stage.start(Counter.run, suffix="open")
        await done.signal(Counter.end, "complete")
        await failed.signal(Counter.end, "fail")
        await done.result()
        with pytest.raises(Exception):
            await failed.result()
        not_open, not_clean = QueryRejectCondition.NOT_OPEN, QueryRejectCondition.NOT_COMPLETED_CLEANLY
        assert await opened.query(Counter.value, reject_condition=not_open) == 0
        assert await done.query(Counter.value, reject_condition=not_clean) == 0
        for handle, condition in [(done, not_open), (failed, not_open), (failed, not_clean)]:
            with pytest.raises(WorkflowQueryRejectedError) as caught:
                await handle.query(Counter.value, reject_condition=condition)
            assert caught.value.status is not None


@pytest.mark.once
async def test_no_worker_means_no_answer_within_the_deadline(stage: Stage):
    handle = await stage.start(Counter.run)
    async with stage.worker([Counter]):
        assert await handle.query(Counter.value) == 0
    with pytest.raises(RPCError) as caught:
        await handle.query(Counter.value, rpc_timeout=seconds(2))
    assert caught.value.status in (
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.UNAVAILABLE,
    )


@pytest.mark.once
async def test_queries_to_unknown_workflows_are_not_found(stage: Stage):
    with pytest.raises(RPCError) as caught:
        await stage.client.get_workflow_handle(stage.id("unknown")).query("value")
    assert caught.value.status == RPCStatusCode.NOT_FOUND


async def test_the_stack_trace_query_passes_through(stage: Stage):
    async with stage.worker([Counter]):
        handle = await stage.start(Counter.run)
        assert "Stack for" in await handle.query("__stack_trace")


def query_request(stage: Stage, name: str) -> QueryWorkflowRequest:
    return QueryWorkflowRequest(
        namespace=stage.namespace,
        execution=WorkflowExecution(workflow_id=stage.id()),
        query=WorkflowQuery(query_type=name),
    )


@pytest.mark.once
async def test_a_query_rides_on_the_pending_workflow_task(stage: Stage):
    """While a task is running, a query is buffered and attached to the next one, with the events it must see."""
    await stage.start_raw()
    worker = RawWorker(stage)
    first = await worker.poll_workflow()
    asking = asyncio.create_task(stage.service.query_workflow(query_request(stage, "attached"), timeout=seconds(50)))
    task = first
    # The query comes with the next task, or with the one after it if it reached the server late.
    for _ in range(5):
        await asyncio.sleep(0.3)
        await stage.client.get_workflow_handle(stage.id()).signal("go on")
        response = await worker.complete(task, return_new_workflow_task=True, force_create_new_workflow_task=False)
        task = response.workflow_task if response.workflow_task.task_token else await worker.poll_workflow()
        if task.queries:
            break
    [(query_id, query)] = task.queries.items()
    assert query.query_type == "attached"
    answer = WorkflowQueryResult(
        result_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED, answer=payloads("from the task")
    )
    await worker.complete(task, complete_workflow(), query_results={query_id: answer})
    assert (await asking).query_result.payloads[0].data == b'"from the task"'


@pytest.mark.once
async def test_a_query_on_an_idle_workflow_is_a_task_of_its_own(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    await worker.complete(await worker.poll_workflow())
    asking = asyncio.create_task(stage.service.query_workflow(query_request(stage, "direct"), timeout=seconds(50)))
    task = await worker.poll_workflow()
    assert task.query.query_type == "direct" and not task.queries
    assert laws.names(list(task.history.events))[0] == "WorkflowExecutionStarted"
    await stage.service.respond_query_task_completed(
        RespondQueryTaskCompletedRequest(
            namespace=stage.namespace,
            task_token=task.task_token,
            completed_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED,
            query_result=payloads("direct answer"),
        )
    )
    assert (await asking).query_result.payloads[0].data == b'"direct answer"'
    assert len(await stage.names(stage.id())) == 4
