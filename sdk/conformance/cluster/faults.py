"""What is done to a cluster under load, each fault by name. A fault returns when everything that it broke runs again."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from processes import LocalCluster, Process

# Longer than any lease: whoever is paused or cut off for so long has lost its shards when it comes back.
LONGER_THAN_A_LEASE_S = 9.0
PARTITION_S = 7.0


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    what: str
    inject: Callable[[Stage], Awaitable[None]]


FAULTS: dict[str, Fault] = {}


class Stage:
    """The cluster that faults are done to, the lots they draw, and what went wrong with the processes themselves."""

    def __init__(self, cluster: LocalCluster, rng: random.Random):
        self.cluster = cluster
        self.rng = rng
        self.problems: list[str] = []
        self.notes: dict[str, Any] = {}

    def one(self, role: str) -> Process:
        return self.rng.choice(self.cluster.of_role(role))

    async def kill(self, victims: list[Process]) -> None:
        """SIGKILL at the same moment, and back again after a moment."""
        for victim in victims:
            if not victim.alive():
                self.problems.append(f"{victim.name} ended by itself; {victim.last_lines()}")
            victim.kill()
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 2.0, 5.0]))
        for victim in victims:
            victim.spawn()
        await self.ready(victims)

    async def ready(self, processes: list[Process]) -> None:
        for process in processes:
            await asyncio.to_thread(process.wait_ready)

    async def pause(self, victim: Process, seconds: float) -> None:
        victim.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            victim.send(signal.SIGCONT)
        await self.ready([victim])

    async def separated(self, names: list[str], others: list[str], mode: str = "stall") -> None:
        proxy = self.cluster.proxy
        assert proxy is not None, "partitions need the proxy"
        proxy.separate(names, [other for other in others if other not in names], mode)
        try:
            await asyncio.sleep(PARTITION_S)
        finally:
            proxy.heal()
        await self.ready([self.cluster.processes[name] for name in names if name in self.cluster.processes])

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
    await stage.pause(stage.one("history"), LONGER_THAN_A_LEASE_S)


@fault("zombie-matching", "SIGSTOP of a matching process for longer than its lease, then SIGCONT")
async def zombie_matching(stage: Stage) -> None:
    await stage.pause(stage.one("matching"), LONGER_THAN_A_LEASE_S)


@fault("pause-membership", "SIGSTOP of a membership process, then SIGCONT")
async def pause_membership(stage: Stage) -> None:
    await stage.pause(stage.one("membership"), LONGER_THAN_A_LEASE_S)


@fault("partition-nodes", "a history process cut off from all history and matching processes, not from Raft")
async def partition_nodes(stage: Stage) -> None:
    await stage.separated([stage.one("history").name], stage.names("history", "matching"))


@fault("partition-raft", "a history process cut off from membership, though not from the database")
async def partition_raft(stage: Stage) -> None:
    await stage.separated([stage.one("history").name], stage.names("membership"))


@fault("partition-voter", "a membership process cut off from the others")
async def partition_voter(stage: Stage) -> None:
    await stage.separated([stage.one("membership").name], stage.names("membership"))


@fault("partition-database", "a history process cut off from the database, not from anyone else")
async def partition_database(stage: Stage) -> None:
    await stage.separated([stage.one("history").name], stage.cluster.cassandra_names)


@fault("partition-everything", "a history process cut off from everyone")
async def partition_everything(stage: Stage) -> None:
    everyone = stage.names("membership", "history", "matching", "frontend") + stage.cluster.cassandra_names
    await stage.separated([stage.one("history").name], everyone)


@fault("kill-cassandra", "SIGKILL of a Cassandra node, which returns")
async def kill_cassandra(stage: Stage) -> None:
    node = str(stage.rng.randint(1, stage.cluster.shape.cassandra))
    await asyncio.to_thread(stage.cluster.cassandra, "kill", "--node", node)
    await asyncio.sleep(stage.rng.choice([1.0, 4.0]))
    await asyncio.to_thread(stage.cluster.cassandra, "restart", "--node", node)


@fault("pause-cassandra", "SIGSTOP of a Cassandra node, then SIGCONT")
async def pause_cassandra(stage: Stage) -> None:
    node = str(stage.rng.randint(1, stage.cluster.shape.cassandra))
    await asyncio.to_thread(stage.cluster.cassandra, "pause", "--node", node)
    try:
        await asyncio.sleep(PARTITION_S)
    finally:
        await asyncio.to_thread(stage.cluster.cassandra, "resume", "--node", node)


@fault("unknown-writes", "5 % of conditional writes with an unknown result: done, not done, or done later")
async def unknown_writes(stage: Stage) -> None:
    proxy = stage.cluster.proxy
    assert proxy is not None, "unknown results need the proxy"

    def rule(kind: str, **more: Any) -> dict[str, Any]:
        return {"class": "conditional", "probability": 0.0126, "fault": {"kind": kind, **more}}

    proxy.ask(command="reset_counts")
    # The rules draw one after the other: together 5 %.
    proxy.rules([
        rule("timeout", forward="first"),
        rule("timeout", forward="never"),
        rule("timeout", forward={"late": {"after_ms": 700}}),
        rule("drop_reply"),
    ])
    try:
        await asyncio.sleep(12.0)
    finally:
        proxy.heal()
    counts = proxy.counts()
    stage.notes = {
        "conditional": counts["seen"].get("conditional", 0),
        "unknown": sum(counts["faults"].get("conditional", {}).values()),
        "resent": counts["resent"],
    }
    if not stage.notes["unknown"]:
        stage.problems.append(f"no conditional write had an unknown result, so nothing was shown: {counts}")


@fault("rolling-restart", "SIGTERM of every process, one after the other, each back before the next")
async def rolling_restart(stage: Stage) -> None:
    for role in ("history", "matching", "frontend", "membership"):
        for process in stage.cluster.of_role(role):
            code = await asyncio.to_thread(process.stop)
            if code != 0:
                stage.problems.append(f"{process.name} answered SIGTERM with exit code {code}, not 0")
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
