"""A backup that is made while the server works, and a server that is started on it: all that was acknowledged before the
backup began is there, and every workflow goes on from there to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import subprocess
import time
import uuid

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import RequestCancelWorkflowExecutionRequest
from temporalio.client import Client

from load import Load, workers
from server_process import ServerProcess
from verdict import Disturbance, Started, Verdict

# What was with a worker when the backup was made is lost with it: for how long it may take until that is noticed.
LOST_TASKS_S = 30.0


class Backup:
    """A copy of a server's file, and what was acknowledged when that was begun."""

    def __init__(self, binary: str, folder: pathlib.Path):
        self.binary = binary
        self.source = folder / "outlast.db"
        self.folder = folder / "restored"
        self.began = 0.0
        self.started: list[Started] = []

    async def make(self, load: Load) -> None:
        self.began = time.time()
        before = [(one, dict(one.signals)) for one in load.started]
        self.folder.mkdir()
        copy = self.folder / "outlast.db"
        command = [self.binary, "admin", "backup", "--db-filename", str(self.source), "--to", str(copy)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        if done.returncode != 0:
            load.problems.append(f"the backup failed: {done.stderr.strip()}")
            return
        known = {one.workflow_id for one, _ in before}
        for one, signals in before:
            sender_is_known = f"{one.workflow_id}-sender" in known
            # Whatever was sent meanwhile may be there, or not.
            expected = {
                token: signals.get(token, False) and (sender_is_known or "-external-" not in token)
                for token in one.signals
            }
            self.started.append(dataclasses.replace(one, signals=expected))
        load.note("backup", str(copy), f"{len(self.started)} workflows, took {time.time() - self.began:.3f} s")

    async def restore(self, seed: int, kills: list[Disturbance]) -> list[str]:
        """Starts a server on the copy and has all workflows end there, and new ones. Returns the problems."""
        if not self.started:
            return ["there was nothing to restore"]
        server = ServerProcess(self.binary, self.folder)
        server.start()
        again = Disturbance(self.began, time.time() + LOST_TASKS_S)
        try:
            client = await Client.connect(server.address)
            load = Load([client], f"{seed} restored", self.folder, prefix="restored-")
            cached, replaying = workers([client])
            async with cached, replaying:
                await asyncio.gather(
                    load.spread(10, 3.0), *(self.finish(one, load) for one in self.started)
                )
            verdict = Verdict(client, [*kills, again])
            await verdict.judge(self.started + load.started)
            problems = load.problems + verdict.problems
            if server.stop() != 0:
                problems.append("the server did not stop with exit code 0")
        finally:
            server.kill()
        print(
            f"crash: restored a backup of {len(self.started)} workflows, "
            f"{sum(sum(one.signals.values()) for one in self.started)} signals; {len(problems)} problems",
            flush=True,
        )
        return [f"restored: {problem}" for problem in problems]

    async def finish(self, one: Started, load: Load) -> None:
        """Says once more what a workflow may not have heard before the backup, under the same token."""
        if one.ends_with == "WorkflowExecutionCanceled":
            request = RequestCancelWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=one.workflow_id, run_id=one.run_id),
                request_id=str(uuid.uuid4()),
            )
            await load.insist("cancel", one.workflow_id, "request_cancel_workflow_execution", request)
        elif one.waits and not one.signals.get(f"finish-{one.workflow_id}"):
            sender = next((other for other in self.started if other.workflow_id == f"{one.workflow_id}-sender"), None)
            if sender is not None:
                await load.closed(sender)
            await load.signal(one, "finish", f"finish-{one.workflow_id}", resend=True)
        await load.closed(one)
