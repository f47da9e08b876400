"""Shapes, verdicts, reports and pages of load tests."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.load import checks
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.page import plot, write_page
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.report import (
    build_report,
    compare,
    contrast,
    find_knee,
    percentile,
    read_earlier,
    slope_a_minute,
)
from omnishot_ray.load.run import BOUND, INTERRUPTED, Run, is_loopback
from omnishot_ray.load.shapes import MOST_USERS, SHAPES, Shape, Stage, Thresholds, build_shape
from omnishot_ray.load.traffic import Ask, Expected
from omnishot_ray.load.watch import Seen
from tests.corpus import DATA

START = 1_000_000.0
SHAPE = Shape("steps", "two steps & no more", (Stage(1, 2), Stage(5, 2)), Thresholds(0.01, 0.0))


def answer(at: float, ms: float = 10.0, problem: str = "", cache: str = "") -> Answer:
    return Answer(START + at, "thumbnail", ms, problem, queue_ms=1.0, cache=cache)


def report(*answers: Answer, shape: Shape = SHAPE, seen=()):
    run = Run(shape, START, list(answers), [(START + 0.5, 1), (START + 2.5, 5)])
    return build_report(run, seen, {"url": "http://127.0.0.1:1", "seed": 1})


def test_steps_have_what_came_in_their_time() -> None:
    made = report(
        answer(0.5), answer(1.5, 30.0), answer(2.5, cache="hit-memory"), answer(9.0, 20.0)
    )
    one, five = made["steps"]
    assert (one["users"], one["requests"], one["failures"], one["rps"]) == (1, 2, 0, 1.0)
    assert (one["p50"], one["p99"]) == (10.0, 30.0)
    # What comes in after the end belongs to the last step.
    assert (five["users"], five["requests"], five["cached"]) == (5, 2, 0.5)
    assert made["passed"]
    json.dumps(made)


def test_wrong_answers_are_failures_and_429_is_told_apart() -> None:
    made = report(answer(0.5), answer(0.6, problem=checks.SHED), answer(0.7, problem="wrong size"))
    assert made["steps"][0]["failures"] == 2
    assert made["steps"][0]["shed"] == 1
    assert made["steps"][0]["errors"] == {"status 429": 1, "wrong size": 1}
    verdicts = {verdict["what"]: verdict for verdict in made["thresholds"]}
    assert verdicts["share of errors"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert verdicts["share of 429"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert not made["passed"]


def test_a_run_without_an_answer_has_not_passed() -> None:
    assert not report()["passed"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_service_that_turns_everybody_away_has_not_passed(name: str) -> None:
    shape = build_shape(name, None, 2.0)
    shed = [answer(second / 2, problem=checks.SHED) for second in range(int(2 * shape.seconds))]
    assert not report(*shed, shape=shape)["passed"]


def test_a_stage_without_a_right_answer_has_not_passed() -> None:
    many = [answer(second / 1000) for second in range(2000)]
    shape = replace(SHAPE, thresholds=Thresholds(most_errors=1.0, most_shed=1.0))
    made = report(*many, answer(3, problem=checks.SHED), shape=shape)
    failed = [one["what"] for one in made["thresholds"] if not one["passed"]]
    assert failed == ["stages without a right answer"]
    assert [made["steps"][1][name] for name in ("p50", "p95", "queue_p95")] == [None] * 3
    assert "<td>–</td>" in write_page(made)
    assert report(*many, answer(3), shape=shape)["passed"]


def test_no_percentile_is_within_no_limit() -> None:
    shape = replace(SHAPE, thresholds=Thresholds(1.0, 1.0, most_p95_ms=100))
    made = report(answer(0.5, problem=checks.SHED), shape=shape)
    (p95,) = [one for one in made["thresholds"] if one["what"] == "p95, ms"]
    assert (p95["value"], p95["passed"]) == (None, False)


def test_a_service_that_does_not_come_back_has_not_passed() -> None:
    shape = replace(SHAPE, thresholds=Thresholds(least_tail=0.8))
    lively = [answer(second / 10) for second in range(20)]
    assert not report(*lively, answer(3), shape=shape)["passed"]
    assert report(*lively, *(answer(2 + s / 10) for s in range(20)), shape=shape)["passed"]


def test_memory_and_replicas_are_told_by_step() -> None:
    seen = [
        Seen(START + at, cpu, memory, replicas, 2, 9)
        for at, cpu, memory, replicas in ((0, 0.5, 100, 1), (1.9, 1.5, 140, 1), (3, 2, 150, 2))
    ]
    one, five = report(answer(0.5), seen=seen)["steps"]
    assert (one["cpu"], one["memory_delta_mb"], one["replicas"]) == (1.0, 40.0, 1)
    assert (five["memory_mb"], five["replicas"]) == (150, 2)


SOAK = Shape("soak", "soak", (Stage(1, 600),), Thresholds(most_slope_mb=4.0))


def soak(*looks: tuple[float, float]):
    """The verdict on memory and on all, after looks of seconds and MB."""
    seen = [Seen(START + at, 1.0, memory, 1, 2, 9) for at, memory in looks]
    made = report(answer(0.5), shape=SOAK, seen=seen)
    assert made["thresholds"][-1]["what"] == "memory, MB a minute"
    return made["thresholds"][-1]["passed"], made["passed"]


def test_memory_is_judged_when_the_service_is_warm() -> None:
    filling = [(at, 500.0 + at) for at in range(0, 300, 3)]
    assert soak(*filling, *((at, 800.0) for at in range(300, 600, 3))) == (True, True)
    assert soak(*filling, *((at, 800.0 + at / 10) for at in range(300, 600, 3))) == (False, False)


def test_memory_that_is_not_seen_is_no_verdict() -> None:
    assert soak() == (None, True)
    assert soak(*((at, 0.0) for at in range(0, 600, 3))) == (None, True)
    assert "not seen" in write_page(report(answer(0.5), shape=SOAK))


def test_a_run_that_ended_early_is_told_by_its_true_seconds() -> None:
    shape = replace(SHAPE, thresholds=Thresholds(least_tail=0.8))
    run = Run(shape, START, [answer(0.5), answer(0.9)], ended_s=1.0, ended=BOUND)
    made = build_report(run, [], {})
    (step,) = made["steps"]
    assert (step["seconds"], step["rps"], made["totals"]["rps"]) == (1.0, 2.0, 2.0)
    assert len(made["seconds"]) == 1
    assert made["thresholds"][-1]["passed"] is None, "the last stage was not reached"
    assert made["passed"]
    assert "It ended after 1 s of 4: as many requests" in write_page(made)


def test_an_interrupted_run_has_not_passed() -> None:
    run = Run(SHAPE, START, [answer(0.5)], ended_s=1.0, ended=INTERRUPTED)
    made = build_report(run, [], {})
    assert not made["passed"]
    assert "1 s of 4: interrupted" in write_page(made)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_percentiles_are_among_the_values(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9


def test_slope_is_not_moved_by_a_few_outliers() -> None:
    points = [(float(second), 100 + second / 6.0) for second in range(120)]
    points[50] = (50.0, 9000.0)
    assert slope_a_minute(points) == pytest.approx(10.0, rel=0.02)
    assert slope_a_minute([(0.0, 1.0)]) == 0.0


def test_the_knee_is_where_more_users_bring_no_more() -> None:
    steps = [{"users": u, "rps": r, "p95": 1.0} for u, r in ((1, 10), (2, 19), (4, 20), (8, 40))]
    assert find_knee(steps) == {"users": 2, "rps": 19, "p95": 1.0}
    assert find_knee(steps[:2]) is None


def test_a_knee_that_was_not_reached_is_not_claimed() -> None:
    shape = replace(SHAPE, name="knee")
    reached = write_page(report(*(answer(s) for s in (0.5, 1, 2.5)), shape=shape))
    assert "The knee: 1 users" in reached
    rising = write_page(report(*(answer(s) for s in (0.5, 2.5, 2.6)), shape=shape))
    assert "not reached up to 5 users" in rising
    assert "More users bring" not in rising


def test_an_earlier_run_stands_beside_it() -> None:
    before, now = report(answer(0.5)), report(answer(0.5), answer(0.6, 20.0), answer(3))
    rows = compare(now, read_earlier(json.loads(json.dumps(before))))
    assert [(row["users"], row["rps_ratio"]) for row in rows] == [(1, 2.0), (5, None)]
    now |= {"compared": rows, "beside": "old.json"}
    page = write_page(now)
    assert "Beside old.json" in page
    assert "2.00×" in page


def test_stages_with_the_same_users_are_compared_by_their_place() -> None:
    shape = Shape("spike", "up and down", (Stage(1, 2), Stage(9, 2), Stage(1, 2)), Thresholds())
    before = report(answer(0.5), answer(2.5), *(answer(4.5) for _ in range(5)), shape=shape)
    now = report(answer(0.5), answer(2.5), *(answer(4.5) for _ in range(10)), shape=shape)
    assert [row["rps_ratio"] for row in compare(now, before)] == [1.0, 1.0, 2.0]


def test_runs_that_are_not_alike_are_not_compared() -> None:
    before = report(answer(0.5)) | {"mix": "usual"}
    assert contrast(SHAPE, "usual", before) == []
    assert contrast(SHAPE, "usual", {"steps": before["steps"]}) == []
    with pytest.raises(ValueError, match="had the shape steps"):
        contrast(replace(SHAPE, name="knee"), "usual", before)
    with pytest.raises(ValueError, match="had the mix usual"):
        contrast(SHAPE, "plain", before)
    with pytest.raises(ValueError, match="no stage in common"):
        contrast(replace(SHAPE, stages=(Stage(7, 2),)), "usual", before)
    assert contrast(replace(SHAPE, stages=(Stage(1, 4), Stage(6, 2))), "usual", before) == [
        "1 of the 2 stages have an earlier one",
        "1 users: 2 s in the earlier run, 4 s in this one",
    ]
    page = write_page(before | {"compared": [], "beside": "old.json"})
    assert "no stage in common" in page


@pytest.mark.parametrize("wrong", [[], {}, {"steps": 1}, {"steps": [1]}, {"steps": [{"users": 1}]}])
def test_what_is_no_report_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="earlier report"):
        read_earlier(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rps", value) for value in ("fast", None, True, float("nan"))),
        *(("users", value) for value in ([1], None)),
        *(("p95", value) for value in ("12", {})),
        *((name, "x") for name in ("seconds", "success_rate", "memory_delta_mb")),
    ],
)
def test_a_damaged_earlier_report_is_refused(name: str, value: object) -> None:
    step = {"users": 1, "rps": 1.0, "p50": 1.0, "p95": 1.0, "p99": 1.0}
    with pytest.raises(ValueError, match=f"whose {name} is no number"):
        read_earlier({"steps": [step | {name: value}]})
    with pytest.raises(ValueError, match="mix"):
        read_earlier({"steps": [step], "mix": None})


def test_an_earlier_run_without_a_right_answer_can_be_read() -> None:
    before = read_earlier(json.loads(json.dumps(report())))
    (row, _) = compare(report(answer(0.5)), before)
    assert row["p95"] == (None, 10.0)
    assert row["p95_ratio"] is None


def test_the_page_needs_nothing_beside_it() -> None:
    seen = [Seen(START + at, 1.0, 100.0, 1, 2, 9) for at in range(5)]
    made = report(answer(0.5), answer(1, problem="<b>wrong</b>"), seen=seen)
    page = write_page(made)
    assert not re.search(r"\b(src|href)=|url\(|@import", page)
    assert "<b>wrong" not in page
    assert "two steps &amp; no more" in page
    for wanted in ("right answers", "latency", "queue", "resizers", "CPU", "memory", "errors"):
        assert wanted in page, wanted
    ET.fromstring(plot(made))


def test_the_page_tells_success_and_who_was_at_the_limit() -> None:
    shares = [(START + 0.5, 0.2), (START + 1.5, 0.3), (START + 2.5, 0.99), (START + 3.5, 0.95)]
    shed = answer(0.6, problem=checks.SHED)
    run = Run(SHAPE, START, [answer(0.5), shed, answer(3)], cpu_s=2.4, shares=shares)
    made = build_report(run, [], {})
    assert [step["load_cpu"] for step in made["steps"]] == [0.25, 0.97]
    assert made["load"] == {"cores": 0.6, "at_limit": [5]}
    page = write_page(made)
    assert "<th>success</th>" in page
    assert "<td>50.00%</td>" in page
    assert "took 0.6 cores. They were at their limit at 5 users" in page
    calm = write_page(build_report(replace(run, shares=shares[:2]), [], {}))
    assert "limit at" not in calm


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("users", [None, 2, 7, 1000])
def test_shapes_are_bounded(name: str, users: int | None) -> None:
    shape = build_shape(name, users, 3.0)
    assert shape.name == name
    assert shape.users <= max(2 * (users or 0), MOST_USERS)
    assert shape.seconds <= 7200
    if users:
        top = shape.users / (shape.pace_s or 1.0)
        assert top == users, "--users is the top"
    assert shape.stage_at(0) == 0
    assert shape.stage_at(shape.seconds) is None


def test_steps_are_those_of_the_old_system() -> None:
    assert [stage.users for stage in build_shape("steps").stages] == [1, 5, 10, 20, 30]
    assert [stage.users for stage in build_shape("steps", 30).stages] == [1, 5, 10, 20, 30]
    assert [stage.users for stage in build_shape("steps", 12).stages] == [1, 5, 10, 12]


@pytest.mark.parametrize(
    ("name", "users", "counts"),
    [
        ("rates", 50, [10, 20, 40, 100]),
        ("rates", 7, [10, 14]),
        ("knee", 48, [1, 3, 6, 12, 24, 48]),
        ("knee", 33, [1, 2, 4, 8, 16, 33]),
        ("knee", None, [1, 2, 4, 8, 16, 32, 64]),
        ("spike", 5, [1, 5, 1]),
        ("spike", None, [4, 40, 4]),
    ],
)
def test_the_last_step_is_what_was_asked_for(name, users, counts) -> None:
    assert [stage.users for stage in build_shape(name, users).stages] == counts


def test_a_spike_of_one_user_is_none() -> None:
    with pytest.raises(ValueError, match="at least 2 users"):
        build_shape("spike", 1)


@pytest.mark.parametrize(
    ("name", "users", "seconds", "what"),
    [
        ("steps", None, None, "1, 5, 10, 20 and 30 users, 20 s each"),
        ("steps", 1, 2.5, "1 user, 2.5 s each"),
        ("rates", 7, None, "5 and 7 requests a second, 30 s each"),
        ("knee", 48, 5, "twice as many users at each step, from 1 to 48, 5 s each"),
        ("spike", 5, 3, "1 user, 5 for 3 s, and 1 again"),
        ("soak", 3, 120, "the same load, 3 users, for 2 min"),
        ("soak", None, None, "the same load, 8 users, for 10 min"),
        ("thousand", 50, 2, "50 users for 6 s, after 5 for 2 s, each asking every 20 s"),
    ],
)
def test_what_a_shape_says_of_itself_is_true(name, users, seconds, what) -> None:
    assert build_shape(name, users, seconds).what == what


def test_rates_are_5_10_and_20_a_second() -> None:
    shape = build_shape("rates")
    assert [stage.users / (shape.pace_s or 0) for stage in shape.stages] == [5, 10, 20]


@pytest.mark.parametrize(("users", "seconds"), [(20_000, 1), (5, 7201), (0, 1)])
def test_shapes_out_of_bounds_are_refused(users: int, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"at most|at least"):
        Shape("x", "x", (Stage(users, seconds),), Thresholds())


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("http://127.9.9.9", True),
        ("http://192.0.2.1:8000", False),
        ("http://0.0.0.0:8000", False),
        ("http://no-such-host.invalid", False),
        ("nonsense", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, own: bool) -> None:
    assert is_loopback(url) is own


PHOTO = DATA / "valid" / "photo_flower_480x360.jpg"
ONE = Ask(
    "photo",
    "/api/optimize?width=480",
    drawn_library()["small"][0],
    1,
    (Expected(480, 360, "jpeg"),),
    0,
)


@pytest.mark.parametrize(
    ("ask", "status", "body", "problem"),
    [
        (ONE, 200, PHOTO.read_bytes(), ""),
        (ONE, 0, b"", "no answer"),
        (ONE, 429, b"{}", "status 429"),
        (ONE, 503, b"", "status 503"),
        (ONE, 200, b"", "not a picture"),
        (ONE, 200, PHOTO.read_bytes()[:2000], "cannot be decoded"),
        (
            replace(ONE, expected=(Expected(481, 360, "jpeg"),)),
            200,
            PHOTO.read_bytes(),
            "wrong size",
        ),
        (
            replace(ONE, expected=(Expected(480, 360, "webp"),)),
            200,
            PHOTO.read_bytes(),
            "jpeg and not webp",
        ),
        (replace(ONE, path="/api/info", expected=()), 200, b'{"width":480,"height":360}', ""),
        (replace(ONE, path="/api/info", expected=()), 200, b'{"width":1,"height":1}', "wrong size"),
        (replace(ONE, path="/api/info", expected=()), 200, b"[1", "unreadable document"),
        (replace(ONE, path="/api/variants?"), 200, b'{"variants": []}', "variant failed"),
        (replace(ONE, path="/api/variants?"), 200, b'{"variants": {}}', "unreadable document"),
    ],
)
def test_wrong_answers_are_told(ask: Ask, status: int, body: bytes, problem: str) -> None:
    assert checks.judge(ask, status, body, decode=True) == problem
