"""What is done to a cluster under load, each fault by name. A fault returns when everything that it broke runs again.

Each leaves evidence that it happened (`evidence.py`); one that has none is a problem, because nothing was shown.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from evidence import Pause, around_proxy, ended, out_of_ring, stalled, until
from processes import CQL, LocalCluster, Process

# Longer than any lease: a node that is paused or cut off for so long has lost its shards when it comes back.
LONGER_THAN_A_LEASE_S = 9.0
PARTITION_S = 7.0
# A fault goes on until its evidence is seen, on a machine however busy, but not for longer than this.
EVIDENCE_S = 45.0
# So that each way of not knowing is among them: with fewer, one of four might well be missing.
ENOUGH_UNKNOWN = 12


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    what: str
    inject: Callable[[Stage], Awaitable[None]]


FAULTS: dict[str, Fault] = {}


class Stage:
    """The cluster that faults are done to, the lots they draw, what they were seen to do, and what went wrong."""

    def __init__(self, cluster: LocalCluster, rng: random.Random):
        self.cluster = cluster
        self.rng = rng
        self.problems: list[str] = []
        # What shows that the fault happened.
        self.evidence: list[str] = []
        self.notes: dict[str, Any] = {}

    def one(self, role: str) -> Process:
        return self.rng.choice(self.cluster.of_role(role))

    def require(self, shown: str | None, what: str) -> None:
        """Keeps what shows that something happened, or says that nothing does."""
        if shown:
            self.evidence.append(shown)
        else:
            self.problems.append(f"the fault did not happen: {what}")

    async def kill(self, victims: list[Process]) -> None:
        """SIGKILL at the same moment, and back again after a moment."""
        for victim in victims:
            if not victim.alive():
                self.problems.append(f"{victim.name} ended by itself; {victim.last_lines()}")
                continue
            code = victim.kill()
            killed = f"{victim.name} was killed" if code == -signal.SIGKILL else None
            self.require(killed, f"{victim.name} ended with {code}, not by SIGKILL")
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 2.0, 5.0]))
        for victim in victims:
            victim.spawn()
        await self.ready(victims)

    async def ready(self, processes: list[Process]) -> None:
        for process in processes:
            await asyncio.to_thread(process.wait_ready)

    async def pause(self, victim: Process, loses_shards: bool) -> None:
        """SIGSTOP for longer than a lease, then SIGCONT."""
        assert victim.running is not None, f"{victim.name} does not run"
        victim.send(signal.SIGSTOP)
        try:
            pause = await self.stopped(victim.running.pid)
            await asyncio.gather(asyncio.sleep(LONGER_THAN_A_LEASE_S), self.lost_shards(victim, loses_shards))
            self.still(victim.name, pause)
        finally:
            victim.send(signal.SIGCONT)
        await self.ready([victim])

    async def stopped(self, pid: int) -> Pause:
        pause = Pause(pid)
        await until(pause.begun, EVIDENCE_S)
        return pause

    def still(self, name: str, pause: Pause) -> None:
        held = pause.held()
        self.require(held and f"{name} {held}", f"{name} ran while it was to stand still")

    async def lost_shards(self, victim: Process, wanted: bool) -> None:
        if wanted:
            shown = await until(lambda: out_of_ring(self.cluster, victim), EVIDENCE_S)
            self.require(shown, f"the ring still gives shards to {victim.name}")

    async def separated(self, victim: Process, others: list[str], loses_shards: bool = False) -> None:
        """A partition between one process and others, which heals."""
        proxy = self.cluster.proxy
        assert proxy is not None, "partitions need the proxy"
        names, others = [victim.name], [other for other in others if other != victim.name]
        for connection in around_proxy(self.cluster, names, others):
            self.problems.append(f"the proxy cannot cut {connection}: the connection does not go through it")

        async def waiting() -> str | None:
            found = stalled(self.cluster, names, others)
            return ", ".join(f"{count} bytes {link} stalled" for link, count in sorted(found.items()))

        proxy.separate(names, others, "stall")
        try:
            await asyncio.gather(asyncio.sleep(PARTITION_S), self.lost_shards(victim, loses_shards))
            shown = await until(waiting, EVIDENCE_S)
            self.require(shown, f"nothing waits between {victim.name} and {', '.join(others)}")
        finally:
            proxy.heal()
        await self.ready([victim])

    def names(self, *roles: str) -> list[str]:
        return [process.name for role in roles for process in self.cluster.of_role(role)]


def fault(name: str, what: str) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    def register(inject: Callable[[Stage], Awaitable[None]]) -> None:
        FAULTS[name] = Fault(name, what, inject)

    return register


@fault("kill-history", "SIGKILL of a history process")
async def kill_history(stage: Stage) -> None:
    await stage.kill([stage.one("history")])


@fault("kill-matching", "SIGKILL of a matching process")
async def kill_matching(stage: Stage) -> None:
    await stage.kill([stage.one("matching")])


@fault("kill-frontend", "SIGKILL of a frontend")
async def kill_frontend(stage: Stage) -> None:
    await stage.kill([stage.one("frontend")])


@fault("kill-membership", "SIGKILL of a membership process")
async def kill_membership(stage: Stage) -> None:
    await stage.kill([stage.one("membership")])


@fault("kill-one-of-each", "SIGKILL of one process of every role at once")
async def kill_one_of_each(stage: Stage) -> None:
    await stage.kill([stage.one(role) for role in ("membership", "history", "matching", "frontend")])


@fault("kill-most", "SIGKILL of all membership and matching and all but one history process at once")
async def kill_most(stage: Stage) -> None:
    spared = stage.one("history")
    roles = ("membership", "history", "matching")
    await stage.kill([one for role in roles for one in stage.cluster.of_role(role) if one is not spared])


@fault("zombie-history", "SIGSTOP of a history process for longer than its lease, then SIGCONT")
async def zombie_history(stage: Stage) -> None:
    await stage.pause(stage.one("history"), loses_shards=True)


@fault("zombie-matching", "SIGSTOP of a matching process for longer than its lease, then SIGCONT")
async def zombie_matching(stage: Stage) -> None:
    await stage.pause(stage.one("matching"), loses_shards=True)


@fault("pause-membership", "SIGSTOP of a membership process, then SIGCONT")
async def pause_membership(stage: Stage) -> None:
    await stage.pause(stage.one("membership"), loses_shards=False)


@fault("partition-nodes", "a history process cut off from all history and matching processes, not from Raft")
async def partition_nodes(stage: Stage) -> None:
    await stage.separated(stage.one("history"), stage.names("history", "matching"))


@fault("partition-raft", "a history process cut off from membership, though not from the database")
async def partition_raft(stage: Stage) -> None:
    await stage.separated(stage.one("history"), stage.names("membership"), loses_shards=True)


@fault("partition-voter", "a membership process cut off from the others")
async def partition_voter(stage: Stage) -> None:
    await stage.separated(stage.one("membership"), stage.names("membership"))


@fault("partition-database", "a history process cut off from the database, not from anyone else")
async def partition_database(stage: Stage) -> None:
    await stage.separated(stage.one("history"), stage.cluster.cassandra_names)


@fault("partition-everything", "a history process cut off from everyone")
async def partition_everything(stage: Stage) -> None:
    everyone = stage.names("membership", "history", "matching", "frontend") + stage.cluster.cassandra_names
    await stage.separated(stage.one("history"), everyone, loses_shards=True)


@fault("kill-cassandra", "SIGKILL of a Cassandra node, which returns")
async def kill_cassandra(stage: Stage) -> None:
    number = stage.rng.randint(1, stage.cluster.shape.cassandra)
    before = stage.cluster.cassandra_pid(number)
    await asyncio.to_thread(stage.cluster.cassandra, "kill", "--node", str(number))

    async def gone() -> str | None:
        # A process's first thread may be gone before its others, which keep its sockets open.
        serves = listens(stage.cluster.cassandra_address(number, shown=False), CQL)
        return None if serves or not ended(before) else f"cassandra-{number} was killed"

    stage.require(await until(gone, EVIDENCE_S), f"cassandra-{number} still runs")
    await asyncio.sleep(stage.rng.choice([1.0, 4.0]))
    await asyncio.to_thread(stage.cluster.cassandra, "restart", "--node", str(number))


@fault("pause-cassandra", "SIGSTOP of a Cassandra node, then SIGCONT")
async def pause_cassandra(stage: Stage) -> None:
    number = stage.rng.randint(1, stage.cluster.shape.cassandra)
    await asyncio.to_thread(stage.cluster.cassandra, "pause", "--node", str(number))
    try:
        pause = await stage.stopped(stage.cluster.cassandra_pid(number))
        await asyncio.sleep(PARTITION_S)
        stage.still(f"cassandra-{number}", pause)
    finally:
        await asyncio.to_thread(stage.cluster.cassandra, "resume", "--node", str(number))


def listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except ConnectionRefusedError:
        return False


@fault("unknown-writes", "5 % of conditional writes with an unknown result: done, not done, or done later")
async def unknown_writes(stage: Stage) -> None:
    proxy = stage.cluster.proxy
    assert proxy is not None, "unknown results need the proxy"

    def rule(kind: str, **more: Any) -> dict[str, Any]:
        return {"class": "conditional", "probability": 0.0126, "fault": {"kind": kind, **more}}

    async def enough() -> str | None:
        met = proxy.counts()["faults"].get("conditional", {})
        shown = f"conditional writes with an unknown result: {met}"
        return shown if sum(met.values()) >= ENOUGH_UNKNOWN and {"timeout", "drop_reply"} <= met.keys() else None

    # The rules draw one after the other: together 5 %.
    proxy.rules([
        rule("timeout", forward="first"),
        rule("timeout", forward="never"),
        rule("timeout", forward={"late": {"after_ms": 700}}),
        rule("drop_reply"),
    ])
    try:
        await asyncio.sleep(12.0)
        await until(enough, EVIDENCE_S)
    finally:
        proxy.heal()
    stage.require(await enough(), f"too few conditional writes had an unknown result: {proxy.counts()['faults']}")


@fault("rolling-restart", "SIGTERM of every process, one after the other, each back before the next")
async def rolling_restart(stage: Stage) -> None:
    for role in ("history", "matching", "frontend", "membership"):
        for process in stage.cluster.of_role(role):
            code = await asyncio.to_thread(process.stop)
            shown = f"{process.name} ended" if code == 0 else None
            stage.require(shown, f"{process.name} answered SIGTERM with exit code {code}, not 0")
            process.spawn()
            await stage.ready([process])


# What `make test` has time for: each kind of fault once.
SHORT = [
    "kill-one-of-each",
    "zombie-history",
    "partition-raft",
    "partition-database",
    "kill-cassandra",
    "unknown-writes",
    "rolling-restart",
]
