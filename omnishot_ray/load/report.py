"""The figures of a run: by step, by second, by kind, against thresholds and an earlier run."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

from omnishot_ray import __version__
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.run import INTERRUPTED, Run
from omnishot_ray.load.shapes import Shape
from omnishot_ray.load.watch import Seen

VERSION = 1
_KNEE_GAIN = 1.1
"""A step is beyond the knee when it brings less than a tenth more than the one before."""
_MOST_LOAD_CPU = 0.9
"""Of a core; a process of visitors that takes more is late itself."""

Document = dict[str, Any]


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """By nearest rank; None of nothing, for 0 would be the best that there is."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def build_report(run: Run, seen: Sequence[Seen], about: Mapping[str, Any]) -> Document:
    """The whole document, ready for JSON. `about` is kept as it is: URL, seed, machine."""
    shape = run.shape
    steps = _steps(run, seen)
    verdicts = judge_run(run, steps, seen)
    document = {
        "version": VERSION,
        "omnishot": __version__,
        "date": datetime.fromtimestamp(run.started_at, UTC).isoformat(timespec="seconds"),
        "shape": shape.name,
        "what": shape.what,
        **about,
        "steps": steps,
        "totals": _figures(run.answers, run.seconds, run.over_s),
        "load": {
            "cores": round(run.cpu_s / run.seconds, 2),
            "at_limit": [
                step["users"] for step in steps if (step["load_cpu"] or 0) >= _MOST_LOAD_CPU
            ],
        },
        "kinds": {
            kind: _figures(answers, run.seconds, run.over_s)
            for kind, answers in sorted(_by_kind(run.answers).items())
        },
        "thresholds": verdicts,
        "passed": all(verdict["passed"] is not False for verdict in verdicts),
        "seconds": _seconds(run, seen),
    }
    if run.ended_s is not None:
        document["ended"] = {
            "why": run.ended,
            "after_s": round(run.ended_s, 1),
            "of_s": shape.seconds,
        }
    if shape.name == "knee":
        document["knee"] = find_knee(steps)
    return document


def _steps(run: Run, seen: Sequence[Seen]) -> list[Document]:
    shape, by_stage = run.shape, defaultdict[int, list[Answer]](list)
    for answer in run.answers:
        # What comes in after the last second belongs to the last stage.
        index = shape.stage_at(min(answer.at_s - run.started_at, run.seconds - 1e-6))
        by_stage[len(shape.stages) - 1 if index is None else index].append(answer)
    steps, begin_s, over_s = list[Document](), run.started_at, run.over_s
    for index, stage in enumerate(shape.stages):
        if begin_s >= over_s:
            break  # it ended before its time
        seconds = min(stage.seconds, over_s - begin_s)
        end_s = begin_s + seconds
        within = [one for one in seen if begin_s <= one.at_s <= end_s]
        step: Document = {"users": stage.users, "seconds": round(seconds, 3)}
        step |= _figures(by_stage[index], seconds, over_s)
        shares = [share for at_s, share in run.shares if begin_s <= at_s <= end_s]
        step["load_cpu"] = _round(sum(shares) / len(shares)) if shares else None
        if within:
            step |= {
                "cpu": round(sum(one.cpu for one in within) / len(within), 2),
                "memory_mb": round(within[-1].memory_mb, 1),
                "memory_delta_mb": round(within[-1].memory_mb - within[0].memory_mb, 1),
                "replicas": max(one.replicas for one in within),
            }
        steps.append(step)
        begin_s = end_s
    return steps


