"""Works jobs off: claim, attempt, settle. Knows no Ray; where the pixels are done is handed in.

A runner may die at any point, and any number may share a store: what it held is found by its lease,
and what it would still write is refused by the number of its attempt.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import Any

from omnishot_ray.errors import InternalError, NotStored, OmnishotError, StorageUnavailable
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Worker
from omnishot_ray.jobs.attempt import Engine, Means, attempt
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.document import describe_job
from omnishot_ray.jobs.model import (
    Failure,
    IllegalTransition,
    Job,
    Source,
    StaleAttempt,
    VariantResult,
)
from omnishot_ray.jobs.store import Store, UnknownJob
from omnishot_ray.jobs.threads import Threads
from omnishot_ray.jobs.turns import backoff
from omnishot_ray.jobs.webhooks import Webhooks
from omnishot_ray.metrics.query import Metrics
from omnishot_ray.metrics.samples import JobSample
from omnishot_ray.storage.blobs import Blobs
from omnishot_ray.storage.outputs import Outputs
from omnishot_ray.storage.sources import Sources
from omnishot_ray.telemetry.context import work_for

logger = logging.getLogger(__name__)

_THREADS = 8
_BEATS = 5
"""Signs of life within one lease."""
_CLAIM_AT_ONCE = 8
_SWEEP_S = 1.0
_CLEAN_S = 600.0
_ORPHAN_S = 86_400.0
"""Bytes in storage that no job has named for so long are taken away: an upload has a day."""
_CALLBACK_HOLD_S = 60.0
"""While one runner tries a callback, no other does."""
_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where jobs, their bytes and their outputs are."""

    store: Store
    blobs: Blobs
    sources: Sources
    outputs: Outputs


