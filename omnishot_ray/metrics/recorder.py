"""A process' own notes of what it has seen, and how they get to the hub.

`record` appends to a list and does nothing else. Once a second or so what has come is made columns
and sent; nobody waits for that but the recorder itself, which has one delivery under way at a time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.samples import TABLES, Sample

logger = logging.getLogger(__name__)

Send = Callable[[Mapping[str, bytes]], Awaitable[bool]]
"""Takes tables as Arrow IPC streams to the hub; false when it cannot be reached at the moment."""

_DELIVERY_S = 10.0
_CLOSING_S = 1.0


class Recorder:
    """Bounded: what it has no room for is dropped and counted. For one event loop."""

    def __init__(self, process: str, config: MetricsConfig, send: Send) -> None:
        self.process = process
        self.dropped = 0
        """Since the process began."""
        self._send = send
        self._flush_s = config.flush_s
        self._room = self._most = config.buffer_samples
        self._held: dict[str, list[Sample]] = {table: [] for table in TABLES}
        self._task: asyncio.Task[None] | None = None

    def record(self, sample: Sample) -> None:
        """Take note. Never waits, never raises."""
        if self._room <= 0:
            self.dropped += 1
            return
        self._room -= 1
        self._held[sample.table].append(sample)

    def start(self) -> None:
        """Begin to deliver, from the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._deliver())

    async def flush(self) -> None:
        """Deliver what is held. What cannot be delivered now is kept while there is room."""
        taken = {table: held for table, held in self._held.items() if held}
        if not taken:
            return
        self._held = {table: [] for table in TABLES}
        count = sum(map(len, taken.values()))
        try:
            # Brings pyarrow: only into a process that has something to say.
            from omnishot_ray.metrics.streams import pack  # noqa: PLC0415

            streams = {table: pack(table, held, self.process) for table, held in taken.items()}
            # The room is given back only when they are gone: what is under way takes memory too.
            # Not `wait_for`, which in Python 3.11 may swallow the cancellation of who waits.
            async with asyncio.timeout(_DELIVERY_S):
                is_delivered = await self._send(streams)
        except Exception:
            logger.warning("%d samples were lost on the way to the hub", count, exc_info=True)
            self.dropped += count
            is_delivered = True
        if is_delivered:
            self._room += count
        else:
            for table, held in taken.items():
                self._held[table] = held + self._held[table]

    async def close(self) -> None:
        """Deliver what is held, for a second at most, and stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await self.flush()

    async def _deliver(self) -> None:
        while True:
            began = time.monotonic()
            await self.flush()
            await asyncio.sleep(max(0.0, self._flush_s - (time.monotonic() - began)))
