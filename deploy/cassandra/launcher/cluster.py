"""A cluster of nodes on loopback: its folder, its processes, and when it is ready.

The folder is all there is to know: `cluster.json` says how it was started, `node<N>/pid` what runs. Any process that
knows the folder can ask, stop, kill, pause or restart.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
from typing import Any

from . import configuration, cql, jars

# Restarted nodes and single nodes need not wait for others; fresh nodes of a cluster hear of each other meanwhile.
RING_DELAY_MS = 100


class Failed(Exception):
    """A node did not become what was asked of it."""


def bindable(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def choose_addresses(count: int, ports: list[int]) -> list[str]:
    """Loopback addresses of a net of their own, so that every cluster may use the standard ports."""
    for _ in range(100):
        net = f"127.{random.randint(16, 239)}.{random.randint(1, 254)}"
        addresses = [f"{net}.{number + 1}" for number in range(count)]
        if all(bindable(address, port) for address in addresses for port in ports):
            return addresses
    raise Failed(f"no loopback net with ports {ports} free was found: is something listening on 0.0.0.0?")


class Cluster:
    """The nodes whose files are in one folder."""

    def __init__(self, folder: pathlib.Path, facts: dict[str, Any]):
        self.folder = folder
        self.facts = facts

    @classmethod
    def load(cls, folder: pathlib.Path) -> Cluster:
        try:
            return cls(folder, json.loads((folder / "cluster.json").read_text()))
        except FileNotFoundError:
            raise Failed(f"{folder} holds no cluster: start one with --dir {folder}") from None

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / "cluster.json.new"
        unfinished.write_text(json.dumps(self.facts, indent=1) + "\n")
        unfinished.rename(self.folder / "cluster.json")

    @property
    def numbers(self) -> list[int]:
        return [node["number"] for node in self.facts["nodes"]]

    def node(self, number: int) -> dict[str, Any]:
        for node in self.facts["nodes"]:
            if node["number"] == number:
                return node
        raise Failed(f"node {number} does not exist: the nodes are {self.numbers}")

    def node_folder(self, number: int) -> pathlib.Path:
        return self.folder / f"node{number}"

    def log_file(self, number: int) -> pathlib.Path:
        return self.node_folder(number) / "cassandra.log"

    def pid(self, number: int) -> int | None:
        """The node's process, if it lives. A process id that another process reuses does not count."""
        try:
            pid, birth = (self.node_folder(number) / "pid").read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if born(int(pid)) == birth else None

    def spawn(self, number: int, more_flags: list[str] | None = None) -> None:
        """Starts a node's process; `wait` returns when it serves."""
        if self.pid(number) is not None:
            raise Failed(f"node {number} runs already")
        folder = self.node_folder(number)
        configuration.write(self.facts, self.node(number), folder)
        base = jars.fetch(self.facts["version"])
        flags = configuration.jvm_flags(self.facts, folder, RING_DELAY_MS)
        archive = jars.class_archive(base)
        if archive.exists() and not more_flags:
            flags += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
        command = [jars.java(), *flags, *(more_flags or []), "-cp", jars.class_path(base)]
        with self.log_file(number).open("ab") as log:
            process = subprocess.Popen(
                [*command, "org.apache.cassandra.service.CassandraDaemon"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (folder / "pid").write_text(f"{process.pid} {born(process.pid)}\n")

    def wait(self, numbers: list[int], timeout_s: float) -> None:
        """Waits until these nodes serve and every running node reaches every other that runs."""
        deadline = time.monotonic() + timeout_s
        running = [number for number in self.numbers if state(self.pid(number)) == "up"]
        for number in [*numbers, *(one for one in running if one not in numbers)]:
            while not self.serves(number, len(running)):
                for one in numbers:
                    if self.pid(one) is None:
                        raise Failed(f"node {one} exited while it started; {self.last_lines(one)}")
                if time.monotonic() > deadline:
                    raise Failed(f"node {number} did not serve within {timeout_s:.0f} s; {self.last_lines(number)}")
                time.sleep(0.1)

    def serves(self, number: int, running: int) -> bool:
        """Whether the node answers, and reaches as many others as run."""
        total = len(self.numbers)
        try:
            login = configuration.FIRST_LOGIN if self.facts.get("password") else None
            tls = configuration.client_tls(self.facts)
            with cql.Connection(self.node(number)["address"], self.facts["port"], login, tls) as connection:
                if running == total and len(connection.query("SELECT peer FROM system.peers_v2")) < total - 1:
                    return False
                # This keyspace has replication factor 3: an answer at ALL needs three nodes, at QUORUM two.
                consistency = "one" if running == 1 else "all" if running == total >= 3 else "quorum"
                table = "system_distributed.view_build_status"
                connection.query(f"SELECT status FROM {table} WHERE keyspace_name='-' AND view_name='-'", consistency)
                return True
        except (OSError, cql.Refused):
            return False

    def last_lines(self, number: int, count: int = 25) -> str:
        path = self.log_file(number)
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return f"the last lines of {path}:\n" + "\n".join(lines[-count:])

    def move(self, number: int, address: str) -> None:
        """Gives a node that does not run another address. The others hear of it when it comes back."""
        self.node(number)["address"] = address
        self.save()

    def signal(self, number: int, what: signal.Signals) -> None:
        pid = self.pid(number)
        if pid is None:
            raise Failed(f"node {number} does not run")
        os.kill(pid, what)

    def kill(self, number: int) -> None:
        """SIGKILL, and waits until the process is gone. A node that does not run is as killed as it can be."""
        pid = self.pid(number)
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        self.wait_gone(number, 30)

    def wait_gone(self, number: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.pid(number) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        """Nothing of the cluster runs afterwards. Data need not survive a cluster's end, so nodes are killed."""
        for number in self.numbers:
            self.kill(number)

    def status(self) -> dict[str, Any]:
        return {
            **{key: self.facts[key] for key in ("name", "version", "port", "datacenter", "paxos", "commitlog", "heap", "jit")},
            "dir": str(self.folder),
            "contact_points": [f"{node['address']}:{self.facts['port']}" for node in self.facts["nodes"]],
            # What `cql-proxy --route` takes, if the nodes give drivers other addresses than their own.
            "routes": [
                f"{node['broadcast_rpc_address']}:{self.facts['port']}={node['address']}:{self.facts['port']}"
                for node in self.facts["nodes"]
                if node["broadcast_rpc_address"]
            ],
            "nodes": [
                {
                    **node,
                    "pid": self.pid(node["number"]),
                    "state": state(self.pid(node["number"])),
                    "log": str(self.log_file(node["number"])),
                }
                for node in self.facts["nodes"]
            ],
        }


def born(pid: int) -> str | None:
    """When a living process was started, in the kernel's ticks; None if there is none. Zombies do not live."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def state(pid: int | None) -> str:
    if pid is None:
        return "down"
    try:
        letter = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "down"
    return "paused" if letter == "T" else "up"
