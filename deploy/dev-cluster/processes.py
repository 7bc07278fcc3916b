"""A whole cluster on loopback: Cassandra nodes, membership, history, matching and frontend processes, and one proxy.

This is the one place that knows how processes are started and what their configuration files hold. Each process has
an address of its own in a loopback net of the cluster's own, so that ports are the usual ones. With the proxy, what
processes advertise leads through it, and any of them can be cut off from any other, from Raft or from the database.

`dev-cluster` starts one for a person, `sdk/conformance/cluster` for the fault suite. Standard library only.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASSANDRA = ROOT / "deploy" / "cassandra" / "cassandra"
ROLES = ("membership", "history", "matching", "frontend")
CQL, INTERNAL, HTTP, GRPC, CONTROL = 9042, 7240, 7250, 7233, 7299
PR_SET_PDEATHSIG = 1
# Found once, here: what runs between fork and exec must not look up or load anything, because another thread may have
# held the loader's lock when the process was forked.
PRCTL = ctypes.CDLL(None).prctl
PRCTL.argtypes = [ctypes.c_int, ctypes.c_ulong]
# Longer than all that a server grants itself when it stops: draining, giving shards away, flushing, leaving.
STOPPED_WITHIN_S = 90.0


@dataclasses.dataclass(frozen=True)
class Shape:
    """How large a cluster is, and of what kind."""

    membership: int = 3
    history: int = 3
    matching: int = 2
    frontend: int = 2
    cassandra: int = 3
    history_shards: int = 16
    matching_shards: int = 8
    paxos: str = "v2"
    commitlog: str = "periodic"
    proxied: bool = True
    # Where the first frontend listens, if not on an address of its own.
    public: str = ""
    # Added to every configuration file: section -> key -> value.
    settings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    log_level: str = "info"


class ClusterFailed(Exception):
    """The cluster did not become what was asked of it."""


class Process:
    """One `outlast` process, started any number of times under one name, address and configuration."""

    def __init__(self, binary: str, name: str, role: str, address: str, folder: pathlib.Path):
        self.binary = binary
        self.name = name
        self.role = role
        self.address = address
        self.folder = folder
        self.log_path = folder / f"{name}.log"
        self.config_path = folder / f"{name}.yaml"
        self.running: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Starts the process. `wait_ready` returns when it serves."""
        with self.log_path.open("ab") as log:
            log.write(f"--- start at {time.time():.3f}\n".encode())
            log.flush()
            self.running = subprocess.Popen(
                [self.binary, "server", "start", "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # By this the proxy knows whose connection it is.
                env=dict(os.environ, PROXY_SOURCE=self.name),
                preexec_fn=die_with_parent,
            )

    def alive(self) -> bool:
        return self.running is not None and self.running.poll() is None

    def ready(self) -> bool:
        """Whether the process says that it has joined and serves what it should."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:{HTTP}/health/ready", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, timeout_s: float = 120.0) -> float:
        """Waits until the process serves. Returns the seconds that took."""
        began = time.monotonic()
        while not self.ready():
            if not self.alive():
                code = self.running.returncode if self.running else "nothing"
                raise ClusterFailed(f"{self.name} exited with {code} while it started; {self.last_lines()}")
            if time.monotonic() - began > timeout_s:
                raise ClusterFailed(f"{self.name} is not ready after {timeout_s:.0f} s; {self.last_lines()}")
            time.sleep(0.05)
        return time.monotonic() - began

    def send(self, what: signal.Signals) -> None:
        if not self.alive() or self.running is None:
            raise ClusterFailed(f"{self.name} does not run, so it cannot get {what.name}; {self.last_lines()}")
        self.running.send_signal(what)

    def kill(self) -> int | None:
        """SIGKILL, and waits for the process to be gone. Returns how it ended, or None if it did not run."""
        if self.running is None:
            return None
        self.running.kill()
        code = self.running.wait()
        self.running = None
        return code

    def stop(self, timeout_s: float = STOPPED_WITHIN_S) -> int:
        """SIGTERM, which drains, and the exit code. A process that outlives the timeout is killed and counts as -9."""
        if self.running is None:
            return 0
        self.running.send_signal(signal.SIGTERM)
        try:
            return self.running.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
            return -9
        finally:
            self.running = None

    def last_lines(self, count: int = 15) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return f"the last lines of {self.log_path}:\n" + "\n".join(lines[-count:])


class Proxy:
    """The `cql-proxy` process before everything that has an address, and its control socket."""

    def __init__(self, binary: str, routes: dict[str, str], control: str, seed: int, folder: pathlib.Path):
        self.places = {name: place for place, name in enumerate(routes)}
        host, _, port = control.rpartition(":")
        command = [binary, "--control", control, "--seed", str(seed)]
        for route in routes.values():
            command += ["--route", route]
        with (folder / "proxy.log").open("ab") as log:
            self.running = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.connection = socket.create_connection((host, int(port)), timeout=10)
                break
            except OSError:
                if time.monotonic() > deadline or self.running.poll() is not None:
                    self.running.kill()
                    raise ClusterFailed(f"cql-proxy does not run: {folder / 'proxy.log'}") from None
                time.sleep(0.05)
        self.lines = self.connection.makefile("r")

    def ask(self, **command: Any) -> dict[str, Any]:
        self.connection.sendall((json.dumps(command) + "\n").encode())
        answer = json.loads(self.lines.readline())
        if "error" in answer:
            raise ClusterFailed(f"cql-proxy refused {command}: {answer['error']}")
        return answer

    def link(self, source: str, target: str, mode: str) -> None:
        """How one process reaches another, or a Cassandra node: open, refuse, swallow or stall."""
        self.ask(command="link", source=source, node=self.places[target], mode=mode)

    def separate(self, names: list[str], others: list[str], mode: str = "stall") -> None:
        """A partition: nothing passes between any of these and any of those, in either direction."""
        for one in names:
            for other in others:
                self.link(one, other, mode)
                if other in self.places and one in self.places:
                    self.link(other, one, mode)

    def rules(self, rules: list[dict[str, Any]]) -> None:
        self.ask(command="rules", rules=rules)

    def heal(self) -> None:
        self.ask(command="heal")

    def counts(self) -> dict[str, Any]:
        return self.ask(command="counts")

    def stop(self) -> None:
        self.running.kill()
        self.running.wait()


class LocalCluster:
    """All processes of one cluster. `start`, then anything, then `stop`; nothing is left running."""

    def __init__(self, binary: str, folder: pathlib.Path, shape: Shape = Shape(), seed: int = 1):
        self.binary = binary
        self.folder = folder.resolve()
        self.shape = shape
        self.seed = seed
        self.net = net_of(self.folder) or free_net()
        self.proxy: Proxy | None = None
        # What processes said that ended during their first start.
        self.gave_up: list[str] = []
        self.processes: dict[str, Process] = {}
        for role in ROLES:
            for number in range(getattr(shape, role)):
                name = f"{role}-{number}"
                address = f"{self.net}.{10 + len(self.processes)}"
                self.processes[name] = Process(binary, name, role, address, self.folder)

    # --- who is who

    def of_role(self, role: str) -> list[Process]:
        return [process for process in self.processes.values() if process.role == role]

    @property
    def cassandra_names(self) -> list[str]:
        return [f"cassandra-{number}" for number in range(1, self.shape.cassandra + 1)]

    @property
    def frontends(self) -> list[str]:
        """Where clients connect."""
        return [self.public(process) for process in self.of_role("frontend")]

    def public(self, process: Process) -> str:
        first = process is self.of_role("frontend")[0]
        return self.shape.public if first and self.shape.public else f"{process.address}:{GRPC}"

    def advertised(self, process: Process) -> str:
        host, _, last = process.address.rpartition(".")
        return f"{host}.{int(last) + 100}:{INTERNAL}" if self.shape.proxied else f"{process.address}:{INTERNAL}"

    def cassandra_address(self, number: int, shown: bool) -> str:
        return f"{self.net}.{number + (100 if shown and self.shape.proxied else 0)}"

    def cassandra_pid(self, number: int) -> int:
        """The process of a Cassandra node, which may have ended."""
        return int((self.folder / "cassandra" / f"node{number}" / "pid").read_text().split()[0])

    # --- starting and stopping

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start_cassandra()
            if self.shape.proxied:
                self.proxy = self.start_proxy()
            for process in self.processes.values():
                process.config_path.write_text(json.dumps(self.configuration(process), indent=1) + "\n")
            self.outlast("schema", "apply", "--config", str(next(iter(self.processes.values())).config_path))
            # Role after role: on a small machine ten processes that start at once starve each other.
            for role in ROLES:
                for process in self.of_role(role):
                    process.spawn()
                for process in self.of_role(role):
                    self.wait_first(process)
        except BaseException:
            self.stop()
            raise

    def wait_first(self, process: Process) -> None:
        """Waits for a first start. One that gives up is started again, as a supervisor would, and is remembered."""
        for _ in range(3):
            try:
                process.wait_ready()
                return
            except ClusterFailed as error:
                if process.alive():
                    raise
                self.gave_up.append(str(error))
                process.kill()
                process.spawn()
        process.wait_ready()

    def heal(self) -> None:
        """Everything that was cut off, or stands still, goes on. What was killed stays so."""
        if self.proxy is not None:
            self.proxy.heal()
        for process in self.processes.values():
            if process.alive():
                process.send(signal.SIGCONT)

    def start_cassandra(self) -> None:
        addresses = [self.cassandra_address(number, shown=False) for number in range(1, self.shape.cassandra + 1)]
        words = ["start", "--nodes", str(len(addresses)), "--addresses", ",".join(addresses), "--detach", "--json"]
        words += ["--paxos", self.shape.paxos, "--commitlog", self.shape.commitlog]
        words += ["--with-parent", str(os.getpid())]
        self.cassandra(*words, *(["--proxied"] if self.shape.proxied else []))

    def start_proxy(self) -> Proxy:
        routes = {}
        for number, name in enumerate(self.cassandra_names, start=1):
            shown, own = (self.cassandra_address(number, shown) for shown in (True, False))
            routes[name] = f"{shown}:{CQL}={own}:{CQL}"
        for name, process in self.processes.items():
            routes[name] = f"{self.advertised(process)}={process.address}:{INTERNAL}"
        binary = str(pathlib.Path(self.binary).parent / "cql-proxy")
        if not os.access(binary, os.X_OK):
            raise ClusterFailed(f"there is no {binary}: cargo build --package cql-proxy makes it")
        return Proxy(binary, routes, f"{self.net}.250:{CONTROL}", self.seed, self.folder)

    def configuration(self, process: Process) -> dict[str, Any]:
        """One process's configuration file. JSON is YAML."""
        voters = [{"id": one.name, "address": self.advertised(one)} for one in self.of_role("membership")]
        contact_points = [
            f"{self.cassandra_address(number, shown=True)}:{CQL}" for number in range(1, self.shape.cassandra + 1)
        ]
        config: dict[str, Any] = {
            "cluster": {
                "name": f"outlast-{self.folder.name}",
                "history_shards": self.shape.history_shards,
                "matching_shards": self.shape.matching_shards,
            },
            "node": {"id": process.name, "roles": [process.role]},
            "internal": {"listen": f"{process.address}:{INTERNAL}", "advertise": self.advertised(process)},
            "http": {"listen": f"{process.address}:{HTTP}"},
            "membership": {"seeds": [voter["address"] for voter in voters]},
            "store": {
                "cassandra": {
                    "contact_points": contact_points,
                    "keyspace": "outlast",
                    "local_datacenter": "datacenter1",
                    "replication": {"datacenter1": min(self.shape.cassandra, 3)},
                }
            },
            "log": {"level": self.shape.log_level, "format": "text"},
        }
        if process.role == "membership":
            config["membership"]["data_dir"] = str(self.folder / process.name)
            config["membership"]["initial_voters"] = voters
        if process.role == "frontend":
            config["frontend"] = {"listen": self.public(process), "namespaces": ["default"]}
        for section, values in self.shape.settings.items():
            config[section] = {**config.get(section, {}), **values}
        return config

    def stop(self) -> dict[str, int]:
        """Ends everything: first what faces clients, last what others rely on. Returns exit codes by name."""
        codes = {}
        for role in reversed(ROLES):
            for process in self.of_role(role):
                if process.alive():
                    codes[process.name] = process.stop()
                process.kill()
        self.end()
        return codes

    def end(self) -> None:
        """Ends everything at once, without asking."""
        for process in self.processes.values():
            process.kill()
        if self.proxy is not None:
            self.proxy.stop()
            self.proxy = None
        subprocess.run([str(CASSANDRA), "stop", "--dir", str(self.folder / "cassandra")], check=False)

    # --- tools

    def cassandra(self, command: str, *words: str, timeout_s: float = 240.0) -> str:
        """Runs one command of the Cassandra launcher on this cluster's nodes."""
        line = [str(CASSANDRA), command, "--dir", str(self.folder / "cassandra"), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0:
            raise ClusterFailed(f"cassandra {command} failed: {done.stderr[-3000:]}")
        return done.stdout

    def outlast(self, *words: str, timeout_s: float = 180.0) -> str:
        """Runs the binary for a moment and returns what it printed."""
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0:
            raise ClusterFailed(f"outlast {' '.join(words)} failed: {(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def admin(self, *words: str) -> str:
        process = self.of_role("membership")[0]
        return self.outlast("admin", "--address", f"{process.address}:{INTERNAL}", *words)


def net_of(folder: pathlib.Path) -> str | None:
    """The net of a cluster that was in this folder before, whose data is there."""
    try:
        facts = json.loads((folder / "cassandra" / "cluster.json").read_text())
    except FileNotFoundError:
        return None
    return facts["nodes"][0]["address"].rpartition(".")[0]


def free_net() -> str:
    """The first three numbers of loopback addresses that are free."""
    for _ in range(100):
        net = f"127.{random.SystemRandom().randint(16, 239)}.{random.SystemRandom().randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((f"{net}.1", CQL))
            except OSError:
                continue
            return net
    raise ClusterFailed("no free loopback net was found: does something listen on 0.0.0.0:9042?")


def die_with_parent() -> None:
    """In the child: SIGKILL when the thread that started it is gone. Processes are started from the main thread."""
    PRCTL(PR_SET_PDEATHSIG, int(signal.SIGKILL))
