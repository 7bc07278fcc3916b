"""A test's own corner of the server: a task queue, workers on it, and the workflows it started.

When a stage closes, every run it started, and every run those led to (continued, retried, children), is fetched;
each history must obey the laws, and the SDK's replayer must agree with it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import temporalio.client
import temporalio.worker
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
)
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import laws

NAMESPACE = "default"
SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules("pytest", "stage", "laws", "raw", "conftest")
)


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way in which a worker can run workflows."""

    name: str
    max_cached_workflows: int
    runner: temporalio.worker.WorkflowRunner


CACHED = Mode("cached", 200, SANDBOX)
# Without a cache every workflow task replays the whole history, so that a wrong history shows at once.
REPLAYING = Mode("replaying", 0, UnsandboxedWorkflowRunner())


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


async def eventually(probe: Callable[[], Awaitable[Any]], what: str, within_s: float = 45.0) -> Any:
    """The first truthy answer of the probe. It is asked often, and fails loudly when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s, last answer {answer!r}"
        await asyncio.sleep(0.05)


class Stage:
    def __init__(self, client: Client, mode: Mode, name: str):
        self.client = client
        self.mode = mode
        self.task_queue = f"{name}-{uuid.uuid4().hex[:8]}"
        self.workflows: set[type] = set()
        self.started: dict[str, set[str]] = {}
        self.namespace = client.namespace

    @staticmethod
    async def open(address: str, mode: Mode, name: str, namespace: str = NAMESPACE) -> Stage:
        client = await Client.connect(address, namespace=namespace)
        return Stage(client, mode, name)

    async def another_client(self) -> Client:
        """A connection of its own, as another worker process would have."""
        return await Client.connect(self.client.service_client.config.target_host, namespace=self.namespace)

    @property
    def service(self):
        """The raw WorkflowService client."""
        return self.client.workflow_service

    def id(self, suffix: str = "workflow") -> str:
        return f"{self.task_queue}-{suffix}"

    def worker(self, workflows: list[type] = [], activities: list[Callable] = [], **options: Any) -> Worker:
        """A worker in this stage's mode. Two workers at once on one queue need a `client` each."""
        self.workflows.update(workflows)
        client = options.pop("client", self.client)
        options.setdefault("task_queue", self.task_queue)
        options.setdefault("max_cached_workflows", self.mode.max_cached_workflows)
        options.setdefault("workflow_runner", self.mode.runner)
        options.setdefault("max_concurrent_workflow_task_polls", 2)
        options.setdefault("max_concurrent_activity_task_polls", 2)
        # A worker on a slow machine should not take more tasks than it can answer before they time out.
        options.setdefault("max_concurrent_workflow_tasks", 4)
        options.setdefault("sticky_queue_schedule_to_start_timeout", seconds(5))
        return Worker(client, workflows=workflows, activities=activities, **options)

    async def start(self, workflow: Any, *args: Any, suffix: str = "workflow", **options: Any) -> WorkflowHandle:
        options.setdefault("id", self.id(suffix))
        options.setdefault("task_queue", self.task_queue)
        options.setdefault("execution_timeout", seconds(150))
        # Long enough for a slow machine, so that only a task that was really lost times out.
        options.setdefault("task_timeout", seconds(30))
        handle = await self.client.start_workflow(workflow, args=list(args), **options)
        self.note(handle.id, handle.first_execution_run_id or handle.result_run_id)
        return handle

    async def run(self, workflow: Any, *args: Any, **options: Any) -> Any:
        handle = await self.start(workflow, *args, **options)
        return await handle.result()

    async def start_raw(self, **fields: Any) -> StartWorkflowExecutionResponse:
        """StartWorkflowExecution as a plain request: nothing is defaulted but names and a request id."""
        defaults: dict[str, Any] = dict(
            namespace=self.namespace,
            workflow_id=self.id(),
            workflow_type=WorkflowType(name="raw"),
            task_queue=TaskQueue(name=self.task_queue),
            request_id=str(uuid.uuid4()),
            identity="raw",
        )
        request = StartWorkflowExecutionRequest(**{**defaults, **fields})
        response = await self.service.start_workflow_execution(request)
        self.note(request.workflow_id, response.run_id)
        return response

    def note(self, workflow_id: str, run_id: str | None) -> None:
        if run_id:
            self.started.setdefault(workflow_id, set()).add(run_id)

    async def history(self, handle: WorkflowHandle | str, run_id: str | None = None) -> list[HistoryEvent]:
        """All events of a run, read page by page."""
        if isinstance(handle, str):
            execution = WorkflowExecution(workflow_id=handle, run_id=run_id or "")
        else:
            execution = WorkflowExecution(workflow_id=handle.id, run_id=run_id or handle.result_run_id or "")
        events: list[HistoryEvent] = []
        token = b""
        while True:
            page = await self.service.get_workflow_execution_history(
                GetWorkflowExecutionHistoryRequest(
                    namespace=self.namespace, execution=execution, next_page_token=token
                )
            )
            events.extend(page.history.events)
            token = page.next_page_token
            if not token:
                return events

    async def names(self, handle: WorkflowHandle | str, run_id: str | None = None) -> list[str]:
        return laws.names(await self.history(handle, run_id))

    async def close(self, replay: bool, timeouts: bool) -> None:
        """Ends what is still open, then holds every history against the laws and the replayer.

        A workflow task that times out costs seconds and no result, so it would go unseen; unless the test is about
        `timeouts`, there must be none.
        """
        done: set[tuple[str, str]] = set()
        waiting = [(workflow_id, run_id) for workflow_id, runs in self.started.items() for run_id in runs]
        histories: list[tuple[str, list[HistoryEvent]]] = []
        while waiting:
            workflow_id, run_id = waiting.pop()
            if (workflow_id, run_id) in done:
                continue
            done.add((workflow_id, run_id))
            events = await self.history(workflow_id, run_id)
            waiting.extend(led_to(workflow_id, events))
            histories.append((workflow_id, events))
            if events[-1].event_type not in laws.CLOSING:
                await self.end(workflow_id, run_id)
        for _, events in histories:
            laws.check(events)
            assert timeouts or "WorkflowTaskTimedOut" not in laws.names(events), laws.timeline(events)
        if replay and self.workflows:
            known = {getattr(cls, "__temporal_workflow_definition").name for cls in self.workflows}
            replayer = Replayer(
                workflows=list(self.workflows),
                workflow_runner=UnsandboxedWorkflowRunner(),
                namespace=self.namespace,
            )
            for workflow_id, events in histories:
                if laws.attributes(events[0]).workflow_type.name in known and "WorkflowTaskCompleted" in laws.names(events):
                    history = temporalio.client.WorkflowHistory(workflow_id=workflow_id, events=events)
                    await replayer.replay_workflow(history)

    async def end(self, workflow_id: str, run_id: str) -> None:
        try:
            await self.client.get_workflow_handle(workflow_id, run_id=run_id).terminate("end of test")
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise


def led_to(workflow_id: str, events: list[HistoryEvent]) -> list[tuple[str, str]]:
    """The runs that this history names as its successors and children."""
    runs = []
    for event in events:
        end = laws.attributes(event)
        successor = getattr(end, "new_execution_run_id", "")
        if successor:
            runs.append((workflow_id, successor))
        if laws.name(event) == "ChildWorkflowExecutionStarted":
            runs.append((end.workflow_execution.workflow_id, end.workflow_execution.run_id))
    return runs


def payload(text: str = "x", size: int | None = None) -> Payload:
    data = (b'"' + b"x" * (size - 2) + b'"') if size is not None else f'"{text}"'.encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def payloads(*texts: str) -> Payloads:
    return Payloads(payloads=[payload(text) for text in texts])
