"""What the API asks of jobs. Writes to the store itself, so an answer waits for no runner."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter, time
from typing import Any

from omnishot_ray.digest import content_digest
from omnishot_ray.errors import (
    FieldError,
    InvalidParameters,
    JobConflict,
    JobUnknown,
    KeyInFlight,
    KeyMismatch,
    NotStored,
    StorageUnavailable,
    UnsupportedFormat,
)
from omnishot_ray.imaging.formats import sniff
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Rendition, Result
from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Filter, Key, Stats, Submitted
from omnishot_ray.jobs.attempt import kept, source_of
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.model import Batch, IllegalTransition, Job, Status, VariantResult, Work
from omnishot_ray.jobs.runner import Stores
from omnishot_ray.jobs.store import KeyReused, UnknownJob
from omnishot_ray.jobs.threads import Threads
from omnishot_ray.jobs.webhooks import Webhooks
from omnishot_ray.jobs.work import as_values, scope_of, work_key

_THREADS = 4
_RUNNER_STARTS_S = 30.0
"""How long a job may be in line before it is a fault that there is no runner: one starts in 3 s on
an idle machine."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is asked for. One of `data`, `upload` and `url` is the picture."""

    wanted: tuple[Options, ...]
    data: bytes = b""
    upload: str = ""
    url: str = ""
    priority: int = 5
    timeout_s: float | None = None
    max_attempts: int | None = None
    callback_url: str = ""
    output: str = ""
    dedupe: bool = True
    user_id: str = ""
    request_id: str = ""


