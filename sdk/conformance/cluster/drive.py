"""The fault suite: a whole cluster under load, one fault after another, each judged by the histories that it leaves.

For each fault, a wave of workflows of every kind is started, on Python SDK workers that poll through the frontends;
while they run, the fault happens and passes. When all have closed, every history is read and held against what was
acknowledged: each start, signal and completion exactly once, no timer early, no task lost or failed without a cause,
and the SDK's replayer agrees with every run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import pathlib
import platform
import random
import subprocess
import sys
import time
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent / "crash"), str(HERE.parent / "python"), str(ROOT / "deploy" / "dev-cluster")]

from temporalio.client import Client  # noqa: E402

from faults import FAULTS, SHORT, Stage  # noqa: E402
from load import Load, workers  # noqa: E402
from processes import ClusterFailed, LocalCluster, Shape  # noqa: E402
from verdict import Verdict  # noqa: E402

# For how long after a fault a worker may still notice it: a task that was delivered into the void times out after
# ten seconds, and an answer may have waited for a shard for as long.
RECOVERY_S = 25.0


async def wave(cluster: LocalCluster, clients: list[Client], name: str, turn: int, arguments: Any) -> dict[str, Any]:
    """One fault, once, under load; and the judgement."""
    seed = f"{arguments.seed} {name} {turn}"
    rng = random.Random(seed)
    stage = Stage(cluster, rng)
    load = Load(clients, seed, cluster.folder, prefix=f"{name}-{turn}-")
    began = time.time()
    spreading = asyncio.create_task(load.spread(arguments.workflows, 5.0))
    await asyncio.sleep(rng.uniform(1.0, 3.0))
    broken = time.time()
    try:
        await FAULTS[name].inject(stage)
    except Exception as error:
        stage.problems.append(f"{name}: {error}")
    healed = time.time()
    await spreading
    verdict = Verdict(clients[0], [(broken, healed)], RECOVERY_S)
    await verdict.judge(load.started)
    problems = load.problems + stage.problems + verdict.problems + await revive(cluster)
    if verdict.problems:
        verdict.keep_histories(cluster.folder)
    signals = [acknowledged for one in load.started for acknowledged in one.signals.values()]
    return {
        "fault": name,
        "turn": turn,
        "seed": seed,
        "workflows": len(load.started),
        "runs": len(verdict.runs),
        "events": sum(verdict.counts[key] for key in verdict.counts if " " not in key),
        "signals_acknowledged": sum(signals),
        "signals_unknown": len(signals) - sum(signals),
        "timers_fired": verdict.counts["TimerFired"],
        "workflow_tasks_timed_out": verdict.counts["WorkflowTaskTimedOut"],
        "broken_s": round(healed - broken, 1),
        "seconds": round(time.time() - began, 1),
        "notes": stage.notes,
        "problems": problems,
    }


async def revive(cluster: LocalCluster) -> list[str]:
    """Starts what is not there although nobody ended it, or does not serve, and says what that was."""
    problems = []
    for process in cluster.processes.values():
        if not process.alive():
            problems.append(f"{process.name} ended by itself; {process.last_lines()}")
            process.kill()
            process.spawn()
    for process in cluster.processes.values():
        try:
            await asyncio.to_thread(process.wait_ready)
        except ClusterFailed as error:
            problems.append(str(error))
    return problems


async def run(cluster: LocalCluster, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    clients = [await Client.connect(address) for address in cluster.frontends]
    results = []
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers(clients):
            await stack.enter_async_context(worker)
        for turn in range(arguments.repeat):
            for name in arguments.faults:
                result = await wave(cluster, clients, name, turn, arguments)
                results.append(result)
                verdict = f"{len(result['problems'])} PROBLEMS" if result["problems"] else "passed"
                print(
                    f"cluster: {name} {turn}: {verdict}, {result['workflows']} workflows, {result['runs']} runs, "
                    f"{result['signals_acknowledged']} signals, broken for {result['broken_s']} s, "
                    f"{result['seconds']} s in all {result['notes'] or ''}",
                    flush=True,
                )
                for problem in result["problems"][:10]:
                    print(f"cluster: PROBLEM {problem}", flush=True)
    return results


def commit() -> str:
    words = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="data, configurations, logs, histories")
    parser.add_argument("--faults", nargs="+", choices=sorted(FAULTS), metavar="FAULT", help="all, if none is named")
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}, with less load")
    parser.add_argument("--repeat", type=int, default=1, help="how often each fault happens")
    parser.add_argument("--workflows", type=int, help="for each fault (20, or 12 in the short form)")
    parser.add_argument("--paxos", choices=["v1", "v2"], default="v2")
    parser.add_argument("--result", type=pathlib.Path, help="a JSON file for the result")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    arguments.faults = arguments.faults or (SHORT if arguments.short else list(FAULTS))
    arguments.workflows = arguments.workflows or (12 if arguments.short else 20)
    # Activities here fail on purpose.
    logging.getLogger("temporalio.activity").setLevel(logging.CRITICAL)
    shape = Shape(paxos=arguments.paxos)
    cluster = LocalCluster(arguments.binary, arguments.folder, shape, arguments.seed & 0xFFFFFFFF)
    began = time.time()
    print(f"cluster: {len(arguments.faults)} faults, {arguments.repeat} times, --seed {arguments.seed}", flush=True)
    results: list[dict[str, Any]] = []
    codes: dict[str, int] = {}
    try:
        cluster.start()
        print(f"cluster: up after {time.time() - began:.0f} s: {', '.join(cluster.frontends)}", flush=True)
        for error in cluster.gave_up:
            print(f"cluster: started again: {error.splitlines()[0]} {error.splitlines()[-1]}", flush=True)
        results = asyncio.run(run(cluster, arguments))
        codes = cluster.stop()
    finally:
        cluster.end()
    wrong = {name: code for name, code in codes.items() if code != 0}
    for name, code in wrong.items():
        print(f"cluster: PROBLEM {name} answered SIGTERM with exit code {code}, not 0", flush=True)
    problems = sum(len(result["problems"]) for result in results) + len(wrong)
    whole = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "commit": commit(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "seed": arguments.seed,
        "shape": {key: value for key, value in vars(shape).items() if key != "settings"},
        "seconds": round(time.time() - began),
        "waves": results,
        "exit_codes": codes,
        "gave_up_at_start": len(cluster.gave_up),
        "problems": problems,
    }
    if arguments.result:
        arguments.result.write_text(json.dumps(whole, indent=1) + "\n")
    passed = sum(result["workflows"] for result in results if not result["problems"])
    print(f"cluster: {passed} passed, {problems} failed, {whole['seconds']} s, --seed {arguments.seed}", flush=True)
    sys.exit(1 if problems or not results else 0)


if __name__ == "__main__":
    main()
