"""The dispatcher between its lanes. The pool is one of this test's own, moved by hand."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.errors import (
    CorruptImage,
    EngineUnavailable,
    InternalError,
    LimitExceeded,
    Overloaded,
    Quarantined,
    TaskTimeout,
    UnsupportedFormat,
)
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.info import ImageInfo
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Rendition, Result
from omnishot_ray.protocol import AnyOutcome, ImageTask, InfoTask, Outcome, run_task
from omnishot_ray.serving.dispatch import DispatchConfig, Dispatcher, ReplicaLost, count_places
from omnishot_ray.serving.queue import QueueConfig
from tests import corpus
from tests.pictures import encode, noise, png

pytestmark = pytest.mark.anyio

DEADLINE_S = 5.0


@dataclass
class Sent:
    """A batch at a replica. It ends when the test says so."""

    tasks: Sequence[ImageTask]
    limits_s: Sequence[float]
    end: "asyncio.Future[Sequence[AnyOutcome | None]]"

    @property
    def names(self) -> str:
        return "".join(task.request_id for task in self.tasks)

    def succeed(self) -> None:
        self.end.set_result([run_task(task, Limits()) for task in self.tasks])

    def answer(self, *outcomes: AnyOutcome | None) -> None:
        self.end.set_result(outcomes)

    def fail(self, error: Exception) -> None:
        self.end.set_exception(error)


class HandMovedPool:
    """Replicas that take batches and wait for the test."""

    def __init__(self, replicas: int = 1) -> None:
        self.replicas = replicas
        self.sent: list[Sent] = []

    async def run(
        self, batch: Sequence[ImageTask], time_limits_s: Sequence[float]
    ) -> Sequence[AnyOutcome | None]:
        sent = Sent(batch, time_limits_s, asyncio.get_running_loop().create_future())
        self.sent.append(sent)
        return await sent.end

    async def check_ready(self) -> str:
        return "ok" if self.replicas else "no replica runs"


async def until(condition: Callable[[], object]) -> None:
    deadline = perf_counter() + DEADLINE_S
    while not condition():
        assert perf_counter() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)


async def nth_batch(pool: HandMovedPool, number: int) -> Sent:
    await until(lambda: len(pool.sent) >= number)
    return pool.sent[number - 1]


async def settled() -> None:
    """Let everything that can run without news from outside run."""
    for _ in range(20):
        await asyncio.sleep(0)


SMALL_PICTURE = png(8, 8)


def task(name: str = "a", data: bytes = SMALL_PICTURE, priority: int = 5) -> ImageTask:
    return ImageTask(data, (Options(name=name),), name, priority=priority)


@dataclass(frozen=True)
class Estimated(ImageTask):
    """A task that says what it costs."""

    cost_ms: float = 0.0

    def estimate_ms(self, header: Header) -> float:
        return self.cost_ms


def pooled(pool: HandMovedPool, queue: QueueConfig | None = None, **config: Any) -> Dispatcher:
    """A dispatcher that sends everything to the pool."""
    settings = DispatchConfig(inline_ms=0, queue=queue or QueueConfig(), **config)
    return Dispatcher(pool, settings, Limits())


def start(dispatcher: Dispatcher, *tasks: ImageTask) -> "list[asyncio.Task[Outcome]]":
    return [asyncio.create_task(dispatcher.optimize(one)) for one in tasks]


def is_made(outcome: Outcome) -> bool:
    return isinstance(outcome, Result) and isinstance(outcome.renditions[0], Rendition)


# Lanes.


@pytest.mark.parametrize("on_the_loop", [True, False])
async def test_cheap_work_runs_inline(on_the_loop: bool) -> None:
    pool = HandMovedPool()
    config = DispatchConfig(inline_ms=1000, loop_ms=1000 if on_the_loop else 0)
    (running,) = start(Dispatcher(pool, config, Limits()), task())
    await asyncio.sleep(0)  # one turn of the loop; a thread takes at least one more
    assert running.done() is on_the_loop
    assert is_made(await running)
    assert pool.sent == []


async def test_dear_work_goes_to_the_pool() -> None:
    pool = HandMovedPool()
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=1), Limits())
    (running,) = start(dispatcher, task(data=encode(noise(400, 400))))
    (await nth_batch(pool, 1)).succeed()
    assert is_made(await running)


async def test_cheap_work_goes_to_the_pool_when_the_inline_thread_is_busy() -> None:
    pool = HandMovedPool()
    config = DispatchConfig(inline_ms=1e9, inline_waiting_ms=1)
    dispatcher = Dispatcher(pool, config, Limits())
    first, second = start(dispatcher, task("a", encode(noise(700, 700))), task("b"))
    sent = await nth_batch(pool, 1)
    assert sent.names == "b"
    sent.succeed()
    assert is_made(await second)
    assert is_made(await first)
    assert is_made(await dispatcher.optimize(task("c")))  # inline again
    assert len(pool.sent) == 1


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("svg_logo", UnsupportedFormat),
        ("polyglot_gif_js", CorruptImage),
        ("bomb_jpeg_progressive_4000x4000_4000scans", LimitExceeded),
    ],
)
async def test_what_cannot_be_done_takes_no_lane(name: str, error: type[Exception]) -> None:
    pool = HandMovedPool()
    outcome = await pooled(pool).optimize(task(data=corpus.read(name)))
    assert type(outcome) is error
    assert pool.sent == []


async def test_readiness_is_the_pools() -> None:
    assert await pooled(HandMovedPool()).check_ready() == {"engine": "ok"}
    assert await pooled(HandMovedPool(0)).check_ready() == {"engine": "no replica runs"}


# Batches.


async def test_a_task_leaves_at_once_when_a_replica_is_free() -> None:
    pool = HandMovedPool(2)
    running = start(pooled(pool), task("a"), task("b"))
    await settled()
    assert [sent.names for sent in pool.sent] == ["a", "b"]
    for sent in pool.sent:
        sent.succeed()
    assert all(map(is_made, await asyncio.gather(*running)))


async def test_what_waits_for_a_replica_leaves_together() -> None:
    pool = HandMovedPool()
    running = start(pooled(pool), *map(task, "abcde"))
    await settled()
    assert [sent.names for sent in pool.sent] == ["a"]
    pool.sent[0].succeed()
    (await nth_batch(pool, 2)).succeed()
    assert pool.sent[1].names == "bcde"
    outcomes = await asyncio.gather(*running)
    assert [one.renditions[0].name for one in outcomes if isinstance(one, Result)] == [*"abcde"]


async def test_urgent_work_leaves_first() -> None:
    pool = HandMovedPool()
    wanted = [task("a"), task("b", priority=9), task("c", priority=1), task("d")]
    running = start(pooled(pool, QueueConfig(batch_max=1)), *wanted)
    for number in range(1, 5):
        (await nth_batch(pool, number)).succeed()
    assert "".join(sent.names for sent in pool.sent) == "acdb"
    await asyncio.gather(*running)


@pytest.mark.parametrize(("replicas", "each", "out"), [(1, 1, 1), (2, 1, 2), (1, 3, 3), (2, 2, 4)])
async def test_only_so_many_batches_are_out(replicas: int, each: int, out: int) -> None:
    pool = HandMovedPool(replicas)
    dispatcher = pooled(pool, QueueConfig(batch_max=1), batches_per_replica=each)
    running = start(dispatcher, *map(task, "abcdef"))
    await settled()
    assert len(pool.sent) == out
    for number in range(1, 7):
        (await nth_batch(pool, number)).succeed()
    assert all(map(is_made, await asyncio.gather(*running)))


@given(
    replicas=st.integers(0, 300),
    gateways=st.integers(1, 200),
    each=st.integers(1, 4),
    load=st.floats(0, 2),
)
def test_gateways_share_the_places(replicas: int, gateways: int, each: int, load: float) -> None:
    of_all = replicas * each
    places = count_places(replicas, gateways, each, load * replicas / gateways)
    assert (places > 0) == (replicas > 0)
    assert of_all <= gateways * places
    assert places <= of_all
    # With what the others have out there is no more than half as much again.
    share = math.ceil(1.5 * of_all / gateways)
    assert places <= max(share, of_all - load * of_all * (gateways - 1) / gateways + 1e-6)
    assert count_places(replicas, gateways, each, 0.0) == of_all
    # Where its line stands, none idles and none has more than its share.
    exact = count_places(replicas, gateways, each, load * replicas / gateways, stands=True)
    assert of_all <= gateways * exact < of_all + gateways
    assert exact <= places


@pytest.mark.parametrize(("cost_ms", "out"), [(5000, 3), (500, 5), (1, 6)])
async def test_one_of_many_gateways_has_its_share_out_and_more_where_little_comes(
    cost_ms: float, out: int
) -> None:
    pool = HandMovedPool(8)
    config = DispatchConfig(inline_ms=0, queue=QueueConfig(batch_max=1))
    options = (Options(),)
    wanted = [Estimated(SMALL_PICTURE, options, name, cost_ms=cost_ms) for name in "abcdef"]
    running = start(Dispatcher(pool, config, Limits(), gateways=4), *wanted)
    await settled()
    assert len(pool.sent) == out
    for number in range(1, 7):
        (await nth_batch(pool, number)).succeed()
    assert all(map(is_made, await asyncio.gather(*running)))


async def test_one_of_two_gateways_has_no_more_than_its_share_out_while_its_line_stands() -> None:
    pool = HandMovedPool(4)
    queue = QueueConfig(standing_s=3, standing_tasks=0, standing_after_s=0, batch_max=1)
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=0, queue=queue), Limits(), gateways=2)
    options = (Options(),)
    wanted = [Estimated(SMALL_PICTURE, options, name, cost_ms=5000) for name in "abcdefgh"]
    running = start(dispatcher, *wanted)
    await settled()
    assert len(pool.sent) == 3
    for ended, out in enumerate([2, 2, 1, 0]):
        pool.sent[ended].succeed()
        await settled()
        assert len(pool.sent) - ended - 1 == out
    outcomes = await asyncio.gather(*running)
    assert sum(map(is_made, outcomes)) == 4
    assert sum(isinstance(one, Overloaded) for one in outcomes) == 4


async def test_who_is_turned_away_is_told_so_late_enough_not_to_spin() -> None:
    pool = HandMovedPool()
    queue = QueueConfig(max_waiting_s=1)
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=0, queue=queue), Limits())
    options = (Options(),)
    wanted = [Estimated(SMALL_PICTURE, options, name, cost_ms=900) for name in "abc"]
    first, second, refused = start(dispatcher, *wanted)
    await settled()
    started = perf_counter()
    assert not refused.done()
    assert isinstance(await refused, Overloaded)
    assert perf_counter() - started > 0.05
    assert not first.done()
    for number in (1, 2):
        (await nth_batch(pool, number)).succeed()
    assert all(map(is_made, await asyncio.gather(first, second)))


async def test_while_the_line_stands_new_work_is_turned_away_before_anything_else_is_tried() -> (
    None
):
    pool = HandMovedPool()
    queue = QueueConfig(standing_s=1, standing_tasks=0, standing_after_s=0)
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=0, queue=queue), Limits())
    one, *others, last = (
        Estimated(SMALL_PICTURE, (Options(),), name, cost_ms=900) for name in "abcdefg"
    )
    running = start(dispatcher, one)
    await settled()
    assert await dispatcher.optimize_now(last, True) is None, "there is no line yet"
    running += start(dispatcher, *others)
    await settled()
    assert isinstance(await dispatcher.optimize_now(last, True), Overloaded)
    assert await dispatcher.optimize_now(last, False) is None, "who may join others does"
    for asked in running:
        asked.cancel()


async def test_work_waits_for_the_first_replica() -> None:
    pool = HandMovedPool(0)
    (running,) = start(pooled(pool), task())
    await settled()
    assert pool.sent == []
    pool.replicas = 1
    (await nth_batch(pool, 1)).succeed()
    assert is_made(await running)


async def test_a_further_replica_is_used_as_soon_as_it_is_there() -> None:
    pool = HandMovedPool(1)
    running = start(pooled(pool, QueueConfig(batch_max=1)), *map(task, "ab"))
    await settled()
    assert len(pool.sent) == 1
    pool.replicas = 2
    (await nth_batch(pool, 2)).succeed()
    pool.sent[0].succeed()
    assert all(map(is_made, await asyncio.gather(*running)))


async def test_the_time_in_the_queue_is_told() -> None:
    pool = HandMovedPool()
    first, second = start(pooled(pool), task("a"), task("b"))
    await settled()
    started = perf_counter()
    await until(lambda: perf_counter() - started > 0.02)
    pool.sent[0].succeed()
    (await nth_batch(pool, 2)).succeed()
    at_once, waited = await first, await second
    assert isinstance(at_once, Result)
    assert isinstance(waited, Result)
    assert waited.timings.queue >= 20 > at_once.timings.queue


# Overload.


async def test_too_much_work_is_turned_away_with_a_time_to_come_back() -> None:
    pool = HandMovedPool()
    dispatcher = pooled(pool, QueueConfig(max_waiting_ms=0.001, batch_max=1))
    at_replica, in_line, too_many = start(dispatcher, *map(task, "abc"))
    outcome = await too_many
    assert isinstance(outcome, Overloaded)
    assert outcome.retry_after_s > 0
    (await nth_batch(pool, 1)).succeed()
    (await nth_batch(pool, 2)).succeed()
    assert is_made(await at_replica)
    assert is_made(await in_line)
    assert len(pool.sent) == 2


# Failures.


async def test_a_bad_picture_costs_its_own_answer_only() -> None:
    pool = HandMovedPool()
    wanted = [task("a"), task("b"), task("c", corpus.read("truncated_640x480")), task("d")]
    running = start(pooled(pool, QueueConfig(hop_ms=1000, batch_ms=1000)), *wanted)
    (await nth_batch(pool, 1)).succeed()
    (await nth_batch(pool, 2)).succeed()
    assert pool.sent[1].names == "bdc"  # the cheap ones first
    _, before, bad, after = await asyncio.gather(*running)
    assert isinstance(bad, CorruptImage)
    assert is_made(before)
    assert is_made(after)


async def test_work_of_a_lost_replica_is_done_again() -> None:
    pool = HandMovedPool()
    (running,) = start(pooled(pool), task())
    (await nth_batch(pool, 1)).fail(ReplicaLost("it died"))
    (await nth_batch(pool, 2)).succeed()
    assert pool.sent[1].names == "a"
    assert is_made(await running)


async def test_work_that_lost_two_replicas_is_given_up() -> None:
    pool = HandMovedPool()
    (running,) = start(pooled(pool), task())
    for number in (1, 2):
        (await nth_batch(pool, number)).fail(ReplicaLost("it died"))
    assert isinstance(await running, EngineUnavailable)
    await settled()
    assert len(pool.sent) == 2


async def test_what_was_lost_goes_before_what_came_later() -> None:
    pool = HandMovedPool()
    running = start(pooled(pool, QueueConfig(batch_max=1)), *map(task, "abc"))
    (await nth_batch(pool, 1)).fail(ReplicaLost("it died"))
    for number in (2, 3, 4):
        (await nth_batch(pool, number)).succeed()
    assert "".join(sent.names for sent in pool.sent) == "aabc"
    await asyncio.gather(*running)


async def test_a_picture_that_kills_replicas_takes_nobody_along() -> None:
    """One bad picture in a batch costs its own answer and nobody else's."""
    pool = HandMovedPool()
    running = start(pooled(pool), *map(task, "abkcd"))
    number = 1
    while not all(one.done() for one in running):
        sent = await nth_batch(pool, number)
        if "k" in sent.names:
            sent.fail(ReplicaLost("it died"))
        else:
            sent.succeed()
        number += 1
        await settled()
    outcomes = dict(zip("abkcd", await asyncio.gather(*running), strict=True))
    assert isinstance(outcomes.pop("k"), EngineUnavailable)
    assert {name for name, outcome in outcomes.items() if not is_made(outcome)} == set()


