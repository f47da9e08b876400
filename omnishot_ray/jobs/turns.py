"""Whose turn it is, and how long a failed job waits.

A job counts as one step of priority more urgent for every `ageing_s` that it has waited, so nothing
waits for ever. Among the users whose most urgent jobs are equally urgent, the one goes first whose
last turn is longest ago, whatever the number of their jobs; of a user's jobs the most urgent.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

from omnishot_ray.jobs.model import Job

MAX_BACKOFF_S = 300.0


@dataclass(frozen=True, slots=True)
class Head:
    """A user's most urgent waiting job; `turn` counts up with every job that anybody gets."""

    user_id: str
    job_id: str
    rank: float
    turn: int


def rank(job: Job, ageing_s: float) -> float:
    """The smaller, the more urgent: the time since which it waits, put off by its priority."""
    return job.queued_at + job.priority * ageing_s


def order(heads: Iterable[Head], now: float, ageing_s: float) -> list[Head]:
    """The users' heads, the first to be served first."""

    def key(head: Head) -> tuple[int, int, float]:
        step = math.ceil((head.rank - now) / ageing_s)
        return max(1, step), head.turn, head.rank

    return sorted(heads, key=key)


def backoff(failures: int, base_s: float, draw: float | None = None) -> float:
    """Seconds until the next attempt after so many failures: anything up to `base_s`, twice, ….

    `draw` is a number from 0 to 1, by chance when None. Full jitter spreads those that failed
    together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    highest = min(MAX_BACKOFF_S, base_s * 2.0 ** (failures - 1))
    return highest * (random.random() if draw is None else draw)
