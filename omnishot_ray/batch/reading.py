"""The bytes of a shard's members, one after the other, each by the shortest way."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pyarrow as pa

from omnishot_ray.batch.job import BatchJob
from omnishot_ray.batch.members import (
    Address,
    Inline,
    Member,
    Range,
    Row,
    Shard,
    Whole,
    Zipped,
)
from omnishot_ray.batch.spans import Fault, Span, fault_of, too_large
from omnishot_ray.batch.tables import read_rows
from omnishot_ray.batch.zips import Damaged, ZipReader
from omnishot_ray.errors import OmnishotError, UpstreamResting
from omnishot_ray.storage.fetch import Fetcher

logger = logging.getLogger(__name__)

_DOWNLOADS_AHEAD = 8
_TRIES = 3
_PAUSE_S = 0.5
"""Before a second try at the web; doubled before the third."""


def read_members(shard: Shard, job: BatchJob) -> Iterator[tuple[Member, bytes | Span | Fault]]:
    """Each member with its bytes, or with what kept them from being read. Never raises.

    What a file of this machine holds as it is comes as a span: who works on it reads it, so that
    it is copied once.
    """
    with ExitStack() as stack:
        reader = _Reader(shard, job, stack)
        downloads = (
            _Downloads(shard, job, stack)
            if any(isinstance(m.at, Address) for m in shard.members)
            else None
        )
        for member in shard.members:
            try:
                if isinstance(member.at, Address) and downloads:
                    yield member, downloads.next()
                else:
                    yield member, reader.read(member)
            except OmnishotError as error:
                yield member, Fault(error.code, str(error))
            except Damaged as error:
                yield member, Fault("member-damaged", f"The zip: {error}.")
            except (OSError, pa.ArrowException, StopIteration, MemoryError) as error:
                yield member, fault_of(error)
            except Exception as error:  # what nobody has thought of costs its row too
                logger.exception("a member cannot be read", extra={"member": member.name})
                yield member, fault_of(error)


class _Reader:
    """Holds what is open of the container while a shard is read."""

    def __init__(self, shard: Shard, job: BatchJob, stack: ExitStack) -> None:
        self._shard, self._job, self._stack = shard, job, stack
        self._file: Any = None
        self._rows: Iterator[Any] | None = None

    def read(self, member: Member) -> bytes | Span | Fault:
        container, limit = self._shard.container.place, self._job.max_source_bytes
        match member.at:
            case Fault() as fault:
                return fault
            case Inline(data):
                return data
            case Range(offset) if container.is_local:
                return Span(container.path, offset, member.size)
            case Whole(place) if place.is_local:
                return Span(place.path, most=limit)
            case Range(offset):
                data = bytes(self._open().read_at(member.size, offset))
                if len(data) < member.size:
                    return Fault("archive-damaged", "The archive ends within the member.")
                return data
            case Zipped() as at:
                return ZipReader(self._open()).read(at, member.size)
            case Whole(place):
                with place.open() as file:
                    size = file.size()
                    if size > limit:
                        return too_large(size, limit)
                    return bytes(file.read())
            case Row():
                return self._row()
            case _:
                raise AssertionError(member.at)

    def _open(self) -> Any:
        if self._file is None:
            self._file = self._stack.enter_context(self._shard.container.place.open())
        return self._file

    def _row(self) -> bytes | Fault:
        if self._rows is None:
            container = self._shard.container
            rows = [member.at for member in self._shard.members if isinstance(member.at, Row)]
            self._rows = read_rows(container.place, container.kind, self._job.column, rows)
        buffer = next(self._rows).as_buffer()
        if buffer is None:
            return Fault("no-data", "The row holds no picture.")
        limit = self._job.max_source_bytes
        return too_large(buffer.size, limit) if buffer.size > limit else bytes(buffer)


class _Downloads:
    """Fetches a few addresses ahead, in an event loop of its own."""

    def __init__(self, shard: Shard, job: BatchJob, stack: ExitStack) -> None:
        self._fetcher = Fetcher(job.fetch)
        self._rest_s = job.fetch.rest_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        stack.callback(self._close)
        addresses = (m.at.url for m in shard.members if isinstance(m.at, Address))
        self._ahead: deque[Future[bytes]] = deque()
        self._addresses = addresses
        for url in islice(addresses, _DOWNLOADS_AHEAD):
            self._start(url)

    def next(self) -> bytes:
        """The next one's bytes. Raises `OmnishotError`."""
        download = self._ahead.popleft()
        for url in islice(self._addresses, 1):
            self._start(url)
        return download.result()

    def _start(self, url: str) -> None:
        self._ahead.append(asyncio.run_coroutine_threadsafe(self._fetch(url), self._loop))

    async def _fetch(self, url: str) -> bytes:
        for attempt in range(_TRIES):
            try:
                return (await self._fetcher.fetch(url)).data
            except OmnishotError as error:
                if not error.retryable or attempt == _TRIES - 1:
                    raise
                # A host that is left alone for a while is asked again afterwards.
                resting = self._rest_s if isinstance(error, UpstreamResting) else 0.0
                await asyncio.sleep(max(resting, _PAUSE_S * 2**attempt))
        raise AssertionError

    def _close(self) -> None:
        for download in self._ahead:
            download.cancel()
        asyncio.run_coroutine_threadsafe(self._fetcher.close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
