"""One server process under test: free loopback ports, a file of its own, start, SIGKILL, stop.

Standard library only, because `run` uses it before any environment exists.
"""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import time


def free_port() -> int:
    """A loopback TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """Starts `outlast server start-dev` on one file, any number of times, always on the same ports."""

    def __init__(self, binary: str, folder: pathlib.Path):
        self.binary = binary
        self.folder = folder
        self.port = free_port()
        self.metrics_port = free_port()
        self.log_path = folder / "server.log"
        self.process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 30.0) -> float:
        """Starts the process and waits until it accepts connections. Returns the seconds that took."""
        began = time.monotonic()
        with self.log_path.open("ab") as log:
            log.write(f"--- start at {time.time():.3f}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [
                    self.binary, "server", "start-dev",
                    "--ip", "127.0.0.1",
                    "--port", str(self.port),
                    "--metrics-port", str(self.metrics_port),
                    "--db-filename", str(self.folder / "outlast.db"),
                    "--namespace", "default",
                    "--log-level", os.environ.get("OUTLAST_LOG_LEVEL", "info"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while time.monotonic() - began < timeout_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"server exited with {self.process.returncode} at start, log: {self.log_path}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
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

    def stop(self, timeout_s: float = 15.0) -> int:
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
