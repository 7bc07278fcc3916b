"""The fault suite: a whole cluster under load, one fault after another, each judged by the histories that it leaves.

For each fault, a wave of workflows of every kind is started, on Python SDK workers that poll through the frontends;
while they run, the fault happens and passes, and a few more workflows run when it is over. When all have closed, every
history is read and held against what was acknowledged: each start, signal and completion exactly once, no timer early,
no task lost or failed without a cause, and the SDK's replayer agrees with every run.
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
import traceback
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent / "crash"), str(HERE.parent / "python"), str(ROOT / "deploy" / "dev-cluster")]

from temporalio.client import Client  # noqa: E402

from evidence import sent_twice  # noqa: E402
from faults import FAULTS, SHORT, Stage  # noqa: E402
from load import Load, workers  # noqa: E402
from processes import ClusterFailed, LocalCluster, Shape  # noqa: E402
from verdict import Disturbance, Verdict  # noqa: E402

# A process that says that it is ready has not caught up with what waited: a shard opens, Cassandra compiles what it has
# just loaded, and a worker whose calls failed waits for up to ten seconds before its next poll. A workflow task that is
# handed out later than this is not lost because of the fault.
SETTLING_S = 10.0
# That many workflows run after that, and none of their tasks may get lost.
AFTERMATH = 4


async def wave(cluster: LocalCluster, clients: list[Client], name: str, seed: int, arguments: Any) -> dict[str, Any]:
    """One fault, once, under load; and the judgement."""
    rng = random.Random(f"{seed} {name}")
    stage = Stage(cluster, rng)
    load = Load(clients, f"{seed} {name}", cluster.folder, prefix=f"{name}-{seed}-")
    proxy = cluster.proxy
    assert proxy is not None, "faults need the proxy"
    proxy.ask(command="reset_counts")
    began = time.time()
    spreading = asyncio.create_task(load.spread(arguments.workflows, 5.0))
    await asyncio.sleep(rng.uniform(1.0, 3.0))
    broken = time.time()
    try:
        await FAULTS[name].inject(stage)
    except Exception as error:
        stage.problems.append(f"{name}: {error!r}")
    healed = time.time()
    if not stage.evidence and not stage.problems:
        stage.problems.append("nothing shows that the fault happened")
    await asyncio.sleep(SETTLING_S)
    await asyncio.gather(spreading, load.spread(AFTERMATH, 1.0, first=arguments.workflows))
    verdict = Verdict(clients[0], [Disturbance(broken, healed + SETTLING_S)])
    await verdict.judge(load.started)
    problems = load.problems + stage.problems + sent_twice(proxy.counts()) + verdict.problems + await revive(cluster)
    if verdict.problems:
        verdict.keep_histories(cluster.folder)
    signals = [acknowledged for one in load.started for acknowledged in one.signals.values()]
    return {
        "fault": name,
        "seed": seed,
        "workflows": len(load.started),
        "runs": len(verdict.runs),
        "events": sum(verdict.counts[key] for key in verdict.counts if " " not in key),
        "signals_acknowledged": sum(signals),
        "signals_unknown": len(signals) - sum(signals),
        "timers_fired": verdict.counts["TimerFired"],
        "workflow_tasks_timed_out": verdict.counts["WorkflowTaskTimedOut"],
        "broken_at": [moment(broken), moment(healed)],
        "broken_s": round(healed - broken, 1),
        "seconds": round(time.time() - began, 1),
        "evidence": stage.evidence,
        "problems": problems,
    }


def moment(seconds: float) -> str:
    """As the servers' logs show it."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds * 1000) % 1000:03}Z"


async def revive(cluster: LocalCluster) -> list[str]:
    """Starts what ended unasked, or does not serve, and says what that was."""
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


