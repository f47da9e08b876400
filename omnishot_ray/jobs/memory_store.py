"""The store in memory: for tests, and to show what a backend has to bring."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from omnishot_ray.jobs.asking import Filter, Key, Stats, Worker, live_workers
from omnishot_ray.jobs.model import FINISHED, UNFINISHED, Batch, Job, Status
from omnishot_ray.jobs.store import Rows, Store, T
from omnishot_ray.jobs.turns import Head


class MemoryStore(Store):
    """Lost with the process."""

    def __init__(
        self, ageing_s: float = 10.0, max_waiting: int = 100_000, key_life_s: float = 86_400.0
    ) -> None:
        super().__init__(ageing_s, max_waiting, key_life_s)
        self._lock = threading.Lock()
        self._rows = _MemoryRows()
        self._workers: dict[str, Worker] = {}

    def _transact(self, work: Callable[[Rows], T]) -> T:
        # What is written last is written only when nothing before it has raised.
        with self._lock:
            return work(self._rows)

    def get(self, job_id: str) -> Job | None:
        """A job."""
        return self._rows.jobs.get(job_id)

    def find(self, wanted: Filter) -> Sequence[Job]:
        """Jobs, the newest first."""
        with self._lock:
            jobs = sorted(self._rows.jobs.values(), key=lambda job: job.id, reverse=True)
        return [
            job
            for job in jobs
            if (not wanted.statuses or job.status in wanted.statuses)
            and wanted.user_id in (None, job.user_id)
            and wanted.batch_id in (None, job.batch_id)
            and (not wanted.before or job.id < wanted.before)
        ][: wanted.limit]

    def get_batch(self, batch_id: str) -> Batch | None:
        """A batch."""
        return self._rows.batches.get(batch_id)

    def batch_counts(self, batch_id: str) -> dict[Status, int]:
        """The jobs of a batch by status."""
        with self._lock:
            jobs = self._rows.jobs.values()
            return dict(Counter(job.status for job in jobs if job.batch_id == batch_id))

    def open_batches(self, limit: int) -> Sequence[str]:
        """Batches whose jobs are not all in line yet."""
        with self._lock:
            return sorted(batch.id for batch in self._rows.batches.values() if batch.jobs)[:limit]

    def stats(self, now: float) -> Stats:
        """How the queue stands."""
        with self._lock:
            jobs = list(self._rows.jobs.values())
            counts = self._rows.counts()
            workers = list(self._workers.values())
        queued = [job.queued_at for job in jobs if job.status is Status.QUEUED]
        return Stats(
            counts,
            stalled=sum(job.status is Status.ACTIVE and job.due_at <= now for job in jobs),
            finished_lately=sum((job.finished_at or 0.0) > now - 60.0 for job in jobs),
            oldest_queued_at=min(queued, default=None),
            workers=live_workers(workers, now),
        )

    def note_worker(self, worker: Worker) -> None:
        """A runner's sign of life."""
        self._workers[worker.name] = worker

    def old_jobs(self, finished_before: float, limit: int) -> Sequence[str]:
        """Finished jobs to be forgotten."""
        with self._lock:
            ended = [
                (job.finished_at or 0.0, job.id)
                for job in self._rows.jobs.values()
                if job.status in FINISHED and (job.finished_at or 0.0) < finished_before
            ]
        return [job_id for _, job_id in sorted(ended)[:limit]]

    def digests(self) -> Iterator[str]:
        """All bytes that jobs and batches need."""
        with self._lock:
            jobs = list(self._rows.jobs.values())
            jobs += [job for batch in self._rows.batches.values() for job in batch.jobs]
        for job in jobs:
            yield from job.digests

    def check(self) -> None:
        """Memory is always there."""

    def close(self) -> None:
        """Nothing to let go of."""


class _MemoryRows:
    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.batches: dict[str, Batch] = {}
        self._ranks: dict[str, float] = {}
        self._keys: dict[str, Key] = {}
        self._turns: dict[str, int] = {}

    def job(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def put(self, job: Job, old: Job | None, rank: float) -> None:
        del old
        self.jobs[job.id] = job
        self._ranks[job.id] = rank

    def drop(self, job: Job) -> None:
        del self.jobs[job.id], self._ranks[job.id]

    def newest(self, kind: str, value: str) -> str | None:
        found = [
            job.id
            for job in self.jobs.values()
            if getattr(job, kind) == value and (kind == "scope" or job.status is Status.COMPLETED)
        ]
        return max(found, default=None)

    def key(self, name: str) -> Key | None:
        return self._keys.get(name)

    def put_key(self, key: Key, life_s: float) -> None:
        del life_s
        self._keys[key.name] = key

    def batch(self, batch_id: str) -> Batch | None:
        return self.batches.get(batch_id)

    def put_batch(self, batch: Batch) -> None:
        self.batches[batch.id] = batch

    def heads(self) -> list[Head]:
        best: dict[str, tuple[float, str]] = {}
        for job in self.jobs.values():
            if job.status is Status.QUEUED:
                place = (self._ranks[job.id], job.id)
                best[job.user_id] = min(place, best.get(job.user_id, place))
        return [
            Head(user, job_id, rank, self._turns.get(user, 0))
            for user, (rank, job_id) in best.items()
        ]

    def put_turn(self, user_id: str, turn: int) -> None:
        self._turns[user_id] = turn

    def due(self, status: Status, before: float, limit: int) -> list[str]:
        assert status in UNFINISHED
        over = [
            (job.due_at, job.id)
            for job in self.jobs.values()
            if job.status is status and job.due_at <= before
        ]
        return [job_id for _, job_id in sorted(over)[:limit]]

    def callbacks(self, before: float, limit: int) -> list[str]:
        due = [
            (job.callback_at, job.id)
            for job in self.jobs.values()
            if job.callback_at is not None and job.callback_at <= before
        ]
        return [job_id for _, job_id in sorted(due)[:limit]]

    def counts(self) -> dict[tuple[Status, int], int]:
        return dict(Counter((job.status, job.priority) for job in self.jobs.values()))
