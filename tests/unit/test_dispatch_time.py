"""The dispatcher through minutes of load that pass at once: the loop's time is simulated.

Nothing waits for real: whenever all that can run has run, the time is that of the next timer.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from omnishot_ray.errors import OmnishotError, Overloaded, TaskTimeout
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.protocol import AnyOutcome, ImageTask, run_task
from omnishot_ray.serving.dispatch import DispatchConfig, Dispatcher, ReplicaLost
from omnishot_ray.serving.queue import QueueConfig
from tests.pictures import png

T = TypeVar("T")
PICTURE = png(8, 8)
DONE = run_task(ImageTask(PICTURE, (Options(),), ""), Limits())
HOP_S = 0.004
THUMBNAIL_MS, PHOTO_MS, AVIF_MS = 5.0, 60.0, 500.0


class _Leaping(selectors.DefaultSelector):
    """Never waits, and says how long it was to."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing is left that could ever happen"
        self.passed_s += max(0.0, timeout)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds pass as soon as nobody has anything to do in them."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.passed_s


def simulate(scenario: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(scenario)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Estimated(ImageTask):
    """A task that says what it costs, and what it takes, which may be something else."""

    cost_ms: float = 0.0
    takes_s: float | None = None

    def estimate_ms(self, header: Header) -> float:
        return self.cost_ms


def task(cost_ms: float, priority: int = 5, takes_s: float | None = None) -> Estimated:
    return Estimated(PICTURE, (Options(),), "", priority=priority, cost_ms=cost_ms, takes_s=takes_s)


@dataclass
class TimedPool:
    """Replicas that take a hop for a batch and then as long as its tasks cost, one by one."""

    replicas: int = 2
    sizes: list[int] = field(default_factory=list)
    out: int = 0
    most_out: int = 0

    async def run(
        self, batch: Sequence[Estimated], time_limits_s: Sequence[float]
    ) -> Sequence[AnyOutcome | None]:
        self.sizes.append(len(batch))
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        await asyncio.sleep(HOP_S)
        outcomes: list[AnyOutcome | None] = []
        for one, limit_s in zip(batch, time_limits_s, strict=True):
            takes_s = one.cost_ms / 1000 if one.takes_s is None else one.takes_s
            await asyncio.sleep(min(takes_s, limit_s))
            if takes_s > limit_s:
                outcomes.append(TaskTimeout("It was stopped."))
                break
            outcomes.append(DONE)
        self.out -= 1
        return outcomes + [None] * (len(batch) - len(outcomes))

    async def check_ready(self) -> str:
        return "ok"


def dispatcher(pool: TimedPool, **config: Any) -> Dispatcher:
    return Dispatcher(pool, DispatchConfig(inline_ms=0, **config), Limits(), clock=now)


@dataclass(frozen=True)
class Answer:
    cost_ms: float
    priority: int
    came_s: float
    took_s: float
    outcome: Any


async def offered(
    to: Dispatcher, load: float, seconds: float, draw: Callable[[random.Random], Estimated]
) -> list[Answer]:
    """What comes of tasks at random times that ask for `load` cores together."""
    chance = random.Random(8)
    mean_ms = sum(draw(chance).cost_ms for _ in range(2000)) / 2000
    answers: list[Answer] = []

    async def ask(one: Estimated) -> None:
        came_s = now()
        outcome = await to.optimize(one)
        answers.append(Answer(one.cost_ms, one.priority, came_s, now() - came_s, outcome))

    async with asyncio.TaskGroup() as everybody:
        while now() < seconds:
            await asyncio.sleep(chance.expovariate(load * 1000 / mean_ms))
            everybody.create_task(ask(draw(chance)))
    return answers


def mixed(chance: random.Random) -> Estimated:
    cost_ms = chance.choices((THUMBNAIL_MS, PHOTO_MS, AVIF_MS), (60, 30, 4))[0]
    return task(cost_ms, priority=chance.choice((1, 5, 5, 10)))


def quantile(answers: Sequence[Answer], share: float) -> float:
    times = sorted(answer.took_s for answer in answers)
    return times[int(share * (len(times) - 1))]


def of(answers: Sequence[Answer], cost_ms: float) -> list[Answer]:
    return [answer for answer in answers if answer.cost_ms == cost_ms]


def test_a_busy_service_serves_everybody_and_the_cheap_first() -> None:
    pool = TimedPool()
    everybody = simulate(offered(dispatcher(pool), 1.5, 300, mixed))
    answers = [answer for answer in everybody if isinstance(answer.outcome, Result)]
    # Now and then two AVIFs hold both replicas, and the line stands for them.
    assert len(answers) > max(5_000, 0.97 * len(everybody))
    assert pool.most_out == pool.replicas
    assert quantile(of(answers, THUMBNAIL_MS), 0.5) < quantile(of(answers, AVIF_MS), 0.5) / 5
    urgent, usual, last = ([a for a in answers if a.priority == p] for p in (1, 5, 10))
    assert quantile(urgent, 0.95) < quantile(usual, 0.95) < quantile(last, 0.95)
    assert max(answer.took_s for answer in answers) < 5, "somebody starved"


def test_batches_grow_with_the_line() -> None:
    sizes = {}
    for load in (0.1, 1.5):
        pool = TimedPool()
        simulate(offered(dispatcher(pool), load, 10, lambda _: task(THUMBNAIL_MS)))
        sizes[load] = sum(pool.sizes) / len(pool.sizes)
    assert sizes[0.1] < 1.05, "nobody waits for company"
    assert sizes[1.5] > 1.3


def test_overload_is_turned_away_and_those_let_in_are_served_soon() -> None:
    pool = TimedPool()
    answers = simulate(offered(dispatcher(pool), 20.0, 30, lambda _: task(PHOTO_MS)))
    made = [answer for answer in answers if isinstance(answer.outcome, Result)]
    refused = [answer for answer in answers if isinstance(answer.outcome, Overloaded)]
    assert len(made) + len(refused) == len(answers)
    work_s = sum(answer.cost_ms for answer in made) / 1000
    assert work_s > 0.9 * 30 * pool.replicas, "what can be done is done"
    late = [answer for answer in made if answer.came_s > 10]
    assert quantile(late, 0.99) < 1.0
    assert all(0 < answer.outcome.retry_after_s < 60 for answer in refused)


def test_when_overload_ends_so_does_the_line() -> None:
    async def scenario() -> float:
        to = dispatcher(TimedPool())
        await offered(to, 20.0, 30, lambda _: task(PHOTO_MS))
        began_s = now()
        assert isinstance(await to.optimize(task(PHOTO_MS)), Result)
        return now() - began_s

    assert simulate(scenario()) < 0.5


def test_degrading_begins_and_ends_with_lasting_overload() -> None:
    async def scenario() -> list[tuple[float, bool]]:
        to = dispatcher(TimedPool())
        seen: list[tuple[float, bool]] = []

        async def watch() -> None:
            while True:
                await asyncio.sleep(0.5)
                seen.append((now(), to.highest_effort is not None))

        watching = asyncio.create_task(watch())
        await offered(to, 20.0, 30, lambda _: task(PHOTO_MS))
        await asyncio.sleep(20)
        watching.cancel()
        return seen

    seen = simulate(scenario())
    begun = [at for at, degraded in seen if degraded]
    assert 2 <= begun[0] < 6, "a burst is none"
    assert 30 < begun[-1] < 36


@pytest.mark.parametrize("limit_s", [1.0, 10.0])
def test_work_beyond_its_limit_is_answered_at_it(limit_s: float) -> None:
    async def scenario() -> tuple[Any, float, list[Any]]:
        to = dispatcher(TimedPool(replicas=1), time_limit_s=limit_s)
        ahead = asyncio.create_task(to.optimize(task(THUMBNAIL_MS)))
        await asyncio.sleep(0)
        runaway = asyncio.create_task(to.optimize(task(THUMBNAIL_MS, takes_s=3600.0)))
        mates = [asyncio.create_task(to.optimize(task(THUMBNAIL_MS))) for _ in range(4)]
        began_s = now()
        outcome = await runaway
        took_s = now() - began_s
        return outcome, took_s, [await ahead, *[await mate for mate in mates]]

    outcome, took_s, others = simulate(scenario())
    assert isinstance(outcome, TaskTimeout)
    assert limit_s <= took_s < limit_s + 1.1
    if limit_s > 3:  # else nothing of their time is left when it is stopped
        assert all(isinstance(other, Result) for other in others), "its mates were kept waiting"


def test_the_least_urgent_is_served_though_urgent_work_never_ends() -> None:
    async def scenario() -> float:
        to = dispatcher(TimedPool(replicas=1), queue=QueueConfig(max_waiting_s=60, standing_s=60))

        async def urgent() -> None:
            while True:
                await to.optimize(task(PHOTO_MS, priority=1))

        busy = [asyncio.create_task(urgent()) for _ in range(8)]
        await asyncio.sleep(5)
        began_s = now()
        outcome = await to.optimize(replace(task(PHOTO_MS), priority=10))
        assert not isinstance(outcome, OmnishotError)
        waited_s = now() - began_s
        for one in busy:
            one.cancel()
        return waited_s

    # Nine steps of priority are worth 4.5 s, and what came before then is half a second of work.
    assert 4 < simulate(scenario()) < 6


@pytest.mark.parametrize(("times", "out"), [(1.0, 6), (10.0, 3)])
def test_a_gateway_keeps_to_its_share_where_others_have_the_replicas_too(
    times: float, out: int
) -> None:
    """Work that takes longer than it should waits behind theirs, so more of it would only wait."""

    async def scenario() -> int:
        pool = TimedPool(replicas=8)
        to = Dispatcher(pool, DispatchConfig(inline_ms=0), Limits(), gateways=4, clock=now)
        for _ in range(20):
            pool.most_out = 0
            burst = [to.optimize(task(25.0, takes_s=0.025 * times)) for _ in range(8)]
            await asyncio.gather(*burst)
            await asyncio.sleep(1.0)
        return pool.most_out

    assert simulate(scenario()) == out


def test_a_replica_that_comes_is_found_within_a_moment() -> None:
    async def scenario() -> float:
        pool = TimedPool(replicas=0)
        running = asyncio.create_task(dispatcher(pool).optimize(task(THUMBNAIL_MS)))
        await asyncio.sleep(3)
        assert not running.done()
        pool.replicas = 1
        began_s = now()
        assert isinstance(await running, Result)
        return now() - began_s

    assert simulate(scenario()) < 0.5


@pytest.mark.parametrize(("most", "refused"), [(1, True), (2, False)])
def test_who_comes_while_replicas_start_is_served(most: int, refused: bool) -> None:
    """Eight who ask again and again for what takes 170 ms, more than one replica can do."""

    async def scenario() -> list[Any]:
        pool = TimedPool(replicas=1)
        config = DispatchConfig(inline_ms=0)
        to = Dispatcher(pool, config, Limits(), most_replicas=most, clock=now)
        outcomes: list[Any] = []

        async def client() -> None:
            while now() < 30:
                outcomes.append(await to.optimize(task(170.0)))
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as everybody:
            for _ in range(8):
                everybody.create_task(client())
            await asyncio.sleep(9)
            pool.replicas = most
        return outcomes

    outcomes = simulate(scenario())
    late = sum(isinstance(outcome, Overloaded) for outcome in outcomes)
    assert (late > len(outcomes) / 4) is refused
    assert sum(isinstance(outcome, Result) for outcome in outcomes) > (150 if refused else 240)


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 1 << 30),
    replicas=st.integers(1, 4),
    load=st.floats(0.2, 8.0),
    deadly=st.floats(0.0, 0.3),
    endless=st.floats(0.0, 0.1),
    leaving=st.floats(0.0, 0.3),
)
def test_everybody_is_answered_in_time_and_nothing_is_left_whatever_happens(
    seed: int, replicas: int, load: float, deadly: float, endless: float, leaving: float
) -> None:
    """Replicas die, work never ends, clients go away: all of it at once."""
    chance = random.Random(seed)

    class Mortal(TimedPool):
        async def run(
            self, batch: Sequence[Estimated], time_limits_s: Sequence[float]
        ) -> Sequence[AnyOutcome | None]:
            outcomes = await super().run(batch, time_limits_s)
            if chance.random() < deadly:
                raise ReplicaLost("It died.")
            return outcomes

    def draw(chance: random.Random) -> Estimated:
        return replace(mixed(chance), takes_s=3600.0 if chance.random() < endless else None)

    async def scenario() -> tuple[list[tuple[float, Any]], tuple[int, float, int]]:
        to = dispatcher(Mortal(replicas))
        seen: list[tuple[float, Any]] = []

        async def ask(one: Estimated) -> None:
            came_s = now()
            outcome = await to.optimize(one)
            seen.append((now() - came_s, outcome))

        asked: list[asyncio.Task[None]] = []
        while now() < 5:
            await asyncio.sleep(chance.expovariate(load * 1000 / 40))
            asked.append(asyncio.create_task(ask(draw(chance))))
            if chance.random() < leaving:
                chance.choice(asked).cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(30)  # what is at a replica is not called back
        assert len(seen) + sum(one.cancelled() for one in asked) == len(asked)
        assert not any(not one.cancelled() and one.exception() for one in asked)
        left = to.report_load()
        return seen, (left.waiting, left.queued_ms, to.gauge().active)

    seen, left = simulate(scenario())
    assert all(isinstance(outcome, Result | OmnishotError) for _, outcome in seen)
    assert all(took_s < 11.5 for took_s, _ in seen)
    assert left == (0, 0.0, 0)