class Runner:
    """Takes jobs out of a store for one engine. For one event loop, as its sources and webhooks."""

    def __init__(
        self,
        stores: Stores,
        engine: Engine,
        config: JobsConfig,
        limits: Limits,
        webhooks: Webhooks,
        max_callbacks: int = 6,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self.name = f"runner-{secrets.token_hex(4)}"
        self._store, self._blobs = stores.store, stores.blobs
        self._engine = engine
        self._config = config
        self._webhooks = webhooks
        self._max_callbacks = max_callbacks
        self._metrics = metrics
        self._clock = clock
        self._threads = Threads(_THREADS, "runner")
        self._means = Means(
            *(stores.blobs, stores.sources, stores.outputs, engine),
            limits=limits,
            chunk_ms=config.chunk_ms,
            threads=self._threads,
        )
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._loops: asyncio.Task[object] | None = None

    @property
    def active(self) -> int:
        """Jobs at work."""
        return len(self._running)

    async def run(self) -> None:
        """Work until `stop`."""
        self._loops = asyncio.current_task()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._claim())
            group.create_task(self._every(self._config.lease_s / _BEATS, self._beat))
            group.create_task(self._every(_SWEEP_S, self._sweep))
            group.create_task(self._every(_CLEAN_S, self._clean))

    async def stop(self) -> None:
        """Give back what is at work, and let go of everything."""
        if self._loops is not None:
            self._loops.cancel()
            await asyncio.gather(self._loops, return_exceptions=True)
        held = list(self._running.values())
        for job, task in held:
            task.cancel()
            await self._try(partial(model.release, attempt=job.attempts), job.id)
        for task in self._telling:
            task.cancel()
        left = [*(task for _, task in held), *self._telling]
        await asyncio.gather(*left, return_exceptions=True)
        await self._threads.close()
        await self._means.sources.close()
        await self._webhooks.close()

    async def _claim(self) -> None:
        while True:
            free = min(_CLAIM_AT_ONCE, self._engine.slots - len(self._running))
            self._freed.clear()
            jobs = await self._claim_some(free) if free > 0 else []
            for job in jobs:
                task = asyncio.create_task(self._work(job))
                self._running[job.id] = (job, task)
                task.add_done_callback(partial(self._on_done, job.id))
            if not jobs:
                try:
                    async with asyncio.timeout(self._config.poll_s):
                        await self._freed.wait()
                except TimeoutError:
                    continue

    async def _claim_some(self, most: int) -> list[Job]:
        now, lease_s = self._clock(), self._config.lease_s
        try:
            claim = partial(self._store.claim, self.name, now, lease_s, most)
            return list(await self._threads.run(claim))
        except StorageUnavailable as error:
            logger.warning("no jobs can be claimed: %s", error.__cause__ or error)
            await asyncio.sleep(_REST_S)
            return []

    def _on_done(self, job_id: str, task: "asyncio.Task[None]") -> None:
        # A job that was lost and claimed again has another task by now.
        if job_id in self._running and self._running[job_id][1] is task:
            del self._running[job_id]
        self._freed.set()
        if not task.cancelled() and (error := task.exception()):
            logger.error("job %s could not be settled", job_id, exc_info=error)

    async def _work(self, job: Job) -> None:
        began = self._clock()

        async def keep(
            source: Source | None, results: tuple[VariantResult, ...], digest: str = ""
        ) -> None:
            await self._update(
                job.id,
                lambda one: model.advance(one, job.attempts, source, results, digest),
            )

        try:
            with work_for(job.request_id or job.id):
                await attempt(job, self._means, keep)
        except OmnishotError as error:
            failure = _lasting(error) if isinstance(error, NotStored) else Failure.of(error)
        except (StaleAttempt, UnknownJob):
            return  # cancelled, or another runner's
        except Exception:
            logger.exception("attempt %d of job %s failed", job.attempts, job.id)
            fault = InternalError("The job failed here; it has been logged. Trying again may help.")
            failure = replace(Failure.of(fault), retryable=True)
        else:
            await self._settle(job, began, partial(model.complete, attempt=job.attempts))
            return
        delay_s = backoff(job.failures + job.stalls + 1, self._config.backoff_s)
        await self._settle(
            job,
            began,
            lambda one, now: model.fail(
                one, job.attempts, failure, now, delay_s, self._config.max_stalls
            ),
        )

    async def _settle(self, job: Job, began: float, change: Callable[..., Job]) -> None:
        """Write how the attempt ended, as long as its lease lasts; then others will find it."""
        until = self._clock() + self._config.lease_s
        while True:
            now = self._clock()
            try:
                ended = await self._update(job.id, lambda one, at=now: change(one, now=at))  # type: ignore[misc]
            except (StaleAttempt, UnknownJob):
                return
            except StorageUnavailable:
                if now > until:
                    raise
                await asyncio.sleep(_REST_S)
            else:
                self._record(ended, job, began, now)
                return

    def _record(self, ended: Job, job: Job, began: float, now: float) -> None:
        if self._metrics is None:
            return
        self._metrics.record(
            JobSample(
                at_s=now,
                process=self.name,
                job_id=job.id,
                status=ended.status,
                priority=job.priority,
                attempt=job.attempts,
                variants=len(job.work.variants),
                queued_ms=max(0.0, began - job.queued_at) * 1000.0,
                run_ms=(now - began) * 1000.0,
                error=ended.error.code if ended.error else "",
            )
        )

    async def _beat(self) -> None:
        """A sign of life for what is at work; what has been lost is stopped."""
        now = self._clock()
        held = {job_id: job.attempts for job_id, (job, _) in self._running.items()}
        lost = await self._threads.run(
            partial(self._store.prolong, held, now, self._config.lease_s)
        )
        for job_id in lost & self._running.keys():
            job, task = self._running[job_id]
            if held[job_id] == job.attempts:
                task.cancel()
        worker = Worker(self.name, now, max(0, self._engine.slots), self.active)
        await self._threads.run(partial(self._store.note_worker, worker))

    async def _sweep(self) -> None:
        """Find jobs whose runner is gone, batches not in line yet, callbacks to be made."""
        now = self._clock()
        stalled = await self._threads.run(
            partial(self._store.requeue_stalled, now, self._config.max_stalls)
        )
        for job in stalled:
            logger.warning("job %s had stalled and is %s now", job.id, job.status)
        for batch_id in await self._threads.run(partial(self._store.open_batches, 4)):
            while await self._threads.run(partial(self._store.enqueue, batch_id, now)):
                continue
        if len(self._telling) < 8:
            for job_id in await self._threads.run(partial(self._store.due_callbacks, now, 8)):
                self._start(self._tell(job_id))

    async def _tell(self, job_id: str) -> None:
        """Try a callback once; the store knows when it is tried again."""

        def hold(job: Job) -> Job:
            if job.callback_at is None or job.callback_at > self._clock():
                raise StaleAttempt("somebody else tells it")
            return replace(job, callback_at=self._clock() + _CALLBACK_HOLD_S)

        job = await self._try(hold, job_id)
        if job is None:
            return
        with work_for(job.request_id or job.id):
            told = await self._webhooks.attempt(
                job.work.callback_url,
                f"job.{job.status}",
                describe_job(job),
                f"{job.id}-{job.attempts}",
                job.callback_attempts + 1,
                job.finished_at,
            )
        again_at = None
        if told.again_in_s is not None and job.callback_attempts + 1 < self._max_callbacks:
            again_at = self._clock() + told.again_in_s
        attempts = job.attempts
        await self._try(lambda one: _note(one, attempts, again_at, told.detail), job_id)

    async def _clean(self) -> None:
        """Forget jobs that ended long ago, and bytes that nobody needs."""
        before = self._clock() - self._config.keep_s
        while await self._threads.run(partial(self._store.forget, before)):
            continue
        await self._threads.run(partial(collect, self._store, self._blobs))

    async def _every(self, seconds: float, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await do()
            except StorageUnavailable as error:
                logger.warning("the store of jobs does not answer: %s", error.__cause__ or error)
            except Exception:
                logger.exception("the runner goes on, but this went wrong")
            await asyncio.sleep(seconds)

    async def _update(self, job_id: str, change: Callable[[Job], Job]) -> Job:
        return await self._threads.run(partial(self._store.update, job_id, change))

    async def _try(self, change: Callable[[Job], Job], job_id: str) -> Job | None:
        try:
            return await self._update(job_id, change)
        except (StaleAttempt, UnknownJob, IllegalTransition, StorageUnavailable):
            return None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def collect(store: Store, blobs: Blobs, older_s: float = _ORPHAN_S) -> int:
    """Take away bytes that no job names and that were put long ago; how many. Blocks.

    What is put again meanwhile is newer by that and stays. Raises `StorageUnavailable`.
    """
    old = {blob.digest for blob in blobs.list_older(older_s)}
    if not old:
        return 0
    old.difference_update(store.digests())
    return sum(blobs.delete(digest, older_s) for digest in old)


def _note(job: Job, attempts: int, again_at: float | None, detail: str) -> Job:
    if job.attempts != attempts or not job.is_finished:
        raise StaleAttempt("it has been replayed")
    return model.note_callback(job, again_at, detail)


def _lasting(error: OmnishotError) -> Failure:
    return Failure(
        error.code,
        error.title,
        "The picture is not in storage any more; send the job again with the picture.",
    )