async def run(cluster: LocalCluster, arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Adds the result of each fault of each round to `results`."""
    clients = [await Client.connect(address) for address in cluster.frontends]
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers(clients):
            await stack.enter_async_context(worker)
        for seed in seeds(arguments):
            for name in arguments.faults:
                try:
                    result = await wave(cluster, clients, name, seed, arguments)
                except Exception:
                    result = broken_off(name, seed, traceback.format_exc())
                    cluster.heal()
                    result["problems"] += await revive(cluster)
                results.append(result)
                report(cluster, result, arguments)


def seeds(arguments: argparse.Namespace) -> list[int]:
    """One for each round. A round can be had again by its seed alone."""
    return [arguments.seed + number for number in range(arguments.rounds)]


def broken_off(name: str, seed: int, why: str) -> dict[str, Any]:
    """The result of a fault whose judgement could not be reached."""
    keys = ["workflows", "runs", "events", "signals_acknowledged", "signals_unknown", "timers_fired"]
    counts = dict.fromkeys([*keys, "workflow_tasks_timed_out", "broken_s", "seconds"], 0)
    return {"fault": name, "seed": seed, **counts, "broken_at": [], "evidence": [], "problems": [why]}


def report(cluster: LocalCluster, result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """What became of a fault; if nothing good, where to look, and how to do only that again."""
    problems = result["problems"]
    verdict = f"{len(problems)} PROBLEMS" if problems else "passed"
    print(
        f"cluster: {result['fault']} {result['seed']}: {verdict}, {result['workflows']} workflows, "
        f"{result['runs']} runs, {result['signals_acknowledged']} signals, {result['workflow_tasks_timed_out']} tasks "
        f"timed out, broken for {result['broken_s']} s, {result['seconds']} s in all; "
        f"{'; '.join(result['evidence']) or 'no evidence'}",
        flush=True,
    )
    for problem in problems[:10]:
        print(f"cluster: PROBLEM {problem}", flush=True)
    if len(problems) > 10:
        print(f"cluster: {len(problems) - 10} more problems are in {cluster.folder}/result.json", flush=True)
    if problems:
        print(
            f"cluster: the fault was from {' to '.join(result['broken_at']) or 'an unknown time'}; logs, calls.jsonl "
            f"and the histories of problems are in {cluster.folder}\n"
            f"cluster: only this again: sdk/conformance/run cluster --faults {result['fault']} --seed {result['seed']} "
            f"--workflows {arguments.workflows} --paxos {arguments.paxos}",
            flush=True,
        )


def commit() -> str:
    words = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="data, configurations, logs, histories")
    parser.add_argument("--faults", nargs="+", choices=sorted(FAULTS), metavar="FAULT", help="all, if none is named")
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}, with less load")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault happens, each with the next seed")
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
    print(f"cluster: {len(arguments.faults)} faults, {arguments.rounds} rounds, --seed {arguments.seed}", flush=True)
    results: list[dict[str, Any]] = []
    codes: dict[str, int] = {}
    failed = 0
    try:
        cluster.start()
        print(f"cluster: up after {time.time() - began:.0f} s: {', '.join(cluster.frontends)}", flush=True)
        for error in cluster.gave_up:
            print(f"cluster: started again: {error.splitlines()[0]} {error.splitlines()[-1]}", flush=True)
        asyncio.run(run(cluster, arguments, results))
        codes = cluster.stop()
    except ClusterFailed as error:
        print(f"cluster: PROBLEM {error}", flush=True)
        failed = 1
    finally:
        cluster.end()
    wrong = {name: code for name, code in codes.items() if code != 0}
    for name, code in wrong.items():
        print(f"cluster: PROBLEM {name} answered SIGTERM with exit code {code}, not 0", flush=True)
    problems = sum(len(result["problems"]) for result in results) + len(wrong) + failed
    whole = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "commit": commit(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "seeds": seeds(arguments),
        "shape": {key: value for key, value in vars(shape).items() if key != "settings"},
        "seconds": round(time.time() - began),
        "waves": results,
        "exit_codes": codes,
        "gave_up_at_start": len(cluster.gave_up),
        "problems": problems,
    }
    for path in [arguments.folder / "result.json", *([arguments.result] if arguments.result else [])]:
        path.write_text(json.dumps(whole, indent=1) + "\n")
    passed = sum(result["workflows"] for result in results if not result["problems"])
    print(f"cluster: {passed} passed, {problems} failed, {whole['seconds']} s, --seed {arguments.seed}", flush=True)
    sys.exit(1 if problems or not results else 0)


if __name__ == "__main__":
    main()
