"""What bad input gets: the API's code, a message that names the trouble, and a server that goes on as before."""

import uuid

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import (
    ActivityType,
    Memo,
    Payloads,
    Priority,
    RetryPolicy,
    SearchAttributes,
    WorkflowExecution,
    WorkflowType,
)
from temporalio.api.enums.v1 import (
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
    WorkflowTaskFailedCause,
)
from temporalio.api.errordetails.v1 import (
    NamespaceNotFoundFailure,
    NotFoundFailure,
    WorkflowExecutionAlreadyStartedFailure,
)
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
    PauseWorkflowExecutionRequest,
    PollWorkflowTaskQueueRequest,
    QueryWorkflowRequest,
    RecordActivityTaskHeartbeatRequest,
    RegisterNamespaceRequest,
    RequestCancelWorkflowExecutionRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

import laws
from raw import RawWorker, complete_workflow, duration, schedule_activity
from stage import Stage, payload

LONG = "x" * 1001
MIB = 1024 * 1024
INVALID, NOT_FOUND = RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.NOT_FOUND


async def refused(call, status: RPCStatusCode, says: str = "") -> RPCError:
    with pytest.raises(RPCError) as caught:
        await call
    assert caught.value.status == status, f"{caught.value.status!r}: {caught.value.message}"
    assert says.lower() in caught.value.message.lower(), caught.value.message
    assert caught.value.message, "a refusal says why"
    return caught.value


BAD_STARTS = {
    "an empty workflow id": (dict(workflow_id=""), INVALID),
    "an over-long workflow id": (dict(workflow_id=LONG), INVALID),
    "no workflow type": (dict(workflow_type=None), INVALID),
    "an over-long workflow type": (dict(workflow_type=WorkflowType(name=LONG)), INVALID),
    "no task queue": (dict(task_queue=None), INVALID),
    "an over-long task queue": (dict(task_queue=TaskQueue(name=LONG)), INVALID),
    "an over-long request id": (dict(request_id=LONG), INVALID),
    "an unknown namespace": (dict(namespace="nowhere-to-be-found"), NOT_FOUND),
    "no namespace": (dict(namespace=""), INVALID),
    "a negative execution timeout": (dict(workflow_execution_timeout=duration(-1)), INVALID),
    "a negative run timeout": (dict(workflow_run_timeout=duration(-1)), INVALID),
    "a negative task timeout": (dict(workflow_task_timeout=duration(-1)), INVALID),
    "a duration of mixed signs": (dict(workflow_run_timeout=Duration(seconds=1, nanos=-5)), INVALID),
    "an invalid cron": (dict(cron_schedule="every now and then"), INVALID),
    "a cron with a sixty-first minute": (dict(cron_schedule="61 * * * *"), INVALID),
    "a negative priority": (dict(priority=Priority(priority_key=-1)), INVALID),
    "cron together with a start delay": (
        dict(cron_schedule="* * * * *", workflow_start_delay=duration(5)), INVALID,
    ),
    "a negative start delay": (dict(workflow_start_delay=duration(-5)), INVALID),
    "a retry coefficient below one": (
        dict(retry_policy=RetryPolicy(initial_interval=duration(1), backoff_coefficient=0.5)), INVALID,
    ),
    "a negative initial interval": (dict(retry_policy=RetryPolicy(initial_interval=duration(-1))), INVALID),
    "a maximum interval below the initial one": (
        dict(retry_policy=RetryPolicy(initial_interval=duration(10), maximum_interval=duration(1))), INVALID,
    ),
    "negative maximum attempts": (
        dict(retry_policy=RetryPolicy(initial_interval=duration(1), maximum_attempts=-1)), INVALID,
    ),
    "both old and new word for terminating": (
        dict(
            workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING,
            workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        ),
        INVALID,
    ),
    "two mebibytes of input and one byte": (
        dict(input=Payloads(payloads=[payload(size=2 * MIB + 1)])), INVALID,
    ),
    "two mebibytes of memo and one byte": (dict(memo=Memo(fields={"m": payload(size=2 * MIB + 1)})), INVALID),
    "a search attribute over two kibibytes": (
        dict(search_attributes=SearchAttributes(indexed_fields={"ConformanceKeyword": payload(size=2 * 1024 + 200)})),
        INVALID,
    ),
}


