"""The stream of the live page, where a client in a test does not come."""

import asyncio

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from omnishot_ray.api.stream import Stream
from omnishot_ray.metrics.local import LocalMetrics

pytestmark = pytest.mark.anyio


async def test_a_listener_who_is_cancelled_while_he_is_sent_to_ends() -> None:
    coming = [
        {"type": "websocket.receive", "text": '{"subscribe": "metrics"}'},
        {"type": "websocket.connect"},
    ]

    async def receive() -> Message:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop()

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send":
            listening.cancel()

    socket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    listening = asyncio.create_task(Stream(LocalMetrics(), 60.0, 1).serve(socket))
    ended, _ = await asyncio.wait([listening], timeout=5.0)
    assert ended
    assert listening.cancelled()
