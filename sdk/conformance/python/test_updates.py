"""Updates: asked, accepted or rejected, answered; alone and together with a start."""

import asyncio

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from temporalio import activity, workflow
from temporalio.api.command.v1 import Command, ProtocolMessageCommandAttributes
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType, EventType, UpdateWorkflowExecutionLifecycleStage as Stages
from temporalio.api.errordetails.v1 import MultiOperationExecutionFailure, ResourceExhaustedFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import (
    Acceptance,
    Input,
    Meta,
    Outcome,
    Rejection,
    Request,
    Response,
    UpdateRef,
    WaitPolicy,
)
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    ExecuteMultiOperationRequest,
    PollWorkflowExecutionUpdateRequest,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)
from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, continue_as_new, start_timer
from stage import Stage, eventually, payloads, seconds

ADMITTED = Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
ACCEPTED = Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
COMPLETED = Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class Ledger:
    # Updates are handled before `run` has begun.
    @workflow.init
    def __init__(self, began: int = 0) -> None:
        self.entries = [began]
        self.open = True
        self.next = False
        self.may_answer = False

    @workflow.run
    async def run(self, began: int = 0) -> list[int]:
        await workflow.wait_condition(lambda: not self.open or self.next)
        if self.next:
            workflow.continue_as_new(sum(self.entries))
        return self.entries

    @workflow.update
    async def add(self, number: int) -> int:
        self.entries.append(number)
        return sum(self.entries)

    @add.validator
    def check(self, number: int) -> None:
        if number < 0:
            raise ApplicationError(f"{number} is negative", type="Negative")

    @workflow.update
    async def add_doubled(self, number: int) -> int:
        doubled = await workflow.execute_activity(double, number, start_to_close_timeout=seconds(20))
        return await self.add(doubled)

    @workflow.update
    async def slow(self) -> str:
        await workflow.wait_condition(lambda: self.may_answer)
        return "at last"

    @workflow.update
    async def fails(self) -> None:
        raise ApplicationError("it went wrong", type="Wrong")

    @workflow.signal
    def close(self) -> None:
        self.open = False

    @workflow.signal
    def go_on(self) -> None:
        self.next = True

    @workflow.signal
    def answer(self) -> None:
        self.may_answer = True


async def test_an_update_is_answered_and_its_history_replays(stage: Stage):
    async with stage.worker([Ledger], [double]):
        handle = await stage.start(Ledger.run)
        for number in range(1, 6):
            assert await handle.execute_update(Ledger.add, number) == number * (number + 1) // 2
        assert await handle.execute_update(Ledger.add_doubled, 5) == 25
        await handle.signal(Ledger.close)
        assert await handle.result() == [0, 1, 2, 3, 4, 5, 10]
        names = await stage.names(handle)
        assert names.count("WorkflowExecutionUpdateAccepted") == names.count("WorkflowExecutionUpdateCompleted") == 6


async def test_a_rejected_update_leaves_nothing_in_the_history(stage: Stage):
    async with stage.worker([Ledger]):
        handle = await stage.start(Ledger.run)
        assert await handle.execute_update(Ledger.add, 1) == 1
        before = await stage.names(handle)
        for _ in range(3):
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await handle.execute_update(Ledger.add, -1)
            assert refused.value.cause.type == "Negative"
        # The first rejection comes right after an accepted update, whose events the worker has not been shown, and so is written.
        after = await stage.names(handle)
        assert after[: len(before)] == before and after[len(before) :] in (
            [],
            ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"],
        )
        assert await handle.execute_update(Ledger.add, 2) == 3


async def test_an_update_that_fails_is_completed_with_its_failure(stage: Stage):
    async with stage.worker([Ledger]):
        handle = await stage.start(Ledger.run)
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update(Ledger.fails, id="f")
        assert failed.value.cause.type == "Wrong"
        # Its outcome stays, for every caller that asks for it.
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.get_update_handle("f").result()


