"""Servers that others are measured against: a web server in this event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
PORTS = (80, 443, *range(1024, 65536))
NEAR = {"ports": PORTS, "allow": ("127.0.0.0/8",)}
"""Settings of `fetch.*` with which the servers of this page may be asked."""


@dataclass
class Peer:
    """Where it is, and how often it was asked."""

    url: str = ""
    asked: int = 0


@asynccontextmanager
async def serving(answer: Answering) -> AsyncIterator[Peer]:
    """A web server on 127.0.0.1 that answers everything with `answer`."""
    peer = Peer()

    async def count(request: web.Request) -> web.StreamResponse:
        peer.asked += 1
        return await answer(request)

    runner = web.ServerRunner(web.Server(count), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield peer
    finally:
        await runner.cleanup()


def slow(seconds: float, status: int = 200, **headers: str) -> Answering:
    """So long after each request, with a body that is none of a picture."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response(status=status, body=b"0" * 1000, headers=headers)

    return answer


def sending(size: int, chunk: int = 1 << 16) -> Answering:
    """So many bytes, without saying before how many there will be."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(size // chunk):
            await response.write(b"0" * chunk)
        await response.write(b"0" * (size % chunk))
        await response.write_eof()
        return response

    return answer


def redirecting(to: Any = "/") -> Answering:
    """To itself, without end."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to})

    return answer
