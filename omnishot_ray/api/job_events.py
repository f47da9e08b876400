"""A job's progress as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Every event is the whole job, its id the job's version: whoever comes back with `Last-Event-ID`
hears at once where the job stands if that is further, and has missed nothing that still matters.
"""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import orjson

from omnishot_ray.api.problems import status_of_code
from omnishot_ray.errors import JobUnknown, Overloaded, StorageUnavailable
from omnishot_ray.jobs.document import describe_job, public_status
from omnishot_ray.jobs.model import Job
from omnishot_ray.jobs.service import Jobs

HEARTBEAT_S = 15.0
"""Proxies cut connections on which nothing comes for a minute."""
_RETRY_MS = 2000


class EventStreams:
    """The open streams of one gateway, bounded in number."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._open = 0

    def follow(self, job: Job, seen: int) -> AsyncIterator[bytes]:
        """Events of a job that is newer than the version `seen`, until it is finished.

        Raises `Overloaded` when too many streams are open.
        """
        most = self._jobs.config.max_streams
        if self._open >= most:
            raise Overloaded(f"{most} streams of events are open, no more are; ask again.", 5.0)
        return self._events(job, seen)

    async def _events(self, job: Job, seen: int) -> AsyncIterator[bytes]:
        config = self._jobs.config
        self._open += 1
        try:
            yield b"retry: %d\n\n" % _RETRY_MS
            ends_at, spoke_at = monotonic() + config.stream_s, monotonic()
            while True:
                if job.version > seen:
                    yield _event(job)
                    seen, spoke_at = job.version, monotonic()
                if job.is_finished or monotonic() > ends_at:
                    return
                if monotonic() - spoke_at > HEARTBEAT_S:
                    yield b": still here\n\n"
                    spoke_at = monotonic()
                await asyncio.sleep(config.poll_s)
                try:
                    job = await self._jobs.get(job.id)
                except StorageUnavailable:
                    continue
                except JobUnknown:
                    return
        finally:
            self._open -= 1


def _event(job: Job) -> bytes:
    data = orjson.dumps(describe_job(job, status_of_code))
    name = public_status(job.status) if job.is_finished else "progress"
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (job.version, name.encode(), data)