async def test_an_unforeseen_failure_is_told_and_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = HandMovedPool()
    dispatcher = pooled(pool)
    (running,) = start(dispatcher, task())
    (await nth_batch(pool, 1)).fail(RuntimeError("/secret/path"))
    outcome = await running
    assert isinstance(outcome, InternalError)
    assert "secret" not in outcome.detail
    assert "secret" in caplog.text
    (running,) = start(dispatcher, task())
    (await nth_batch(pool, 2)).succeed()
    assert is_made(await running)


# Clients that leave, and time that passes.


async def test_work_of_a_client_that_left_is_not_done() -> None:
    pool = HandMovedPool()
    at_replica, leaves, stays = start(pooled(pool), *map(task, "abc"))
    await settled()
    leaves.cancel()
    await settled()
    assert leaves.cancelled()
    pool.sent[0].succeed()
    (await nth_batch(pool, 2)).succeed()
    assert pool.sent[1].names == "c"
    assert is_made(await at_replica)
    assert is_made(await stays)


async def test_a_client_may_leave_while_its_work_is_done() -> None:
    pool = HandMovedPool()
    dispatcher = pooled(pool)
    (leaves,) = start(dispatcher, task())
    sent = await nth_batch(pool, 1)
    leaves.cancel()
    await settled()
    sent.succeed()
    (stays,) = start(dispatcher, task("b"))
    (await nth_batch(pool, 2)).succeed()
    assert is_made(await stays)


