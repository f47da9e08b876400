"""What a job is, and the only ways in which it changes.

    queued ──► active ──► completed
      ▲ │        │ ├────► failed       nothing would make it work
      │ │        │ ├────► dead         every attempt failed
      │ │        │ ├────► queued       its runner ended
      │ │        │ └────► cancelled
      │ │        ▼
      │ │     delayed ──► queued, cancelled
      │ └───────────────► cancelled
      └── failed, dead, cancelled: replay

Every change is a pure function from a job to a job. The store makes it atomic and knows nothing of
its meaning, so all stores behave alike. An attempt is fenced by its number: whoever still holds an
older one, after its lease ran out, is told `StaleAttempt` and can change nothing any more.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from omnishot_ray.errors import EngineUnavailable, OmnishotError, StorageUnavailable


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    DELAYED = "delayed"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.ACTIVE, Status.CANCELLED}),
    Status.DELAYED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.ACTIVE: frozenset(
        {
            *(Status.COMPLETED, Status.FAILED, Status.DEAD, Status.CANCELLED),
            *(Status.DELAYED, Status.QUEUED),
        }
    ),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
    Status.DEAD: frozenset({Status.QUEUED}),
}
"""Where each status may lead."""

WAITING = (Status.QUEUED, Status.DELAYED)
UNFINISHED = (*WAITING, Status.ACTIVE)
FINISHED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DEAD)


class IllegalTransition(Exception):
    """A job cannot go from where it stands to where it was told to."""

    def __init__(self, status: Status, wanted: Status) -> None:
        super().__init__(f"{status} cannot become {wanted}")
        self.status, self.wanted = status, wanted


class StaleAttempt(Exception):
    """Whoever says so no longer holds the job: another attempt has begun, or it was ended."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt, a variant or a job came to nothing: an `OmnishotError` as a value."""

    code: str
    title: str
    detail: str
    retryable: bool = False

    @classmethod
    def of(cls, error: OmnishotError) -> "Failure":
        """The failure that an error stands for."""
        return cls(error.code, error.title, error.detail, error.retryable)


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One rendition that is made, or could not be. `digest` names its bytes."""

    name: str
    digest: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    bytes: int = 0
    crop: tuple[int, ...] | None = None
    output: str = ""
    """The address that it was written to besides, where the job names one."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The picture, once it has been read. Pixels upright."""

    width: int
    height: int
    format: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done. `variants` are the options of each rendition that are not the default."""

    variants: tuple[Mapping[str, Any], ...]
    digest: str = ""
    """Of the picture, in storage; empty where it is fetched from `url`."""
    url: str = ""
    output: str = ""
    """URI of the folder into which the results are written besides."""
    callback_url: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture, everything wanted of it, and what became of it. Times are Unix seconds."""

    id: str
    work: Work
    created_at: float
    user_id: str = ""
    batch_id: str = ""
    priority: int = 5
    timeout_s: float = 300.0
    max_attempts: int = 3
    request_id: str = ""
    """Of the request that brought it: what is logged of its work, and told of it, carries this."""
    scope: str = ""
    """Jobs of the same scope are the same: owner, content and options; empty: only itself."""
    work_key: str = ""
    """Of the same key are the same results, whoever asks; empty where the content is not known."""
    status: Status = Status.QUEUED
    version: int = 1
    """Counts every change."""
    attempts: int = 0
    """Those begun; the number of the one that runs."""
    failures: int = 0
    """Attempts that count against `max_attempts`: those that ended with an error."""
    stalls: int = 0
    queued_at: float = 0.0
    """Since when it waits this time; `rank` counts from here."""
    due_at: float = 0.0
    """When a delayed job may run; when an active one's lease ends."""
    worker: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    source: Source | None = None
    results: tuple[VariantResult, ...] = ()
    error: Failure | None = None
    callback_at: float | None = None
    """When the callback is to be tried next; None: nothing to tell (any more)."""
    callback_attempts: int = 0
    callback_error: str = ""

    @property
    def progress(self) -> int:
        """Percent of the variants that are made; 100 only when all is done."""
        if self.status is Status.COMPLETED:
            return 100
        return min(99, 100 * len(self.results) // max(1, len(self.work.variants)))

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen unless somebody replays it."""
        return self.status in FINISHED

    @property
    def digests(self) -> tuple[str, ...]:
        """All bytes that it needs in storage."""
        made = (one.digest for one in self.results)
        return tuple(digest for digest in (self.work.digest, *made) if digest)

    def as_json(self) -> bytes:
        """To be kept by a store."""
        return orjson.dumps(self)


def new_id(now: float) -> str:
    """A name that sorts by the time it was given: UUIDv7 (RFC 9562 §5.7) without dashes."""
    milliseconds = int(now * 1000) & ((1 << 48) - 1)
    low = int.from_bytes(os.urandom(10))
    value = (milliseconds << 80) | (low & ((1 << 80) - 1))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return f"{value:032x}"


def _to(job: Job, status: Status, **values: Any) -> Job:
    if status not in TRANSITIONS[job.status]:
        raise IllegalTransition(job.status, status)
    return replace(job, status=status, version=job.version + 1, **values)


def start(job: Job, worker: str, now: float, lease_s: float) -> Job:
    """The next attempt begins. What earlier ones have made stays made."""
    return _to(
        job,
        Status.ACTIVE,
        attempts=job.attempts + 1,
        worker=worker,
        due_at=now + lease_s,
        started_at=now,
        error=None,
    )


def held(job: Job, attempt: int) -> Job:
    """The job, when this attempt still holds it. Raises `StaleAttempt`."""
    if job.status is not Status.ACTIVE or job.attempts != attempt:
        raise StaleAttempt(f"attempt {attempt} of {job.id} is over")
    return job


def prolong(job: Job, attempt: int, now: float, lease_s: float) -> Job:
    """A sign of life. Not a change that anybody watches for: the version stays."""
    return replace(held(job, attempt), due_at=now + lease_s)


def advance(
    job: Job,
    attempt: int,
    source: Source | None,
    results: tuple[VariantResult, ...],
    digest: str = "",
) -> Job:
    """Further variants are made and written; `digest` names a picture that has been fetched."""
    job = held(job, attempt)
    names = {one.name for one in results}
    kept = tuple(one for one in job.results if one.name not in names)
    return replace(
        job,
        source=source or job.source,
        results=(*kept, *results),
        work=replace(job.work, digest=digest) if digest else job.work,
        version=job.version + 1,
    )


def complete(job: Job, attempt: int, now: float) -> Job:
    """All that can be made is made."""
    return _to(held(job, attempt), Status.COMPLETED, **_finished(job, now))


def adopt(job: Job, other: Job, now: float) -> Job:
    """A new job whose results another one has made already: completed without an attempt.

    Only before it is in a store; the results are named as the other one named them.
    """
    return replace(
        job,
        status=Status.COMPLETED,
        source=other.source,
        results=tuple(replace(one, output="") for one in other.results),
        **_finished(job, now),
    )


_BLAMELESS = frozenset({EngineUnavailable.code, StorageUnavailable.code})
"""Faults of the service. They count as stalls do, or a disk that is full for half a minute would
fill the dead letters."""


def fail(
    job: Job, attempt: int, failure: Failure, now: float, delay_s: float, max_stalls: int = 10
) -> Job:
    """An attempt ended with an error: again after `delay_s`, or never."""
    job = replace(held(job, attempt), error=failure)
    if not failure.retryable:
        return _to(job, Status.FAILED, **_finished(job, now))
    if failure.code in _BLAMELESS:
        job = replace(job, stalls=job.stalls + 1)
    else:
        job = replace(job, failures=job.failures + 1)
    if job.failures >= job.max_attempts or job.stalls > max_stalls:
        return _to(job, Status.DEAD, **_finished(job, now))
    return _to(job, Status.DELAYED, due_at=now + delay_s, worker="")


def wake(job: Job, now: float) -> Job:
    """A delayed job's time has come."""
    if job.status is not Status.DELAYED or job.due_at > now:
        raise StaleAttempt(f"{job.id} is not due")
    return _to(job, Status.QUEUED, queued_at=now)


def stall(job: Job, now: float, max_stalls: int) -> Job:
    """The lease ran out: back into the queue, unless that happens over and over."""
    if job.status is not Status.ACTIVE or job.due_at > now:
        raise StaleAttempt(f"{job.id} has not stalled")
    job = replace(job, stalls=job.stalls + 1, worker="")
    if job.stalls <= max_stalls:
        return _to(job, Status.QUEUED)
    failure = Failure(
        EngineUnavailable.code,
        EngineUnavailable.title,
        f"The process that worked on this job ended, {job.stalls} times. "
        "It may be the picture that does it; replay the job to try again.",
    )
    return _to(replace(job, error=failure), Status.DEAD, **_finished(job, now))


def release(job: Job, attempt: int) -> Job:
    """A runner that is told to end gives back what it has not finished; nobody is to blame."""
    return _to(held(job, attempt), Status.QUEUED, worker="")


def cancel(job: Job, now: float) -> Job:
    """Ended from outside. Whoever works on it learns of it by its next sign of life."""
    return _to(job, Status.CANCELLED, **_finished(job, now))


def replay(job: Job, now: float) -> Job:
    """Once more from the first attempt; what was made stays made.

    What came from an address is fetched again.
    """
    if not job.is_finished:
        raise IllegalTransition(job.status, Status.QUEUED)
    pinned = not job.work.url
    return _to(
        job,
        Status.QUEUED,
        failures=0,
        stalls=0,
        queued_at=now,
        error=None,
        finished_at=None,
        callback_at=None,
        callback_attempts=0,
        callback_error="",
        results=tuple(one for one in job.results if one.failure is None) if pinned else (),
        work=job.work if pinned else replace(job.work, digest=""),
        source=job.source if pinned else None,
    )


def note_callback(job: Job, again_at: float | None, detail: str) -> Job:
    """An attempt at telling others was made; `again_at` None: delivered, or given up."""
    return replace(
        job,
        callback_at=again_at,
        callback_attempts=job.callback_attempts + 1,
        callback_error=detail,
    )


def _finished(job: Job, now: float) -> dict[str, Any]:
    callback_at = now if job.work.callback_url else None
    return {"finished_at": now, "worker": "", "callback_at": callback_at}


@dataclass(frozen=True, slots=True)
class Batch:
    """Many jobs that were asked for in one call. `jobs` holds them until they are all in line."""

    id: str
    created_at: float
    total: int
    user_id: str = ""
    cancelled_at: float | None = None
    enqueued: int = 0
    """How many of them are in the store as jobs of their own."""
    jobs: tuple[Job, ...] = field(default=(), repr=False)

    def as_json(self) -> bytes:
        """To be kept by a store."""
        return orjson.dumps(self)
