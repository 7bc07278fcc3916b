"""The crash suite: workflows of every kind on an SDK worker, while the server is killed again and again.

When the kills are over and everything has had time to close, the server is started once more from its file, and the
histories are judged by what was acknowledged. So is what a server makes of a backup from the middle of it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib
import random
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "python")]

from temporalio.client import Client  # noqa: E402

from load import Load, workers  # noqa: E402
from restored import Backup  # noqa: E402
from server_process import ServerProcess  # noqa: E402
from verdict import Disturbance, Verdict  # noqa: E402


class Driver:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.random = random.Random(f"{arguments.seed} kills")
        self.folder = pathlib.Path(arguments.folder)
        self.server = ServerProcess(arguments.binary, self.folder)
        self.kills: list[Disturbance] = []
        self.backup = Backup(arguments.binary, self.folder)
        self.load: Load

    async def kill_again_and_again(self) -> None:
        slowest = 0.0
        for number in range(self.arguments.kills):
            # Now and then a quiet while: what goes wrong there, no kill explains.
            quiet = 7.0 if number % 5 == 4 else 0.0
            await asyncio.sleep(quiet + self.random.uniform(0.2, 2.4))
            if not self.server.running():
                self.load.problems.append(f"the server ended by itself before kill {number}")
            killed = time.time()
            await asyncio.to_thread(self.server.kill)
            await asyncio.sleep(self.random.choice([0.0, 0.0, 0.3, 1.0]))
            slowest = max(slowest, await asyncio.to_thread(self.server.start))
            again = time.time()
            # Retries back off, in the end to about as long as the server was away.
            self.kills.append(Disturbance(killed, again + max(1.0, again - killed)))
            self.load.note("kill", str(number), f"back after {again - killed:.3f} s")
            if number == self.arguments.kills // 2:
                await self.backup.make(self.load)
        print(f"crash: {len(self.kills)} kills, slowest start {slowest:.2f} s", flush=True)

    async def run(self) -> bool:
        arguments = self.arguments
        print(
            f"crash: {arguments.workflows} workflows, {arguments.kills} kills, --seed {arguments.seed}", flush=True
        )
        self.server.start()
        client = await Client.connect(self.server.address)
        self.load = Load([client], arguments.seed, self.folder)
        cached, replaying = workers([client])
        async with cached, replaying:
            kills = asyncio.create_task(self.kill_again_and_again())
            expected_s = arguments.kills * 2.0 + arguments.kills // 5 * 7.0
            await self.load.spread(arguments.workflows, expected_s * 0.9)
            await kills
        exit_code = self.server.stop()
        if exit_code != 0:
            self.load.problems.append(f"the server answered SIGTERM with exit code {exit_code}, not 0")
        # From here on, everything comes from the file.
        self.server.start()
        verdict = Verdict(await Client.connect(self.server.address), self.kills)
        await verdict.judge(self.load.started)
        verdict.problems[:0] = self.load.problems
        self.server.stop()
        verdict.problems += await self.backup.restore(arguments.seed, self.kills)
        self.report(verdict)
        return not verdict.problems

    def report(self, verdict: Verdict) -> None:
        signals = [acknowledged for one in self.load.started for acknowledged in one.signals.values()]
        counts = verdict.counts
        print(
            f"crash: {len(self.load.started)} workflows, {len(verdict.runs)} runs, {sum(counts.values())} events, "
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
        passed = len(self.load.started) if not verdict.problems else 0
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
