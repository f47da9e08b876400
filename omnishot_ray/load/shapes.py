"""How many visitors come when: the shapes of a load test, and what has to hold in each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MOST_USERS = 10_000
MOST_SECONDS = 2 * 3600.0
_OLD_STEPS = (1, 5, 10, 20, 30)
"""Users of the load tests of the system that this one replaces."""
_RATES = (5, 10, 20)


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
    counts = _up_to(_OLD_STEPS, users)
    return Shape(
        "steps",
        f"{_listed(counts)}, {_lasting(seconds or 20)} each",
        tuple(Stage(count, seconds or 20) for count in counts),
        Thresholds(most_shed=0.0, most_p95_ms=2000),
    )


def _rates(users: int | None, seconds: float | None) -> Shape:
    """Twice as many users as requests a second, each asking every two seconds."""
    rates = _up_to(_RATES, users)
    return Shape(
        "rates",
        f"{_listed(rates, 'request')} a second, {_lasting(seconds or 30)} each",
        tuple(Stage(2 * rate, seconds or 30) for rate in rates),
        Thresholds(most_shed=0.0, most_p95_ms=1000),
        think_s=0.0,
        pace_s=2.0,
    )


def _knee(users: int | None, seconds: float | None) -> Shape:
    """Halved from the top, so that the last step is not a small one that looks like a knee."""
    counts = [users or 64]
    while counts[0] > 1:
        counts.insert(0, counts[0] // 2)
    return Shape(
        "knee",
        f"twice as many users at each step, from 1 to {counts[-1]:,}, "
        f"{_lasting(seconds or 10)} each",
        tuple(Stage(count, seconds or 10) for count in counts),
        Thresholds(most_shed=0.9),
        think_s=0.0,
    )


def _spike(users: int | None, seconds: float | None) -> Shape:
    most, length = 40 if users is None else users, seconds or 20
    if most < 2:
        raise ValueError("a spike has at least 2 users: one who is there before, and one who comes")
    few = max(1, most // 10)
    return Shape(
        "spike",
        f"{_count(few)}, {most:,} for {_lasting(length)}, and {few:,} again",
        (Stage(few, length), Stage(most, length), Stage(few, 2 * length)),
        Thresholds(most_shed=0.5, least_tail=0.8),
    )


def _soak(users: int | None, seconds: float | None) -> Shape:
    return Shape(
        "soak",
        f"the same load, {_count(users or 8)}, for {_lasting(seconds or 600)}",
        (Stage(users or 8, seconds or 600),),
        Thresholds(most_shed=0.0, most_slope_mb=4.0),
    )


def _crowd(name: str, count: int, think_s: float) -> "Builder":
    def build(users: int | None, seconds: float | None) -> Shape:
        most, length = users or count, seconds or 20
        few = max(1, most // 10)
        return Shape(
            name,
            f"{_count(most)} for {_lasting(3 * length)}, after {few:,} for {_lasting(length)}, "
            f"each asking every {think_s:g} s",
            (Stage(few, length), Stage(most, 3 * length)),
            Thresholds(most_shed=0.5),
            think_s=think_s,
        )

    return build


def _up_to(usual: Sequence[int], most: int | None) -> list[int]:
    """The usual steps below `most`, and that itself."""
    most = most or usual[-1]
    return [*(step for step in usual if step < most), most]


def _count(number: int, what: str = "user") -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _listed(numbers: Sequence[int], what: str = "user") -> str:
    before = ", ".join(f"{number:,}" for number in numbers[:-1])
    return f"{before} and {_count(numbers[-1], what)}" if before else _count(numbers[0], what)


def _lasting(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:g} min" if seconds >= 120 and minutes.is_integer() else f"{seconds:g} s"


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
    """A shape with so many users at its top (`rates`: requests a second) and stages of so many
    seconds.

    Raises `KeyError` for an unknown name and `ValueError` for what is out of bounds.
    """
    return SHAPES[name](users, seconds)
