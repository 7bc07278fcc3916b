"""Judges what is left after the crashes: the histories, against what the driver knows was acknowledged."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

import flows
import laws


# For how long a worker may go on with a task that it got during a fault, before it says that it failed.
FAILURE_LAGS_S = 5.0


@dataclasses.dataclass
class Started:
    """A workflow the driver started, and what must have become of it."""

    workflow_id: str
    run_id: str
    ends_with: str
    result: str | None
    # token -> True: acknowledged, so exactly once; False: the answer was lost, so once at most.
    signals: dict[str, bool]
    # Whether it goes on until a signal finishes it.
    waits: bool = False


@dataclasses.dataclass
class Run:
    workflow_id: str
    run_id: str
    events: list[HistoryEvent]


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """A kill or another fault, in seconds since the epoch."""

    began: float
    # From then on no workflow task may be handed out that gets lost: servers, workers and connections are as before.
    settled: float


class Verdict:
    def __init__(self, client: Client, disturbances: list[Disturbance]):
        self.client = client
        self.disturbances = disturbances
        self.problems: list[str] = []
        self.runs: list[Run] = []
        self.counts: collections.Counter[str] = collections.Counter()

    async def judge(self, started: list[Started]) -> None:
        for one in started:
            chain = await self.read(one.workflow_id, one.run_id)
            if chain:
                self.judge_chain(one, chain)
        seen = {(run.workflow_id, run.run_id) for run in self.runs}
        for run in list(self.runs):
            for child in laws.find(run.events, "ChildWorkflowExecutionStarted"):
                key = (child.workflow_execution.workflow_id, child.workflow_execution.run_id)
                if key in seen:
                    self.problems.append(f"{key[0]}: started by two parents, or twice by one")
                seen.add(key)
                await self.read(*key)
        for run in self.runs:
            self.judge_run(run)
        await self.replay()

    async def read(self, workflow_id: str, run_id: str) -> list[Run]:
        """The chain that begins with this run, the only one of its workflow ID; empty if it is not there."""
        try:
            chain = await self.chain(workflow_id, run_id)
            await self.judge_latest(chain)
        except RPCError as error:
            self.problems.append(f"{workflow_id}/{run_id}: was started and cannot be read: {error.message}")
            return []
        return chain

    async def judge_latest(self, chain: list[Run]) -> None:
        """What the workflow ID leads to is the end of the chain that was acknowledged, not of one started beside it."""
        first, last = chain[0], chain[-1]
        request = DescribeWorkflowExecutionRequest(
            namespace=self.client.namespace, execution=WorkflowExecution(workflow_id=first.workflow_id)
        )
        response = await self.client.workflow_service.describe_workflow_execution(request, retry=True)
        info = response.workflow_execution_info
        if (info.execution.run_id, info.first_run_id) != (last.run_id, first.run_id):
            self.problems.append(
                f"{first.workflow_id}: started twice: run {first.run_id} was acknowledged and led to {last.run_id}, but "
                f"the workflow ID leads to {info.execution.run_id}, which began with {info.first_run_id}"
            )

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
        """A task times out when a fault came between its delivery (or the wait for it) and its answer.

        So a task that was handed out to no worker, or to one that left, without a fault at that time, is a problem.
        """
        end = laws.attributes(event)
        since = by_id[end.started_event_id or end.scheduled_event_id]
        if not self.disturbed(seconds_of(since), seconds_of(event)):
            self.problems.append(
                f"{run.workflow_id}/{run.run_id}: workflow task timed out at event {event.event_id}, "
                f"{seconds_of(since):.3f}..{seconds_of(event):.3f}, and no fault explains it"
            )

    def judge_failure(self, run: Run, event: HistoryEvent) -> None:
        """A completion that raced with a signal is the API's own rule. Nondeterminism is never explained."""
        failed = laws.attributes(event)
        cause = WorkflowTaskFailedCause.Name(failed.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
        self.counts[f"WorkflowTaskFailed {cause}"] += 1
        if cause == "UNHANDLED_COMMAND" and "WorkflowExecutionSignaled" in laws.names(run.events):
            return
        explained = self.disturbed(seconds_of(event) - FAILURE_LAGS_S, seconds_of(event))
        if cause == "NON_DETERMINISTIC_ERROR" or not explained:
            self.problems.append(
                f"{run.workflow_id}/{run.run_id}: workflow task failed at event {event.event_id} with {cause}: "
                f"{failed.failure.message[:200]}"
            )

    def disturbed(self, begin: float, end: float) -> bool:
        return any(one.began <= end and begin <= one.settled for one in self.disturbances)

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
