"""Workflow tasks: failed, timed out, refused, repeated; sticky queues; and what a worker may put into an answer."""

import asyncio
import time
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.command.v1 import (
    CancelTimerCommandAttributes,
    Command,
    FailWorkflowExecutionCommandAttributes,
    RecordMarkerCommandAttributes,
    RequestCancelActivityTaskCommandAttributes,
)
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import CommandType, WorkerVersioningMode, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.sdk.v1 import WorkflowTaskCompletedMetadata
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    ResetStickyTaskQueueRequest,
    RespondWorkflowTaskFailedRequest,
)
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, duration, schedule_activity, start_timer
from stage import Stage, eventually, payloads, seconds

TRIPPED: set[str] = set()
Cause = WorkflowTaskFailedCause


@workflow.defn(sandboxed=False)
class FailsTaskOnce:
    @workflow.run
    async def run(self, how: str) -> str:
        key = workflow.info().workflow_id
        if key not in TRIPPED and not workflow.unsafe.is_replaying():
            TRIPPED.add(key)
            if how == "block":
                time.sleep(4)
            else:
                raise ValueError("a bug that a deployment fixes")
        await workflow.sleep(timedelta(milliseconds=20))
        return "recovered"


@activity.defn
async def big(size: int) -> str:
    return "x" * size


@workflow.defn
class TooMuch:
    @workflow.run
    async def run(self, size: int, count: int) -> int:
        chunks = ["x" * size for _ in range(count)]
        await asyncio.gather(
            *(
                workflow.execute_activity(measure, chunk, start_to_close_timeout=timedelta(seconds=20))
                for chunk in chunks
            )
        )
        return count


@activity.defn
async def measure(text: str) -> int:
    return len(text)


@pytest.mark.no_replay("the workflow's code was wrong on purpose")
async def test_a_bug_fails_the_task_and_the_workflow_waits_for_the_fix(stage: Stage):
    async with stage.worker([FailsTaskOnce]):
        handle = await stage.start(FailsTaskOnce.run, "raise")
        assert await handle.result() == "recovered"
    events = await stage.history(handle)
    [failed] = laws.find(events, "WorkflowTaskFailed")
    assert failed.cause == Cause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
    assert "a bug that a deployment fixes" in failed.failure.message


@pytest.mark.once
@pytest.mark.no_replay("the workflow's code was wrong on purpose")
@pytest.mark.timeouts
async def test_a_workflow_that_blocks_its_worker_loses_the_task_and_gets_it_again(stage: Stage):
    async with stage.worker([FailsTaskOnce]):
        handle = await stage.start(FailsTaskOnce.run, "block", task_timeout=seconds(3))
        assert await handle.result() == "recovered"
    names = await stage.names(handle)
    assert names.count("WorkflowTaskFailed") + names.count("WorkflowTaskTimedOut") >= 1


@pytest.mark.once
@pytest.mark.parametrize("cause", [Cause.WORKFLOW_TASK_FAILED_CAUSE_EXTERNAL_STORAGE_FAILURE, 99])
async def test_why_a_worker_failed_is_kept_also_where_its_api_is_newer(stage: Stage, cause: int):
    await stage.start_raw()
    task = await RawWorker(stage).poll_workflow()
    await stage.service.respond_workflow_task_failed(
        RespondWorkflowTaskFailedRequest(
            namespace=stage.namespace,
            task_token=task.task_token,
            cause=cause,  # type: ignore[arg-type]
            failure=Failure(message="no", application_failure_info=ApplicationFailureInfo()),
        )
    )
    [failed] = laws.find(await stage.history(stage.id()), "WorkflowTaskFailed")
    assert failed.cause == cause


@pytest.mark.once
async def test_later_attempts_of_a_failing_task_leave_no_events(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    for attempt in (1, 2, 3):
        task = await worker.poll_workflow()
        assert task.attempt == attempt
        shown = laws.names(list(task.history.events))
        assert shown[-2:] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
        assert task.started_event_id == task.history.events[-1].event_id
        await stage.service.respond_workflow_task_failed(
            RespondWorkflowTaskFailedRequest(
                namespace=stage.namespace,
                task_token=task.task_token,
                cause=Cause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
                failure=Failure(message=f"failure {attempt}", application_failure_info=ApplicationFailureInfo()),
                identity="raw",
            )
        )
    task = await worker.poll_workflow()
    assert task.attempt == 4
    await worker.complete(task, complete_workflow())
    names = await stage.names(stage.id())
    assert names == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskFailed",
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]
    [started] = laws.find((await stage.history(stage.id()))[5:], "WorkflowTaskStarted")
    assert started.scheduled_event_id == 5


