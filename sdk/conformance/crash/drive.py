"""The crash suite: workflows of every kind on an SDK worker, while the server is killed again and again.

Every call carries a token of its own (its request id), is tried once, and is noted with its outcome: acknowledged,
or unknown when the answer was lost. Some unknown calls are sent again under the same token, and then count as one.
When the kills are over and everything has had time to close, the server is started once more from its file, and the
histories are judged by what was acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import pathlib
import random
import sys
import time
import uuid
from datetime import timedelta
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "python")]

from google.protobuf.duration_pb2 import Duration  # noqa: E402
from temporalio.api.common.v1 import Payload, Payloads, RetryPolicy, WorkflowExecution, WorkflowType  # noqa: E402
from temporalio.api.taskqueue.v1 import TaskQueue  # noqa: E402
from temporalio.api.workflowservice.v1 import (  # noqa: E402
    DescribeWorkflowExecutionRequest,
    QueryWorkflowRequest,
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.api.query.v1 import WorkflowQuery  # noqa: E402
from temporalio.client import Client  # noqa: E402
from temporalio.service import RPCError, RPCStatusCode  # noqa: E402
from temporalio.worker import UnsandboxedWorkflowRunner, Worker  # noqa: E402

import flows  # noqa: E402
from server_process import ServerProcess  # noqa: E402
from verdict import Started, Verdict  # noqa: E402

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
QUEUES = ["crash-cached", "crash-replaying"]


def json_payloads(*values: Any) -> Payloads:
    return Payloads(
        payloads=[Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode()) for value in values]
    )


def duration(value: float) -> Duration:
    result = Duration()
    result.FromTimedelta(timedelta(seconds=value))
    return result


class Driver:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        # Kills and each workflow draw from sources of their own, so that the seed fixes them whatever the timing.
        self.random = random.Random(f"{arguments.seed} kills")
        self.folder = pathlib.Path(arguments.folder)
        self.server = ServerProcess(arguments.binary, self.folder)
        self.kills: list[tuple[float, float]] = []
        self.problems: list[str] = []
        self.started: list[Started] = []
        self.log = (self.folder / "calls.jsonl").open("w")
        self.client: Client

    def note(self, call: str, token: str, outcome: str) -> None:
        print(json.dumps([round(time.time(), 3), call, token, outcome]), file=self.log, flush=True)

    async def try_once(self, name: str, token: str, method: Any, request: Any) -> Any:
        """The response, or None when nobody knows whether the call happened."""
        try:
            response = await method(request, retry=False, timeout=timedelta(seconds=8))
        except RPCError as error:
            self.note(name, token, f"{error.status.name}: {error.message}")
            if error.status not in UNKNOWN:
                self.problems.append(f"{name} {token} was refused: {error.status.name}: {error.message}")
                raise
            return None
        self.note(name, token, "acknowledged")
        return response

    async def insist(self, name: str, token: str, method: Any, request: Any) -> Any:
        """Sends the same request under the same token until it is acknowledged."""
        while True:
            response = await self.try_once(name, token, method, request)
            if response is not None:
                return response
            await asyncio.sleep(0.1)

    async def start(self, kind: str, workflow_id: str, *args: Any, **fields: Any) -> str:
        """Starts a workflow and returns the run id that was acknowledged."""
        rng = random.Random(f"{self.arguments.seed} start {workflow_id}")
        request = StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=kind),
            # A worker without a cache loses tasks of its own accord when local activities are under way.
            task_queue=TaskQueue(name="crash-cached" if kind == "Local" else rng.choice(QUEUES)),
            input=json_payloads(*args),
            request_id=str(uuid.UUID(int=rng.getrandbits(128))),
            identity="crash driver",
            **fields,
        )
        service = self.client.workflow_service
        response = await self.insist("start", workflow_id, service.start_workflow_execution, request)
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
            identity="crash driver",
        )
        one.signals[token] = False
        attempt = self.insist if resend else self.try_once
        response = await attempt("signal", token, self.client.workflow_service.signal_workflow_execution, request)
        one.signals[token] = response is not None

    async def closed(self, one: Started, limit_s: float = 150.0) -> None:
        """Waits until the chain of this workflow has closed."""
        deadline = time.monotonic() + limit_s
        request = DescribeWorkflowExecutionRequest(
            namespace="default", execution=WorkflowExecution(workflow_id=one.workflow_id)
        )
        while time.monotonic() < deadline:
            try:
                response = await self.client.workflow_service.describe_workflow_execution(
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
        rng = random.Random(f"{self.arguments.seed} workflow {number}")
        kinds = ["timers", "retries", "collects", "family", "chain", "itself", "local", "cancel", "delayed", "sends"]
        kind = kinds[number % len(kinds)]
        workflow_id = f"{kind}-{number}"
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
            method = self.client.workflow_service.request_cancel_workflow_execution
            await self.insist("cancel", workflow_id, method, request)
        else:
            one = await self.signalled_workflow(rng, workflow_id, with_sender=kind == "sends")
        await self.closed(one)

    async def signalled_workflow(self, rng: random.Random, workflow_id: str, with_sender: bool) -> Started:
        one = self.expect(workflow_id, await self.start("Collects", workflow_id, [], rng.randint(2, 6)))
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
            await self.client.workflow_service.query_workflow(request, retry=False, timeout=timedelta(seconds=3))
            self.note("query", workflow_id, "answered")
        except RPCError as error:
            self.note("query", workflow_id, f"{error.status.name}: {error.message}")

    async def kill_again_and_again(self) -> None:
        slowest = 0.0
        for number in range(self.arguments.kills):
            # Now and then a quiet while: what goes wrong there, no kill explains.
            quiet = 7.0 if number % 5 == 4 else 0.0
            await asyncio.sleep(quiet + self.random.uniform(0.2, 2.4))
            if not self.server.running():
                self.problems.append(f"the server ended by itself before kill {number}")
            killed = time.time()
            await asyncio.to_thread(self.server.kill)
            await asyncio.sleep(self.random.choice([0.0, 0.0, 0.3, 1.0]))
            slowest = max(slowest, await asyncio.to_thread(self.server.start))
            again = time.time()
            self.kills.append((killed, again))
            self.note("kill", str(number), f"back after {again - killed:.3f} s")
        print(f"crash: {len(self.kills)} kills, slowest start {slowest:.2f} s", flush=True)

    async def run(self) -> bool:
        arguments = self.arguments
        print(
            f"crash: {arguments.workflows} workflows, {arguments.kills} kills, --seed {arguments.seed}", flush=True
        )
        self.server.start()
        self.client = await Client.connect(self.server.address)
        workers = [
            Worker(
                self.client,
                task_queue=queue,
                workflows=flows.WORKFLOWS,
                activities=flows.ACTIVITIES,
                workflow_runner=UnsandboxedWorkflowRunner(),
                max_cached_workflows=cache,
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
            )
            for queue, cache in zip(QUEUES, [500, 0])
        ]
        async with workers[0], workers[1]:
            kills = asyncio.create_task(self.kill_again_and_again())
            expected_s = arguments.kills * 2.0 + arguments.kills // 5 * 7.0

            async def later(number: int) -> None:
                await asyncio.sleep(expected_s * 0.9 * number / arguments.workflows)
                await self.one_workflow(number)

            outcomes = await asyncio.gather(
                *(later(number) for number in range(arguments.workflows)), return_exceptions=True
            )
            self.problems += [f"a driver stopped: {outcome!r}" for outcome in outcomes if outcome is not None]
            await kills
        exit_code = self.server.stop()
        if exit_code != 0:
            self.problems.append(f"the server answered SIGTERM with exit code {exit_code}, not 0")
        # From here on, everything comes from the file.
        self.server.start()
        self.client = await Client.connect(self.server.address)
        verdict = Verdict(self.client, self.kills)
        await verdict.judge(self.started)
        verdict.problems[:0] = self.problems
        self.server.stop()
        self.report(verdict)
        return not verdict.problems

    def report(self, verdict: Verdict) -> None:
        signals = [acknowledged for one in self.started for acknowledged in one.signals.values()]
        counts = verdict.counts
        print(
            f"crash: {len(self.started)} workflows, {len(verdict.runs)} runs, {sum(counts.values())} events, "
            f"{sum(signals)} signals acknowledged and {len(signals) - sum(signals)} unknown, "
            f"{counts['TimerFired']} timers, {counts['WorkflowTaskTimedOut']} workflow tasks timed out, "
            f"{counts['WorkflowTaskFailed']} failed ({counts['WorkflowTaskFailed UNHANDLED_COMMAND']} by a signal)",
            flush=True,
        )
        for problem in verdict.problems[:40]:
            print(f"crash: PROBLEM {problem}")
        if verdict.problems:
            verdict.keep_histories(self.folder)
            print(f"crash: {len(verdict.problems)} problems; histories and calls.jsonl are in {self.folder}")
        passed = len(self.started) if not verdict.problems else 0
        print(f"crash: {passed} passed, {len(verdict.problems)} failed", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", required=True, help="where the server keeps its file and its log")
    parser.add_argument("--workflows", type=int, default=60)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    # Activities here fail on purpose.
    logging.getLogger("temporalio.activity").setLevel(logging.CRITICAL)
    driver = Driver(parser.parse_args())
    try:
        passed = asyncio.run(driver.run())
    finally:
        driver.server.kill()
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
