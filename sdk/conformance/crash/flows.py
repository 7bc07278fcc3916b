"""The workflows of the crash suite: small, of every kind, and deterministic in what they must come to."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

QUICK_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=1))


@activity.defn
async def flaky(fail_first: int) -> int:
    """Fails as often as its argument says, heartbeating, and says at which attempt it came through."""
    attempt = activity.info().attempt
    activity.heartbeat(attempt)
    await asyncio.sleep(0.02)
    if attempt <= fail_first:
        raise ApplicationError(f"attempt {attempt} of {fail_first}")
    return fail_first


@activity.defn
async def double(number: int) -> int:
    return 2 * number


def do_flaky(fail_first: int):
    return workflow.execute_activity(
        flaky,
        fail_first,
        start_to_close_timeout=timedelta(seconds=6),
        heartbeat_timeout=timedelta(seconds=5),
        retry_policy=QUICK_RETRY,
    )


def do_double(number: int):
    return workflow.execute_activity(
        double, number, start_to_close_timeout=timedelta(seconds=6), retry_policy=QUICK_RETRY
    )


@workflow.defn
class Timers:
    """Rounds of timers, those of one round all at once."""

    @workflow.run
    async def run(self, rounds: list[list[float]]) -> int:
        fired = 0
        for durations in rounds:
            await asyncio.gather(*(asyncio.sleep(duration) for duration in durations))
            fired += len(durations)
        return fired


@workflow.defn
class Retries:
    """Activities that fail a few times first."""

    @workflow.run
    async def run(self, failures: list[int]) -> int:
        one_by_one = [await do_flaky(count) for count in failures[:2]]
        together = await asyncio.gather(*(do_flaky(count) for count in failures[2:]))
        return sum(one_by_one) + sum(together)


@workflow.defn
class Collects:
    """Gathers the tokens of its signals over a chain of runs, until a signal finishes it."""

    def __init__(self) -> None:
        self.new: list[str] = []
        self.finished = False

    @workflow.signal
    def add(self, token: str) -> None:
        self.new.append(token)

    @workflow.signal
    def finish(self, _token: str) -> None:
        self.finished = True

    @workflow.query
    def seen(self) -> int:
        return len(self.new)

    @workflow.run
    async def run(self, before: list[str], per_run: int) -> list[str]:
        await workflow.wait_condition(lambda: self.finished or len(self.new) >= per_run)
        if not self.finished:
            await do_double(len(self.new))
        total = before + self.new
        if self.finished:
            return total
        workflow.continue_as_new(args=[total, per_run])


@workflow.defn
class Sends:
    """Signals another workflow, once for each token."""

    @workflow.run
    async def run(self, target: str, tokens: list[str]) -> int:
        handle = workflow.get_external_workflow_handle(target)
        for token in tokens:
            await handle.signal("add", token)
            await workflow.sleep(timedelta(milliseconds=50))
        return len(tokens)


@workflow.defn
class Family:
    """A parent of children of several kinds; it waits for all of them."""

    @workflow.run
    async def run(self, size: int) -> int:
        me = workflow.info().workflow_id
        children = []
        for number in range(size):
            if number % 2:
                children.append(workflow.execute_child_workflow(Retries.run, [1, 0, 1], id=f"{me}/{number}"))
            else:
                children.append(workflow.execute_child_workflow(Timers.run, [[0.2], [0.3]], id=f"{me}/{number}"))
        return sum(await asyncio.gather(*children))


@workflow.defn
class Chain:
    """Continues as new, with one activity and one timer in each run."""

    @workflow.run
    async def run(self, left: int, total: int) -> int:
        total += await do_double(left)
        await workflow.sleep(timedelta(milliseconds=80))
        if left:
            workflow.continue_as_new(args=[left - 1, total])
        return total


@workflow.defn
class RetriesItself:
    """Fails as a whole, and is retried as a chain of runs."""

    @workflow.run
    async def run(self, enough: int) -> int:
        await do_double(1)
        if workflow.info().attempt < enough:
            raise ApplicationError(f"attempt {workflow.info().attempt}")
        return enough


@workflow.defn
class Local:
    """Local activities between timers."""

    @workflow.run
    async def run(self, count: int) -> int:
        total = 0
        for number in range(count):
            total += await workflow.execute_local_activity(
                double, number, start_to_close_timeout=timedelta(seconds=5)
            )
            await workflow.sleep(timedelta(milliseconds=60))
        return total


@workflow.defn
class UntilCancelled:
    """Waits to be cancelled, and then cleans up."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.sleep(timedelta(hours=1))
        except asyncio.CancelledError:
            await do_double(21)
            raise


WORKFLOWS = [Timers, Retries, Collects, Sends, Family, Chain, RetriesItself, Local, UntilCancelled]
ACTIVITIES = [flaky, double]