async def test_updates_side_by_side_each_have_their_own_answer(stage: Stage):
    async with stage.worker([Ledger], [double]):
        handle = await stage.start(Ledger.run)
        answers = await asyncio.gather(*(handle.execute_update(Ledger.add, 1) for _ in range(8)))
        assert sorted(answers) == list(range(1, 9))
        doubled = await asyncio.gather(*(handle.execute_update(Ledger.add_doubled, 1) for _ in range(8)))
        assert sorted(doubled) == list(range(10, 25, 2))


async def test_the_same_update_id_is_one_update_also_after_the_close(stage: Stage):
    async with stage.worker([Ledger]):
        handle = await stage.start(Ledger.run)
        assert await handle.execute_update(Ledger.add, 7, id="once") == 7
        assert await handle.execute_update(Ledger.add, 7, id="once") == 7
        await handle.signal(Ledger.close)
        assert await handle.result() == [0, 7]
        assert await handle.get_update_handle("once").result() == 7
        assert await handle.execute_update(Ledger.add, 7, id="once") == 7


async def test_a_caller_that_waits_for_acceptance_gets_the_answer_later(stage: Stage):
    async with stage.worker([Ledger]):
        handle = await stage.start(Ledger.run)
        slow = await handle.start_update(Ledger.slow, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        waiting = asyncio.create_task(slow.result())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await handle.signal(Ledger.answer)
        assert await waiting == "at last"


async def test_an_accepted_update_whose_workflow_closes_fails_with_it(stage: Stage):
    async with stage.worker([Ledger]):
        handle = await stage.start(Ledger.run)
        slow = await handle.start_update(Ledger.slow, wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="slow")
        waiting = asyncio.create_task(slow.result())
        await handle.signal(Ledger.close)
        await handle.result()
        for outcome in (waiting, slow.result()):
            with pytest.raises(WorkflowUpdateFailedError) as failed:
                await outcome
            assert failed.value.cause.type == "AcceptedUpdateCompletedWorkflow"


async def test_an_update_goes_to_the_run_that_follows(stage: Stage):
    async with stage.worker([Ledger]):
        handle = await stage.start(Ledger.run)
        assert await handle.execute_update(Ledger.add, 3) == 3
        await handle.signal(Ledger.go_on)
        current = stage.client.get_workflow_handle_for(Ledger.run, handle.id)

        async def is_next() -> bool:
            return (await current.describe()).run_id != handle.first_execution_run_id

        await eventually(is_next, "the next run has begun")
        assert await current.execute_update(Ledger.add, 4) == 7


async def test_update_with_start_starts_once_and_updates_each_time(stage: Stage):
    async with stage.worker([Ledger]):

        def start() -> WithStartWorkflowOperation:
            return WithStartWorkflowOperation(
                Ledger.run,
                100,
                id=stage.id(),
                task_queue=stage.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                execution_timeout=seconds(150),
            )

        first, second = start(), start()
        execute = stage.client.execute_update_with_start_workflow
        assert await execute(Ledger.add, 1, start_workflow_operation=first) == 101
        assert await execute(Ledger.add, 2, start_workflow_operation=second) == 103
        handle, again = await first.workflow_handle(), await second.workflow_handle()
        stage.note(handle.id, handle.first_execution_run_id)
        assert handle.first_execution_run_id == again.first_execution_run_id
        names = await stage.names(handle.id)
        # The first task carries it.
        assert names[:6] == [
            "WorkflowExecutionStarted",
            "WorkflowTaskScheduled",
            "WorkflowTaskStarted",
            "WorkflowTaskCompleted",
            "WorkflowExecutionUpdateAccepted",
            "WorkflowExecutionUpdateCompleted",
        ]
        with pytest.raises(WorkflowUpdateFailedError):
            await execute(Ledger.add, -1, start_workflow_operation=start())


async def test_an_update_survives_the_loss_of_the_worker_that_accepted_it(stage: Stage):
    handle = await stage.start(Ledger.run)
    async with stage.worker([Ledger]):
        slow = await handle.start_update(Ledger.slow, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    async with stage.worker([Ledger], client=await stage.another_client()):
        await handle.signal(Ledger.answer)
        assert await slow.result() == "at last"


# What follows is said to the letter, without an SDK in between.


def update_request(stage: Stage, update_id: str = "u", wait=COMPLETED, **fields) -> UpdateWorkflowExecutionRequest:
    defaults = dict(
        namespace=stage.namespace,
        workflow_execution=WorkflowExecution(workflow_id=stage.id()),
        wait_policy=WaitPolicy(lifecycle_stage=wait),
        request=Request(meta=Meta(update_id=update_id, identity="raw"), input=Input(name="raw")),
    )
    return UpdateWorkflowExecutionRequest(**{**defaults, **fields})


def ask(stage: Stage, update_id: str = "u", wait=COMPLETED, timeout: float = 40, **fields) -> asyncio.Task:
    request = update_request(stage, update_id, wait, **fields)
    return asyncio.create_task(stage.service.update_workflow_execution(request, timeout=seconds(timeout)))


def body(message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def accepts(message: Message) -> Message:
    event_id = message.event_id
    acceptance = Acceptance(accepted_request_message_id=message.id, accepted_request_sequencing_event_id=event_id)
    instance = message.protocol_instance_id
    return Message(id=f"{instance}/accept", protocol_instance_id=instance, body=body(acceptance))


def responds(update_id: str, text: str = "answer") -> Message:
    response = Response(meta=Meta(update_id=update_id), outcome=Outcome(success=payloads(text)))
    return Message(id=f"{update_id}/complete", protocol_instance_id=update_id, body=body(response))


def rejects(message: Message, text: str = "no") -> Message:
    rejection = Rejection(rejected_request_message_id=message.id, failure=Failure(message=text))
    instance = message.protocol_instance_id
    return Message(id=f"{instance}/reject", protocol_instance_id=instance, body=body(rejection))


def place(message: Message) -> Command:
    return Command(
        command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE,
        protocol_message_command_attributes=ProtocolMessageCommandAttributes(message_id=message.id),
    )


async def answer(worker: RawWorker, task, **fields):
    """Accepts and answers all that the task carries."""
    messages = [m for message in task.messages for m in (accepts(message), responds(message.protocol_instance_id))]
    return await worker.complete(task, *(place(message) for message in messages), messages=messages, **fields)


async def idle(stage: Stage, sticky: bool = False) -> RawWorker:
    """A workflow whose first task is done, and its worker."""
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    await worker.complete(task, **({"sticky_attributes": worker.sticky()} if sticky else {}))
    return worker


async def refusal(call) -> RPCError:
    with pytest.raises(RPCError) as refused:
        await call
    return refused.value


@pytest.mark.once
async def test_a_speculative_task_is_shown_and_written_when_it_has_come_to_something(stage: Stage):
    worker = await idle(stage)
    asked = ask(stage)
    task = await worker.poll_workflow()
    [message] = task.messages
    assert (message.id, message.protocol_instance_id, message.event_id) == ("u/request", "u", 5)
    assert task.started_event_id == 6 and task.attempt == 1
    assert [event.event_id for event in task.history.events] == [1, 2, 3, 4, 5, 6]
    description = await stage.client.get_workflow_handle(stage.id()).describe()
    assert description.raw_description.pending_workflow_task.started_time.seconds > 0
    assert description.raw_description.workflow_execution_info.history_length == 4
    response = await answer(worker, task)
    assert response.reset_history_event_id == 0
    answered = await asked
    assert answered.stage == COMPLETED and answered.outcome.success == payloads("answer")
    assert answered.update_ref.workflow_execution.run_id and answered.update_ref.update_id == "u"
    reference = answered.link.workflow_event.request_id_ref
    assert (reference.request_id, reference.event_type) == ("", EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
    events = await stage.history(stage.id())
    assert laws.names(events)[4:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionUpdateAccepted",
        "WorkflowExecutionUpdateCompleted",
    ]
    accepted, completed = laws.attributes(events[7]), laws.attributes(events[8])
    assert (accepted.protocol_instance_id, accepted.accepted_request_message_id) == ("u", "u/request")
    assert accepted.accepted_request_sequencing_event_id == 5 and accepted.accepted_request.input.name == "raw"
    assert completed.accepted_event_id == 8 and completed.meta.update_id == "u"


@pytest.mark.once
async def test_a_rejection_alone_leaves_no_trace_and_says_where_to_go_on(stage: Stage):
    worker = await idle(stage)
    for _ in range(2):
        asked = ask(stage)
        task = await worker.poll_workflow()
        assert task.started_event_id == 6
        response = await worker.complete(task, messages=[rejects(message) for message in task.messages])
        assert response.reset_history_event_id == 3
        answered = await asked
        assert answered.stage == COMPLETED and answered.outcome.failure.message == "no"
        assert answered.link.workflow.reason == "Update rejected"
        assert len(await stage.history(stage.id())) == 4
    # With a timer between, it is written.
    asked = ask(stage, "v")
    task = await worker.poll_workflow()
    messages = [m for message in task.messages for m in (accepts(message), responds("v"))]
    await worker.complete(task, *map(place, messages), start_timer("t", 60), messages=messages)
    await asked
    asked = ask(stage, "w")
    task = await worker.poll_workflow()
    assert task.started_event_id == 12
    response = await worker.complete(task, messages=[rejects(message) for message in task.messages])
    assert response.reset_history_event_id == 0
    await asked
    assert len(await stage.history(stage.id())) == 13


@pytest.mark.once
async def test_a_worker_that_says_nothing_of_an_update_rejects_it(stage: Stage):
    worker = await idle(stage)
    asked = ask(stage)
    await worker.complete(await worker.poll_workflow())
    failure = (await asked).outcome.failure
    assert failure.message == (
        "Workflow Update is rejected because it wasn't processed by worker. "
        "Probably, Workflow Update is not supported by the worker."
    )
    assert failure.source == "Server" and failure.application_failure_info.type == "UnprocessedUpdate"
    assert failure.application_failure_info.non_retryable


@pytest.mark.once
async def test_a_signal_makes_the_task_one_like_any_other(stage: Stage):
    worker = await idle(stage)
    handle = stage.client.get_workflow_handle(stage.id())
    asked = ask(stage)
    await asyncio.sleep(0.2)
    await handle.signal("s")
    assert (await stage.names(stage.id()))[4:] == ["WorkflowTaskScheduled", "WorkflowExecutionSignaled"]
    task = await worker.poll_workflow()
    assert task.messages[0].event_id == 6 and task.started_event_id == 7
    await answer(worker, task)
    await asked
    # Once a worker has it, the signal waits behind it.
    asked = ask(stage, "v")
    task = await worker.poll_workflow()
    await handle.signal("t")
    await worker.complete(task, messages=[rejects(message) for message in task.messages])
    await asked
    assert (await stage.names(stage.id()))[-5:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]


@pytest.mark.once
async def test_an_update_comes_again_after_a_failed_task(stage: Stage):
    worker = await idle(stage)
    asked = ask(stage)
    await worker.fail(await worker.poll_workflow())
    task = await worker.poll_workflow()
    assert task.attempt == 2 and task.messages[0].event_id == 8
    await answer(worker, task)
    assert (await asked).outcome.success == payloads("answer")


@pytest.mark.once
async def test_without_a_worker_a_caller_learns_how_far_the_update_has_come(stage: Stage):
    await stage.start_raw()
    answered = await ask(stage, wait=COMPLETED, timeout=3)
    assert answered.stage == ADMITTED and not answered.HasField("outcome")
    assert answered.update_ref.workflow_execution.run_id
    # It waits for the worker all the same.
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    await answer(worker, task)
    reference = UpdateRef(workflow_execution=WorkflowExecution(workflow_id=stage.id()), update_id="u")
    polled = await stage.service.poll_workflow_execution_update(
        PollWorkflowExecutionUpdateRequest(namespace=stage.namespace, update_ref=reference)
    )
    assert polled.stage == COMPLETED and polled.outcome.success == payloads("answer")


@pytest.mark.once
async def test_what_becomes_of_updates_whose_workflow_closes(stage: Stage):
    worker = await idle(stage)
    asked = ask(stage)
    await worker.complete(await worker.poll_workflow(), complete_workflow())
    refused = await refusal(asked)
    assert (refused.status, refused.message) == (
        RPCStatusCode.NOT_FOUND,
        "workflow update was aborted by closing workflow",
    )
    refused = await refusal(ask(stage, "another"))
    assert (refused.status, refused.message) == (RPCStatusCode.NOT_FOUND, "workflow execution already completed")

    worker = await idle(stage)
    asked = ask(stage)
    queue = TaskQueue(name=stage.task_queue)
    await worker.complete(await worker.poll_workflow(), continue_as_new(task_queue=queue))
    # So that clients try again, at the run that follows.
    refused = await refusal(asked)
    assert (refused.status, refused.message) == (
        RPCStatusCode.RESOURCE_EXHAUSTED,
        "workflow operation can not be applied because workflow is closing",
    )


@pytest.mark.once
async def test_no_more_than_ten_are_in_flight(stage: Stage):
    worker = await idle(stage)
    asked = [ask(stage, f"u{number}") for number in range(10)]
    await asyncio.sleep(0.5)
    with pytest.raises(RPCError) as refused:
        await stage.service.update_workflow_execution(
            update_request(stage, "u10"), timeout=seconds(5), retry=False
        )
    assert refused.value.status == RPCStatusCode.RESOURCE_EXHAUSTED
    assert refused.value.message == "limit on number of concurrent in-flight updates has been reached (10)"
    detail = ResourceExhaustedFailure()
    assert refused.value.grpc_status.details[0].Unpack(detail)
    assert (detail.cause, detail.scope) == (2, 1)
    answered = 0
    while answered < 10:
        task = await worker.poll_workflow()
        answered += len(task.messages)
        await answer(worker, task)
    for one in asked:
        assert (await one).stage == COMPLETED


@pytest.mark.once
async def test_a_message_that_is_not_there_fails_the_task_and_its_updates(stage: Stage):
    worker = await idle(stage)
    asked = ask(stage)
    refused = await refusal(worker.complete(await worker.poll_workflow(), place(Message(id="nomsg"))))
    assert refused.message == (
        "BadUpdateWorkflowExecutionMessage: ProtocolMessageCommand referenced absent message ID nomsg"
    )
    refused = await refusal(asked)
    assert (refused.status, refused.message) == (
        RPCStatusCode.FAILED_PRECONDITION,
        "Unable to perform workflow execution update due to unexpected workflow task failure.",
    )
    assert not (await worker.poll_workflow()).messages


@pytest.mark.once
@pytest.mark.parametrize(
    "fields, status, text",
    [
        ({"request": None}, RPCStatusCode.INVALID_ARGUMENT, "Update meta is not set on request."),
        ({"request": Request(input=Input(name="x"))}, RPCStatusCode.INVALID_ARGUMENT, "Update meta is not set on request."),
        ({"request": Request(meta=Meta())}, RPCStatusCode.INVALID_ARGUMENT, "Update input is not set on request."),
        (
            {"request": Request(meta=Meta(), input=Input())},
            RPCStatusCode.INVALID_ARGUMENT,
            "Update name is not set on request.",
        ),
        (
            {"request": Request(meta=Meta(update_id="x" * 1001), input=Input(name="x"))},
            RPCStatusCode.INVALID_ARGUMENT,
            "UpdateId length exceeds limit.",
        ),
        (
            {"wait_policy": WaitPolicy(lifecycle_stage=ADMITTED)},
            RPCStatusCode.PERMISSION_DENIED,
            "UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported.",
        ),
        (
            {"workflow_execution": WorkflowExecution(workflow_id="nowhere")},
            RPCStatusCode.NOT_FOUND,
            "workflow not found for ID: nowhere",
        ),
        (
            {"first_execution_run_id": "0190c6de-7f9c-7c6e-8f44-3b6f9a2b8c01"},
            RPCStatusCode.NOT_FOUND,
            "workflow execution not found",
        ),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(stage: Stage, fields, status, text):
    await stage.start_raw()
    refused = await refusal(ask(stage, **fields))
    assert refused.status == status and refused.message.startswith(text), refused.message
    assert await stage.names(stage.id()) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


@pytest.mark.once
async def test_an_unknown_update_cannot_be_polled(stage: Stage):
    await stage.start_raw()
    reference = UpdateRef(workflow_execution=WorkflowExecution(workflow_id=stage.id()), update_id="x")
    refused = await refusal(
        stage.service.poll_workflow_execution_update(
            PollWorkflowExecutionUpdateRequest(namespace=stage.namespace, update_ref=reference)
        )
    )
    assert (refused.status, refused.message) == (RPCStatusCode.NOT_FOUND, 'update "x" not found')


@pytest.mark.once
async def test_the_operations_of_an_update_with_start_fail_together(stage: Stage):
    def start(**fields) -> ExecuteMultiOperationRequest.Operation:
        request = StartWorkflowExecutionRequest(
            workflow_id=stage.id(),
            workflow_type=WorkflowType(name="raw"),
            task_queue=TaskQueue(name=stage.task_queue),
        )
        request.MergeFrom(StartWorkflowExecutionRequest(**fields))
        return ExecuteMultiOperationRequest.Operation(start_workflow=request)

    def update(**fields) -> ExecuteMultiOperationRequest.Operation:
        return ExecuteMultiOperationRequest.Operation(update_workflow=update_request(stage, **fields))

    async def statuses(*operations) -> tuple[RPCError, list]:
        request = ExecuteMultiOperationRequest(namespace=stage.namespace, operations=operations)
        refused = await refusal(stage.service.execute_multi_operation(request, timeout=seconds(20)))
        detail = MultiOperationExecutionFailure()
        assert refused.grpc_status.details[0].Unpack(detail)
        assert refused.message == "Update-with-Start could not be executed."
        return refused, [(status.code, status.message) for status in detail.statuses]

    aborted = (10, "Operation was aborted.")
    for operations in ([], [start()], [update(), start()], [update(), update()]):
        request = ExecuteMultiOperationRequest(namespace=stage.namespace, operations=operations)
        refused = await refusal(stage.service.execute_multi_operation(request))
        assert refused.status == RPCStatusCode.INVALID_ARGUMENT
        assert refused.message == "Operations have to be exactly [Start, Update]."
    for operation, text in [
        (start(cron_schedule="* * * * *"), "CronSchedule is not allowed."),
        (start(request_eager_execution=True), "RequestEagerExecution is not supported."),
    ]:
        _, found = await statuses(operation, update())
        assert found == [(3, text), aborted]
    wrong = WorkflowExecution(workflow_id="another")
    _, found = await statuses(start(), update(workflow_execution=wrong))
    assert found == [aborted, (3, "WorkflowId is not consistent with previous operation(s).")]
    refused, found = await statuses(start(), update(wait=ADMITTED))
    assert refused.status == RPCStatusCode.PERMISSION_DENIED and found[0] == aborted and found[1][0] == 7
    # Nothing has been started by these.
    refused = await refusal(stage.client.get_workflow_handle(stage.id()).describe())
    assert refused.status == RPCStatusCode.NOT_FOUND

    await stage.start_raw()
    refused, found = await statuses(start(), update())
    assert refused.status == RPCStatusCode.ALREADY_EXISTS
    assert found[0][0] == 6 and found[1] == aborted


@pytest.mark.once
async def test_clients_see_that_updates_are_served(stage: Stage):
    namespace = await stage.service.describe_namespace(DescribeNamespaceRequest(namespace=stage.namespace))
    capabilities = namespace.namespace_info.capabilities
    assert capabilities.sync_update and capabilities.async_update
