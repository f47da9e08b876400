"""Callers of one process that want the same."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from omnishot_ray.cache.flight import Flights
from tests.cached import settled

pytestmark = pytest.mark.anyio


@dataclass
class Work:
    """Work that ends when the test says so, and counts."""

    started: int = 0
    running: int = 0
    most: int = 0
    cancelled: int = 0
    end: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.Future())
    slow_to_stop: "asyncio.Event | None" = None

    async def __call__(self) -> str:
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await asyncio.shield(self.end)
        except asyncio.CancelledError:
            self.cancelled += 1
            if self.slow_to_stop:
                await self.slow_to_stop.wait()
            raise
        finally:
            self.running -= 1


async def test_one_works_and_all_get_it() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    callers = [asyncio.create_task(flights.join("k", work)) for _ in range(200)]
    await settled()
    assert "k" in flights
    work.end.set_result("made")
    outcomes = await asyncio.gather(*callers)
    assert work.started == 1
    assert outcomes[0] == ("made", False)
    assert set(outcomes[1:]) == {("made", True)}
    assert len(flights) == 0


async def test_other_keys_are_other_work() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    callers = [asyncio.create_task(flights.join(key, work)) for key in "ab"]
    await settled()
    assert work.most == 2
    work.end.set_result("made")
    await asyncio.gather(*callers)


async def test_leader_that_leaves_leaves_the_work() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    leader, follower = (asyncio.create_task(flights.join("k", work)) for _ in range(2))
    await settled()
    leader.cancel()
    await settled()
    assert leader.cancelled()
    work.end.set_result("made")
    assert await follower == ("made", True)
    assert (work.started, work.cancelled) == (1, 0)


async def test_work_without_anybody_is_cancelled() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    callers = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await settled()
    for caller in callers:
        caller.cancel()
    await settled()
    assert work.cancelled == 1
    assert len(flights) == 0


async def test_new_caller_waits_until_abandoned_work_has_stopped() -> None:
    flights: Flights[str] = Flights()
    work = Work(slow_to_stop=asyncio.Event())
    gone = asyncio.create_task(flights.join("k", work))
    await settled()
    gone.cancel()
    await settled()
    assert "k" not in flights
    caller = asyncio.create_task(flights.join("k", work))
    await settled()
    assert work.started == 1
    work.slow_to_stop.set()  # type: ignore[union-attr]
    await settled()
    work.end.set_result("made")
    assert await caller == ("made", False)
    assert (work.started, work.most) == (2, 1)


async def test_programming_error_is_raised_in_all() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    callers = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await settled()
    work.end.set_exception(ZeroDivisionError())
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
    again = Work()
    again.end.set_result("made")
    assert await flights.join("k", again) == ("made", False)


async def test_work_cancelled_from_inside_does_not_cancel_callers() -> None:
    flights: Flights[str] = Flights()

    async def work() -> str:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="from inside"):
        await flights.join("k", work)


class AnyOrder(RuleBasedStateMachine):
    """Callers come, leave and are answered in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.flights: Flights[int] = Flights()
        self.running = {"a": 0, "b": 0}
        self.gates: dict[str, asyncio.Future[int]] = {}
        self.callers: list[tuple[str, asyncio.Task[tuple[int, bool]]]] = []
        self.count = 0

    def run(self, steps: int) -> None:
        async def tick() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(tick())

    async def work(self, key: str) -> int:
        self.running[key] += 1
        assert self.running[key] == 1, "two at a time"
        gate = self.gates[key] = self.loop.create_future()
        try:
            return await gate
        finally:
            await asyncio.sleep(0)  # stopping takes its time
            await asyncio.sleep(0)
            self.running[key] -= 1

    @rule(key=st.sampled_from("ab"), steps=st.integers(0, 4))
    def come(self, key: str, steps: int) -> None:
        caller = self.flights.join(key, lambda: self.work(key))
        self.callers.append((key, self.loop.create_task(caller)))
        self.run(steps)

    @precondition(lambda self: self.callers)
    @rule(data=st.data(), steps=st.integers(0, 4))
    def leave(self, data: st.DataObject, steps: int) -> None:
        _, caller = self.callers.pop(data.draw(st.integers(0, len(self.callers) - 1)))
        caller.cancel()
        self.run(steps)

    @rule(key=st.sampled_from("ab"), steps=st.integers(0, 4))
    def finish(self, key: str, steps: int) -> None:
        gate = self.gates.get(key)
        if gate is not None and not gate.done():
            self.count += 1
            gate.set_result(self.count)
        self.run(steps)

    @invariant()
    def answers_are_answers(self) -> None:
        for _, caller in self.callers:
            if caller.done():
                value, _ = caller.result()
                assert 1 <= value <= self.count

    def teardown(self) -> None:
        self.run(10)
        for _ in range(3):
            for key in "ab":
                self.finish(key, 10)
        for _, caller in self.callers:
            assert caller.done(), "somebody was forgotten"
            caller.result()
        assert len(self.flights) == 0
        self.loop.close()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=20)