@pytest.mark.once
@pytest.mark.timeouts
async def test_a_silent_worker_loses_its_task_after_the_task_timeout(stage: Stage):
    await stage.start_raw(workflow_task_timeout=duration(4))
    worker = RawWorker(stage)
    first = await worker.poll_workflow()
    second = await worker.poll_workflow()
    assert second.attempt == 2
    with pytest.raises(RPCError) as caught:
        await worker.complete(first, complete_workflow())
    assert caught.value.status == RPCStatusCode.NOT_FOUND
    await worker.complete(second, complete_workflow())
    [timed_out] = laws.find(await stage.history(stage.id()), "WorkflowTaskTimedOut")
    assert timed_out.timeout_type == 1


@pytest.mark.once
async def test_a_completion_counts_once(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    await worker.complete(task, start_timer("t", 30))
    with pytest.raises(RPCError) as caught:
        await worker.complete(task, start_timer("u", 30))
    assert caught.value.status == RPCStatusCode.NOT_FOUND
    assert (await stage.names(stage.id())).count("TimerStarted") == 1


@pytest.mark.once
async def test_sticky_tasks_bring_only_what_is_new(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    first = await worker.poll_workflow()
    assert [event.event_id for event in first.history.events] == [1, 2, 3] and first.previous_started_event_id == 0
    polling = asyncio.create_task(worker.poll_workflow(sticky=True, wait_s=40))
    await worker.polls_sticky()
    await worker.complete(first, start_timer("t", 0.1), sticky_attributes=worker.sticky())
    second = await polling
    assert second.previous_started_event_id == 3
    ids = [event.event_id for event in second.history.events]
    assert ids and ids[0] == 4 and ids[-1] == second.started_event_id, ids
    assert second.workflow_execution_task_queue.name == stage.task_queue
    # The rest of the history is there for the asking.
    if second.next_page_token:
        page = await stage.service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=stage.namespace,
                execution=second.workflow_execution,
                next_page_token=second.next_page_token,
            )
        )
        assert page.history.events[-1].event_id <= second.started_event_id
    await worker.complete(second, complete_workflow())
    started = laws.find(await stage.history(stage.id()), "WorkflowTaskScheduled")
    assert started[1].task_queue.name == worker.sticky_queue and started[1].task_queue.normal_name == stage.task_queue


