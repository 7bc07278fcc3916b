"""The server under a memory limit, and what its memory was."""

from __future__ import annotations

import os
import pathlib
import re
import uuid

CGROUP = pathlib.Path("/sys/fs/cgroup")


class MemoryLimit:
    """A memory cgroup of its own, version 1 or 2. Without the right to make one there is none, and `kind` says so."""

    def __init__(self, limit_bytes: int):
        self.limit_bytes = limit_bytes
        self.folder: pathlib.Path | None = None
        self.kind = "none: no cgroup can be made here"
        name = f"outlast-hostile-{uuid.uuid4().hex[:8]}"
        for kind, parent, file in (
            ("cgroup v2", CGROUP, "memory.max"),
            ("cgroup v1", CGROUP / "memory", "memory.limit_in_bytes"),
        ):
            folder = parent / name
            try:
                folder.mkdir()
            except OSError:
                continue
            # A parent that is no cgroup, or not of this version, gives the new folder no such file.
            if not (folder / file).exists():
                folder.rmdir()
                continue
            (folder / file).write_text(str(limit_bytes))
            self.folder, self.kind = folder, kind
            return

    def enter(self) -> None:
        """For `preexec_fn`: puts the process that is being started under the limit."""
        if self.folder is not None:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        if self.folder is not None:
            self.folder.rmdir()


def status_kib(pid: int, field: str) -> int:
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def resident(pid: int) -> int:
    """Bytes that are resident now."""
    return status_kib(pid, "VmRSS") * 1024


def peak(pid: int) -> int:
    """The most bytes that were resident since `forget_peak`."""
    return status_kib(pid, "VmHWM") * 1024


def forget_peak(pid: int) -> None:
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
