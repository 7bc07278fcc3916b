"""What shows that a fault has happened, seen from outside the server: the ring, sockets' queues, processes' states.

A partition that let everything pass, or a pause of another process, would break nothing, and nothing would be found.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from processes import CQL, INTERNAL, ClusterFailed, LocalCluster, Process


@dataclasses.dataclass(frozen=True)
class Connection:
    """One end of a TCP connection, as /proc/net/tcp shows it."""

    local: tuple[str, int]
    remote: tuple[str, int]
    # Bytes that have come and that the process at this end has not read.
    unread: int
    inode: str


def connections() -> list[Connection]:
    """Both ends of every established IPv4 connection of this machine."""
    found = []
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "01":
            found.append(Connection(endpoint(words[1]), endpoint(words[2]), int(words[4].split(":")[1], 16), words[9]))
    return found


def endpoint(text: str) -> tuple[str, int]:
    """127.0.0.1 and 80 for 0100007F:0050: the address is one number in the machine's byte order, taken to be little."""
    address, _, port = text.partition(":")
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(address))), int(port, 16)


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def behind_proxy(cluster: LocalCluster, name: str) -> tuple[str, int]:
    """Where the proxy listens for a process or a Cassandra node."""
    if name in cluster.processes:
        host, _, port = cluster.advertised(cluster.processes[name]).rpartition(":")
        return host, int(port)
    return cluster.cassandra_address(int(name.rpartition("-")[2]), shown=True), CQL


def stalled(cluster: LocalCluster, names: list[str], others: list[str]) -> dict[str, int]:
    """Bytes that wait at the proxy on connections between these processes and those, by `who calls -> who is called`."""
    every = connections()
    owners = {}
    for name in {*names, *others} & cluster.processes.keys():
        running = cluster.processes[name].running
        if running is not None:
            owners.update(dict.fromkeys(sockets_of(running.pid), name))
    calls = {one.local: owners[one.inode] for one in every if one.inode in owners}
    listeners = {behind_proxy(cluster, name): name for name in {*names, *others}}
    found: dict[str, int] = {}
    for one in every:
        caller, called = calls.get(one.remote), listeners.get(one.local)
        if one.unread and caller and called and apart(caller, called, names, others):
            key = f"{caller} -> {called}"
            found[key] = found.get(key, 0) + one.unread
    return found


def apart(one: str, other: str, names: list[str], others: list[str]) -> bool:
    return (one in names and other in others) or (one in others and other in names)


def around_proxy(cluster: LocalCluster, names: list[str], others: list[str]) -> list[str]:
    """Connections between these and those that do not go through the proxy, which then cannot cut them."""
    involved = {*names, *others} & cluster.processes.keys()
    upstream = {(cluster.processes[name].address, INTERNAL): name for name in involved}
    for number, name in enumerate(cluster.cassandra_names, start=1):
        upstream[cluster.cassandra_address(number, shown=False), CQL] = name
    found = []
    for name in involved:
        running = cluster.processes[name].running
        own = sockets_of(running.pid) if running is not None else set()
        for one in connections():
            called = upstream.get(one.remote)
            if one.inode in own and called and apart(name, called, names, others):
                found.append(f"{name} -> {called}")
    return sorted(set(found))


def owns(cluster: LocalCluster, name: str) -> int:
    """How many shards the ring gives to a process, as a membership process knows it."""
    ring = json.loads(cluster.admin("ring", "--output", "json"))
    return (ring["history"] + ring["matching"]).count(name)


async def out_of_ring(cluster: LocalCluster, victim: Process) -> str | None:
    """Whether the ring gives nothing to this process any more. Who has no answer yet says nothing."""
    try:
        left = await asyncio.to_thread(owns, cluster, victim.name)
    except ClusterFailed:
        return None
    return None if left else f"{victim.name} left the ring"


@dataclasses.dataclass(frozen=True)
class Standing:
    """A process's state and the processor time that it has used, in the kernel's ticks."""

    letter: str
    ticks: int

    @staticmethod
    def of(pid: int) -> Standing:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return Standing(fields[0], int(fields[11]) + int(fields[12]))


def ended(pid: int) -> bool:
    """Whether a process is gone. A zombie is."""
    try:
        return Standing.of(pid).letter in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Pause:
    """Whether a process stands still from soon after its SIGSTOP until just before its SIGCONT."""

    def __init__(self, pid: int):
        self.pid = pid
        self.since = time.monotonic()
        self.last: Standing | None = None

    async def begun(self) -> str | None:
        """Whether the kernel has stopped all of the process, which it does a moment after the signal was sent."""
        before, self.last = self.last, Standing.of(self.pid)
        return "stopped" if self.last == before and before.letter == "T" else None

    def held(self) -> str | None:
        """To be asked just before SIGCONT."""
        stood = self.last is not None and self.last.letter == "T" and Standing.of(self.pid) == self.last
        return f"stood still for {time.monotonic() - self.since:.1f} s" if stood else None


# Conditional statements that may come again: their condition holds no longer when one copy was carried out, and never
# again, so it makes no difference when another arrives. They raise an epoch, or move a trim point or watermark forward.
REPEATABLE = ("SET epoch = ?, owner = ?", "IF epoch < ?", "AND trimmed_below < ?", "AND watermark < ?")


def sent_twice(counts: dict[str, Any]) -> list[str]:
    """Conditional requests that reached the database more than once with the same bytes, though that could do harm."""
    found = [one for one in counts["resent"] if not any(piece in one["statement"] for piece in REPEATABLE)]
    return [f"sent {one['times']} times, though conditional: {one['statement']}" for one in found]


async def until(shown: Callable[[], Awaitable[str | None]], limit_s: float) -> str | None:
    """Asks again and again until something is shown, or the time is over."""
    deadline = time.monotonic() + limit_s
    while True:
        answer = await shown()
        if answer or time.monotonic() >= deadline:
            return answer
        await asyncio.sleep(0.2)
