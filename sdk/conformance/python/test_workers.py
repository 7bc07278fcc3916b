"""Workers come and go: graceful shutdown, restarts in the middle, several at once; old code and new code."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from nexusrpc import Operation, service
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueType, WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
    PollNexusTaskQueueRequest,
    ShutdownWorkerRequest,
)
from temporalio.common import RetryPolicy, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

import laws
from raw import RawWorker, complete_workflow
from stage import Stage, eventually, seconds


@workflow.defn
class Steps:
    """Moves on by one activity and one timer for each signal."""

    def __init__(self) -> None:
        self.allowed = 0
        self.done: list[str] = []

    @workflow.signal
    def next(self) -> None:
        self.allowed += 1

    @workflow.query
    def progress(self) -> int:
        return len(self.done)

    @workflow.run
    async def run(self, steps: int) -> list[str]:
        for number in range(steps):
            await workflow.wait_condition(lambda: self.allowed > number)
            text = await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(seconds=20))
            await workflow.sleep(timedelta(milliseconds=20))
            # Only now, when nothing is to come before the next signal: a worker that leaves then takes no task along.
            self.done.append(text)
        return self.done


@activity.defn
async def step(number: int) -> str:
    return f"step {number}"


@activity.defn
async def long_step(_: str) -> str:
    await asyncio.sleep(1.0)
    return f"attempt {activity.info().attempt}"


@workflow.defn
class OneLongStep:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            long_step,
            "",
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )


# With a cache of zero, sdk-core (temporalio 1.35.0) now and then evicts a run that a task has just come for, logs "leftover
# buffered tasks", and never answers that task.
@pytest.mark.once
async def test_a_workflow_goes_on_with_every_new_worker(stage: Stage):
    handle = await stage.start(Steps.run, 4, execution_timeout=seconds(400))
    for number in range(4):
        # The former worker shut down, so its sticky queue delays no task: it would for longer than is waited here.
        async with stage.worker([Steps], [step], sticky_queue_schedule_to_start_timeout=seconds(200)):
            await handle.signal(Steps.next)

            async def moved():
                return await handle.query(Steps.progress) > number

            await eventually(moved, f"step {number} was taken", 60)
    async with stage.worker([Steps], [step]):
        assert await handle.result() == [f"step {number}" for number in range(4)]
    assert not {"WorkflowTaskTimedOut", "WorkflowTaskFailed"} & set(await stage.names(handle))


@pytest.mark.timeouts
@workflow.defn
class NotesItsBuilds:
    """Notes at each signal which build runs it."""

    def __init__(self) -> None:
        self.allowed = 0
        self.builds: list[str] = []

    @workflow.signal
    def next(self) -> None:
        self.allowed += 1

    @workflow.query
    def noted(self) -> int:
        return len(self.builds)

    @workflow.run
    async def run(self, count: int) -> list[str]:
        while len(self.builds) < count:
            await workflow.wait_condition(lambda: self.allowed > len(self.builds))
            self.builds.append(workflow.info().get_current_build_id())
        return self.builds


@pytest.mark.parametrize("how", ["build id", "deployment"])
async def test_every_task_keeps_the_build_that_ran_it(stage: Stage, how: str):
    def said(build: str) -> dict[str, Any]:
        if how == "build id":
            return dict(build_id=build)
        version = WorkerDeploymentVersion("fleet", build)
        return dict(deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=False))

    handle = await stage.start(NotesItsBuilds.run, 3)
    builds = ["build-1", "build-2", "build-3"]
    for number, build in enumerate(builds, 1):
        async with stage.worker([NotesItsBuilds], **said(build)):
            await handle.signal(NotesItsBuilds.next)
            if number < len(builds):

                async def noted() -> bool:
                    return await handle.query(NotesItsBuilds.noted) == number

                await eventually(noted, "the signal is noted")
            else:
                # Workers that replay must find the builds of those before them.
                assert await handle.result() == builds
    events = await stage.history(handle)
    started = [task.worker_version.build_id for task in laws.find(events, "WorkflowTaskStarted")]
    completed = laws.find(events, "WorkflowTaskCompleted")
    assert started == [task.worker_version.build_id for task in completed]
    assert sorted(set(started)) == builds
    described = await stage.service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(
            namespace=stage.namespace, execution=WorkflowExecution(workflow_id=handle.id)
        )
    )
    info = described.workflow_execution_info
    assert info.most_recent_worker_version_stamp.build_id == "build-3"
    deployment = "fleet" if how == "deployment" else ""
    assert info.worker_deployment_name == deployment
    assert {task.worker_deployment_name for task in completed} == {deployment}


async def test_graceful_shutdown_lets_an_activity_finish(stage: Stage):
    worker = stage.worker([OneLongStep], [long_step], graceful_shutdown_timeout=seconds(30))
    running = asyncio.create_task(worker.run())
    # A worker that leaves may take the next workflow task along, which then comes back after its timeout.
    handle = await stage.start(OneLongStep.run, task_timeout=seconds(10))

    async def busy():
        return [a for a in (await handle.describe()).raw_description.pending_activities if a.HasField("last_started_time")]

    await eventually(busy, "the activity is running")
    await worker.shutdown()
    await running
    async with stage.worker([OneLongStep], [long_step]):
        assert await handle.result() == "attempt 1"


@pytest.mark.timeouts
async def test_an_activity_of_a_worker_that_left_in_a_hurry_is_retried(stage: Stage):
    worker = stage.worker([OneLongStep], [long_step])
    running = asyncio.create_task(worker.run())
    handle = await stage.start(OneLongStep.run, task_timeout=seconds(10))

    async def busy():
        return [a for a in (await handle.describe()).raw_description.pending_activities if a.HasField("last_started_time")]

    await eventually(busy, "the activity is running")
    await worker.shutdown()
    await running
    async with stage.worker([OneLongStep], [long_step]):
        # The worker may have taken the second attempt along, too.
        assert await handle.result() in ("attempt 1", "attempt 2", "attempt 3")


@pytest.mark.once
async def test_three_workers_share_a_queue(stage: Stage):
    clients = [await stage.another_client() for _ in range(3)]
    workers = [stage.worker([Steps], [step], client=client) for client in clients]
    async with workers[0], workers[1], workers[2]:
        handles = [await stage.start(Steps.run, 3, suffix=str(number)) for number in range(12)]
        for _ in range(3):
            await asyncio.gather(*(handle.signal(Steps.next) for handle in handles))
        for handle in handles:
            assert len(await handle.result()) == 3


async def pollers(stage: Stage, task_queue_type: TaskQueueType.ValueType) -> list[str]:
    request = DescribeTaskQueueRequest(
        namespace=stage.namespace, task_queue=TaskQueue(name=stage.task_queue), task_queue_type=task_queue_type
    )
    return [poller.identity for poller in (await stage.service.describe_task_queue(request)).pollers]


# A poll that waits to the end takes so much longer than one that is answered at once that no machine mistakes them.
POLL_S, AT_ONCE_S = 58, 30


@pytest.mark.once
async def test_polls_return_empty_at_once_when_their_worker_shuts_down(stage: Stage):
    described = await stage.service.describe_namespace(DescribeNamespaceRequest(namespace=stage.namespace))
    if not described.namespace_info.capabilities.worker_poll_complete_on_shutdown:
        pytest.fail("worker_poll_complete_on_shutdown is not reported for the namespace")
    worker = RawWorker(stage)
    polls = [
        asyncio.create_task(worker.poll_workflow(wait_s=POLL_S)),
        asyncio.create_task(worker.poll_workflow(sticky=True, wait_s=POLL_S)),
        asyncio.create_task(worker.poll_activity(wait_s=POLL_S)),
    ]
    await asyncio.sleep(0.5)
    await stage.service.shutdown_worker(
        ShutdownWorkerRequest(
            namespace=stage.namespace,
            sticky_task_queue=worker.sticky_queue,
            identity=worker.identity,
            worker_instance_key=worker.instance_key,
            task_queue=stage.task_queue,
            task_queue_types=[
                TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            ],
            reason="test",
        )
    )
    responses = await asyncio.wait_for(asyncio.gather(*polls), AT_ONCE_S)
    assert not any(response.task_token for response in responses)
    # A poll that was on its way meanwhile returns empty, too, and takes no task with it.
    late = await asyncio.wait_for(worker.poll_workflow(wait_s=POLL_S), AT_ONCE_S)
    assert not late.task_token
    await stage.start_raw()
    task = await RawWorker(stage).poll_workflow()
    await worker.complete(task, complete_workflow())


@service
class Greetings:
    greet: Operation[str, str]


@service_handler(service=Greetings)
class GreetingsHandler:
    @sync_operation
    async def greet(self, _: StartOperationContext, name: str) -> str:
        return f"hello {name}"


@pytest.mark.once
async def test_a_worker_with_nexus_handlers_works_and_is_down_at_once(stage: Stage):
    worker = stage.worker([Steps], [step], nexus_service_handlers=[GreetingsHandler()])
    running = asyncio.create_task(worker.run())
    handle = await stage.start(Steps.run, 1)
    await handle.signal(Steps.next)
    assert await handle.result() == ["step 0"]

    async def polled():
        return await pollers(stage, TaskQueueType.TASK_QUEUE_TYPE_NEXUS)

    await eventually(polled, "the worker polls for Nexus tasks")
    began = time.monotonic()
    await worker.shutdown()
    await running
    assert time.monotonic() - began < AT_ONCE_S


@pytest.mark.once
async def test_a_poll_for_nexus_tasks_ends_empty_and_one_that_is_too_short_is_refused(stage: Stage):
    def poll(wait_s: float, **fields):
        request = PollNexusTaskQueueRequest(
            namespace=stage.namespace, task_queue=TaskQueue(name=stage.task_queue), identity="raw", **fields
        )
        return stage.service.poll_nexus_task_queue(request, timeout=timedelta(seconds=wait_s))

    began = time.monotonic()
    response = await poll(8)
    assert not response.task_token
    assert time.monotonic() - began >= 6
    with pytest.raises(RPCError) as refused:
        await poll(1.5)
    assert refused.value.status == RPCStatusCode.FAILED_PRECONDITION
    assert str(refused.value).startswith("Context timeout is too short.")


@pytest.mark.once
async def test_a_poll_answers_empty_before_its_deadline(stage: Stage):
    began = time.monotonic()
    # The answer leaves a second before the deadline, and may be late nevertheless, though not each time.
    for turn in range(4):
        try:
            response = await RawWorker(stage).poll_workflow(wait_s=4)
            break
        except RPCError as error:
            assert error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED) and turn < 3, error
    assert not response.task_token
    assert time.monotonic() - began >= 2


@pytest.mark.once
async def test_a_task_survives_a_poll_that_was_dropped(stage: Stage):
    worker = RawWorker(stage)
    for _ in range(5):
        poll = asyncio.create_task(worker.poll_workflow(wait_s=30))
        await asyncio.sleep(0.05)
        poll.cancel()
        # Cancelling only asks for it: a start sent before the stream is reset rightly goes to this poll.
        await asyncio.gather(poll, return_exceptions=True)
    # And only the connection orders what the SDK's threads send: by the time of this answer the reset is under way.
    await stage.service.describe_namespace(DescribeNamespaceRequest(namespace=stage.namespace))
    await asyncio.sleep(0.5)
    await stage.start_raw()
    task = await worker.poll_workflow(wait_s=40)
    # Its timeout would recover a lost task too, as a second attempt.
    assert task.attempt == 1
    await worker.complete(task, complete_workflow())


@workflow.defn(name="Versioned")
class Before:
    def __init__(self) -> None:
        self.go = False

    @workflow.signal
    def proceed(self) -> None:
        self.go = True

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.go)
        return "old"


@workflow.defn(name="Versioned")
class After:
    def __init__(self) -> None:
        self.go = False

    @workflow.signal
    def proceed(self) -> None:
        self.go = True

    @workflow.run
    async def run(self) -> str:
        patched = workflow.patched("new-step")
        if patched:
            await workflow.sleep(timedelta(milliseconds=10))
        await workflow.wait_condition(lambda: self.go)
        return "new" if patched else "old"


@pytest.mark.no_replay("two definitions of one workflow type")
async def test_a_patch_keeps_old_runs_old_and_makes_new_runs_new(stage: Stage):
    async with stage.worker([Before]):
        old = await stage.start("Versioned", suffix="old", result_type=str)

        async def ran():
            return "WorkflowTaskCompleted" in await stage.names(old)

        await eventually(ran, "the old code ran once")
    async with stage.worker([After]):
        new = await stage.start("Versioned", suffix="new", result_type=str)
        for handle in (old, new):
            await handle.signal("proceed")
        assert await old.result() == "old"
        assert await new.result() == "new"
    events = await stage.history(new)
    assert laws.find(events, "MarkerRecorded")[0].marker_name == "core_patch"
    [upsert] = laws.find(events, "UpsertWorkflowSearchAttributes")
    assert b"new-step" in upsert.search_attributes.indexed_fields["TemporalChangeVersion"].data
    described = (await new.describe()).raw_description.workflow_execution_info
    assert "TemporalChangeVersion" in described.search_attributes.indexed_fields


@workflow.defn(name="Contradicted")
class Timers:
    def __init__(self) -> None:
        self.go = False

    @workflow.signal
    def proceed(self) -> None:
        self.go = True

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(timedelta(milliseconds=1))
        await workflow.wait_condition(lambda: self.go)
        return "as written"


@workflow.defn(name="Contradicted")
class Activities:
    @workflow.signal
    def proceed(self) -> None:
        """Arrives, and the code has long taken another way."""

    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(step, 0, start_to_close_timeout=timedelta(seconds=5))
        return "otherwise"


@pytest.mark.no_replay("the second definition contradicts the history on purpose")
async def test_code_that_contradicts_its_history_fails_the_task_as_nondeterministic(stage: Stage):
    async with stage.worker([Timers]):
        # The SDK reports the first failed attempt and lets later ones time out, so a short time helps here. A first one
        # that times out would never be reported, so it must not be too short.
        handle = await stage.start("Contradicted", result_type=str, task_timeout=seconds(10))

        async def ran():
            return (await stage.names(handle)).count("WorkflowTaskCompleted") == 2

        await eventually(ran, "the old code ran")
    async with stage.worker([Activities], [step]):
        await handle.signal("proceed")

        async def failed():
            return laws.find(await stage.history(handle), "WorkflowTaskFailed")

        [first, *_] = await eventually(failed, "a workflow task failed")
        cause = WorkflowTaskFailedCause.Name(first.cause)
        assert cause == "WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR"
    async with stage.worker([Timers]):
        assert await handle.result() == "as written"
