"""What a store is asked with, and what it answers beside jobs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from omnishot_ray.jobs.model import Job, Status

_WORKER_S = 60.0
"""Runners that gave no sign for so long are not listed."""


@dataclass(frozen=True, slots=True)
class Key:
    """An `Idempotency-Key` of a caller, and what came with it."""

    name: str
    fingerprint: str
    job_id: str = ""
    """Of a job or a batch; empty while the request is at work."""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that stands for a request, and whether it was made for it."""

    job: Job
    created: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are listed, the newest first, older than the job `before`."""

    statuses: tuple[Status, ...] = ()
    user_id: str | None = None
    batch_id: str | None = None
    before: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Worker:
    """A runner, by its last sign of life."""

    name: str
    seen_at: float
    slots: int
    active: int


@dataclass(frozen=True, slots=True)
class Stats:
    """How the queue stands. `counts` by status and priority."""

    counts: Mapping[tuple[Status, int], int]
    stalled: int = 0
    finished_lately: int = 0
    """Completed, failed or dead within the last minute."""
    oldest_queued_at: float | None = None
    workers: tuple[Worker, ...] = field(default=())

    def of(self, *statuses: Status) -> int:
        """Jobs that stand so."""
        return sum(count for (status, _), count in self.counts.items() if status in statuses)


def live_workers(workers: Iterable[Worker], now: float) -> tuple[Worker, ...]:
    """Those that gave a sign of life lately, by name."""
    return tuple(sorted((w for w in workers if now - w.seen_at < _WORKER_S), key=lambda w: w.name))
