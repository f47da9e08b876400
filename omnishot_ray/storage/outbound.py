"""Connections to the outside, each to an address that the guard has seen."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from omnishot_ray.storage.guard import Guard

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from yarl import URL

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name, for a port. Raises `OSError` where there are none."""

OpenSocket = Callable[[int, int, int], socket.socket]
"""Makes a socket of a family, type and protocol, to be connected by the caller."""

_LOOKUPS_AT_ONCE = 32
"""A name server that does not answer keeps a thread for longer than anybody waits for it."""
_MAX_HEADER_BYTES = 8190


class Outbound:
    """Asks http and https servers. Only for one event loop."""

    def __init__(
        self,
        guard: Guard,
        resolver: Resolver | None = None,
        ca_file: str = "",
        open_socket: OpenSocket = socket.socket,
    ) -> None:
        """Nothing is opened before the first request.

        `resolver` is the system's unless given; `ca_file` has authorities beside the system's.
        """
        self._guard = guard
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="lookup")
        self._resolver = resolver or self._look_up
        self._ca_file = ca_file
        self._open_socket = open_socket
        self._sessions: dict[bool, ClientSession] = {}

    async def ask(
        self, method: str, url: "URL", headers: Mapping[str, str], body: bytes | None = None
    ) -> "ClientResponse":
        """The beginning of the answer to a request; nothing is followed, decoded or remembered.

        `url` comes from `Guard.read`. No time limit: that is the caller's.

        Raises:
            AddressRefused: the name leads to an address that is not permitted.
            aiohttp.ClientError: the connection or the answer is broken.
            OSError: the name cannot be resolved.
        """
        trusted = self._guard.trusts(url.raw_host or "", url.port or 0)
        session = self._sessions.get(trusted)
        if session is None:
            session = self._sessions[trusted] = self._open_session(trusted)
        return await session.request(method, url, headers=headers, data=body, allow_redirects=False)

    async def close(self) -> None:
        """Let go of connections and threads."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open_session(self, trusted: bool) -> "ClientSession":
        # 85 ms that only the first request takes
        import aiohttp  # noqa: PLC0415
        from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: PLC0415

        guard, resolver, open_socket = self._guard, self._resolver, self._open_socket

        class GuardedResolver(AbstractResolver):
            """One address that is not permitted speaks against all that come with it."""

            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
            ) -> list[ResolveResult]:
                del family
                addresses = await resolver(host, port)
                if not addresses:
                    raise OSError("no address")
                if not trusted and not all(guard.permits(one, port) for one in addresses):
                    raise guard.refusal(host, port)
                return [
                    ResolveResult(
                        hostname=host,
                        host=address,
                        port=port,
                        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                        proto=socket.IPPROTO_TCP,
                        flags=socket.AI_NUMERICHOST,
                    )
                    for address in addresses
                ]

            async def close(self) -> None:
                """Nothing is held."""

        def open_guarded(info: Any) -> socket.socket:
            """Sees the address that is connected to, however it came there."""
            family, kind, proto, _, (address, port, *_) = info
            if not trusted and not guard.permits(address, port):
                raise guard.refusal("the host", port)
            return open_socket(family, kind, proto)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(),
                use_dns_cache=False,  # names are looked up and judged for each connection
                socket_factory=open_guarded,
                ssl=self._authorities(),
                limit=0,  # as many as the callers have places
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )

    def _authorities(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return context

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        """The system's resolver, in threads of its own: a slow one holds up nothing else."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address) for *_, (address, *_) in found))
