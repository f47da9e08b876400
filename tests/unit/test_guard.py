"""The guard tells what has moved from what only varies."""

import random
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.guard import history
from benchmarks.guard.judge import compare, judge
from benchmarks.guard.yardstick import speed


def runs(level: float, spread: float, seed: int, count: int = 7) -> list[float]:
    chance = random.Random(seed)
    return [level * (1 + chance.gauss(0, spread)) for _ in range(count)]


def test_noise_alone_hardly_ever_counts() -> None:
    verdicts = [
        compare("row", runs(1, 0.06, seed), runs(1, 0.06, seed + 1000)).verdict
        for seed in range(150)
    ]
    assert verdicts.count("same") >= 0.93 * len(verdicts)


@pytest.mark.parametrize(("level", "verdict"), [(0.75, "slower"), (1.33, "faster")])
def test_a_quarter_is_seen(level: float, verdict: str) -> None:
    verdicts = [
        compare("row", runs(level, 0.06, seed), runs(1, 0.06, seed + 1000)).verdict
        for seed in range(50)
    ]
    assert verdicts.count(verdict) >= 48


def test_a_sure_but_tiny_move_is_none() -> None:
    assert compare("row", [1.02] * 7, [1.0] * 7).verdict == "same"


@given(
    now=st.lists(st.floats(0.1, 10), min_size=3, max_size=9),
    before=st.lists(st.floats(0.1, 10), min_size=3, max_size=9),
)
@settings(max_examples=15)
def test_units_do_not_matter(now: list[float], before: list[float]) -> None:
    plain = compare("row", now, before)
    scaled = compare("row", [7 * one for one in now], [7 * one for one in before])
    assert plain.low <= plain.ratio <= plain.high or plain.low == pytest.approx(plain.ratio)
    assert (scaled.low, scaled.ratio, scaled.high) == pytest.approx(
        (plain.low, plain.ratio, plain.high)
    )


def test_rows_of_one_side_are_named() -> None:
    moved, alone = judge({"a": [1.0], "b": [1.0]}, {"a": [1.0], "c": [1.0]})
    assert [row.name for row in moved] == ["a"]
    assert alone == ["b", "c"]


def test_the_yardstick_measures_something() -> None:
    assert speed(0.05) > 1


def test_history_is_drawn_from_the_runs(tmp_path) -> None:
    for day, level in ((1, 1.0), (2, 2.0)):
        document = {"date": f"2026-01-0{day}T00:00:00+00:00", "commit": "abc1234", "rows": {}}
        document["rows"] = {"engine: x": [level] * 3}
        history.keep(document, tmp_path)
    assert [values for _, values in history.read_guard(tmp_path)] == [
        {"engine: x": 1.0},
        {"engine: x": 2.0},
    ]
    picture = ET.fromstring((tmp_path / "history_guard.svg").read_text())
    texts = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"engine: x", "02.01. 00:00 abc1234"} <= texts
    assert "| engine: x | 1.00 | 2.00 | 2 |" in (tmp_path / "history.md").read_text()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
