"""Reports of gateways: kept, passed on by Resizers, read again as one sum."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from omnishot_ray.serving.load import (
    Arrivals,
    GatewayLoad,
    Latencies,
    LoadBook,
    read_active,
    read_cpu,
    read_loads,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Told(NamedTuple):
    timestamp: float
    value: float


def load(gateway: str = "g", queued_ms: float = 5.0, at_s: float = 1000.0) -> GatewayLoad:
    return GatewayLoad(gateway, queued_ms, 2, 30.0, 1.5, at_s)


def told(*stats: Mapping[str, float], at_s: float = 1000.0) -> dict[str, dict[object, list[Told]]]:
    """What Serve hands to a policy when replicas 0, 1, … have told these."""
    series: dict[str, dict[object, list[Told]]] = {}
    for replica, values in enumerate(stats):
        for name, value in values.items():
            series.setdefault(name, {})[replica] = [Told(at_s, value)]
    return series


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> LoadBook:
    return LoadBook(clock=clock, cpu_clock=lambda: 0.0)


def read(*books: LoadBook) -> list[GatewayLoad]:
    return read_loads(told(*(book.stats() for book in books)), 1000.0, 10.0)


def test_a_report_comes_out_as_it_went_in(book: LoadBook) -> None:
    book.note(load("a:1", 12.5))
    book.note(load("b@2", 1.0))
    assert read(book) == [load("a:1", 12.5), load("b@2", 1.0)]


def test_the_newest_of_a_gateway_is_kept(book: LoadBook) -> None:
    for at_s, queued_ms in ((1000.0, 1.0), (1002.0, 2.0), (1001.0, 3.0)):
        book.note(load(queued_ms=queued_ms, at_s=at_s))
    assert read(book) == [load(queued_ms=2.0, at_s=1002.0)]


def test_old_reports_are_dropped(book: LoadBook, clock: Clock) -> None:
    book.note(load("a"))
    clock.now += 1.5
    book.note(load("b"))
    clock.now += 1.0
    assert read(book) == [load("b")]
    clock.now += 60.0
    assert set(book.stats()) == {"cpu", "active"}


def test_a_report_that_two_resizers_have_counts_once(book: LoadBook, clock: Clock) -> None:
    other = LoadBook(clock=clock)
    book.note(load("a", 10.0, 999.0))
    other.note(load("a", 20.0, 1000.0))
    other.note(load("b", 3.0))
    assert sorted(one.queued_ms for one in read(book, other)) == [3.0, 20.0]


def test_what_is_kept_of_others_is_bounded(book: LoadBook) -> None:
    for number in range(3000):
        book.note(load(str(number)))
    assert len(book.stats()) == 2 + 5 * 1024


@pytest.mark.parametrize("now_s", [1010.1, 989.9])
def test_stale_reports_are_not_believed(book: LoadBook, now_s: float) -> None:
    book.note(load())
    series = told(book.stats())
    assert read_loads(series, now_s, 10.0) == []
    assert read_cpu(series, 1, now_s, 10.0) is None
    assert read_loads(series, 1000.0, 10.0) == [load()]


@pytest.mark.parametrize("name", ["queued_ms", "waiting", "p95_ms", "offered", "at_s"])
def test_half_a_report_is_none(book: LoadBook, name: str) -> None:
    book.note(load())
    whole = told(book.stats())
    assert read_loads({key: whole[key] for key in whole if key != f"{name}@g"}, 1000.0, 10.0) == []
    whole[f"{name}@g"] = {0: [Told(1000.0, math.nan)]}
    assert read_loads(whole, 1000.0, 10.0) == []


def test_tasks_are_counted_while_they_are_here(book: LoadBook) -> None:
    def fail() -> None:
        with book.batch(16):
            assert book.stats()["active"] == 17
            raise ValueError("broken")

    with book.batch(1):
        with pytest.raises(ValueError, match="broken"):
            fail()
        assert book.stats()["active"] == 1
    assert book.stats()["active"] == 0


@pytest.mark.parametrize(
    ("cores", "cpu_s", "share"),
    [(1.0, 0.5, 0.25), (1.0, 9.0, 1.0), (2.0, 1.0, 0.25), (0, 1.0, 0.5)],
)
def test_cpu_is_the_share_of_the_cores_since_the_last_look(
    clock: Clock, cores: float, cpu_s: float, share: float
) -> None:
    spent = Clock()
    book = LoadBook(cores, clock, spent)
    clock.now += 2.0
    spent.now += cpu_s
    assert book.stats()["cpu"] == share
    clock.now += 0.1
    spent.now += 0.1
    assert book.stats()["cpu"] == share, "too short to measure"
    clock.now += 0.9
    assert book.stats()["cpu"] == pytest.approx(0.1 / max(cores, 1.0))


def test_means_need_more_than_half_of_the_replicas() -> None:
    series = told({"cpu": 0.5, "active": 1}, {"cpu": 0.7, "active": 4})
    assert read_cpu(series, 2, 1000.0, 10.0) == pytest.approx(0.6)
    assert read_active(series, 3, 1000.0, 10.0) == 2.5
    assert read_cpu(series, 4, 1000.0, 10.0) is None
    assert read_cpu({}, 0, 1000.0, 10.0) is None


def test_a_mean_is_over_the_window() -> None:
    series = {"cpu": {0: [Told(900.0, 1.0), Told(999.0, 0.2), Told(1000.0, 0.4)]}}
    assert read_cpu(series, 1, 1000.0, 10.0) == pytest.approx(0.3)


def test_p95_is_of_the_last_seconds() -> None:
    times = Latencies(window_s=10.0, most=1000)
    assert times.p95(0.0) == 0.0
    for number in range(1, 101):
        times.note(float(number), 0.0)
    assert times.p95(5.0) == 95.0
    times.note(7.0, 8.0)
    assert times.p95(10.5) == 7.0
    assert times.p95(30.0) == 0.0


def test_arrivals_are_cores_of_work_of_the_last_seconds() -> None:
    arrivals = Arrivals(window_s=5.0)
    assert arrivals.cores(0.0) == 0.0
    for second in range(10):
        arrivals.note(2_000.0, float(second) + 0.5)
    assert arrivals.cores(10.0) == pytest.approx(2.0)
    assert arrivals.cores(12.0) == pytest.approx(1.2)
    assert arrivals.cores(99.0) == 0.0