def _figures(answers: Sequence[Answer], seconds: float, over_s: float) -> Document:
    """Of some answers. Percentiles are milliseconds of the right ones; rps counts those too.

    Not those that came when the load was over: visitors were let wait for them.
    """
    in_time = sum(one.is_right and one.at_s <= over_s for one in answers)
    right = sorted(one.ms for one in answers if one.is_right)
    problems = Counter(one.problem for one in answers if not one.is_right)
    cached = sum(one.is_right and one.cache not in ("", "miss") for one in answers)
    queued = sorted(one.queue_ms for one in answers if one.is_right)
    return {
        "requests": len(answers),
        "failures": sum(problems.values()),
        "shed": sum(one.is_shed for one in answers),
        "success_rate": round(len(right) / len(answers), 5) if answers else 0.0,
        "rps": round(in_time / seconds, 2),
        "p50": _round(percentile(right, 0.50)),
        "p95": _round(percentile(right, 0.95)),
        "p99": _round(percentile(right, 0.99)),
        "queue_p95": _round(percentile(queued, 0.95)),
        "cached": round(cached / len(right), 3) if right else 0.0,
        "errors": dict(sorted(problems.items())),
    }


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def _by_kind(answers: Sequence[Answer]) -> Mapping[str, list[Answer]]:
    kinds = defaultdict[str, list[Answer]](list)
    for answer in answers:
        kinds[answer.kind].append(answer)
    return kinds


def _seconds(run: Run, seen: Sequence[Seen]) -> list[Document]:
    """A row for each second; what is not known of one is as in the second before."""
    count = max(1, math.ceil(run.seconds))
    answers: list[list[Answer]] = [[] for _ in range(count)]
    for answer in run.answers:
        second = min(int(answer.at_s - run.started_at), count - 1)
        if second >= 0:
            answers[second].append(answer)
    users = {int(at_s - run.started_at): number for at_s, number in run.users}
    looks = {int(one.at_s - run.started_at): one for one in seen}
    rows: list[Document] = []
    number, look = 0, None
    for second in range(count):
        number, look = users.get(second, number), looks.get(second, look)
        row: Document = {"at": second, "users": number}
        row |= _figures(answers[second], 1.0, run.over_s)
        if look:
            row |= {
                "cpu": round(look.cpu, 2),
                "memory_mb": round(look.memory_mb, 1),
                "replicas": look.replicas,
            }
        rows.append(row)
    return rows


def judge_run(run: Run, steps: Sequence[Document], seen: Sequence[Seen]) -> list[Document]:
    """A verdict for each threshold: what, value, limit, whether it passed; None for not seen."""
    thresholds, answers = run.shape.thresholds, run.answers
    verdicts = [_verdict("answers", len(answers), 1, len(answers) >= 1, "≥")]
    if run.ended == INTERRUPTED:  # what was not run has not been passed
        verdicts.append(_verdict("seconds", run.seconds, run.shape.seconds, False, "≥"))
    count = max(1, len(answers))
    shed = sum(one.is_shed for one in answers) / count
    errors = sum(not one.is_right for one in answers) / count - shed
    verdicts.append(_most("share of errors", errors, thresholds.most_errors))
    # A stage that came to nothing is none that the others make up for.
    empty = sum(not step["requests"] > step["failures"] for step in steps)
    verdicts.append(_most("stages without a right answer", empty, 0))
    if thresholds.most_shed is not None:
        verdicts.append(_most("share of 429", shed, thresholds.most_shed))
    if thresholds.most_p95_ms is not None:
        ordered = sorted(one.ms for one in answers if one.is_right)
        verdicts.append(_most("p95, ms", percentile(ordered, 0.95), thresholds.most_p95_ms))
    if thresholds.least_tail is not None:
        what, limit = "throughput after, of before", thresholds.least_tail
        if len(steps) < len(run.shape.stages):
            verdicts.append(_verdict(what, None, limit, None, "≥"))
        else:
            first, last = steps[0]["rps"], steps[-1]["rps"]
            value = last / first if first else 0.0
            verdicts.append(_verdict(what, value, limit, value >= limit, "≥"))
    if thresholds.most_slope_mb is not None:
        warm_s = run.started_at + min(thresholds.warm_s, run.seconds / 2)
        points = [(one.at_s, one.memory_mb) for one in seen if one.at_s >= warm_s]
        # Of somebody else's processes no memory can be read.
        is_seen = len(points) > 1 and any(memory for _, memory in points)
        slope = slope_a_minute(points) if is_seen else None
        verdict = _most("memory, MB a minute", slope, thresholds.most_slope_mb)
        verdicts.append(verdict if is_seen else verdict | {"passed": None})
    return verdicts


def _most(what: str, value: float | None, limit: float) -> Document:
    return _verdict(what, value, limit, value is not None and value <= limit, "≤")