@pytest.mark.once
@pytest.mark.parametrize("what", BAD_STARTS)
async def test_a_bad_start_is_refused_and_stores_nothing(stage: Stage, what: str):
    fields, status = BAD_STARTS[what]
    await refused(stage.start_raw(**fields), status)
    request = DescribeWorkflowExecutionRequest(
        namespace=stage.namespace, execution=WorkflowExecution(workflow_id=stage.id())
    )
    await refused(stage.service.describe_workflow_execution(request), NOT_FOUND)
    await stage.start_raw()


@pytest.mark.once
async def test_limits_are_inclusive(stage: Stage):
    """One byte less than what is refused is served."""
    long_id = (stage.id() + "-" + "y" * 1000)[:1000]
    await stage.start_raw(workflow_id=long_id)
    body = Payloads(payloads=[payload(size=10)])
    overhead = len(body.SerializeToString()) - 10
    # The exact encoded size may count either the data or the whole message; both fit below the limit here.
    await stage.start_raw(input=Payloads(payloads=[payload(size=2 * MIB - overhead - 8)]))
    events = await stage.history(stage.id())
    assert len(laws.attributes(events[0]).input.payloads[0].data) == 2 * MIB - overhead - 8


@pytest.mark.once
async def test_ids_are_counted_in_bytes_of_utf8(stage: Stage):
    await stage.start_raw(workflow_id="ä" * 400 + stage.id()[-20:])
    await refused(stage.start_raw(workflow_id="ä" * 501), INVALID)


@pytest.mark.once
async def test_names_in_every_script_survive_the_round_trip(stage: Stage):
    name = stage.id() + " 日本語 émigré \U0001f98a /%&"
    await stage.start_raw(workflow_id=name)
    described = await stage.client.get_workflow_handle(name).describe()
    assert described.id == name


@pytest.mark.once
async def test_control_characters_in_names_are_refused(stage: Stage):
    for character in ("\0", "\t", "\n", "\x1b", "\x7f", "\x85"):
        await refused(stage.start_raw(workflow_id=stage.id() + character), INVALID)