@pytest.mark.parametrize("at_replica", [True, False])
async def test_the_time_limit_holds(at_replica: bool) -> None:
    pool = HandMovedPool(1 if at_replica else 0)
    outcome = await pooled(pool, time_limit_s=0.05).optimize(task())
    assert isinstance(outcome, TaskTimeout)
    assert "0.05 s" in outcome.detail
    assert len(pool.sent) == at_replica


async def test_the_time_limit_holds_inline() -> None:
    config = DispatchConfig(inline_ms=1e9, time_limit_s=0.02)
    dispatcher = Dispatcher(HandMovedPool(), config, Limits())
    slow = ImageTask(encode(noise(700, 700)), (Options(format="webp", effort=6),), "a")
    assert isinstance(await dispatcher.optimize(slow), TaskTimeout)


@pytest.mark.parametrize(
    "wrong",
    [
        {"inline_ms": -1},
        {"loop_ms": -1},
        {"inline_waiting_ms": -1},
        {"batches_per_replica": 0},
        {"time_limit_s": 0},
    ],
    ids=str,
)
async def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DispatchConfig(**wrong)


# Descriptions go the same ways.


@pytest.mark.parametrize("loop_ms", [0, 1000])
async def test_a_picture_is_described_inline(loop_ms: float) -> None:
    pool = HandMovedPool()
    config = DispatchConfig(inline_ms=1000, loop_ms=loop_ms)
    info = await Dispatcher(pool, config, Limits()).optimize(InfoTask(SMALL_PICTURE, "a"))
    assert isinstance(info, ImageInfo)
    assert info.source.width == 8
    assert pool.sent == []


