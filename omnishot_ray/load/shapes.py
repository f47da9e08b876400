"""How many visitors come when: the shapes of a load test, and what has to hold in each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

MOST_USERS = 10_000
MOST_SECONDS = 2 * 3600.0
_OLD_STEPS = (1, 5, 10, 20, 30)
"""Users of the load tests of the system that this one replaces."""


@dataclass(frozen=True, slots=True)
class Stage:
    """So many users for so long."""

    users: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What has to hold over the whole run; None is not looked at.

    `most_errors` is the share of answers that are neither right nor 429; `most_shed` that of 429,
    without which a service that turns everybody away has no errors.
    `least_tail` compares the throughput of the last stage with the first: a service has to come
    back. `most_slope_mb` is memory in MB a minute, by the Theil-Sen slope, after the first
    `warm_s` seconds, at most half of the run: until then caches and heaps fill.
    """

    most_errors: float = 0.001
    most_shed: float | None = None
    most_p95_ms: float | None = None
    least_tail: float | None = None
    most_slope_mb: float | None = None
    warm_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Stages, one after the other. `pace_s`: a user asks so often, answered or not yet thought."""

    name: str
    what: str
    stages: tuple[Stage, ...]
    thresholds: Thresholds
    think_s: float = 0.1
    pace_s: float | None = None

    def __post_init__(self) -> None:
        if not self.stages or self.seconds > MOST_SECONDS or self.users > MOST_USERS:
            raise ValueError(
                f"a load test has at most {MOST_USERS:,} users and {MOST_SECONDS / 3600:g} hours"
            )
        if any(stage.users < 1 or stage.seconds <= 0 for stage in self.stages):
            raise ValueError("every stage has at least 1 user and lasts more than 0 s")

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def users(self) -> int:
        """The most at a time."""
        return max(stage.users for stage in self.stages)

    def stage_at(self, second: float) -> int | None:
        """The index of the stage that runs, None after the last."""
        for index, stage in enumerate(self.stages):
            second -= stage.seconds
            if second < 0:
                return index
        return None


def _steps(users: int | None, seconds: float | None) -> Shape:
    most = users or _OLD_STEPS[-1]
    counts = [count for count in _OLD_STEPS if count < most] + [most]
    return Shape(
        "steps",
        "1, 5, 10, 20 and 30 users, one step after the other",
        tuple(Stage(count, seconds or 20) for count in counts),
        Thresholds(most_shed=0.0, most_p95_ms=2000),
    )


def _rates(users: int | None, seconds: float | None) -> Shape:
    """Twice as many users as requests a second, each asking every two seconds."""
    rates = [rate for rate in (5, 10, 20) if rate <= (users or 20)] or [users or 20]
    return Shape(
        "rates",
        "warm-up at 5 requests a second, sustained at 10, high at 20",
        tuple(Stage(2 * rate, seconds or 30) for rate in rates),
        Thresholds(most_shed=0.0, most_p95_ms=1000),
        think_s=0.0,
        pace_s=2.0,
    )


def _knee(users: int | None, seconds: float | None) -> Shape:
    most, counts = users or 64, [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return Shape(
        "knee",
        "twice as many users at each step, beyond what the service can do",
        tuple(Stage(count, seconds or 10) for count in counts),
        Thresholds(most_shed=0.9),
        think_s=0.0,
    )


def _spike(users: int | None, seconds: float | None) -> Shape:
    most, length = users or 40, seconds or 20
    few = max(1, most // 10)
    return Shape(
        "spike",
        "ten times the users for a while, and calm again",
        (Stage(few, length), Stage(most, length), Stage(few, 2 * length)),
        Thresholds(most_shed=0.5, least_tail=0.8),
    )


def _soak(users: int | None, seconds: float | None) -> Shape:
    return Shape(
        "soak",
        "the same load for ten minutes",
        (Stage(users or 8, seconds or 600),),
        Thresholds(most_shed=0.0, most_slope_mb=4.0),
    )


def _crowd(name: str, count: int, think_s: float) -> "Builder":
    def build(users: int | None, seconds: float | None) -> Shape:
        most = users or count
        return Shape(
            name,
            f"{count:,} users, each asking every {think_s:g} s",
            (Stage(max(1, most // 10), seconds or 20), Stage(most, 3 * (seconds or 20))),
            Thresholds(most_shed=0.5),
            think_s=think_s,
        )

    return build


Builder = Callable[[int | None, float | None], Shape]
SHAPES: Mapping[str, Builder] = {
    "steps": _steps,
    "rates": _rates,
    "knee": _knee,
    "spike": _spike,
    "soak": _soak,
    "thousand": _crowd("thousand", 1_000, 20.0),
    "ten-thousand": _crowd("ten-thousand", 10_000, 120.0),
}


def build_shape(name: str, users: int | None = None, seconds: float | None = None) -> Shape:
    """A shape with at most so many users and stages of so many seconds.

    Raises `KeyError` for an unknown name and `ValueError` for what is out of bounds.
    """
    return SHAPES[name](users, seconds)
