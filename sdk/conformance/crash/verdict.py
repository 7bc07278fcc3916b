"""Judges what is left after the crashes: the histories, against what the driver knows was acknowledged."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

import flows
import laws


@dataclasses.dataclass
class Started:
    """A workflow the driver started, and what must have become of it."""

    workflow_id: str
    run_id: str
    ends_with: str
    result: str | None
    # token -> True: acknowledged, so exactly once; False: the answer was lost, so once at most.
    signals: dict[str, bool]


@dataclasses.dataclass
class Run:
    workflow_id: str
    run_id: str
    events: list[HistoryEvent]


class Verdict:
    def __init__(self, client: Client, kills: list[tuple[float, float]], recovery_s: float = 6.0):
        self.client = client
        # For each kill, or another disturbance: when it came, and when the server answered again.
        self.kills = kills
        # For how long its consequences may show in what workers do.
        self.recovery_s = recovery_s
        self.problems: list[str] = []
        self.runs: list[Run] = []
        self.counts: collections.Counter[str] = collections.Counter()

    async def judge(self, started: list[Started]) -> None:
        for one in started:
            try:
                chain = await self.chain(one.workflow_id, one.run_id)
            except RPCError as error:
                self.problems.append(f"{one.workflow_id}/{one.run_id}: was started and cannot be read: {error.message}")
                continue
            self.judge_chain(one, chain)
        seen = {(run.workflow_id, run.run_id) for run in self.runs}
        for run in list(self.runs):
            for child in laws.find(run.events, "ChildWorkflowExecutionStarted"):
                key = (child.workflow_execution.workflow_id, child.workflow_execution.run_id)
                if key in seen:
                    self.problems.append(f"{key[0]}: started by two parents, or twice by one")
                seen.add(key)
                await self.chain(*key)
        for run in self.runs:
            self.judge_run(run)
        await self.replay()

    async def chain(self, workflow_id: str, run_id: str) -> list[Run]:
        chain: list[Run] = []
        while run_id:
            run = Run(workflow_id, run_id, await self.history(workflow_id, run_id))
            chain.append(run)
            run_id = getattr(laws.attributes(run.events[-1]), "new_execution_run_id", "")
        self.runs.extend(chain)
        return chain

    async def history(self, workflow_id: str, run_id: str) -> list[HistoryEvent]:
        events: list[HistoryEvent] = []
        token = b""
        while True:
            page = await self.client.workflow_service.get_workflow_execution_history(
                GetWorkflowExecutionHistoryRequest(
                    namespace=self.client.namespace,
                    execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                    next_page_token=token,
                ),
                retry=True,
            )
            events.extend(page.history.events)
            token = page.next_page_token
            if not token:
                return events

    def judge_chain(self, one: Started, chain: list[Run]) -> None:
        end = chain[-1].events[-1]
        if laws.name(end) != one.ends_with:
            self.problems.append(f"{one.workflow_id}: ends with {laws.name(end)}, not {one.ends_with}")
        elif one.result is not None:
            result = laws.attributes(end).result.payloads[0].data.decode()
            if result != one.result:
                self.problems.append(f"{one.workflow_id}: its result is {result}, not {one.result}")
        arrived = [
            signal.input.payloads[0].data.decode().strip('"')
            for run in chain
            for signal in laws.find(run.events, "WorkflowExecutionSignaled")
        ]
        times = collections.Counter(arrived)
        for token, acknowledged in one.signals.items():
            if times[token] > 1:
                self.problems.append(f"{one.workflow_id}: signal {token} arrived {times[token]} times")
            if acknowledged and times[token] == 0:
                self.problems.append(f"{one.workflow_id}: signal {token} was acknowledged and is lost")
        for token in times.keys() - one.signals.keys():
            self.problems.append(f"{one.workflow_id}: signal {token} was never sent")
        if one.signals and laws.name(end) == "WorkflowExecutionCompleted":
            collected = json.loads(laws.attributes(end).result.payloads[0].data)
            if collected != [token for token in arrived if not token.startswith("finish")]:
                self.problems.append(f"{one.workflow_id}: saw other signals, or in another order, than its history")

    def judge_run(self, run: Run) -> None:
        try:
            laws.check(run.events)
        except AssertionError as error:
            self.problems.append(f"{run.workflow_id}/{run.run_id}: {str(error).splitlines()[0]}")
        by_id = {event.event_id: event for event in run.events}
        for event in run.events:
            self.counts[laws.name(event)] += 1
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
                self.judge_timeout(run, event, by_id)
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                self.judge_failure(run, event)

    def judge_timeout(self, run: Run, event: HistoryEvent, by_id: dict[int, HistoryEvent]) -> None:
        """A task times out when a kill came between its delivery (or the wait for it) and its answer."""
        end = laws.attributes(event)
        since = by_id[end.started_event_id or end.scheduled_event_id]
        if not self.killed_between(seconds_of(since) - 1.0, seconds_of(since) + self.recovery_s):
            self.problems.append(
                f"{run.workflow_id}/{run.run_id}: workflow task timed out at event {event.event_id}, "
                f"{seconds_of(since):.3f}..{seconds_of(event):.3f}, and no kill explains it"
            )

    def judge_failure(self, run: Run, event: HistoryEvent) -> None:
        """A completion that raced with a signal is the API's own rule. Nondeterminism is never explained."""
        failed = laws.attributes(event)
        cause = WorkflowTaskFailedCause.Name(failed.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
        self.counts[f"WorkflowTaskFailed {cause}"] += 1
        if cause == "UNHANDLED_COMMAND" and "WorkflowExecutionSignaled" in laws.names(run.events):
            return
        explained = self.killed_between(seconds_of(event) - self.recovery_s, seconds_of(event) + 1.0)
        if cause == "NON_DETERMINISTIC_ERROR" or not explained:
            self.problems.append(
                f"{run.workflow_id}/{run.run_id}: workflow task failed at event {event.event_id} with {cause}: "
                f"{failed.failure.message[:200]}"
            )

    def killed_between(self, begin: float, end: float) -> bool:
        return any(killed <= end and again >= begin for killed, again in self.kills)

    async def replay(self) -> None:
        replayer = Replayer(
            workflows=flows.WORKFLOWS, workflow_runner=UnsandboxedWorkflowRunner(), namespace=self.client.namespace
        )
        for run in self.runs:
            if "WorkflowTaskCompleted" not in laws.names(run.events):
                continue
            history = WorkflowHistory(workflow_id=run.workflow_id, events=run.events)
            outcome = await replayer.replay_workflow(history, raise_on_replay_failure=False)
            if outcome.replay_failure is not None:
                self.problems.append(f"{run.workflow_id}/{run.run_id}: does not replay: {outcome.replay_failure}")

    def keep_histories(self, folder: pathlib.Path) -> None:
        """Writes the histories that a problem names, to look at."""
        for run in self.runs:
            if any(problem.startswith(run.workflow_id) for problem in self.problems):
                name = f"{run.workflow_id}-{run.run_id}".replace("/", "_")
                history = WorkflowHistory(workflow_id=run.workflow_id, events=run.events)
                (folder / f"{name}.json").write_text(history.to_json())


def seconds_of(event: HistoryEvent) -> float:
    return laws.instant(event) / 1e9