@pytest.mark.once
@pytest.mark.timeouts
async def test_a_sticky_task_without_a_poller_goes_back_to_the_normal_queue(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    first = await worker.poll_workflow()
    # One poll makes the sticky queue known; then its worker is gone.
    polled = asyncio.create_task(worker.poll_workflow(sticky=True, wait_s=4))
    await worker.polls_sticky()
    await worker.complete(first, sticky_attributes=worker.sticky(schedule_to_start_s=1))
    await polled
    await stage.client.get_workflow_handle(stage.id()).signal("wake up")
    task = await worker.poll_workflow()
    assert task.task_token
    assert [event.event_id for event in task.history.events][0] == 1
    await worker.complete(task, complete_workflow())


@pytest.mark.once
@pytest.mark.timeouts
async def test_reset_sticky_makes_the_next_task_a_normal_one(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    await worker.complete(await worker.poll_workflow(), sticky_attributes=worker.sticky(schedule_to_start_s=60))
    await stage.service.reset_sticky_task_queue(
        ResetStickyTaskQueueRequest(namespace=stage.namespace, execution=WorkflowExecution(workflow_id=stage.id()))
    )
    await stage.client.get_workflow_handle(stage.id()).signal("wake up")
    task = await worker.poll_workflow()
    assert [event.event_id for event in task.history.events][0] == 1
    await worker.complete(task, complete_workflow())


@pytest.mark.once
async def test_a_forced_task_comes_back_in_the_response(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    for _ in range(3):
        response = await worker.complete(
            task,
            force_create_new_workflow_task=True,
            return_new_workflow_task=True,
            sticky_attributes=worker.sticky(),
        )
        task = response.workflow_task
        assert task.task_token, "the new task is in the response"
    await worker.complete(task, complete_workflow())
    assert (await stage.names(stage.id())).count("WorkflowTaskCompleted") == 4


@pytest.mark.once
async def test_eager_activities_come_back_in_the_response(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    response = await worker.complete(
        task, schedule_activity(stage, "eager", request_eager_execution=True, input=payloads("for you"))
    )
    [eager] = response.activity_tasks
    assert eager.activity_id == "eager" and eager.attempt == 1
    assert eager.input.payloads[0].data == b'"for you"'
    await worker.complete_activity(eager)
    await worker.complete(await worker.poll_workflow(), complete_workflow())
    assert (await stage.names(stage.id())).count("ActivityTaskCompleted") == 1


@pytest.mark.once
async def test_what_a_worker_says_about_itself_is_kept_as_sent(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    sdk = WorkflowTaskCompletedMetadata(
        core_used_flags=[1, 3], lang_used_flags=[2], sdk_name="conformance", sdk_version="1.2.3"
    )
    marker = Command(
        command_type=CommandType.COMMAND_TYPE_RECORD_MARKER,
        record_marker_command_attributes=RecordMarkerCommandAttributes(
            marker_name="a marker", details={"b": payloads("2"), "a": payloads("1")}
        ),
    )
    await worker.complete(
        await worker.poll_workflow(), marker, complete_workflow(), sdk_metadata=sdk, binary_checksum="checksum"
    )
    events = await stage.history(stage.id())
    [completed] = laws.find(events, "WorkflowTaskCompleted")
    assert completed.sdk_metadata == sdk and completed.identity == worker.identity
    [recorded] = laws.find(events, "MarkerRecorded")
    assert recorded.marker_name == "a marker" and recorded.details["a"].payloads[0].data == b'"1"'
    assert recorded.workflow_task_completed_event_id == 4


def bad(kind: str, **attributes) -> Command:
    return Command(command_type=getattr(CommandType, f"COMMAND_TYPE_{kind}"), **attributes)


BAD_COMMANDS = {
    "an activity without a type": (
        lambda stage: [schedule_activity(stage, "a", activity_type=None)],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES,
    ),
    "an activity without a timeout": (
        lambda stage: [schedule_activity(stage, "a", start_to_close_timeout=None)],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES,
    ),
    "an activity with a negative timeout": (
        lambda stage: [schedule_activity(stage, "a", start_to_close_timeout=duration(-5))],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES,
    ),
    "an over-long activity id": (
        lambda stage: [schedule_activity(stage, "a" * 1001)],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES,
    ),
    "two activities of one id": (
        lambda stage: [schedule_activity(stage, "a"), schedule_activity(stage, "a")],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID,
    ),
    "a timer without an id": (
        lambda stage: [start_timer("", 1)],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES,
    ),
    "a negative timer": (
        lambda stage: [start_timer("t", -1)],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES,
    ),
    "two timers of one id": (
        lambda stage: [start_timer("t", 9), start_timer("t", 9)],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID,
    ),
    "cancelling a timer that is not there": (
        lambda stage: [
            bad("CANCEL_TIMER", cancel_timer_command_attributes=CancelTimerCommandAttributes(timer_id="ghost"))
        ],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES,
    ),
    "cancelling an activity that is not there": (
        lambda stage: [
            bad(
                "REQUEST_CANCEL_ACTIVITY_TASK",
                request_cancel_activity_task_command_attributes=RequestCancelActivityTaskCommandAttributes(
                    scheduled_event_id=99
                ),
            )
        ],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES,
    ),
    "failing without a failure": (
        lambda stage: [
            bad(
                "FAIL_WORKFLOW_EXECUTION",
                fail_workflow_execution_command_attributes=FailWorkflowExecutionCommandAttributes(),
            )
        ],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES,
    ),
    "a marker without a name": (
        lambda stage: [bad("RECORD_MARKER", record_marker_command_attributes=RecordMarkerCommandAttributes())],
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES,
    ),
}


@pytest.mark.once
@pytest.mark.parametrize("what", BAD_COMMANDS)
async def test_a_bad_command_fails_the_task_with_its_cause_and_leaves_nothing(stage: Stage, what: str):
    commands, cause = BAD_COMMANDS[what]
    await stage.start_raw()
    worker = RawWorker(stage)
    with pytest.raises(RPCError) as caught:
        await worker.complete(await worker.poll_workflow(), *commands(stage))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT, caught.value
    retry = await worker.poll_workflow()
    assert retry.attempt == 2
    await worker.complete(retry, complete_workflow())
    events = await stage.history(stage.id())
    [failed] = laws.find(events, "WorkflowTaskFailed")
    assert WorkflowTaskFailedCause.Name(failed.cause) == WorkflowTaskFailedCause.Name(cause)
    assert laws.names(events)[-1] == "WorkflowExecutionCompleted" and len(events) == 8


@pytest.mark.once
async def test_an_unknown_command_type_is_refused(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    with pytest.raises(RPCError) as caught:
        await worker.complete(await worker.poll_workflow(), Command(command_type=999))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT
    await worker.complete(await worker.poll_workflow(), complete_workflow())


@pytest.mark.once
async def test_commands_after_the_close_do_not_happen(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    with pytest.raises(RPCError) as caught:
        await worker.complete(task, complete_workflow(), start_timer("after", 1))
    assert caught.value.status == RPCStatusCode.INVALID_ARGUMENT
    assert caught.value.message == (
        "invalid command sequence: [CompleteWorkflowExecution, StartTimer], "
        "command CompleteWorkflowExecution must be the last command."
    )
    # Nothing was written: the task is still the worker's.
    await worker.complete(task, complete_workflow())
    names = await stage.names(stage.id())
    assert names[3:] == ["WorkflowTaskCompleted", "WorkflowExecutionCompleted"], names


@pytest.mark.once
@pytest.mark.no_replay("the task that failed is part of the rule")
async def test_a_completion_over_four_mebibytes_fails_its_task_and_is_not_resent_for_ever(stage: Stage):
    async with stage.worker([TooMuch], [measure]):
        handle = await stage.start(TooMuch.run, 1_500_000, 4)

        async def failed():
            events = await stage.history(handle)
            return events if "WorkflowTaskFailed" in laws.names(events) else None

        events = await eventually(failed, "a workflow task failed", 60)
        # The cause is on the failed task, or, where the server ends such a workflow, the reason of its end.
        said = [WorkflowTaskFailedCause.Name(failed.cause) for failed in laws.find(events, "WorkflowTaskFailed")]
        said += [f"WORKFLOW_TASK_FAILED_CAUSE_{end.reason}" for end in laws.find(events, "WorkflowExecutionTerminated")]
        said = [name.upper().replace("GRPCMESSAGETOOLARGE", "GRPC_MESSAGE_TOO_LARGE") for name in said]
        assert "WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE" in said, said
        await stage.end(handle.id, handle.first_execution_run_id or "")


@pytest.mark.once
async def test_an_activity_result_over_the_limit_fails_the_activity(stage: Stage):
    async with stage.worker([Big], [big]):
        with pytest.raises(WorkflowFailureError):
            await stage.run(Big.run, 2 * 1024 * 1024 + 1, suffix="over")
        assert await stage.run(Big.run, 1_000_000, suffix="under") == 1_000_000


@workflow.defn
class Big:
    @workflow.run
    async def run(self, size: int) -> int:
        policy = RetryPolicy(maximum_attempts=1)
        text = await workflow.execute_activity(
            big, size, start_to_close_timeout=timedelta(seconds=20), retry_policy=policy
        )
        return len(text)


@pytest.mark.once
async def test_an_unversioned_deployment_is_accepted(stage: Stage):
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    unversioned = WorkerDeploymentOptions(
        deployment_name="d",
        build_id="b",
        worker_versioning_mode=WorkerVersioningMode.WORKER_VERSIONING_MODE_UNVERSIONED,
    )
    await worker.complete(task, complete_workflow(), deployment_options=unversioned)
    [completed] = laws.find(await stage.history(stage.id()), "WorkflowTaskCompleted")
    assert completed.identity == worker.identity
