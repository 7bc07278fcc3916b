"""Timers: they fire once, in order, never early, and can be cancelled."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow

import laws
from stage import Stage, eventually, seconds


@workflow.defn
class Sleeps:
    @workflow.run
    async def run(self, times: list[float]) -> list[float]:
        """Starts every timer at once and returns the durations in the order of firing."""
        order: list[float] = []

        async def one(duration: float) -> None:
            await asyncio.sleep(duration)
            order.append(duration)

        await asyncio.gather(*(one(duration) for duration in times))
        return order


@workflow.defn
class CancelsTimer:
    @workflow.run
    async def run(self) -> str:
        timer = asyncio.create_task(workflow.sleep(timedelta(days=30), summary="a month"))
        await workflow.sleep(timedelta(milliseconds=100))
        timer.cancel()
        try:
            await timer
        except asyncio.CancelledError:
            return "cancelled"
        return "fired"


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.open = False

    @workflow.signal
    def go(self) -> None:
        self.open = True

    @workflow.run
    async def run(self, limit_s: float) -> str:
        try:
            await workflow.wait_condition(lambda: self.open, timeout=timedelta(seconds=limit_s))
            return "signal"
        except asyncio.TimeoutError:
            return "timer"


async def test_timers_fire_in_order_of_their_deadlines(stage: Stage):
    async with stage.worker([Sleeps]):
        handle = await stage.start(Sleeps.run, [0.9, 0.1, 0.5])
        assert await handle.result() == [0.1, 0.5, 0.9]
    names = await stage.names(handle)
    assert names.count("TimerStarted") == names.count("TimerFired") == 3


async def test_a_millisecond_is_a_timer_too(stage: Stage):
    async with stage.worker([Sleeps]):
        assert await stage.run(Sleeps.run, [0.001]) == [0.001]


async def test_a_hundred_timers_at_once(stage: Stage):
    async with stage.worker([Sleeps]):
        handle = await stage.start(Sleeps.run, [0.2 + 0.003 * n for n in range(100)])
        assert len(await handle.result()) == 100
    assert (await stage.names(handle)).count("TimerFired") == 100


async def test_a_cancelled_timer_never_fires(stage: Stage):
    async with stage.worker([CancelsTimer]):
        handle = await stage.start(CancelsTimer.run)
        assert await handle.result() == "cancelled"
    events = await stage.history(handle)
    [canceled] = laws.find(events, "TimerCanceled")
    started = laws.attributes(events[canceled.started_event_id - 1])
    assert started.start_to_fire_timeout.ToTimedelta() == timedelta(days=30)
    assert b"a month" in events[canceled.started_event_id - 1].user_metadata.summary.data


@pytest.mark.parametrize("limit_s,outcome", [(0.4, "timer"), (30, "signal")])
async def test_a_condition_ends_by_signal_or_by_timer(stage: Stage, limit_s: float, outcome: str):
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, limit_s)
        if outcome == "signal":
            await handle.signal(Waits.go)
        assert await handle.result() == outcome
    names = await stage.names(handle)
    if outcome == "timer":
        assert names.count("TimerFired") == 1
    else:
        assert "TimerFired" not in names


@pytest.mark.once
async def test_a_timer_of_years_is_accepted(stage: Stage):
    async with stage.worker([Waits]):
        handle = await stage.start(Waits.run, 10 * 365 * 86400, execution_timeout=None)

        async def started():
            return laws.find(await stage.history(handle), "TimerStarted")

        [timer] = await eventually(started, "the timer is in the history")
        assert timer.start_to_fire_timeout.ToTimedelta() == seconds(10 * 365 * 86400)
        await handle.signal(Waits.go)
        assert await handle.result() == "signal"
