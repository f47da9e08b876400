"""What is advised on which figures, and where nothing is."""

from dataclasses import replace

import pytest

from omnishot_ray.metrics.analysis.recommendations import (
    Figures,
    FormatFigures,
    KindFigures,
    Knobs,
    recommend,
)
from omnishot_ray.metrics.analysis.reuse import measure_reuse

MIB = 1 << 20
KNOBS = Knobs(128 * MIB, 2, 100.0, 4)
QUIET = Figures(
    requests=5000,
    kinds={"gateway": KindFigures(2, 0.5), "resizer": KindFigures(2, 0.5)},
    queue_p95_ms={"pool": 5.0},
    replicas=2.0,
)


def advised(figures: Figures, knobs: Knobs = KNOBS) -> dict[str, object]:
    return {one.setting: one.then for one in recommend(figures, knobs)}


def test_where_all_is_well_nothing_is_advised() -> None:
    assert advised(QUIET) == {}
    assert advised(Figures()) == {}


def test_a_cache_that_is_too_small_grows_to_what_is_asked_again() -> None:
    keys = [f"k{number}" for number in range(200)] * 3
    curve = measure_reuse(keys, [float(MIB)] * len(keys))
    (found,) = recommend(replace(QUIET, reuse=curve), KNOBS)
    assert (found.setting, found.now, found.then) == ("cache.memory_bytes", 128 * MIB, 208 * MIB)
    assert "0% ask again" in found.why
    assert found.gain.startswith("67%")
    assert found.confidence == "low"


def test_a_cache_that_is_far_too_large_shrinks() -> None:
    keys = ["a", "b"] * 1500
    curve = measure_reuse(keys, [1000.0] * len(keys))
    assert advised(replace(QUIET, reuse=curve)) == {"cache.memory_bytes": 32 * MIB}


def test_a_cache_that_fits_stays() -> None:
    keys = [f"k{number}" for number in range(60)] * 3
    assert advised(replace(QUIET, reuse=measure_reuse(keys, [float(MIB)] * 180))) == {}


@pytest.mark.parametrize(
    ("gateway", "resizer", "waiting_ms", "replicas", "then"),
    [
        (0.2, 0.95, 400.0, 2.0, {"dispatch.inline_ms": 200.0}),
        (0.2, 0.95, 5.0, 2.0, {}),
        (0.9, 0.2, 5.0, 2.0, {"dispatch.inline_ms": 50.0}),
        (0.6, 0.95, 400.0, 4.0, {"resizers.max_replicas": 7}),
        (0.6, 0.95, 400.0, 2.0, {}),
    ],
)
def test_work_goes_where_there_is_room(
    gateway: float, resizer: float, waiting_ms: float, replicas: float, then: dict[str, object]
) -> None:
    kinds = {"gateway": KindFigures(2, gateway), "resizer": KindFigures(replicas, resizer)}
    figures = replace(
        QUIET, kinds=kinds, queue_p95_ms={"pool": waiting_ms}, replicas=replicas, most_waiting=30
    )
    assert advised(figures) == then


def test_replicas_that_do_nothing_are_too_many() -> None:
    kinds = {"gateway": KindFigures(2, 0.3), "resizer": KindFigures(6, 0.05)}
    assert advised(replace(QUIET, kinds=kinds)) == {"resizers.min_replicas": 1}


def formats(**counts: tuple[int, float]) -> tuple[FormatFigures, ...]:
    return tuple(
        FormatFigures("jpeg", name, count, 1e9, size, 1e9 - size, 1e9)
        for name, (count, size) in counts.items()
    )


def test_smaller_formats_are_seen_on_like_sources() -> None:
    figures = replace(QUIET, formats=formats(jpeg=(3000, 4e8), webp=(500, 2.8e8), avif=(50, 1e8)))
    (found,) = recommend(figures, KNOBS)
    assert (found.now, found.then, found.confidence) == ("jpeg", "webp", "medium")
    assert "70% of the bytes" in found.why
    assert found.gain.startswith("120.0 MB of 400.0")


def test_other_sources_say_nothing() -> None:
    other = FormatFigures("png", "webp", 500, 1e9, 1e8, 9e8, 1e9)
    assert advised(replace(QUIET, formats=(*formats(jpeg=(3000, 4e8)), other))) == {}


def test_what_was_hardly_made_smaller_could_be() -> None:
    assert advised(replace(QUIET, formats=formats(jpeg=(3000, 9.5e8)))) == {"quality": "auto"}


def test_of_few_requests_nothing_is_said() -> None:
    kinds = {"gateway": KindFigures(2, 0.2), "resizer": KindFigures(2, 0.95)}
    busy = replace(QUIET, requests=50, kinds=kinds, queue_p95_ms={"pool": 400.0})
    assert advised(busy) == {}
