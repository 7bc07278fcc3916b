"""The hostile suite: attacks on one server that has 512 MiB, while a client beside them is to be served.

What must hold: the process lives and keeps below its limit; no request takes more than 64 MiB beside what was there
before it; every answer to an attack is a status that says so; the client beside is answered; and memory comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from temporalio.api.common.v1 import Payload  # noqa: E402
from temporalio.api.enums.v1 import EventType  # noqa: E402
from temporalio.client import Client  # noqa: E402
from temporalio.service import RPCError  # noqa: E402

import limited  # noqa: E402
import shapes  # noqa: E402
from attacks import Attacks  # noqa: E402
from server_process import GRPC, METRICS, ServerProcess  # noqa: E402

MIB = 1 << 20
LIMIT = 512 * MIB
TOTAL = 256 * MIB
PER_REQUEST = 64 * MIB
# Statuses that an attack may get: INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED; a call that does no harm is OK.
FAIR = {0, 3, 5, 8, 12}


class Suite:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.folder = pathlib.Path(arguments.folder)
        self.limit = limited.MemoryLimit(LIMIT)
        self.server = ServerProcess(
            arguments.binary, self.folder, flags=["--memory-total", str(TOTAL)], preexec=self.limit.enter
        )
        self.attacks = Attacks((self.server.ip, GRPC), arguments.scale)
        self.problems: list[str] = []
        self.rows: list[dict[str, object]] = []

    @property
    def pid(self) -> int:
        assert self.server.process is not None
        return self.server.process.pid

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)
            print(f"hostile: PROBLEM: {problem}", flush=True)

    async def beside(self, client: Client, until: asyncio.Event) -> list[float]:
        """A client of another namespace that starts a workflow, signals it and describes it, again and again."""
        took, number = [], 0
        while not until.is_set():
            number += 1
            began = time.monotonic()
            try:
                handle = await client.start_workflow(
                    "Beside", id=f"beside-{time.time_ns()}-{number}", task_queue="no-pollers"
                )
                await handle.signal("hello", number)
                await handle.describe()
                await handle.terminate()
                took.append(time.monotonic() - began)
            except RPCError as error:
                self.problems.append(f"the client beside got {error.status.name}: {error.message}")
            await asyncio.sleep(0.02)
        return took

    async def under(self, name: str, client: Client, attack) -> None:
        """Runs one attack, with the client beside it, and holds what came of it against what must hold."""
        limited.forget_peak(self.pid)
        before, ended = limited.resident(self.pid), asyncio.Event()
        served = asyncio.create_task(self.beside(client, ended))
        said = await asyncio.to_thread(attack)
        await asyncio.sleep(0.5)
        ended.set()
        took = await served
        self.check(self.server.running(), f"the server ended during {name!r}")
        if not self.server.running():
            raise SystemExit(1)
        peak = limited.peak(self.pid)
        self.attacks.release()
        self.check(peak < LIMIT, f"{name}: {peak} bytes were resident, {LIMIT} is the limit")
        self.check(len(took) > 0, f"{name}: the client beside was not served once")
        row = {
            "attack": name, "came of it": said, "before_mib": before // MIB, "peak_mib": peak // MIB,
            "beside_calls": len(took), "beside_p50_ms": round(1000 * statistics.median(took or [0]), 1),
            "beside_max_ms": round(1000 * max(took or [0]), 1),
        }
        self.rows.append(row)
        print(f"hostile: {json.dumps(row)}", flush=True)

    def shapes(self) -> str:
        """Every repeated field, one request after the other; memory is looked at for each."""
        seen, largest, counted = set(), 0, 0
        for method, name, path in shapes.every_shape():
            if self.arguments.short and path[-1].full_name in seen:
                continue
            seen.add(path[-1].full_name)
            limited.forget_peak(self.pid)
            before = limited.resident(self.pid)
            code = self.attacks.shape(method, path)
            extra = limited.peak(self.pid) - before
            largest, counted = max(largest, extra), counted + 1
            self.check(code in FAIR, f"{method} full of {name}: status {code}")
            self.check(extra <= PER_REQUEST, f"{method} full of {name} took {extra} bytes, {PER_REQUEST} is the bound")
        return f"{counted} requests, the largest took {largest // MIB} MiB"

    async def large_history(self, client: Client) -> str:
        """A workflow whose history is megabytes."""
        handle = await client.start_workflow("Large", id="large", task_queue="no-pollers")
        for _ in range(3):
            await handle.signal("much", Payload(metadata={"encoding": b"binary/plain"}, data=bytes(MIB)))
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        self.check(kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) == 3, "a signal is missing")
        return handle.id

    def closed_workflows(self) -> str:
        """Workflows that open and close: what they leave in memory."""
        loadtest, batch = pathlib.Path(self.arguments.binary).with_name("loadtest"), self.arguments.closed // 4
        marks = []
        for _ in range(4):
            subprocess.run(
                [str(loadtest), "run", "--address", f"http://{self.server.address}", "--workflows", str(batch),
                 "--limit-s", "900", "--server-pid", str(self.pid), "--metrics", f"{self.server.ip}:{METRICS}"],
                check=True, stdout=subprocess.DEVNULL,
            )
            marks.append(limited.resident(self.pid))
        growth = (marks[3] - marks[1]) / (2 * batch)
        if not self.arguments.short:
            self.check(growth < 500, f"each closed workflow left {growth:.0f} bytes in memory")
        return f"{4 * batch} closed, resident after each quarter {[mark // MIB for mark in marks]} MiB"

    async def run(self) -> bool:
        self.server.start()
        print(f"hostile: limit {LIMIT // MIB} MiB ({self.limit.kind}), memory.total {TOTAL // MIB} MiB", flush=True)
        client = await Client.connect(self.server.address)
        idle = limited.resident(self.pid)
        large = await self.large_history(client)
        attacks = self.attacks
        await self.under("nothing, for comparison", client, lambda: time.sleep(2) or "nothing")
        await self.under("one field as often as 4 MiB hold", client, self.shapes)
        await self.under("the same side by side", client, attacks.same_shape_at_once)
        await self.under("announced, not sent", client, attacks.announced)
        await self.under("all but the last byte sent", client, attacks.unfinished)
        await self.under("answers that are not read", client, lambda: attacks.unread(large))
        await self.under("silent connections", client, attacks.silent)
        await self.under("idle connections", client, attacks.idle)
        await self.under("closed workflows", client, self.closed_workflows)
        print(f"hostile: resident {idle // MIB} MiB at first, {limited.resident(self.pid) // MIB} MiB in the end")
        code = self.server.stop()
        self.check(code == 0, f"the server answered SIGTERM with exit code {code}, not 0")
        self.limit.remove()
        log = self.server.log_path.read_text()
        self.check("panicked" not in log, "something panicked, see the log")
        result = {"limit": self.limit.kind, "rows": self.rows, "problems": self.problems}
        (self.folder / "result.json").write_text(json.dumps(result, indent=1))
        return not self.problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--short", action="store_true", help="one request for each field, few connections")
    parser.add_argument("--scale", type=float, default=None, help="how many connections, as a part of all")
    parser.add_argument("--closed", type=int, default=None, help="how many workflows are closed")
    arguments = parser.parse_args()
    arguments.scale = arguments.scale or (0.2 if arguments.short else 1.0)
    arguments.closed = arguments.closed or (2_000 if arguments.short else 100_000)
    suite = Suite(arguments)
    try:
        passed = asyncio.run(suite.run())
    finally:
        suite.server.kill()
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
