"""The funnel: what counts as having come to a step."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.metrics.funnel import (
    STEPS,
    count_reached,
    describe_funnel,
    describe_parts,
    gather_sessions,
)


def seen(*rows: tuple[str, str, float, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"session_id": session, "step": step, "at_s": at_s, "segment": segment, "device": ""}
            for session, step, at_s, segment in rows
        ],
        pa.schema(
            {
                "session_id": pa.string(),
                "step": pa.string(),
                "at_s": pa.float64(),
                "segment": pa.string(),
                "device": pa.string(),
            }
        ),
    )


def test_a_later_step_stands_for_those_before_it() -> None:
    sessions = gather_sessions(seen(("a", "upload", 5, ""), ("b", "discovery", 1, "")))
    assert count_reached(sessions.first_s) == [2, 1, 1, 1, 0, 0, 0, 0, 0]
    assert count_reached(sessions.first_s, "strict") == [1, 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("times", "come"),
    [
        ((10, 20, 30), 3),
        ((10, 9, 30), 3),  # beacons overtake each other
        ((10, 5, 30), 1),
        ((10, 20, 15), 2),
    ],
)
def test_strictly_every_step_comes_after_the_one_before(
    times: tuple[float, ...], come: int
) -> None:
    rows = [("a", step, at_s, "") for step, at_s in zip(STEPS[:3], times, strict=True)]
    counts = count_reached(gather_sessions(seen(*rows)).first_s, "strict")
    assert counts == [1] * come + [0] * (9 - come)


def test_the_first_time_counts_and_the_first_label() -> None:
    sessions = gather_sessions(
        seen(
            ("a", "start", 50, "x"),
            ("a", "start", 20, ""),
            ("a", "upload", 30, "y"),
            ("a", "dancing", 1, "z"),
        )
    )
    assert sessions.first_s[0, 2:4].tolist() == [20, 30]
    assert sessions.labels["segment"].tolist() == ["y"]


def test_parts_and_how_long_a_step_takes() -> None:
    rows = []
    for number in range(6):
        segment = "new" if number < 4 else "known"
        rows.append((f"s{number}", "start", 100.0, segment))
        if number % 2:
            rows.append((f"s{number}", "upload", 100.0 + number, segment))
    sessions = gather_sessions(seen(*rows))
    upload = describe_funnel(sessions.first_s)["steps"][3]
    assert upload == {
        "step": "upload",
        "sessions": 3,
        "seen": 3,
        "completion": 0.5,
        "dropped": 3,
        "drop_off": 0.5,
        "median_s": 3.0,
    }
    parts = describe_parts(sessions, "segment")
    assert [(part["segment"], part["sessions"]) for part in parts] == [("new", 4), ("known", 2)]
    assert parts[1]["steps"][3]["sessions"] == 1


def test_of_nobody_there_are_no_shares() -> None:
    funnel = describe_funnel(gather_sessions(seen()).first_s)
    assert (funnel["sessions"], funnel["completion"]) == (0, None)
    assert {step["drop_off"] for step in funnel["steps"]} == {None}


TIMES = st.lists(
    st.lists(st.one_of(st.just(np.inf), st.floats(0, 1e6)), min_size=9, max_size=9), max_size=30
)


@given(times=TIMES)
def test_counts_never_rise_and_strict_is_stricter(times: list[list[float]]) -> None:
    first_s = np.array(times, np.float64).reshape(len(times), 9)
    reached = count_reached(first_s)
    strict = count_reached(first_s, "strict")
    assert reached == sorted(reached, reverse=True)
    assert strict == sorted(strict, reverse=True)
    assert all(few <= many for few, many in zip(strict, reached, strict=True))
    assert reached[0] == int(np.isfinite(first_s).any(axis=1).sum())