BAD_CALLS = {
    "signal without a name": (
        "signal_workflow_execution",
        lambda s: SignalWorkflowExecutionRequest(namespace=s.namespace, workflow_execution=here(s)),
        INVALID,
    ),
    "signal without a workflow": (
        "signal_workflow_execution",
        lambda s: SignalWorkflowExecutionRequest(namespace=s.namespace, signal_name="x"),
        INVALID,
    ),
    "signal with an over-long name": (
        "signal_workflow_execution",
        lambda s: SignalWorkflowExecutionRequest(
            namespace=s.namespace, workflow_execution=here(s), signal_name=LONG
        ),
        INVALID,
    ),
    "signal to a run id that is none": (
        "signal_workflow_execution",
        lambda s: SignalWorkflowExecutionRequest(
            namespace=s.namespace,
            workflow_execution=WorkflowExecution(workflow_id=s.id(), run_id="not a uuid"),
            signal_name="x",
        ),
        INVALID,
    ),
    "signal over the size limit": (
        "signal_workflow_execution",
        lambda s: SignalWorkflowExecutionRequest(
            namespace=s.namespace,
            workflow_execution=here(s),
            signal_name="x",
            input=Payloads(payloads=[payload(size=2 * MIB + 1)]),
        ),
        INVALID,
    ),
    "cancel without a workflow": (
        "request_cancel_workflow_execution",
        lambda s: RequestCancelWorkflowExecutionRequest(namespace=s.namespace),
        INVALID,
    ),
    "terminate without a workflow": (
        "terminate_workflow_execution",
        lambda s: TerminateWorkflowExecutionRequest(namespace=s.namespace),
        INVALID,
    ),
    "describe without a workflow": (
        "describe_workflow_execution",
        lambda s: DescribeWorkflowExecutionRequest(namespace=s.namespace),
        INVALID,
    ),
    "history without a workflow": (
        "get_workflow_execution_history",
        lambda s: GetWorkflowExecutionHistoryRequest(namespace=s.namespace),
        INVALID,
    ),
    "query without a type": (
        "query_workflow",
        lambda s: QueryWorkflowRequest(namespace=s.namespace, execution=here(s)),
        INVALID,
    ),
    "query in an unknown namespace": (
        "query_workflow",
        lambda s: QueryWorkflowRequest(namespace="nowhere", execution=here(s), query=WorkflowQuery(query_type="q")),
        NOT_FOUND,
    ),
    "poll without a queue": (
        "poll_workflow_task_queue",
        lambda s: PollWorkflowTaskQueueRequest(namespace=s.namespace),
        INVALID,
    ),
    "poll on an over-long queue": (
        "poll_workflow_task_queue",
        lambda s: PollWorkflowTaskQueueRequest(namespace=s.namespace, task_queue=TaskQueue(name=LONG)),
        INVALID,
    ),
    "completion without a token": (
        "respond_workflow_task_completed",
        lambda s: RespondWorkflowTaskCompletedRequest(namespace=s.namespace),
        INVALID,
    ),
    "completion with a malformed token": (
        "respond_workflow_task_completed",
        lambda s: RespondWorkflowTaskCompletedRequest(namespace=s.namespace, task_token=b"\xff" * 40),
        INVALID,
    ),
    "heartbeat with a malformed token": (
        "record_activity_task_heartbeat",
        lambda s: RecordActivityTaskHeartbeatRequest(namespace=s.namespace, task_token=b"nonsense"),
        INVALID,
    ),
    "activity completion with a malformed token": (
        "respond_activity_task_completed",
        lambda s: RespondActivityTaskCompletedRequest(namespace=s.namespace, task_token=b"nonsense"),
        INVALID,
    ),
    "a namespace without a name": (
        "register_namespace",
        lambda s: RegisterNamespaceRequest(workflow_execution_retention_period=duration(86400)),
        INVALID,
    ),
    "a namespace without retention": (
        "register_namespace",
        lambda s: RegisterNamespaceRequest(namespace="n" + uuid.uuid4().hex),
        INVALID,
    ),
    "an unknown namespace": (
        "describe_namespace",
        lambda s: DescribeNamespaceRequest(namespace="nowhere-at-all"),
        NOT_FOUND,
    ),
}


def here(stage: Stage) -> WorkflowExecution:
    return WorkflowExecution(workflow_id=stage.id())


@pytest.mark.once
@pytest.mark.parametrize("what", BAD_CALLS)
async def test_a_bad_call_is_refused_and_changes_nothing(stage: Stage, what: str):
    method, build, status = BAD_CALLS[what]
    await stage.start_raw()
    before = await stage.names(stage.id())
    await refused(getattr(stage.service, method)(build(stage)), status)
    assert await stage.names(stage.id()) == before


@pytest.mark.once
async def test_refusals_carry_the_details_that_clients_read(stage: Stage):
    started = await stage.start_raw()
    error = await refused(stage.start_raw(), RPCStatusCode.ALREADY_EXISTS)
    details = WorkflowExecutionAlreadyStartedFailure()
    assert error.grpc_status.details[0].Unpack(details)
    assert details.run_id == started.run_id and details.start_request_id
    handle = stage.client.get_workflow_handle(stage.id("unknown"))
    error = await refused(handle.describe(), NOT_FOUND)
    assert any(detail.Is(NotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details)
    error = await refused(stage.start_raw(namespace="nowhere-at-all"), NOT_FOUND)
    assert any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details)