async def test_a_picture_is_described_beside_renditions_and_after_a_loss() -> None:
    pool = HandMovedPool()
    dispatcher = pooled(pool)
    kinds = (task("a"), InfoTask(SMALL_PICTURE, "b"), task("c"), InfoTask(b"GIF89a", "d"))
    running = [asyncio.create_task(dispatcher.optimize(one)) for one in kinds]
    (await nth_batch(pool, 1)).succeed()
    (await nth_batch(pool, 2)).fail(ReplicaLost("it died"))
    number = 3
    while not all(one.done() for one in running):
        (await nth_batch(pool, number)).succeed()
        number += 1
        await settled()
    made, info, made_too, bad = await asyncio.gather(*running)
    assert is_made(made)
    assert is_made(made_too)
    assert isinstance(info, ImageInfo)
    assert info.timings.queue > 0
    assert isinstance(bad, CorruptImage)
    assert {sent.names for sent in pool.sent} >= {"b"}


async def test_what_cannot_be_described_is_turned_away_on_its_header() -> None:
    pool = HandMovedPool()
    data = corpus.read("png_header_9000x9000_no_data")
    assert isinstance(await pooled(pool).optimize(InfoTask(data, "a")), LimitExceeded)
    assert isinstance(await pooled(pool).optimize(InfoTask(b"text", "a")), UnsupportedFormat)
    assert pool.sent == []


