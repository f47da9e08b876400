"""One setting, some values of it, and what each of them does."""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

from benchmarks.settings import variable
from omnishot_ray.imaging.allocation import MALLOC
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.settings import Settings
from tests.redis_server import running_redis

Figures = Mapping[str, float]
"""Numbers by what they are of, with the unit first: `core-µs a request`."""
_ROUNDS = 5
FOLDER, REDIS = "/{folder}", "redis://{redis}"
"""Stand for an empty folder and for a Redis that begin with a measurement and end with it."""


@dataclass(frozen=True, eq=False)
class Case:
    """`measure` takes one of the values; `what` says in a few words what is done with it."""

    setting: str
    values: tuple[Any, ...]
    what: str
    measure: Callable[[Any], Figures | Awaitable[Figures]]
    waits: bool = False
    """It stands still: others may be measured at the same time."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Other settings, without which the service does not take the values."""

    async def figures(self, value: Any) -> Figures:
        """What one value does."""
        found = self.measure(value)
        return await found if isawaitable(found) else found

    def environment(self, value: Any) -> dict[str, str]:
        """For the service, as lists and flags are written there."""
        written = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        others = {variable(name): text for name, text in self.beside.items()}
        return {**others, variable(self.setting): written}


def default_of(setting: str) -> Any:
    """What a setting is when nobody sets it."""
    node: Any = Settings()
    for part in setting.split("."):
        node = getattr(node, part)
    return node


@dataclass(frozen=True)
class Pace:
    """Of one call, in microseconds: on the clock, and of this process's CPU."""

    us: float
    core_us: float


def pace_of(do: Callable[[], object], times: int) -> Pace:
    """The median of some rounds of so many calls."""
    rounds = []
    for _ in range(_ROUNDS):
        began, spent = perf_counter(), process_time()
        for _ in range(times):
            do()
        rounds.append((perf_counter() - began, process_time() - spent))
    return _median(rounds, times)


async def pace(do: Callable[[], Awaitable[object]], times: int) -> Pace:
    """The same of a coroutine."""
    rounds = []
    for _ in range(_ROUNDS):
        began, spent = perf_counter(), process_time()
        for _ in range(times):
            await do()
        rounds.append((perf_counter() - began, process_time() - spent))
    return _median(rounds, times)


def _median(rounds: list[tuple[float, float]], times: int) -> Pace:
    return Pace(*(median(one) / times * 1e6 for one in zip(*rounds, strict=True)))


@dataclass
class Spent:
    """Seconds within a `spending`: on the clock, and of this process's CPU."""

    s: float = 0.0
    core_s: float = 0.0


@contextmanager
def spending() -> Iterator[Spent]:
    """What is done within takes."""
    spent = Spent()
    began, before = perf_counter(), process_time()
    try:
        yield spent
    finally:
        spent.s, spent.core_s = perf_counter() - began, process_time() - before


def fresh(function: Callable[..., Figures], *given: object) -> Figures:
    """What a function says in a process of its own, with the memory settings of a replica."""
    context = multiprocessing.get_context("spawn")
    with patch.dict("os.environ", MALLOC), context.Pool(1) as pool:
        return pool.apply(function, given)


@contextmanager
def place() -> Iterator[Path]:
    """An empty folder."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def filled(value: str) -> Iterator[str]:
    """A value with a real folder and a real Redis where it names one."""
    with place() as folder:
        value = value.replace(FOLDER, str(folder))
        if REDIS not in value:
            yield value
            return
        with running_redis() as redis:
            yield value.replace(REDIS, redis.url)


def rendition(number: int, **given: object) -> Options:
    """One that has a name of its own among several."""
    return replace(parse_options(given), name=f"v{number}")


def folder_bytes(folder: Path) -> int:
    """Of all files in it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def measure(case: Case) -> list[Figures]:
    """Figures of all values: one after the other, or at once where they stand still."""
    if case.waits:
        return list(await asyncio.gather(*map(case.figures, case.values)))
    return [await case.figures(value) for value in case.values]
