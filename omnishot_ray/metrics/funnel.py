"""How far visitors come: nine steps, counted by sessions.

A session counts once at a step, however often it was seen there. Two rules say when it has come to
a step:

- `reached`: it was seen there or at any later one. Beacons get lost, and nobody downloads what was
  not made; so a later step stands for those before it, and the counts never rise.
- `strict`: it was seen at every step up to it, each first seen no earlier than the one before.
  Times within `SLACK_S` count as equal: beacons overtake each other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Step = Literal[
    "discovery",
    "viewing",
    "start",
    "upload",
    "parameters",
    "processing_start",
    "processing_complete",
    "download",
    "share",
]
STEPS: tuple[Step, ...] = get_args(Step)
RULES = ("reached", "strict")
SLACK_S = 2.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """When each session was first seen at each step.

    `first_s`: float64, sessions × steps, inf where it was not seen. `labels`: for each session.
    """

    first_s: npt.NDArray[np.float64]
    labels: dict[str, npt.NDArray[np.object_]]


def gather_sessions(seen: "pa.Table", labels: tuple[str, ...] = ("segment", "device")) -> Sessions:
    """Sessions out of rows of `session_id`, `step`, `at_s` and the labels.

    A session that was seen with several labels has the first that is not empty. Unknown steps are
    passed over.
    """
    place = {step: number for number, step in enumerate(STEPS)}
    index: dict[str, int] = {}
    rows, columns, times = [], [], []
    found: dict[str, list[str]] = {label: [] for label in labels}
    for row in seen.sort_by("at_s").to_pylist() if seen.num_rows else ():
        if row["step"] not in place:
            continue
        number = index.setdefault(row["session_id"], len(index))
        for label, values in found.items():
            if number == len(values):
                values.append(row[label])
            elif not values[number]:
                values[number] = row[label]
        rows.append(number)
        columns.append(place[row["step"]])
        times.append(row["at_s"])
    first_s = np.full((len(index), len(STEPS)), np.inf)
    np.minimum.at(first_s, (rows, columns), times)
    return Sessions(
        first_s, {label: np.array(values, dtype=object) for label, values in found.items()}
    )


def count_reached(first_s: npt.NDArray[np.float64], rule: str = "reached") -> list[int]:
    """How many sessions have come to each step, by one of `RULES`."""
    seen = np.isfinite(first_s)
    if rule == "strict":
        latest = np.maximum.accumulate(np.where(seen, first_s, -np.inf), axis=1)
        in_order = seen & (first_s >= latest - SLACK_S)
        come = np.logical_and.accumulate(in_order, axis=1)
    else:
        come = np.logical_or.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
    return [int(count) for count in come.sum(axis=0)]


def describe_funnel(first_s: npt.NDArray[np.float64], rule: str = "reached") -> dict[str, Any]:
    """Counts, completion and drop-off per step; shares are None where they are of nothing."""
    counts = count_reached(first_s, rule)
    steps = []
    for place, (step, count) in enumerate(zip(STEPS, counts, strict=True)):
        before = counts[place - 1] if place else count
        steps.append(
            {
                "step": step,
                "sessions": count,
                "seen": int(np.isfinite(first_s[:, place]).sum()),
                "completion": _share(count, counts[0]),
                "dropped": before - count,
                "drop_off": _share(before - count, before),
                "median_s": _median_s(first_s, place),
            }
        )
    return {
        "sessions": counts[0],
        "completed": counts[-1],
        "completion": _share(counts[-1], counts[0]),
        "steps": steps,
    }


def describe_parts(
    sessions: Sessions, label: str, rule: str = "reached", most: int = 50
) -> list[dict[str, Any]]:
    """The funnel of each value of a label, the most frequent first."""
    values, counts = np.unique(sessions.labels[label].astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        {
            label: str(values[number]),
            **describe_funnel(sessions.first_s[sessions.labels[label] == values[number]], rule),
        }
        for number in order
    ]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _median_s(first_s: npt.NDArray[np.float64], place: int) -> float | None:
    """Seconds from the step before to this one, of the sessions that were seen at both."""
    if not place:
        return None
    both = np.isfinite(first_s[:, place - 1]) & np.isfinite(first_s[:, place])
    if not both.any():
        return None
    return round(
        float(np.median(np.maximum(0.0, first_s[both, place] - first_s[both, place - 1]))), 1
    )
