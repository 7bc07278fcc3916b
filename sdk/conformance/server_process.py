"""One server process under test: a loopback address of its own, a file of its own, start, SIGKILL, stop.

Standard library only, because `run` uses it before any environment exists.
"""

from __future__ import annotations

import os
import pathlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

# Below the ports that the kernel gives to outgoing connections.
GRPC, METRICS = 17233, 17250


def own_address() -> str:
    """A loopback address that is free on these ports, and that no other program would choose.

    A server that is killed frees its ports for a moment, and is to get them back. So they must not be ports of an
    address that others use.
    """
    lots = random.SystemRandom()
    for _ in range(100):
        address = f"127.{lots.randint(16, 239)}.{lots.randint(1, 254)}.{lots.randint(2, 254)}"
        if all(bindable(address, port) for port in (GRPC, METRICS)):
            return address
    raise RuntimeError(f"no loopback address with ports {GRPC} and {METRICS} free: does something listen on 0.0.0.0?")


def bindable(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


class ServerProcess:
    """Starts `outlast server start-dev` on one file, any number of times, always on the same address."""

    def __init__(
        self,
        binary: str,
        folder: pathlib.Path,
        flags: Sequence[str] = (),
        preexec: Callable[[], None] | None = None,
    ):
        self.binary = binary
        self.folder = folder
        self.flags = flags
        # Runs in the new process before the server's program does.
        self.preexec = preexec
        self.ip = own_address()
        self.log_path = folder / "server.log"
        self.process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"{self.ip}:{GRPC}"

    def start(self, timeout_s: float = 60.0) -> float:
        """Starts the process and waits until it accepts connections. Returns the seconds that took."""
        began = time.monotonic()
        with self.log_path.open("ab") as log:
            log.write(f"--- start at {time.time():.3f}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [
                    self.binary, "server", "start-dev",
                    "--ip", self.ip,
                    "--port", str(GRPC),
                    "--metrics-port", str(METRICS),
                    "--db-filename", str(self.folder / "outlast.db"),
                    "--namespace", "default",
                    "--log-level", os.environ.get("OUTLAST_LOG_LEVEL", "info"),
                    *self.flags,
                ],
                preexec_fn=self.preexec,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while time.monotonic() - began < timeout_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"server exited with {self.process.returncode} at start, log: {self.log_path}")
            try:
                with socket.create_connection((self.ip, GRPC), timeout=1):
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"server did not listen on {self.address} within {timeout_s:.0f} s, log: {self.log_path}")

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait for the process to be gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM, and the exit code. A process that outlives the timeout is killed and counts as -9."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9
        finally:
            self.process = None
