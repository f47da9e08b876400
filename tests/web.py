"""A small Internet in this process: names, public addresses, and what answers there.

Sockets are real and end on loopback, but which address they are connected to is seen here, and
nothing else can be reached.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"


class Web:
    """Who has which address, and who was dialled."""

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str]]] = {}
        """The answers for a name, one for each question; the last one stays."""
        self.asked: list[str] = []
        """Names that were looked up, in order."""
        self.dialled: list[tuple[str, int]] = []
        """Addresses and ports that somebody wanted to be connected to, in order."""
        self.requests: list[bytes] = []
        """Heads of the requests that arrived, in order."""
        self._port = 0
        self._tls_port = 0

    def name(self, name: str, *answers: Sequence[str]) -> str:
        self.names[name] = list(answers or [(PUBLIC,)])
        return name

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Like a system's: knows names, and the old forms of IPv4 addresses."""
        self.asked.append(host)
        answers = self.names.get(host.rstrip(".").lower())
        if answers:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            return (socket.inet_ntoa(socket.inet_aton(host)),)
        except OSError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None

    def open_socket(self, family: int, kind: int, proto: int) -> socket.socket:
        web = self

        class Dialled(socket.socket):
            def connect(self, address: Any) -> None:
                host, port = address[:2]
                web.dialled.append((host, port))
                at = web._tls_port if port == 443 else web._port
                inside = "::ffff:127.0.0.1" if self.family == socket.AF_INET6 else "127.0.0.1"
                super().connect((inside, at))

        return Dialled(family, kind, proto)

    @asynccontextmanager
    async def serving(
        self, handler: Handler, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["Web"]:
        """Every address answers with `handler`, which gets the head of each request."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    self.requests.append(head)
                    await handler(head, reader, writer)
                    await writer.drain()
            except (asyncio.IncompleteReadError, OSError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        if tls:
            self._tls_port = port
        else:
            self._port = port
        try:
            yield self
        finally:
            server.close()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def always(data: bytes) -> Handler:
    """The same answer to every request."""

    async def handler(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(data)

    return handler


def by_path(**answers: bytes) -> Handler:
    """An answer for each path `/name`, 404 for others."""

    async def handler(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = head.split(b" ", 2)[1].decode("latin-1").split("?")[0].strip("/")
        writer.write(answers.get(path, response(b"none", "404 Not Found")))

    return handler
