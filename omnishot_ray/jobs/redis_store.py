"""The store of several nodes: Redis, each change a transaction over watched keys.

What a change reads of a job, batch or key is watched (`WATCH`), so that of two who change the same
one the second reads anew: no update gets lost (https://redis.io/docs/latest/develop/interact/
transactions/). Indexes are only hints of where to look and change together with the job, within one
`MULTI`. Keys are not known beforehand, so a Redis Cluster cannot hold them.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import sleep
from typing import Any

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry

from omnishot_ray.errors import StorageUnavailable
from omnishot_ray.jobs.asking import Filter, Key, Stats, Worker, live_workers
from omnishot_ray.jobs.codec import read_batch, read_job
from omnishot_ray.jobs.model import Batch, Job, Status
from omnishot_ray.jobs.store import Rows, Store, T
from omnishot_ray.jobs.turns import Head

PREFIX = "omnishot:jobs:"
_TRIES = 200
_PAGE = 500
_LEAVE_LINE = "if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end"
"""A user's line may get a job while it is found to be empty: both in one step."""


class RedisStore(Store):
    """Connects when it is first used."""

    def __init__(
        self,
        url: str,
        ageing_s: float = 10.0,
        max_waiting: int = 100_000,
        key_life_s: float = 86_400.0,
        timeout_s: float = 5.0,
    ) -> None:
        super().__init__(ageing_s, max_waiting, key_life_s)
        self._client = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Once, at once: a connection may have been closed since, by a Redis that is back.
            retry=Retry(NoBackoff(), 1),
        )

    def _transact(self, work: Callable[[Rows], T]) -> T:
        with _translated():
            for attempt in range(_TRIES):
                with self._client.pipeline() as pipe:
                    rows = _RedisRows(self._client, pipe)
                    try:
                        result = work(rows)
                        rows.commit()
                    except WatchError:
                        sleep(random.random() * 0.001 * min(attempt, 20))
                        continue
                    return result
        raise StorageUnavailable("The store of jobs is too busy; send it again later.", 5.0)

    def get(self, job_id: str) -> Job | None:
        """A job."""
        with _translated():
            return self._jobs([job_id])[0] if job_id else None

    def find(self, wanted: Filter) -> Sequence[Job]:
        """Jobs, the newest first, from the index that leaves the least to be passed over."""
        if wanted.batch_id is not None:
            indexes = [f"batch:{wanted.batch_id}"]
        elif wanted.user_id is not None:
            indexes = [f"user:{wanted.user_id}"]
        elif wanted.statuses:
            indexes = [f"status:{status}" for status in wanted.statuses]
        else:
            indexes = ["all"]
        found: list[Job] = []
        with _translated():
            for index in indexes:
                found += self._walk(index, wanted)
        return sorted(found, key=lambda job: job.id, reverse=True)[: wanted.limit]

    def get_batch(self, batch_id: str) -> Batch | None:
        """A batch."""
        with _translated():
            doc = self._client.get(f"{PREFIX}batches:{batch_id}")
        return read_batch(doc) if doc else None

    def batch_counts(self, batch_id: str) -> dict[Status, int]:
        """The jobs of a batch by status."""
        with _translated():
            counts: Any = self._client.hgetall(f"{PREFIX}batch-counts:{batch_id}")
        return {Status(name.decode()): int(n) for name, n in counts.items() if int(n)}

    def open_batches(self, limit: int) -> Sequence[str]:
        """Batches whose jobs are not all in line yet."""
        with _translated():
            found: Any = self._client.zrange(f"{PREFIX}open-batches", 0, limit - 1)
        return [batch_id.decode() for batch_id in found]

    def stats(self, now: float) -> Stats:
        """How the queue stands, in one round trip."""
        with _translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(f"{PREFIX}counts")
            pipe.zcount(f"{PREFIX}due:active", "-inf", now)
            pipe.zcount(f"{PREFIX}finished", f"({now - 60.0}", "+inf")
            pipe.zrange(f"{PREFIX}queued", 0, 0, withscores=True)
            pipe.hgetall(f"{PREFIX}workers")
            counts, stalled, lately, oldest, workers = pipe.execute()
        return Stats(
            _counts(counts),
            stalled,
            lately,
            oldest[0][1] if oldest else None,
            live_workers((Worker(**orjson.loads(doc)) for doc in workers.values()), now),
        )

    def note_worker(self, worker: Worker) -> None:
        """A runner's sign of life."""
        with _translated():
            known: Any = self._client.hgetall(f"{PREFIX}workers")
            gone = [
                name
                for name, doc in known.items()
                if orjson.loads(doc)["seen_at"] < worker.seen_at - 86_400
            ]
            if gone:
                self._client.hdel(f"{PREFIX}workers", *gone)
            self._client.hset(f"{PREFIX}workers", worker.name, orjson.dumps(worker))

    def old_jobs(self, finished_before: float, limit: int) -> Sequence[str]:
        """Finished jobs to be forgotten."""
        with _translated():
            found: Any = self._client.zrange(
                f"{PREFIX}finished",
                "-inf",
                f"({finished_before}",
                byscore=True,
                offset=0,
                num=limit,
            )
        return [job_id.decode() for job_id in found]

    def digests(self) -> Iterator[str]:
        """All bytes that jobs and batches need; read in pages, so that nobody waits for it."""
        with _translated():
            for job in self._walk("all", None):
                yield from job.digests
            for batch_id in self.open_batches(1_000_000):
                batch = self.get_batch(batch_id)
                for job in batch.jobs if batch else ():
                    yield from job.digests

    def check(self) -> None:
        """Ask it."""
        with _translated():
            self._client.ping()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _jobs(self, ids: Sequence[str]) -> list[Job | None]:
        docs: Any = self._client.mget([f"{PREFIX}job:{job_id}" for job_id in ids]) if ids else []
        return [read_job(doc) if doc else None for doc in docs]

    def _walk(self, index: str, wanted: Filter | None) -> list[Job]:
        """Jobs of an index from the newest on: those that are wanted, or all."""
        found: list[Job] = []
        before = wanted.before if wanted else ""
        while True:
            page: Any = self._client.zrange(
                PREFIX + index,
                f"({before}" if before else "+",
                "-",
                desc=True,
                bylex=True,
                offset=0,
                num=_PAGE if wanted is None else max(wanted.limit, 50),
            )
            if not page:
                return found
            before = page[-1].decode()
            jobs = [job for job in self._jobs([one.decode() for one in page]) if job]
            found += [job for job in jobs if wanted is None or _matches(job, wanted)]
            if wanted and len(found) >= wanted.limit:
                return found