@pytest.mark.once
async def test_a_task_token_is_worth_nothing_in_another_namespace(stage: Stage):
    other = f"ns-{uuid.uuid4().hex[:10]}"
    await stage.service.register_namespace(
        RegisterNamespaceRequest(namespace=other, workflow_execution_retention_period=duration(86400))
    )
    await stage.start_raw()
    worker = RawWorker(stage)
    task = await worker.poll_workflow()
    for altered in [
        dict(namespace=other, task_token=task.task_token),
        dict(namespace=stage.namespace, task_token=task.task_token[:-1]),
        dict(namespace=stage.namespace, task_token=flip(task.task_token)),
    ]:
        request = RespondWorkflowTaskFailedRequest(
            cause=WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE, **altered
        )
        with pytest.raises(RPCError) as caught:
            await stage.service.respond_workflow_task_failed(request)
        assert caught.value.status in (INVALID, NOT_FOUND, RPCStatusCode.PERMISSION_DENIED)
    await worker.complete(task, complete_workflow())
    assert "WorkflowTaskFailed" not in await stage.names(stage.id())


def flip(token: bytes) -> bytes:
    middle = len(token) // 2
    return token[:middle] + bytes([token[middle] ^ 1]) + token[middle + 1 :]


@pytest.mark.once
async def test_a_request_of_more_than_four_mebibytes(stage: Stage):
    parts = Payloads(payloads=[payload(size=MIB) for _ in range(5)])
    request = StartWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_id=stage.id(),
        workflow_type=WorkflowType(name="raw"),
        task_queue=TaskQueue(name=stage.task_queue),
        request_id=str(uuid.uuid4()),
        input=parts,
    )
    await refused(
        stage.service.start_workflow_execution(request),
        RPCStatusCode.RESOURCE_EXHAUSTED,
        "larger than max",
    )
    await stage.start_raw()


@pytest.mark.once
async def test_the_server_takes_requests_without_compression_too(stage: Stage):
    plain = await Client.connect(
        stage.client.service_client.config.target_host, namespace=stage.namespace, grpc_compression=GrpcCompression.NONE
    )
    handle = await plain.start_workflow("raw", "x" * 100_000, id=stage.id(), task_queue=stage.task_queue)
    stage.note(handle.id, handle.first_execution_run_id)
    assert (await plain.get_workflow_handle(handle.id).describe()).id == handle.id


@pytest.mark.once
async def test_what_is_not_served_says_so_in_words_that_clients_know(stage: Stage):
    calls = [
        stage.service.list_workflow_executions(ListWorkflowExecutionsRequest(namespace=stage.namespace)),
        stage.service.pause_workflow_execution(
            PauseWorkflowExecutionRequest(namespace=stage.namespace, workflow_id=stage.id())
        ),
    ]
    for call in calls:
        try:
            await call
        except RPCError as error:
            # Either it is served, and then with an answer of its own, or the words are these.
            if error.status == RPCStatusCode.UNIMPLEMENTED:
                assert "not implemented" in error.message or "unknown method" in error.message


@pytest.mark.once
async def test_a_failure_nested_beyond_all_reason_is_cut_and_marked(stage: Stage):
    failure = Failure(message="innermost", application_failure_info=ApplicationFailureInfo(type="T"))
    for depth in range(80):
        outer = Failure(message=f"level {depth}", application_failure_info=ApplicationFailureInfo(non_retryable=True))
        outer.cause.CopyFrom(failure)
        failure = outer
    await stage.start_raw()
    worker = RawWorker(stage)
    await worker.complete(await worker.poll_workflow(), schedule_activity(stage, "a", activity_type=ActivityType(name="t")))
    task = await worker.poll_activity()
    await stage.service.respond_activity_task_failed(
        RespondActivityTaskFailedRequest(namespace=stage.namespace, task_token=task.task_token, failure=failure)
    )
    await worker.complete(await worker.poll_workflow(), complete_workflow())
    [failed] = laws.find(await stage.history(stage.id()), "ActivityTaskFailed")
    levels, inner = 0, failed.failure
    while inner.HasField("cause"):
        levels, inner = levels + 1, inner.cause
    assert 1 <= levels <= 80