class Jobs:
    """Jobs for one gateway."""

    def __init__(self, stores: Stores, webhooks: Webhooks, config: JobsConfig) -> None:
        self.config = config
        self._store, self._blobs = stores.store, stores.blobs
        self._sources, self._outputs = stores.sources, stores.outputs
        self._webhooks = webhooks
        self._threads = Threads(_THREADS, "jobs")

    async def upload(self, data: bytes) -> str:
        """Keep a picture for jobs to come, and return its name.

        Raises `UnsupportedFormat`, `StorageUnavailable`.
        """
        _check_format(data)
        return await self._threads.run(partial(self._blobs.put, data))

    async def submit(self, new: NewJob, key: str = "", made: Result | None = None) -> Submitted:
        """Take a job in. `made` is its result where it has been made before.

        Raises:
            InvalidParameters, AddressRefused, UnsupportedFormat: it cannot be done as it is.
            KeyInFlight, KeyMismatch: the `Idempotency-Key` came with something else.
            Overloaded, StorageUnavailable: not now; nothing was taken in.
        """
        self._check(new)
        now = time()
        reserved = self._key(key, new.user_id, (new,))
        async with self._at_work(reserved, now):
            job = await self._job(new, now)
            if made is not None and not new.output:
                job = await self._with_results(job, made, now)
            return await self._threads.run(
                partial(self._store.submit, job, now, dedupe=new.dedupe, key=reserved)
            )

    async def submit_batch(self, news: Sequence[NewJob], key: str = "") -> tuple[Batch, bool]:
        """Take many in at once, all or none; the runner puts them in line in chunks.

        Raises what `submit` raises.
        """
        for new in news:
            self._check(new)
        now = time()
        user_id = news[0].user_id
        reserved = self._key(key, user_id, news)
        batch_id = model.new_id(now)
        async with self._at_work(reserved, now):
            made = await asyncio.gather(*(self._job(new, now) for new in news))
            # A millisecond apart, so that they sort as they were given.
            jobs = [
                replace(job, id=model.new_id(now + number / 1000), batch_id=batch_id)
                for number, job in enumerate(made)
            ]
            batch = Batch(batch_id, now, len(jobs), user_id, jobs=tuple(jobs))
            taken, created = await self._threads.run(
                partial(self._store.submit_batch, batch, now, reserved)
            )
        if created:
            # The first chunk at once; a runner finds the rest even if this process ends here.
            await self._threads.run(partial(self._store.enqueue, batch_id, now))
        return taken, created

    async def get(self, job_id: str) -> Job:
        """A job. Raises `JobUnknown`."""
        job = await self._threads.run(partial(self._store.get, job_id))
        if job is None:
            raise _unknown("job")
        return job

    async def find(self, wanted: Filter) -> Sequence[Job]:
        """Jobs, the newest first."""
        return await self._threads.run(partial(self._store.find, wanted))

    async def get_batch(self, batch_id: str) -> tuple[Batch, dict[Status, int]]:
        """A batch and its jobs by status. Raises `JobUnknown`."""
        batch = await self._threads.run(partial(self._store.get_batch, batch_id))
        if batch is None:
            raise _unknown("batch")
        return batch, await self._threads.run(partial(self._store.batch_counts, batch_id))

    async def cancel(self, job_id: str) -> Job:
        """End a job; one that is cancelled already stays so. Raises `JobUnknown`, `JobConflict`."""
        now = time()

        def change(job: Job) -> Job:
            return job if job.status is Status.CANCELLED else model.cancel(job, now)

        return await self._change(job_id, change, "only what is not finished can be cancelled")

    async def retry(self, job_id: str) -> Job:
        """Start a failed, dead or cancelled job anew. Raises `JobUnknown`, `JobConflict`."""
        change = partial(model.replay, now=time())
        right = "only failed, dead and cancelled jobs can be tried again"
        return await self._change(job_id, change, right)

    async def cancel_batch(self, batch_id: str) -> tuple[Batch, dict[Status, int]]:
        """End what is not finished of a batch. Raises `JobUnknown`."""
        now = time()
        try:
            await self._threads.run(partial(self._store.cancel_batch, batch_id, now))
        except UnknownJob:
            raise _unknown("batch") from None
        wanted = Filter(model.UNFINISHED, batch_id=batch_id, limit=100)
        while jobs := await self.find(wanted):
            for job in jobs:
                try:
                    await self.cancel(job.id)
                except JobConflict:
                    continue  # it was faster
            wanted = replace(wanted, before=jobs[-1].id)
        return await self.get_batch(batch_id)

    async def bytes_of(self, one: VariantResult) -> bytes:
        """The bytes of a variant. Raises `NotStored`, `StorageUnavailable`."""
        return await self._threads.run(partial(self._blobs.get, one.digest))

    async def variant(self, job_id: str, name: str) -> VariantResult:
        """A variant that is made. Raises `JobUnknown`."""
        job = await self.get(job_id)
        for one in job.results:
            if one.name == name and one.failure is None:
                return one
        raise JobUnknown(
            "This job has no such result, or not yet; GET /api/jobs/{id} lists those there are."
        )

    async def stats(self) -> Stats:
        """How the queue stands."""
        return await self._threads.run(partial(self._store.stats, time()))

    async def has_work(self) -> bool:
        """Whether a runner is needed. Raises `StorageUnavailable`."""
        now = time()
        return await self._threads.run(partial(self._store.has_work, now, now - self.config.keep_s))

    async def check_ready(self) -> dict[str, str]:
        """`ok`, or what is the matter, of the store and of the runners: without work there need be
        none, and one that is wanted takes a while to start.
        """
        try:
            await self._threads.run(self._store.check)
            stats = await self.stats()
        except StorageUnavailable:
            return {"job-store": "the store of jobs does not answer", "job-runner": "not known"}
        oldest = stats.oldest_queued_at
        waits = oldest is not None and time() - oldest > _RUNNER_STARTS_S
        return {
            "job-store": "ok",
            "job-runner": "no runner has given a sign of life"
            if waits and not stats.workers
            else "ok",
        }

    async def describe_services(self) -> dict[str, dict[str, Any]]:
        """Store and runners for those who watch the service."""
        began = perf_counter()
        parts = await self.check_ready()
        latency_ms = round((perf_counter() - began) * 1000.0, 3)
        return {
            name: {
                "status": "ok" if state == "ok" else "down",
                "latency_ms": latency_ms if name == "job-store" else None,
                "circuit": "closed" if state == "ok" else "open",
                "detail": "" if state == "ok" else state,
            }
            for name, state in parts.items()
        }

    async def close(self) -> None:
        """Let go of everything."""
        await self._threads.close()
        self._store.close()
        await self._sources.close()
        await self._webhooks.close()

    @asynccontextmanager
    async def _at_work(self, key: Key | None, now: float) -> AsyncIterator[None]:
        """Keep others with the same `Idempotency-Key` out meanwhile; what is refused frees it.

        Raises `KeyInFlight`, `KeyMismatch`.
        """
        try:
            if key:
                await self._threads.run(partial(self._store.reserve, key, now))
            yield
        except KeyReused as reused:
            raise _refused(reused) from None
        except Exception:
            if key:
                with suppress(StorageUnavailable):
                    await self._threads.run(partial(self._store.release, key))
            raise

    def _check(self, new: NewJob) -> None:
        """What is wrong without asking anybody else."""
        if new.output:
            self._outputs.check(new.output)
        if new.callback_url:
            self._webhooks.check(new.callback_url)
        if new.url:
            self._sources.check(new.url)
        if new.data:
            _check_format(new.data)

    async def _job(self, new: NewJob, now: float) -> Job:
        digest = new.upload
        if new.data:
            digest = await self._threads.run(partial(self._blobs.put, new.data))
        elif new.upload:
            await self._threads.run(partial(self._renew, new.upload))
        variants = tuple(as_values(options) for options in new.wanted)
        scope = scope_of(new.user_id, digest or new.url, variants, new.output, new.callback_url)
        config = self.config
        return Job(
            id=model.new_id(now),
            work=Work(variants, digest, new.url, new.output, new.callback_url),
            created_at=now,
            queued_at=now,
            user_id=new.user_id,
            request_id=new.request_id,
            priority=new.priority,
            timeout_s=config.timeout_s if new.timeout_s is None else new.timeout_s,
            max_attempts=config.max_attempts if new.max_attempts is None else new.max_attempts,
            scope=scope,
            work_key=work_key(digest, variants) if digest else "",
        )

    def _renew(self, digest: str) -> None:
        """Make an upload young again: one that is a day old is just about to be taken away."""
        try:
            self._blobs.put(self._blobs.get(digest))
        except NotStored:
            detail = "nothing was uploaded under this id, or long ago; POST /api/uploads gives one"
            raise InvalidParameters(f"upload: {detail}", (FieldError("upload", detail),)) from None

    async def _with_results(self, job: Job, made: Result, now: float) -> Job:
        """The job completed with what a cache had."""
        results = []
        for one in made.renditions:
            if not isinstance(one, Rendition):
                return job
            digest = await self._threads.run(partial(self._blobs.put, one.data))
            results.append(kept(one, digest))
        return model.adopt(job, replace(job, source=source_of(made), results=tuple(results)), now)

    async def _change(self, job_id: str, change: Any, right: str) -> Job:
        try:
            return await self._threads.run(partial(self._store.update, job_id, change))
        except UnknownJob:
            raise _unknown("job") from None
        except IllegalTransition as fault:
            raise JobConflict(f"The job is {fault.status}; {right}.") from None

    def _key(self, key: str, user_id: str, news: Sequence[NewJob]) -> Key | None:
        if not key:
            return None
        payload = hashlib.sha256()
        for new in news:
            payload.update(content_digest(new.data))
            payload.update(repr(replace(new, data=b"", request_id="")).encode())
        name = hashlib.sha256(f"{user_id}\n{key}".encode()).hexdigest()
        return Key(name, payload.hexdigest())


def _check_format(data: bytes) -> None:
    if sniff(data) is None:
        raise UnsupportedFormat(
            "The bytes are not of an accepted format; send JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP."
        )


def _refused(reused: KeyReused) -> KeyInFlight | KeyMismatch:
    if reused.in_flight:
        return KeyInFlight(
            "Another request with this Idempotency-Key and another payload is being worked on; "
            "use a new key for each request."
        )
    return KeyMismatch(
        "This Idempotency-Key came with another payload before; use a new key for each request."
    )


def _unknown(what: str) -> JobUnknown:
    return JobUnknown(
        f"There is no such {what}, or not any more; what is finished is kept for a while only."
    )
