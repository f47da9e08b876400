"""What Serve takes in of a body before the application asks for it."""

import asyncio

import pytest
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy
from starlette.types import Message

from omnishot_ray.serving import gateway

pytestmark = pytest.mark.anyio


async def test_no_more_of_a_body_is_taken_in_than_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway, "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", False)
    monkeypatch.setattr(ASGIDIReceiveProxy, "queue", ASGIDIReceiveProxy.queue)  # as it was, later
    gateway._bound_bodies()
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": True}

    proxy = ASGIDIReceiveProxy({"type": "http"}, receive, asyncio.get_running_loop())
    fetching = proxy.fetch_until_disconnect_task()
    for asked in range(5):
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent <= asked + gateway._MESSAGES_AHEAD + 1
        assert (await proxy())["body"] == b"x"
    fetching.cancel()