def _verdict(
    what: str, value: float | None, limit: float, passed: bool | None, sign: str
) -> Document:
    return {
        "what": what,
        "value": _round(value, 5),
        "limit": limit,
        "sign": sign,
        "passed": passed,
    }


def slope_a_minute(points: Sequence[tuple[float, float]], most: int = 300) -> float:
    """Theil-Sen: the median slope of all pairs (Sen, JASA 63, 1968); of at most `most` points."""
    chosen = points[:: max(1, len(points) // most)]
    slopes = [
        (value - before) / (at_s - before_s) * 60.0
        for index, (at_s, value) in enumerate(chosen)
        for before_s, before in chosen[:index]
        if at_s > before_s
    ]
    return median(slopes) if slopes else 0.0


def find_knee(steps: Sequence[Mapping[str, Any]]) -> Document | None:
    """The last step before one that brought less than a tenth more; None where none did."""
    for before, step in pairwise(steps):
        if step["rps"] < _KNEE_GAIN * before["rps"]:
            return {name: before[name] for name in ("users", "rps", "p95")}
    return None


def contrast(shape: Shape, mix: str, earlier: Mapping[str, Any]) -> list[str]:
    """What stands between a run to come and an earlier one, which can still be compared.

    Raises ValueError where they cannot: another shape, another mix, no stage in common. An earlier
    report that does not say its shape or mix is taken at its word.
    """
    for what, now in (("shape", shape.name), ("mix", mix)):
        if earlier.get(what, now) != now:
            raise ValueError(f"the earlier run had the {what} {earlier[what]}, this one has {now}")
    pairs = _pairs([{"users": one.users, "seconds": one.seconds} for one in shape.stages], earlier)
    if not pairs:
        raise ValueError("the earlier run has no stage in common with this one")
    notes = []
    if len(pairs) < max(len(shape.stages), len(earlier["steps"])):
        notes.append(f"{len(pairs)} of the {len(shape.stages)} stages have an earlier one")
    for step, old in pairs:
        if old.get("seconds", step["seconds"]) != step["seconds"]:
            notes.append(
                f"{step['users']} users: {old['seconds']:g} s in the earlier run, "
                f"{step['seconds']:g} s in this one"
            )
    return notes


def _pairs(
    steps: Sequence[Mapping[str, Any]], earlier: Mapping[str, Any]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Steps with the earlier ones at the same place, where both have as many users."""
    both = zip(steps, earlier["steps"], strict=False)
    return [(step, old) for step, old in both if step["users"] == old["users"]]


def compare(document: Document, earlier: Mapping[str, Any]) -> list[Document]:
    """Steps that both runs have, by their place and users; ratios of this one to the earlier."""
    return [
        {
            "users": step["users"],
            **{
                name: (old.get(name), step.get(name))
                for name in ("success_rate", "rps", "p50", "p95", "p99", "memory_delta_mb")
            },
            "rps_ratio": _ratio(step["rps"], old["rps"]),
            "p95_ratio": _ratio(step["p95"], old["p95"]),
        }
        for step, old in _pairs(document["steps"], earlier)
    ]


def _ratio(now: float | None, before: float | None) -> float | None:
    return None if now is None or not before else round(now / before, 3)


def read_earlier(document: Any) -> Mapping[str, Any]:
    """An earlier report. Raises ValueError when it is none, or a figure in it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("steps"), list):
        raise ValueError("the earlier report is none that `omnishot loadtest --json` wrote")
    for what in ("shape", "mix"):
        if not isinstance(document.get(what, ""), str):
            raise ValueError(f"the {what} of the earlier report is no text")
    for step in document["steps"]:
        if not isinstance(step, dict) or not {"users", "rps", *_PERCENTILES} <= set(step):
            raise ValueError("the earlier report has a step without users, rps or percentiles")
        for name in _FIGURES & set(step):
            # A percentile of nothing is null; so is what other tools could not see.
            may_lack = name not in ("users", "rps", "seconds")
            if not (_is_number(step[name]) or (may_lack and step[name] is None)):
                raise ValueError(f"the earlier report has a step whose {name} is no number")
    return document


_PERCENTILES = ("p50", "p95", "p99")
_FIGURES = {"users", "seconds", "rps", "success_rate", "memory_delta_mb", *_PERCENTILES}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