# Work that is stopped, and pictures that end replicas.


async def test_a_task_that_a_replica_could_not_begin_is_done_by_another() -> None:
    pool = HandMovedPool()
    (running,) = start(pooled(pool), task())
    (await nth_batch(pool, 1)).answer(None)
    (await nth_batch(pool, 2)).answer(None)
    (await nth_batch(pool, 3)).succeed()
    assert is_made(await running)


async def test_a_task_that_was_stopped_costs_its_own_answer_only() -> None:
    pool = HandMovedPool()
    running = start(pooled(pool, QueueConfig(hop_ms=1000)), *map(task, "abc"))
    (await nth_batch(pool, 1)).succeed()
    both = await nth_batch(pool, 2)
    assert (both.names, all(limit < 4 for limit in both.limits_s)) == ("bc", True)
    both.answer(TaskTimeout("stopped"), None)
    mate = await nth_batch(pool, 3)
    assert mate.names == "c"  # it has been kept waiting
    mate.succeed()
    again = await nth_batch(pool, 4)
    assert (again.names, again.limits_s[0] > 9) == ("b", True)  # the rest of its time, alone
    again.answer(TaskTimeout("stopped"))
    done, stopped, retried = await asyncio.gather(*running)
    assert is_made(done)
    assert isinstance(stopped, TaskTimeout)
    assert "10 s" in stopped.detail
    assert is_made(retried)


