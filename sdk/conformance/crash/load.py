"""The load of the crash and cluster suites: workflows of every kind, and calls whose outcomes are remembered.

Every call carries a token of its own (its request id), is tried once, and is noted with its outcome: acknowledged,
or unknown when the answer was lost. Some unknown calls are sent again under the same token, and then count as one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import pathlib
import random
import time
import uuid
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload, Payloads, RetryPolicy, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import WorkflowIdReusePolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    QueryWorkflowRequest,
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import flows
from verdict import Started

# With these codes a call may have happened or not. Any other refusal of a call that must succeed is a problem.
UNKNOWN = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.ABORTED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}
RUNNING = 1
# For how long a call or a workflow may take. What takes longer is dead, and must not hold up the verdict for ever.
TIMEOUT_S = 150.0
QUEUES = ["crash-cached", "crash-replaying"]


def json_payloads(*values: Any) -> Payloads:
    return Payloads(
        payloads=[Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode()) for value in values]
    )


def duration(value: float) -> Duration:
    result = Duration()
    result.FromTimedelta(timedelta(seconds=value))
    return result


class Load:
    """Workflows and calls against one server, or a cluster's frontends in turn."""

    def __init__(self, clients: list[Client], seed: int | str, folder: pathlib.Path, prefix: str = ""):
        self.clients = itertools.cycle(clients)
        # Each workflow draws from a source of its own, so that the seed fixes it whatever the timing.
        self.seed = seed
        self.prefix = prefix
        self.problems: list[str] = []
        self.started: list[Started] = []
        self.log = (folder / "calls.jsonl").open("a")

    def note(self, call: str, token: str, outcome: str) -> None:
        print(json.dumps([round(time.time(), 3), call, token, outcome]), file=self.log, flush=True)

    async def try_once(self, name: str, token: str, method: str, request: Any) -> Any:
        """The response, or None when it is unknown whether the call happened."""
        try:
            service = next(self.clients).workflow_service
            response = await getattr(service, method)(request, retry=False, timeout=timedelta(seconds=8))
        except RPCError as error:
            self.note(name, token, f"{error.status.name}: {error.message}")
            if error.status not in UNKNOWN:
                self.problems.append(f"{name} {token} was refused: {error.status.name}: {error.message}")
                raise
            return None
        self.note(name, token, "acknowledged")
        return response

    async def insist(self, name: str, token: str, method: str, request: Any) -> Any:
        """Sends the same request under the same token until it is acknowledged; gives up when that takes too long."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            response = await self.try_once(name, token, method, request)
            if response is not None:
                return response
            await asyncio.sleep(0.1)
        raise TimeoutError(f"{name} {token}: not acknowledged within {TIMEOUT_S:.0f} s")

    async def start(self, kind: str, workflow_id: str, *args: Any, **fields: Any) -> str:
        """Starts a workflow and returns the run id that was acknowledged."""
        rng = random.Random(f"{self.seed} start {workflow_id}")
        request = StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=kind),
            # A worker without a cache loses tasks of its own accord when local activities are under way.
            task_queue=TaskQueue(name="crash-cached" if kind == "Local" else rng.choice(QUEUES)),
            input=json_payloads(*args),
            request_id=str(uuid.UUID(int=rng.getrandbits(128))),
            # A start that is sent again after its run has closed is the same start. One that is taken for another is
            # refused here, where otherwise the second run would hide the first.
            workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
            identity="load",
            **fields,
        )
        response = await self.insist("start", workflow_id, "start_workflow_execution", request)
        return response.run_id

    def expect(self, workflow_id: str, run_id: str, result: Any = None, ends_with: str = "WorkflowExecutionCompleted"):
        encoded = None if result is None else json.dumps(result, separators=(",", ":"))
        one = Started(workflow_id, run_id, ends_with, encoded, {})
        self.started.append(one)
        return one

    async def signal(self, one: Started, name: str, token: str, resend: bool) -> None:
        request = SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=one.workflow_id),
            signal_name=name,
            input=json_payloads(token),
            request_id=token,
            identity="load",
        )
        one.signals[token] = False
        attempt = self.insist if resend else self.try_once
        response = await attempt("signal", token, "signal_workflow_execution", request)
        one.signals[token] = response is not None

    async def closed(self, one: Started, limit_s: float = TIMEOUT_S) -> None:
        """Waits until the chain of this workflow has closed."""
        deadline = time.monotonic() + limit_s
        request = DescribeWorkflowExecutionRequest(
            namespace="default", execution=WorkflowExecution(workflow_id=one.workflow_id)
        )
        while time.monotonic() < deadline:
            try:
                response = await next(self.clients).workflow_service.describe_workflow_execution(
                    request, retry=False, timeout=timedelta(seconds=5)
                )
                if response.workflow_execution_info.status != RUNNING:
                    return
            except RPCError as error:
                if error.status not in UNKNOWN:
                    self.problems.append(f"{one.workflow_id}: describe: {error.status.name}: {error.message}")
                    return
            await asyncio.sleep(0.5)
        self.problems.append(f"{one.workflow_id}: still open {limit_s:.0f} s after its last call")

    async def one_workflow(self, number: int) -> None:
        rng = random.Random(f"{self.seed} workflow {number}")
        kinds = ["timers", "retries", "collects", "family", "chain", "itself", "local", "cancel", "delayed", "sends"]
        kind = kinds[number % len(kinds)]
        workflow_id = f"{self.prefix}{kind}-{number}"
        if kind in ("timers", "delayed"):
            rounds = [[round(rng.uniform(0.05, 1.5), 3) for _ in range(rng.randint(1, 4))] for _ in range(3)]
            delay = {"workflow_start_delay": duration(1.5)} if kind == "delayed" else {}
            run_id = await self.start("Timers", workflow_id, rounds, **delay)
            one = self.expect(workflow_id, run_id, sum(len(each) for each in rounds))
        elif kind == "retries":
            failures = [rng.randint(0, 3) for _ in range(5)]
            one = self.expect(workflow_id, await self.start("Retries", workflow_id, failures), sum(failures))
        elif kind == "family":
            one = self.expect(workflow_id, await self.start("Family", workflow_id, 4), 8)
        elif kind == "chain":
            one = self.expect(workflow_id, await self.start("Chain", workflow_id, 5, 0), 30)
        elif kind == "itself":
            policy = RetryPolicy(initial_interval=duration(0.2), backoff_coefficient=1.0)
            one = self.expect(workflow_id, await self.start("RetriesItself", workflow_id, 3, retry_policy=policy), 3)
        elif kind == "local":
            one = self.expect(workflow_id, await self.start("Local", workflow_id, 6), 30)
        elif kind == "cancel":
            one = self.expect(
                workflow_id, await self.start("UntilCancelled", workflow_id), None, "WorkflowExecutionCanceled"
            )
            await asyncio.sleep(rng.uniform(0.0, 3.0))
            request = RequestCancelWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=one.run_id),
                request_id=str(uuid.UUID(int=rng.getrandbits(128))),
            )
            await self.insist("cancel", workflow_id, "request_cancel_workflow_execution", request)
        else:
            one = await self.signalled_workflow(rng, workflow_id, with_sender=kind == "sends")
        await self.closed(one)

    async def signalled_workflow(self, rng: random.Random, workflow_id: str, with_sender: bool) -> Started:
        one = self.expect(workflow_id, await self.start("Collects", workflow_id, [], rng.randint(2, 6)))
        one.waits = True
        sender = None
        if with_sender:
            tokens = [f"{workflow_id}-external-{n}" for n in range(4)]
            sender_id = f"{workflow_id}-sender"
            sender = self.expect(sender_id, await self.start("Sends", sender_id, workflow_id, tokens), len(tokens))
            one.signals.update(dict.fromkeys(tokens, True))
        for number in range(rng.randint(6, 14)):
            await self.signal(one, "add", f"{workflow_id}-{number}", resend=rng.random() < 0.5)
            if rng.random() < 0.2:
                await self.ask(workflow_id)
            await asyncio.sleep(rng.uniform(0.0, 0.6))
        if sender is not None:
            await self.closed(sender)
        await self.signal(one, "finish", f"finish-{workflow_id}", resend=True)
        return one

    async def ask(self, workflow_id: str) -> None:
        """A query between kills: it may fail, and must not disturb."""
        request = QueryWorkflowRequest(
            namespace="default",
            execution=WorkflowExecution(workflow_id=workflow_id),
            query=WorkflowQuery(query_type="seen"),
        )
        try:
            service = next(self.clients).workflow_service
            await service.query_workflow(request, retry=False, timeout=timedelta(seconds=3))
            self.note("query", workflow_id, "answered")
        except RPCError as error:
            self.note("query", workflow_id, f"{error.status.name}: {error.message}")

    async def spread(self, workflows: int, seconds: float, first: int = 0) -> None:
        """Starts this many workflows, numbered from `first`, evenly over a time, and waits until all have closed."""

        async def later(place: int) -> None:
            await asyncio.sleep(seconds * place / workflows)
            await self.one_workflow(first + place)

        outcomes = await asyncio.gather(*(later(place) for place in range(workflows)), return_exceptions=True)
        self.problems += [f"a driver stopped: {outcome!r}" for outcome in outcomes if outcome is not None]


def workers(clients: list[Client]) -> list[Worker]:
    """One worker that caches and one that replays each time, on the clients in turn."""
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=flows.WORKFLOWS,
            activities=flows.ACTIVITIES,
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=cache,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
        )
        for queue, cache, client in zip(QUEUES, [500, 0], itertools.cycle(clients))
    ]
