"""Failover under load: for how long each shard does not serve when a history process dies, vanishes or drains.

One open workflow in every shard is described every tenth of a second through the frontends, each probe on its own,
whether or not earlier ones were answered, while a load of workflows runs. A shard serves again when the first of the
probes that were sent after the blow is answered. What is printed is that time for each shard that the process owned, as
a distribution; and how long probes take at other times, which on a machine that is saturated is what is measured.
The run fails when an aim is missed (AIMS).

Only partitions need the proxy between processes, and a dead process looks different through it. So they are measured on
a cluster with it, and all else on one without.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import pathlib
import random
import signal
import sys
import time
from datetime import timedelta
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent / "crash"), str(HERE.parent / "python"), str(ROOT / "deploy" / "dev-cluster")]

from temporalio.api.common.v1 import WorkflowExecution  # noqa: E402
from temporalio.api.workflowservice.v1 import (  # noqa: E402
    DescribeNamespaceRequest,
    DescribeWorkflowExecutionRequest,
)
from temporalio.client import Client  # noqa: E402
from temporalio.service import RPCError  # noqa: E402

from load import Load, workers  # noqa: E402
from processes import LocalCluster, Process, Shape  # noqa: E402
from slots import covering  # noqa: E402

# Callers' timeout: within it the frontends try again by themselves.
TIMEOUT_S = 10.0
WATCHED_S = 14.0
# Within how many seconds 95 % of the shards of a process serve again.
AIMS = {"sigkill": 1.0, "sigstop": 3.0, "partition": 3.0}
# And all of them, whatever happened to it.
LONGEST_S = 10.0


@dataclasses.dataclass
class Probe:
    shard: int
    sent: float
    answered: float
    error: str


class Prober:
    """Describes workflows, one of each shard, again and again."""

    def __init__(self, clients: list[Client], workflows: dict[str, int], every_s: float):
        self.every_s = every_s
        self.clients = clients
        self.workflows = workflows
        self.probes: list[Probe] = []
        self.pending: set[asyncio.Task[None]] = set()

    async def run(self, until: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for place, (workflow_id, shard) in enumerate(self.workflows.items()):
                group.create_task(self.watch(place, workflow_id, shard, until))
        await asyncio.gather(*self.pending)

    async def watch(self, place: int, workflow_id: str, shard: int, until: asyncio.Event) -> None:
        await asyncio.sleep(self.every_s * place / len(self.workflows))
        turn = place
        while not until.is_set():
            task = asyncio.create_task(self.probe(self.clients[turn % len(self.clients)], workflow_id, shard))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)
            turn += 1
            await asyncio.sleep(self.every_s)

    async def probe(self, client: Client, workflow_id: str, shard: int) -> None:
        request = DescribeWorkflowExecutionRequest(
            namespace="default", execution=WorkflowExecution(workflow_id=workflow_id)
        )
        sent = time.monotonic()
        error = ""
        try:
            await client.workflow_service.describe_workflow_execution(
                request, retry=False, timeout=timedelta(seconds=TIMEOUT_S)
            )
        except RPCError as failure:
            error = f"{failure.status.name}: {failure.message}"
        self.probes.append(Probe(shard, sent, time.monotonic(), error))

    def outages(self, blow: float, shards: list[int]) -> dict[int, float]:
        """For each of these shards: seconds from the blow until a probe sent after it was answered."""
        found = {}
        for shard in shards:
            sent_after = [probe for probe in self.probes if probe.shard == shard and probe.sent >= blow]
            found[shard] = min((probe.answered - blow for probe in sent_after if not probe.error), default=WATCHED_S)
        return found

    def failed(self, blow: float) -> list[Probe]:
        return [probe for probe in self.probes if probe.error and probe.answered >= blow]

    def latencies(self, before: float) -> list[float]:
        return [probe.answered - probe.sent for probe in self.probes if probe.answered < before and not probe.error]


def at(quantile: float, values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(quantile * len(values)))] if values else 0.0


def owners(cluster: LocalCluster) -> list[str]:
    """Whom the ring gives each history shard to."""
    return json.loads(cluster.admin("ring", "--output", "json"))["history"]


def shards_of(cluster: LocalCluster, victim: Process) -> list[int]:
    """What the ring gives to this history process."""
    return [shard for shard, owner in enumerate(owners(cluster)) if owner == victim.name]


async def strike(kind: str, cluster: LocalCluster, victim: Process) -> None:
    if kind == "sigkill":
        victim.kill()
    elif kind == "sigstop":
        victim.send(signal.SIGSTOP)
    elif kind == "partition":
        assert cluster.proxy is not None
        everyone = [*cluster.processes, *cluster.cassandra_names]
        cluster.proxy.separate([victim.name], [name for name in everyone if name != victim.name])
    elif kind == "drain":
        victim.send(signal.SIGTERM)


async def mend(kind: str, cluster: LocalCluster, victim: Process) -> list[str]:
    problems = []
    if kind == "sigstop":
        victim.send(signal.SIGCONT)
    elif kind == "partition":
        assert cluster.proxy is not None
        cluster.proxy.heal()
    elif kind == "drain":
        code = await asyncio.to_thread(victim.stop)
        if code != 0:
            problems.append(f"{victim.name} answered SIGTERM with exit code {code}, not 0")
    if not victim.alive():
        victim.kill()
        victim.spawn()
    await asyncio.to_thread(victim.wait_ready)
    await asyncio.sleep(3.0)
    return problems


async def measure(kind: str, turn: int, cluster: LocalCluster, clients: list[Client], arguments: Any) -> dict[str, Any]:
    rng = random.Random(f"{arguments.seed} {kind} {turn}")
    victim = rng.choice(cluster.of_role("history"))
    namespace = await clients[0].workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    ids = covering(namespace.namespace_info.id, f"probe-{kind}-{turn}-", cluster.shape.history_shards, 1)
    load = Load(clients, f"{arguments.seed} {kind} {turn}", cluster.folder, prefix=f"failover-{kind}-{turn}-")
    # This queue has no pollers: the probes stay open and quiet.
    for workflow_id in ids:
        await clients[0].start_workflow("Quiet", id=workflow_id, task_queue="no-pollers")
    prober = Prober(clients, ids, arguments.every)
    until = asyncio.Event()
    probing = asyncio.create_task(prober.run(until))
    background = asyncio.create_task(load.spread(arguments.workflows, 8.0))
    await asyncio.sleep(rng.uniform(3.0, 4.0))
    owned = await asyncio.to_thread(shards_of, cluster, victim)
    blow = time.monotonic()
    await strike(kind, cluster, victim)
    await asyncio.sleep(WATCHED_S)
    until.set()
    await probing
    problems = [] if owned else [f"{kind} {turn}: {victim.name} owned no shards, so nothing was measured"]
    if victim.name in await asyncio.to_thread(owners, cluster):
        problems.append(f"{kind} {turn}: the ring still gives shards to {victim.name}, so nothing happened to it")
    problems += await mend(kind, cluster, victim)
    await background
    outages = prober.outages(blow, owned)
    failed = prober.failed(blow)
    usual = prober.latencies(blow)
    return {
        "kind": kind,
        "turn": turn,
        "victim": victim.name,
        "outages_s": {str(shard): round(seconds, 3) for shard, seconds in sorted(outages.items())},
        "probes": len(prober.probes),
        "failed": len(failed),
        "failures": sorted({probe.error for probe in failed})[:5],
        "usual_ms": {"p50": round(1000 * at(0.5, usual), 1), "p99": round(1000 * at(0.99, usual), 1)},
        "problems": problems + [f"{kind} {turn}: {problem}" for problem in load.problems],
    }


def summary(kind: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    outages = [seconds for result in results for seconds in result["outages_s"].values()]
    return {
        "kind": kind,
        "times": len(results),
        "shards": len(outages),
        "p50_s": round(at(0.5, outages), 2),
        "p95_s": round(at(0.95, outages), 2),
        "max_s": round(max(outages, default=0.0), 2),
        "probes": sum(result["probes"] for result in results),
        "failed": sum(result["failed"] for result in results),
    }


def missed(kind: str, results: list[dict[str, Any]]) -> list[str]:
    """The aims that these blows of one kind did not meet."""
    outages = [seconds for result in results for seconds in result["outages_s"].values()]
    failures = sorted({error for result in results for error in result["failures"]})
    aim = AIMS.get(kind, LONGEST_S)
    in_time = sum(seconds <= aim for seconds in outages)
    found = []
    if in_time < 0.95 * len(outages):
        found.append(f"{kind}: {in_time} of {len(outages)} shards served again within {aim} s, and 95 % should")
    late = [seconds for seconds in outages if seconds > LONGEST_S]
    if late:
        found.append(f"{kind}: {len(late)} shards did not serve again within {LONGEST_S} s: {late}")
    if kind == "drain" and failures:
        found.append(f"{kind}: requests failed, and none should: {failures}")
    return found


async def run(cluster: LocalCluster, kinds: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    clients = [await Client.connect(address) for address in cluster.frontends]
    results = []
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers(clients):
            await stack.enter_async_context(worker)
        for kind in kinds:
            for turn in range(arguments.repeat):
                result = await measure(kind, turn, cluster, clients, arguments)
                results.append(result)
                print(f"failover: {json.dumps(result)}", flush=True)
    return results


def measure_all(kinds: list[str], proxied: bool, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Some kinds of blows, on a cluster of their own."""
    folder = arguments.folder / ("proxied" if proxied else "direct")
    cluster = LocalCluster(arguments.binary, folder, Shape(proxied=proxied), arguments.seed & 0xFFFFFFFF)
    try:
        cluster.start()
        results = asyncio.run(run(cluster, kinds, arguments))
        cluster.stop()
    finally:
        cluster.end()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    kinds = ["sigkill", "sigstop", "partition", "drain"]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two probes of a shard")
    parser.add_argument("--workflows", type=int, default=20, help="of the load, for each blow")
    parser.add_argument("--result", type=pathlib.Path, help="a JSON file for the result")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    logging.getLogger("temporalio.activity").setLevel(logging.CRITICAL)
    results: list[dict[str, Any]] = []
    for proxied in (False, True):
        some = [kind for kind in arguments.kinds if (kind == "partition") == proxied]
        if some:
            results += measure_all(some, proxied, arguments)
    rows = [summary(kind, [one for one in results if one["kind"] == kind]) for kind in arguments.kinds]
    for row in rows:
        print(f"failover: {row}", flush=True)
    problems = [problem for result in results for problem in result["problems"]]
    for kind in arguments.kinds:
        problems += missed(kind, [one for one in results if one["kind"] == kind])
    for problem in problems:
        print(f"failover: PROBLEM {problem}", flush=True)
    if problems:
        print(
            f"failover: logs are in {arguments.folder}; only this again: sdk/conformance/run failover --kinds KIND "
            f"--seed {arguments.seed} --repeat {arguments.repeat} --every {arguments.every}",
            flush=True,
        )
    whole = {"seed": arguments.seed, "rows": rows, "blows": results}
    for path in [arguments.folder / "result.json", *([arguments.result] if arguments.result else [])]:
        path.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"failover: {len(results)} passed, {len(problems)} failed, --seed {arguments.seed}", flush=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