async def test_a_replica_is_told_how_long_it_may_take() -> None:
    pool = HandMovedPool()
    (running,) = start(pooled(pool, time_limit_s=7), task())
    sent = await nth_batch(pool, 1)
    assert 6 < sent.limits_s[0] <= 7
    sent.succeed()
    await running


async def test_what_has_waited_too_long_is_not_begun() -> None:
    pool = HandMovedPool()
    dispatcher = pooled(pool, time_limit_s=0.05)
    started = perf_counter()
    running = start(dispatcher, *map(task, "ab"))
    await nth_batch(pool, 1)
    await until(lambda: perf_counter() - started > 0.06)
    pool.sent[0].succeed()
    assert isinstance(await running[1], TaskTimeout)
    assert len(pool.sent) == 1


@pytest.mark.parametrize("died", [True, False])
async def test_a_picture_that_ends_two_replicas_is_turned_away(tmp_path: Path, died: bool) -> None:
    pool = HandMovedPool()
    quarantine = Quarantine(str(tmp_path))
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=0), Limits(), quarantine)
    number = 0
    for _ in range(2):
        (running,) = start(dispatcher, task())
        await settled()
        while not running.done():
            number += 1
            sent = await nth_batch(pool, number)
            if died:
                sent.fail(ReplicaLost("it died"))
            else:
                sent.answer(TaskTimeout("stopped"))
            await settled()
    assert isinstance(await dispatcher.optimize(task()), Quarantined)
    assert number == 2
    (other,) = start(dispatcher, task(data=png(9, 9)))
    (await nth_batch(pool, 3)).succeed()
    assert is_made(await other)


async def test_a_picture_that_was_there_by_chance_stays_welcome(tmp_path: Path) -> None:
    pool = HandMovedPool()
    quarantine = Quarantine(str(tmp_path))
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=0), Limits(), quarantine)
    for number in (1, 3, 5):
        (running,) = start(dispatcher, task())
        (await nth_batch(pool, number)).fail(ReplicaLost("it died"))
        (await nth_batch(pool, number + 1)).succeed()
        assert is_made(await running)


