"""Where jobs are kept: what can be done with them, written once for every backend.

A backend brings `Rows`, a handful of look-ups and writes, and `_transact`, which makes what a
function does with them atomic: SQLite by `BEGIN IMMEDIATE`, Redis by `WATCH` and `MULTI` with
another try when somebody was faster, memory by a lock. The function may therefore run twice and has
to be pure but for its rows. All calls block: call them in threads.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from omnishot_ray.errors import Overloaded
from omnishot_ray.jobs.asking import Filter, Key, Stats, Submitted, Worker
from omnishot_ray.jobs.model import (
    UNFINISHED,
    Batch,
    IllegalTransition,
    Job,
    StaleAttempt,
    Status,
    adopt,
    prolong,
    stall,
    start,
    wake,
)
from omnishot_ray.jobs.turns import Head, order, rank

T = TypeVar("T")
Change = Callable[[Job], Job]

_PENDING_S = 60.0
"""A request that has not come to its end after so long never will."""


class UnknownJob(Exception):
    """There is no such job, or not any more."""


class KeyReused(Exception):
    """An `Idempotency-Key` came with another payload; `in_flight` while the first is at work."""

    def __init__(self, in_flight: bool) -> None:
        super().__init__("in flight" if in_flight else "settled")
        self.in_flight = in_flight


class Rows(Protocol):
    """What a backend can look up and write within a transaction."""

    def job(self, job_id: str) -> Job | None:
        """The job; when it changes before the transaction ends, the transaction is tried again."""
        ...

    def put(self, job: Job, old: Job | None, rank: float) -> None:
        """Write a job in place of `old`, with its place in line."""
        ...

    def drop(self, job: Job) -> None:
        """Forget a job."""
        ...

    def newest(self, kind: str, value: str) -> str | None:
        """The newest job of a `scope`, or the newest completed one of a `work_key`."""
        ...

    def key(self, name: str) -> Key | None:
        """What is known of an `Idempotency-Key`."""
        ...

    def put_key(self, key: Key, life_s: float) -> None:
        """Remember it so long."""
        ...

    def batch(self, batch_id: str) -> Batch | None:
        """A batch, guarded like a job."""
        ...

    def put_batch(self, batch: Batch) -> None:
        """Write a batch."""
        ...

    def heads(self) -> list[Head]:
        """The most urgent queued job of each user."""
        ...

    def put_turn(self, user_id: str, turn: int) -> None:
        """A user had a turn."""
        ...

    def due(self, status: Status, before: float, limit: int) -> list[str]:
        """Jobs of a status whose `due_at` is over, the longest over first."""
        ...

    def callbacks(self, before: float, limit: int) -> list[str]:
        """Jobs whose callback is to be tried."""
        ...

    def counts(self) -> dict[tuple[Status, int], int]:
        """Jobs by status and priority."""
        ...


class Store(ABC):
    """Keeps jobs. Raises `StorageUnavailable` where it cannot be reached or is full."""

    def __init__(self, ageing_s: float, max_waiting: int, key_life_s: float) -> None:
        self._ageing_s = ageing_s
        self._max_waiting = max_waiting
        self._key_life_s = key_life_s

    @abstractmethod
    def _transact(self, work: Callable[[Rows], T]) -> T:
        """Run it so that all it writes is there at once or not at all."""

    @abstractmethod
    def get(self, job_id: str) -> Job | None:
        """A job."""

    @abstractmethod
    def find(self, wanted: Filter) -> Sequence[Job]:
        """Jobs, the newest first."""

    @abstractmethod
    def get_batch(self, batch_id: str) -> Batch | None:
        """A batch."""

    @abstractmethod
    def batch_counts(self, batch_id: str) -> dict[Status, int]:
        """The jobs of a batch by status."""

    @abstractmethod
    def open_batches(self, limit: int) -> Sequence[str]:
        """Batches whose jobs are not all in line yet, the oldest first."""

    @abstractmethod
    def stats(self, now: float) -> Stats:
        """How the queue stands."""

    @abstractmethod
    def note_worker(self, worker: Worker) -> None:
        """A runner's sign of life."""

    @abstractmethod
    def old_jobs(self, finished_before: float, limit: int) -> Sequence[str]:
        """Finished jobs to be forgotten."""

    @abstractmethod
    def digests(self) -> Iterator[str]:
        """All bytes that jobs and batches need, some more than once."""

    @abstractmethod
    def check(self) -> None:
        """Ask for a sign of life."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def submit(
        self, job: Job, now: float, *, dedupe: bool = True, key: Key | None = None
    ) -> Submitted:
        """Take a job in, or find the one that does the same.

        A job whose results another one has made already is completed at once.

        Raises:
            KeyReused: the key came with another payload before.
            Overloaded: too many jobs are unfinished.
        """

        def work(rows: Rows) -> Submitted:
            known = self._by_key(rows, key, now) or (dedupe and self._alike(rows, job))
            if known:
                self._settle_key(rows, key, known.id, now)
                return Submitted(known, created=False)
            taken = self._with_results(rows, job, now)
            if not taken.is_finished:
                self._check_room(rows, 1)
            self._put(rows, taken, None)
            self._settle_key(rows, key, taken.id, now)
            return Submitted(taken, created=True)

        return self._transact(work)

    def reserve(self, key: Key, now: float) -> None:
        """Say that a request with this key is at work. Raises `KeyReused`."""

        def work(rows: Rows) -> None:
            if self._live_key(rows, key, now) is None:
                rows.put_key(replace(key, job_id="", at=now), _PENDING_S)

        self._transact(work)

    def release(self, key: Key) -> None:
        """Say that the request with this key has come to nothing: it may be sent again, mended."""

        def work(rows: Rows) -> None:
            known = rows.key(key.name)
            if known and not known.job_id and known.fingerprint == key.fingerprint:
                rows.put_key(replace(known, at=0.0), _PENDING_S)

        self._transact(work)

    def update(self, job_id: str, change: Change) -> Job:
        """Change a job, and return it changed. Raises `UnknownJob`, and what `change` raises."""

        def work(rows: Rows) -> Job:
            old = rows.job(job_id)
            if old is None:
                raise UnknownJob(job_id)
            new = change(old)
            if new is not old:
                self._put(rows, new, old)
            return new

        return self._transact(work)

    def claim(self, worker: str, now: float, lease_s: float, most: int = 1) -> Sequence[Job]:
        """Begin the next attempts of at most so many jobs, by whose turn it is."""
        for job_id in self._transact(lambda rows: rows.due(Status.DELAYED, now, 100)):
            self._try(job_id, lambda job: wake(job, now))
        claimed: list[Job] = []
        while len(claimed) < most:
            job = self._transact(lambda rows: self._claim_one(rows, worker, now, lease_s))
            if job is None:
                break
            claimed.append(job)
        return claimed

    def prolong(self, held: Mapping[str, int], now: float, lease_s: float) -> set[str]:
        """A sign of life for attempts by job; those that are not held any more are returned."""
        return {
            job_id
            for job_id, attempt in held.items()
            if not self._try(job_id, lambda job, n=attempt: prolong(job, n, now, lease_s))  # type: ignore[misc]
        }

    def requeue_stalled(self, now: float, max_stalls: int, limit: int = 100) -> list[Job]:
        """Put jobs whose lease ran out back into line, or among the dead."""
        stalled = self._transact(lambda rows: rows.due(Status.ACTIVE, now, limit))
        tried = (self._try(job_id, lambda job: stall(job, now, max_stalls)) for job_id in stalled)
        return [job for job in tried if job]

    def has_work(self, now: float, finished_before: float) -> bool:
        """Whether there is anything for a runner, at once or later: unfinished jobs, batches not in
        line yet, callbacks, and jobs to be forgotten because they ended so long ago.
        """
        return bool(
            self.stats(now).of(*UNFINISHED)
            or self.open_batches(1)
            or self.due_callbacks(math.inf, 1)
            or self.old_jobs(finished_before, 1)
        )

    def due_callbacks(self, now: float, limit: int = 20) -> Sequence[str]:
        """Jobs whose end is to be told now."""
        return self._transact(lambda rows: rows.callbacks(now, limit))

    def submit_batch(self, batch: Batch, now: float, key: Key | None = None) -> tuple[Batch, bool]:
        """Take a batch in whole, and say whether it is new; `enqueue` then puts its jobs in line.

        Raises `KeyReused` and `Overloaded` as `submit` does.
        """

        def work(rows: Rows) -> tuple[Batch, bool]:
            known = self._live_key(rows, key, now) if key else None
            earlier = rows.batch(known.job_id) if known and known.job_id else None
            if earlier:
                return earlier, False
            self._check_room(rows, batch.total)
            rows.put_batch(batch)
            self._settle_key(rows, key, batch.id, now)
            return batch, True

        return self._transact(work)

    def enqueue(self, batch_id: str, now: float, most: int = 100) -> int:
        """Put the next jobs of a batch in line, and return how many are still to come."""

        def work(rows: Rows) -> int:
            batch = rows.batch(batch_id)
            if batch is None or not batch.jobs:
                return 0
            chunk, rest = batch.jobs[:most], batch.jobs[most:]
            for job in chunk:
                if rows.job(job.id) is None:
                    self._put(rows, self._with_results(rows, job, now), None)
            rows.put_batch(replace(batch, jobs=rest, enqueued=batch.enqueued + len(chunk)))
            return len(rest)

        return self._transact(work)

    def cancel_batch(self, batch_id: str, now: float) -> Batch:
        """Put no more of its jobs in line. Raises `UnknownJob`."""

        def work(rows: Rows) -> Batch:
            batch = rows.batch(batch_id)
            if batch is None:
                raise UnknownJob(batch_id)
            ended = replace(batch, cancelled_at=batch.cancelled_at or now, jobs=())
            rows.put_batch(ended)
            return ended

        return self._transact(work)

    def forget(self, finished_before: float, limit: int = 500) -> int:
        """Forget jobs that ended before a time; how many."""
        forgotten = 0
        for job_id in self.old_jobs(finished_before, limit):

            def work(rows: Rows, job_id: str = job_id) -> int:
                job = rows.job(job_id)
                if job is None or not job.is_finished or (job.finished_at or 0) >= finished_before:
                    return 0
                rows.drop(job)
                return 1

            forgotten += self._transact(work)
        return forgotten

    def _try(self, job_id: str, change: Change) -> Job | None:
        with suppress(UnknownJob, StaleAttempt, IllegalTransition):
            return self.update(job_id, change)
        return None

    def _put(self, rows: Rows, job: Job, old: Job | None) -> None:
        rows.put(job, old, rank(job, self._ageing_s))

    def _claim_one(self, rows: Rows, worker: str, now: float, lease_s: float) -> Job | None:
        heads = rows.heads()
        for head in order(heads, now, self._ageing_s):
            job = rows.job(head.job_id)
            if job is None or job.status is not Status.QUEUED:
                continue
            started = start(job, worker, now, lease_s)
            self._put(rows, started, job)
            latest = max(other.turn for other in heads)
            rows.put_turn(head.user_id, max(int(now * 1e6), latest + 1))
            return started
        return None

    def _live_key(self, rows: Rows, key: Key, now: float) -> Key | None:
        """What is known of the key, unless it is too old. Raises `KeyReused`."""
        known = rows.key(key.name)
        if known is None:
            return None
        if now - known.at > (self._key_life_s if known.job_id else _PENDING_S):
            return None
        if known.fingerprint != key.fingerprint:
            raise KeyReused(in_flight=not known.job_id)
        return known

    def _by_key(self, rows: Rows, key: Key | None, now: float) -> Job | None:
        known = self._live_key(rows, key, now) if key else None
        return rows.job(known.job_id) if known and known.job_id else None

    def _settle_key(self, rows: Rows, key: Key | None, job_id: str, now: float) -> None:
        if key:
            rows.put_key(replace(key, job_id=job_id, at=now), self._key_life_s)

    def _alike(self, rows: Rows, job: Job) -> Job | None:
        """A job that does the same; what was fetched from an address may be another picture now."""
        found = rows.newest("scope", job.scope) if job.scope else None
        other = rows.job(found) if found else None
        lasting = other is not None and other.status is Status.COMPLETED and bool(job.work_key)
        return other if other and (other.status in UNFINISHED or lasting) else None

    def _with_results(self, rows: Rows, job: Job, now: float) -> Job:
        found = rows.newest("work_key", job.work_key) if job.work_key else None
        other = rows.job(found) if found and not job.work.output else None
        if other is None or other.status is not Status.COMPLETED:
            return job
        if any(one.failure for one in other.results):
            return job
        return adopt(job, other, now)

    def _check_room(self, rows: Rows, more: int) -> None:
        unfinished = sum(n for (status, _), n in rows.counts().items() if status in UNFINISHED)
        if unfinished + more > self._max_waiting:
            raise Overloaded(
                f"{unfinished} jobs are unfinished, and at most {self._max_waiting} may be; "
                "send it again later.",
                10.0,
            )
