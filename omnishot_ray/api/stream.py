"""`WS /api/metrics/stream`: one snapshot a second, taken once for all who listen here."""

import asyncio
import logging
from contextlib import suppress

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from omnishot_ray.errors import OmnishotError
from omnishot_ray.metrics.query import LiveMetrics

logger = logging.getLogger(__name__)

_EVERY_S = 1.0
_SUBSCRIBE_S = 10.0
_SEND_S = 5.0
_WRONG, _FULL, _SLOW = 1008, 1013, 1011
_MOST_TEXT = 1024


class Stream:
    """For one event loop. Nothing is asked while nobody listens."""

    def __init__(self, metrics: LiveMetrics, window_s: float, most: int) -> None:
        self._metrics = metrics
        self._window_s = window_s
        self._most = most
        self._sockets = 0
        self._listening: set[asyncio.Queue[str]] = set()
        self._taking: asyncio.Task[None] | None = None

    async def serve(self, socket: WebSocket) -> None:
        """One listener from its greeting to its end."""
        if self._sockets >= self._most:
            await socket.accept()
            await socket.close(_FULL, f"{self._most} listen already; try again later")
            return
        self._sockets += 1
        try:
            await socket.accept()
            if await self._greet(socket):
                await self._feed(socket)
        except WebSocketDisconnect:
            pass
        finally:
            self._sockets -= 1

    async def _greet(self, socket: WebSocket) -> bool:
        wanted = None
        with suppress(TimeoutError, ValueError, KeyError):
            # Not `wait_for`, which in Python 3.11 may swallow the cancellation of who waits.
            async with asyncio.timeout(_SUBSCRIBE_S):
                text = await socket.receive_text()
            wanted = orjson.loads(text) if len(text) <= _MOST_TEXT else None
        if wanted == {"subscribe": "metrics"}:
            return True
        await socket.close(_WRONG, 'send {"subscribe": "metrics"}')
        return False

    async def _feed(self, socket: WebSocket) -> None:
        """Send each snapshot; who is slow misses some, who stands still is let go."""
        newest: asyncio.Queue[str] = asyncio.Queue(1)
        self._listening.add(newest)
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._take())
        leaving = asyncio.create_task(_wait_for_end(socket))
        coming = asyncio.create_task(newest.get())
        try:
            while not leaving.done():
                await asyncio.wait((coming, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    return
                async with asyncio.timeout(_SEND_S):
                    await socket.send_text(coming.result())
                coming = asyncio.create_task(newest.get())
        except TimeoutError:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SEND_S):
                    await socket.close(_SLOW)
        finally:
            leaving.cancel()
            coming.cancel()
            self._listening.discard(newest)

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while self._listening:
            began = loop.time()
            try:
                document = await self._metrics.snapshot(self._window_s)
                text = orjson.dumps(document).decode()
            except OmnishotError as error:
                logger.info("no snapshot: %s", error)
            else:
                for newest in self._listening:
                    if newest.full():
                        newest.get_nowait()
                    newest.put_nowait(text)
            await asyncio.sleep(max(0.0, _EVERY_S - (loop.time() - began)))


async def _wait_for_end(socket: WebSocket) -> None:
    """Whatever a listener says further is not heard."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