def _matches(job: Job, wanted: Filter) -> bool:
    return (
        (not wanted.statuses or job.status in wanted.statuses)
        and wanted.user_id in (None, job.user_id)
        and wanted.batch_id in (None, job.batch_id)
    )


def _counts(raw: Mapping[bytes, bytes]) -> dict[tuple[Status, int], int]:
    counts = {}
    for name, count in raw.items():
        status, _, priority = name.decode().partition(":")
        if int(count) > 0:
            counts[Status(status), int(priority)] = int(count)
    return counts


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except WatchError:
        raise
    except RedisError as error:
        raise StorageUnavailable(
            "The store of jobs cannot be reached or is full; nothing was accepted. "
            "Send it again later.",
            5.0,
        ) from error


class _RedisRows:
    """Reads at once and watches what it read; writes are kept until `commit`."""

    def __init__(self, client: "Redis", pipe: "Pipeline") -> None:
        self._client = client
        self._pipe = pipe
        self._writes: list[tuple[Any, ...]] = []

    def commit(self) -> None:
        """Write everything at once. Raises `WatchError` when something watched has changed."""
        if not self._writes:
            return
        self._pipe.multi()
        for command in self._writes:
            self._pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        self._pipe.execute()

    def _watched(self, name: str) -> bytes | None:
        self._pipe.watch(PREFIX + name)  # type: ignore[no-untyped-call]
        value: Any = self._pipe.get(PREFIX + name)
        return value  # type: ignore[no-any-return]

    def _write(self, command: str, name: str, *arguments: Any) -> None:
        self._writes.append((command, PREFIX + name, *arguments))

    def job(self, job_id: str) -> Job | None:
        doc = self._watched(f"job:{job_id}")
        return read_job(doc) if doc else None

    def put(self, job: Job, old: Job | None, rank: float) -> None:
        self._write("SET", f"job:{job.id}", job.as_json())
        before = _places(old, rank) if old else {}
        after = _places(job, rank)
        for index in before.keys() - after.keys():
            self._write("ZREM", index, job.id)
        for index, score in after.items():
            if before.get(index) != score:
                self._write("ZADD", index, score, job.id)
        if job.status is Status.QUEUED:
            self._write("SADD", "users", job.user_id)
        if old is None or old.status is not job.status:
            if old is not None:
                self._count(old, -1)
            self._count(job, 1)
            if job.status is Status.COMPLETED and job.work_key:
                self._write("SET", f"work_key:{job.work_key}", job.id)
        if old is None and job.scope:
            self._write("SET", f"scope:{job.scope}", job.id)

    def drop(self, job: Job) -> None:
        self._write("DEL", f"job:{job.id}")
        for index in _places(job, 0.0):
            self._write("ZREM", index, job.id)
        self._count(job, -1)
        for kind in ("scope", "work_key"):
            value = getattr(job, kind)
            if value and self.newest(kind, value) == job.id:
                self._write("DEL", f"{kind}:{value}")

    def _count(self, job: Job, more: int) -> None:
        self._write("HINCRBY", "counts", f"{job.status}:{job.priority}", more)
        if job.batch_id:
            self._write("HINCRBY", f"batch-counts:{job.batch_id}", str(job.status), more)

    def newest(self, kind: str, value: str) -> str | None:
        job_id = self._watched(f"{kind}:{value}")
        return job_id.decode() if job_id else None

    def key(self, name: str) -> Key | None:
        doc = self._watched(f"key:{name}")
        return Key(**orjson.loads(doc)) if doc else None

    def put_key(self, key: Key, life_s: float) -> None:
        self._write("SET", f"key:{key.name}", orjson.dumps(key), "PX", int(life_s * 1000))

    def batch(self, batch_id: str) -> Batch | None:
        doc = self._watched(f"batches:{batch_id}")
        return read_batch(doc) if doc else None

    def put_batch(self, batch: Batch) -> None:
        self._write("SET", f"batches:{batch.id}", batch.as_json())
        if batch.jobs:
            self._write("ZADD", "open-batches", batch.created_at, batch.id)
        else:
            self._write("ZREM", "open-batches", batch.id)

    def heads(self) -> list[Head]:
        members: Any = self._client.smembers(f"{PREFIX}users")
        users = sorted(user.decode() for user in members)
        if not users:
            return []
        with self._client.pipeline(transaction=False) as pipe:
            for user in users:
                pipe.zrange(f"{PREFIX}line:{user}", 0, 0, withscores=True)
            pipe.hmget(f"{PREFIX}turns", users)
            *firsts, turns = pipe.execute()
        heads = []
        for user, first, turn in zip(users, firsts, turns, strict=True):
            if first:
                ((job_id, rank),) = first
                heads.append(Head(user, job_id.decode(), rank, int(turn or 0)))
            else:
                self._client.eval(_LEAVE_LINE, 2, f"{PREFIX}line:{user}", f"{PREFIX}users", user)
        return heads

    def put_turn(self, user_id: str, turn: int) -> None:
        self._write("HSET", "turns", user_id, turn)

    def due(self, status: Status, before: float, limit: int) -> list[str]:
        return self._over(f"due:{status}", before, limit)

    def callbacks(self, before: float, limit: int) -> list[str]:
        return self._over("callbacks", before, limit)

    def _over(self, index: str, before: float, limit: int) -> list[str]:
        found: Any = self._client.zrange(
            PREFIX + index,
            "-inf",
            before,
            byscore=True,
            offset=0,
            num=limit,
        )
        return [job_id.decode() for job_id in found]

    def counts(self) -> dict[tuple[Status, int], int]:
        raw: Any = self._client.hgetall(f"{PREFIX}counts")
        return _counts(raw)


def _places(job: Job, rank: float) -> dict[str, float]:
    """The indexes that a job is in, each with its score there; 0 where members sort by name."""
    places = {"all": 0.0, f"status:{job.status}": 0.0, f"user:{job.user_id}": 0.0}
    if job.batch_id:
        places[f"batch:{job.batch_id}"] = 0.0
    if job.status is Status.QUEUED:
        places |= {f"line:{job.user_id}": rank, "queued": job.queued_at}
    if job.status in (Status.ACTIVE, Status.DELAYED):
        places[f"due:{job.status}"] = job.due_at
    if job.finished_at is not None:
        places["finished"] = job.finished_at
    if job.callback_at is not None:
        places["callbacks"] = job.callback_at
    return places
