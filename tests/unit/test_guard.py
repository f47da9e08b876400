"""The guard tells what has moved from what only varies."""

import random
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.guard import history
from benchmarks.guard.__main__ import BASELINE, read_baseline
from benchmarks.guard.judge import CONFIDENCE, LEAST_RUNS, Moved, again, judge, quantile
from benchmarks.guard.yardstick import YARDSTICK, speed

BASE_RUNS = 4
NOISE = {
    **{f"engine: {name}": (0.015, 0.034) for name in "abcd"},
    **{f"served, CPU: {name}": (0.045, 0.11) for name in "abcde"},
    **{f"served: {name}": (0.065, 0.18) for name in "abcde"},
}
"""Standard deviations of the logarithm between runs and within one, by row: as measured."""


class Machine:
    """Whose noise is that of the machine that the baseline is of. Half of the variance between runs
    is of the hour: two runs one after the other share it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def hour(self) -> dict[str, float]:
        return {
            name: self.chance.lognormvariate(0, between * 0.5**0.5)
            for name, (between, _) in NOISE.items()
        }

    def run(
        self, hour: Mapping[str, float], moves: Mapping[str, float] | None = None
    ) -> dict[str, list[float]]:
        """Six rounds of each row; `moves` are factors."""
        rows = {}
        for name, (between, within) in NOISE.items():
            level = hour[name] * (moves or {}).get(name, 1.0)
            level *= self.chance.lognormvariate(0, between * 0.5**0.5)
            rows[name] = [level * self.chance.lognormvariate(0, within) for _ in range(6)]
        return rows

    def bench(self, moves: Mapping[str, float] | None = None) -> dict[str, str]:
        """Verdicts, as `make bench` comes to them against a baseline of several hours."""
        before = [self.run(self.hour()) for _ in range(BASE_RUNS)]
        hour = self.hour()
        moved, _ = judge(self.run(hour, moves), before)
        if any(row.verdict != "same" for row in moved):
            moved = again(moved, judge(self.run(hour, moves), before)[0])
        return {row.name: row.verdict for row in moved}


def test_a_row_of_the_same_code_is_within_as_often_as_is_said() -> None:
    outside = tries = 0
    for seed in range(150):
        machine = Machine(seed)
        before = [machine.run(machine.hour()) for _ in range(BASE_RUNS)]
        moved, _ = judge(machine.run(machine.hour()), before)
        outside += sum(not row.low <= row.ratio <= row.high for row in moved)
        tries += len(moved)
    assert outside / tries <= 1.5 * (1 - CONFIDENCE)


def test_noise_alone_is_seldom_called_in_any_row() -> None:
    """Of 300 benches of the same code, 14 rows each."""
    alarms = sum(set(Machine(seed).bench().values()) != {"same"} for seed in range(300))
    assert alarms / 300 <= 0.05


@pytest.mark.parametrize(
    ("row", "factor", "verdict", "least"),
    [
        ("engine: b", 1 / 1.15, "slower", 0.8),
        ("engine: b", 1 / 1.2, "slower", 0.95),
        ("engine: b", 1.2, "faster", 0.95),
        ("served, CPU: b", 1 / 1.35, "slower", 0.6),
        ("served, CPU: b", 1.35, "faster", 0.6),
        ("served: b", 1 / 1.8, "slower", 0.75),
    ],
)
def test_a_real_move_is_called_and_it_alone(
    row: str, factor: float, verdict: str, least: float
) -> None:
    tries = 100
    seen = [Machine(seed).bench({row: factor}) for seed in range(tries)]
    called = [one for one in seen if one[row] == verdict]
    assert len(called) >= least * tries
    others = sum(any(v != "same" for name, v in one.items() if name != row) for one in called)
    assert others <= 0.1 * tries


def test_a_sure_but_tiny_move_is_none() -> None:
    before = [{"row": [1.0, 1.0, 1.0]}] * LEAST_RUNS
    (row,), _ = judge({"row": [0.92] * 3}, before)
    assert row.ratio == pytest.approx(0.92)
    assert row.verdict == "same"


def test_a_run_that_is_unsure_of_itself_is_believed_less() -> None:
    before = [{"row": [1.0, 1.01, 0.99]}] * LEAST_RUNS
    (steady,), _ = judge({"row": [0.84, 0.85, 0.85**2 / 0.84]}, before)
    (shaky,), _ = judge({"row": [0.5, 0.85, 0.85**2 / 0.5]}, before)
    assert steady.ratio == pytest.approx(shaky.ratio)
    assert (steady.verdict, shaky.verdict) == ("slower", "same")


def test_runs_that_differ_widen_the_interval() -> None:
    calm = [{"row": [level] * 3} for level in (1.0, 1.01, 0.99, 1.0, 1.005)]
    wild = [{"row": [level] * 3} for level in (1.0, 1.2, 0.8, 1.1, 0.9)]
    (one,), _ = judge({"row": [0.85] * 3}, calm)
    (other,), _ = judge({"row": [0.85] * 3}, wild)
    assert one.high - one.low < other.high - other.low
    assert (one.verdict, other.verdict) == ("slower", "same")


@pytest.mark.parametrize(
    ("second", "verdict"), [(0.7, "slower"), (0.98, "same"), (1.3, "same"), (0.88, "slower")]
)
def test_what_moved_has_to_move_twice(second: float, verdict: str) -> None:
    (row,) = again([Moved("row", 0.75, 0.9, 1.1)], [Moved("row", second, 0.9, 1.1)])
    assert row.verdict == verdict


def test_what_did_not_move_is_not_asked_again() -> None:
    (row,) = again([Moved("row", 1.0, 0.9, 1.1)], [Moved("row", 0.5, 0.9, 1.1)])
    assert row.verdict == "same"


@given(
    runs=st.lists(
        st.lists(st.floats(0.1, 10), min_size=3, max_size=9), min_size=LEAST_RUNS + 1, max_size=8
    )
)
@settings(max_examples=30)
def test_units_do_not_matter(runs: Sequence[Sequence[float]]) -> None:
    now, *before = runs
    (plain,), _ = judge({"row": now}, [{"row": run} for run in before])
    (scaled,), _ = judge(
        {"row": [7 * one for one in now]}, [{"row": [7 * one for one in run]} for run in before]
    )
    assert plain.low < 1.0 < plain.high
    assert (scaled.low, scaled.ratio, scaled.high) == pytest.approx(
        (plain.low, plain.ratio, plain.high)
    )


@pytest.mark.parametrize(
    ("share", "freedom", "value"),
    [(0.975, 5, 2.570582), (0.995, 10, 3.169273), (0.95, 1, 6.313752), (0.975, 1000, 1.962339)],
)
def test_quantiles_are_those_of_the_tables(share: float, freedom: float, value: float) -> None:
    assert quantile(share, freedom) == pytest.approx(value, rel=1e-5)


def test_rows_of_one_side_are_named() -> None:
    before = [{"a": [1.0], "c": [1.0]}, *[{"a": [1.0]}] * LEAST_RUNS]
    moved, alone = judge({"a": [1.0], "b": [1.0]}, before)
    assert [row.name for row in moved] == ["a"]
    assert alone == ["b", "c"]


def test_too_few_runs_are_no_baseline() -> None:
    with pytest.raises(ValueError, match="at least"):
        judge({"a": [1.0]}, [{"a": [1.0]}] * (LEAST_RUNS - 1))


def test_a_baseline_that_is_not_there_has_no_runs(tmp_path) -> None:
    assert read_baseline(tmp_path / "none.json") == []


def test_the_baseline_has_enough_runs_of_all_rows() -> None:
    runs = read_baseline(BASELINE)
    assert len(runs) >= LEAST_RUNS
    assert len({frozenset(run["rows"]) for run in runs}) == 1
    moved, alone = judge(runs[-1]["rows"], [run["rows"] for run in runs])
    assert not alone
    assert {row.verdict for row in moved} == {"same"}


def test_the_yardstick_measures_something() -> None:
    assert speed(0.05) > 1


def test_history_is_drawn_from_the_runs(tmp_path) -> None:
    for day, level in ((1, 1.0), (2, 2.0)):
        document = {"date": f"2026-01-0{day}T00:00:00+00:00", "commit": "abc1234", "rows": {}}
        document["rows"] = {"engine: x": [level] * 3}
        history.keep(document | {"yardstick": YARDSTICK}, tmp_path)
    history.keep(document | {"yardstick": YARDSTICK - 1}, tmp_path)
    assert [values for _, values in history.read_guard(tmp_path)] == [
        {"engine: x": 1.0},
        {"engine: x": 2.0},
    ]
    picture = ET.fromstring((tmp_path / "history_guard.svg").read_text())
    texts = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"engine: x", "02.01. 00:00 abc1234"} <= texts
    assert "| engine: x | 1.00 | 2.00 | 2 |" in (tmp_path / "history.md").read_text()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 3
