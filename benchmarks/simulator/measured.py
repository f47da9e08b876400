"""What is measured of the running service: costs by themselves, and the loads to be predicted.

All of it is kept, answer by answer, so that another model can be held against the same
measurements. The machine itself gets slower and faster from one minute to the next, so a basket of
the engine's work is timed before and after each (`pace.py`): what was measured at one time is put
into the units of another by it. Nothing else of a load that is predicted goes into its prediction.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from statistics import median
from time import sleep, time
from typing import Any
from urllib.parse import urlsplit

from benchmarks.simulator.pace import Pace, measure_beside
from benchmarks.simulator.times import estimate, measure_engine, name_of
from benchmarks.usage import cpu_by_part
from omnishot_ray.load.messages import pack
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.run import run_shape
from omnishot_ray.load.service import own_service
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import MIXES, Mix, Traffic, without

WARM_S, IDLE_S = 3.0, 6.0
SETTLE_S = 12.0
"""Ready is not yet calm: processes that were started in advance still import."""
LOADS: tuple[tuple[str, int], ...] = (("usual", 2), ("usual", 8), ("plain", 4))
"""Mixes and users that are predicted."""
THINK_S = 0.05
SMALL = Mix({"upload": 1, "thumbnail": 1}, reuse=0.0)
SMALL_USERS = 6
"""For each core: enough that what they take stands out from what the service takes by itself."""
LARGE = Mix({"photo": 1, "webp": 1, "platform": 1}, reuse=0.0)
"""Pixels that a gateway makes itself."""
LARGE_USERS = 6
_CALM_REQUESTS, _CALM_S = 72, 0.05
_ENGINE = frozenset({"decode", "transform", "encode"})


@dataclass(frozen=True)
class Load:
    """Visitors for a while, and what came of them after `WARM_S`.

    `cpu` in core-seconds by part of the service over `cpu_s` seconds; `answers` are seconds since
    the beginning, kind, milliseconds, fault, cache; `basket_ms` is the machine meanwhile.
    """

    mix: str
    users: int
    seconds: float
    seed: int
    basket_ms: float
    cpu_s: float
    cpu: Mapping[str, float]
    client_ms: float
    answers: Sequence[tuple[float, str, float, str, str]] = ()

    @property
    def counted(self) -> list[tuple[float, str, float, str, str]]:
        """After the warm-up."""
        return [one for one in self.answers if WARM_S <= one[0] < WARM_S + self.seconds]


@dataclass(frozen=True)
class Calm:
    """One request: its kind, its size, the engine's time in the service and alone, the answer's."""

    kind: str
    megabytes: float
    engine_ms: float
    alone_ms: float
    answer_ms: float


@dataclass(frozen=True)
class Round:
    """Calibration and loads that were measured within a few minutes."""

    calm_basket_ms: float
    calm: Sequence[Calm]
    small: Load
    large: Load
    loads: Sequence[Load]


@dataclass(frozen=True)
class Measured:
    """Of a service on so many cores. `engine` by `name_of` a request, in ms, while a basket took
    `engine_basket_ms`; `beside` is how much longer on all cores at once; `idle` in cores by part.
    """

    cores: int
    engine: Mapping[str, float]
    engine_basket_ms: float
    beside: float
    idle: Mapping[str, float]
    rounds: Sequence[Round] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def from_dict(document: Mapping[str, Any]) -> Measured:
    """What `as_dict` gave."""

    def load(one: Mapping[str, Any]) -> Load:
        return Load(**{**one, "answers": [tuple(row) for row in one["answers"]]})

    rounds = [
        Round(
            one["calm_basket_ms"],
            [Calm(**calm) for calm in one["calm"]],
            load(one["small"]),
            load(one["large"]),
            [load(row) for row in one["loads"]],
        )
        for one in document["rounds"]
    ]
    return Measured(**{**document, "rounds": rounds})


def mix_of(name: str) -> Mix:
    """A mix without jobs, which the model does not have."""
    special = {"small": SMALL, "large": LARGE}
    mix = special.get(name) or MIXES[name]
    return without(mix, {"job"}) if "job" in mix.weights else mix


def shape_of(users: int, seconds: float) -> Shape:
    """A stage that warms up, and one that counts."""
    stages = (Stage(users, WARM_S), Stage(users, seconds))
    return Shape("validate", "two stages", stages, Thresholds(), think_s=THINK_S)


def measure_load(
    url: str, pid: int, pace: Pace, name: str, users: int, seconds: float, seed: int
) -> Load:
    """A load from its beginning to its end."""
    looks: list[tuple[float, Counter[str]]] = []

    def look(at_s: float, *_: object) -> None:
        if WARM_S <= at_s < WARM_S + seconds:
            looks.append((at_s, cpu_by_part(pid)))

    before_ms = pace.basket_ms()
    run = run_shape(
        shape_of(users, seconds), url, mix_of(name), seed=seed, decode_every=50, on_progress=look
    )
    basket_ms = (before_ms + pace.basket_ms()) / 2
    wrong = [one.problem for one in run.answers if not one.is_right and not one.is_shed]
    if wrong:
        raise SystemExit(f"wrong answers: {Counter(wrong)}")
    (first_s, first), (last_s, last) = looks[0], looks[-1]
    last.subtract(first)
    return Load(
        name,
        users,
        seconds,
        seed,
        basket_ms,
        last_s - first_s,
        {part: round(spent, 2) for part, spent in last.items()},
        run.cpu_s / max(1, len(run.answers)) * 1000.0,
        [
            (round(one.at_s - run.started_at, 3), one.kind, one.ms, one.problem, one.cache)
            for one in run.answers
        ],
    )


def measure_idle(pid: int) -> dict[str, float]:
    """Cores that the parts of the service take while nobody asks for anything."""
    sleep(SETTLE_S)
    begun, before = time(), cpu_by_part(pid)
    sleep(IDLE_S)
    spent, passed = cpu_by_part(pid), time() - begun
    spent.subtract(before)
    return {part: round(max(0.0, seconds) / passed, 4) for part, seconds in spent.items()}


def measure_calm(url: str, engine: Mapping[str, float], seed: int) -> list[Calm]:
    """One request after the other, with pauses; every kind as often."""
    mix = replace_weights(mix_of("usual"))
    asks = Traffic(drawn_library(), mix, seed).visitor(0)
    seen = []
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        for _ in range(_CALM_REQUESTS):
            ask = next(asks)
            content_type, body = pack(ask)
            sleep(_CALM_S)
            begun = time()
            connection.request("POST", ask.path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            answer.read()
            took_ms = (time() - begun) * 1000.0
            if answer.headers["X-Cache"] != "miss":
                raise SystemExit(f"a calm request was not made: {answer.status} {ask.path}")
            stages = [part.split(";dur=") for part in answer.headers["Server-Timing"].split(", ")]
            engine_ms = sum(float(ms) for stage, ms in stages if stage in _ENGINE)
            alone_ms = engine.get(name_of(ask), estimate(ask))
            size = len(ask.picture.data) / 1e6
            seen.append(Calm(ask.kind, size, round(engine_ms, 2), alone_ms, round(took_ms, 2)))
    return seen


def replace_weights(mix: Mix) -> Mix:
    """The kinds of a mix equally often, and nothing twice."""
    return Mix(dict.fromkeys(mix.weights, 1), reuse=0.0)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This process and all that it starts on so many cores. SystemExit when there are fewer."""
    available = sorted(os.sched_getaffinity(0))
    if count > len(available):
        raise SystemExit(f"{count} cores are not here")
    os.sched_setaffinity(0, available[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, available)


def measure(cores: int, rounds: int, seconds: float) -> Iterator[Measured]:
    """What there is after each round. The loads change places from round to round."""
    settings = {
        "OMNISHOT_RESIZERS__MIN_REPLICAS": str(cores),
        "OMNISHOT_RESIZERS__MAX_REPLICAS": str(cores),
        "OMNISHOT_GATEWAYS__REPLICAS": str(cores),
    }
    mixes = [mix_of(name) for name in ("usual", "plain")]
    done: list[Round] = []
    with on_cores(cores), ExitStack() as stack:
        pace, *others = [stack.enter_context(Pace()) for _ in range(cores)]
        engine, alone_ms = measure_engine(mixes)
        beside: list[float] = []
        with own_service(settings) as (url, pid):
            idle = measure_idle(pid)
            seeds = iter(range(10, 2000))

            def load(name: str, users: int, length_s: float) -> Load:
                return measure_load(url, pid, pace, name, users, length_s, next(seeds))

            for number in range(rounds):
                before_ms = pace.basket_ms()
                calm = measure_calm(url, engine, next(seeds))
                calm_ms = (before_ms + pace.basket_ms()) / 2
                small = load("small", SMALL_USERS * cores, seconds / 4)
                large = load("large", LARGE_USERS * cores, seconds / 4)
                turn = number % len(LOADS)
                loads = [load(*which, seconds) for which in (*LOADS[turn:], *LOADS[:turn])]
                beside += measure_beside([pace, *others]) if others else [1.0]
                done.append(Round(calm_ms, calm, small, large, loads))
                yield Measured(cores, engine, alone_ms, median(beside), idle, list(done))