async def test_a_picture_that_lost_two_replicas_at_once_stays_welcome(tmp_path: Path) -> None:
    pool = HandMovedPool(2)
    quarantine = Quarantine(str(tmp_path))
    dispatcher = Dispatcher(pool, DispatchConfig(inline_ms=0), Limits(), quarantine)
    running = start(dispatcher, task("a"), task("b"))
    for number in (1, 2):
        (await nth_batch(pool, number)).fail(ReplicaLost("the node died"))
    for number in (3, 4):
        (await nth_batch(pool, number)).succeed()
    assert all(map(is_made, await asyncio.gather(*running)))
    assert not quarantine.is_quarantined(task().digest)


# Many renditions at once.


def many(picture: bytes, *widths: int) -> ImageTask:
    wanted = tuple(Options(name=str(w), width=w, format="webp", effort=6) for w in widths)
    return ImageTask(picture, wanted, "m")


async def test_dear_renditions_are_split_over_free_replicas() -> None:
    pool = HandMovedPool(2)
    picture = encode(noise(600, 600))
    whole = many(picture, 500, 400, 300, 200)
    (running,) = start(pooled(pool, split_ms=1), whole)
    await nth_batch(pool, 2)
    for sent in pool.sent:
        sent.succeed()
    result = await running
    assert isinstance(result, Result)
    assert len(pool.sent) == 2
    assert result.renditions == whole.run(Limits()).renditions  # in order, and the same bytes


async def test_nothing_is_split_while_others_wait_or_where_it_does_not_pay() -> None:
    pool = HandMovedPool(1)
    picture = encode(noise(300, 300))
    running = start(pooled(pool, split_ms=1), many(picture, 200, 100))
    (await nth_batch(pool, 1)).succeed()
    assert len(pool.sent) == 1
    await asyncio.gather(*running)
    pool = HandMovedPool(2)
    running = start(pooled(pool, split_ms=1e9), many(picture, 200, 100))
    (await nth_batch(pool, 1)).succeed()
    assert len(pool.sent) == 1
    await asyncio.gather(*running)


async def test_a_failed_part_is_the_failure_of_the_whole() -> None:
    pool = HandMovedPool(2)
    (running,) = start(pooled(pool, split_ms=1), many(encode(noise(600, 600)), 500, 400))
    await nth_batch(pool, 2)
    pool.sent[0].succeed()
    pool.sent[1].answer(TaskTimeout("stopped"))
    assert isinstance(await running, TaskTimeout)


async def test_what_takes_less_time_than_to_ask_is_done_at_once() -> None:
    dispatcher = Dispatcher(HandMovedPool(), DispatchConfig(), Limits())
    made = await dispatcher.optimize_now(task(), True)
    assert made is not None
    assert is_made(made)
    assert await dispatcher.optimize_now(task(data=encode(noise(900, 900))), True) is None
    refused = await dispatcher.optimize_now(task(data=b"GIF89a"), True)
    assert isinstance(refused, CorruptImage)
    assert await pooled(HandMovedPool()).optimize_now(task(), True) is None


async def test_a_task_that_is_not_done_at_once_is_judged_once() -> None:
    """A picture that is turned away should cost little."""
    judged: list[str] = []

    class Judged(ImageTask):
        def estimate_ms(self, header: Header) -> float:
            judged.append(self.request_id)
            return super().estimate_ms(header)

    pool = HandMovedPool()
    dispatcher = pooled(pool)
    one, other = (Judged(SMALL_PICTURE, (Options(name=name),), name) for name in "ab")
    assert await dispatcher.optimize_now(one, True) is None
    (running,) = start(dispatcher, one)
    (await nth_batch(pool, 1)).succeed()
    assert isinstance(await running, Result)
    assert judged == ["a"]
    (running,) = start(dispatcher, other)  # nobody has looked at this one before
    (await nth_batch(pool, 2)).succeed()
    assert isinstance(await running, Result)
    assert judged == ["a", "b"]
