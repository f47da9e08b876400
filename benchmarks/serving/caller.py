"""POSTs over kept connections that hardly cost the cores they share with the service.

Of ten times what a service can do nine tenths are turned away at once, and a client like aiohttp's
would take about as long for each as the gateway does.
"""

import asyncio
from urllib.parse import urlsplit

_LIMIT_S = 60.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Caller:
    """Connections to one server, as many as there are requests at once. Close it, or use it as a
    context.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._head = (
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: image/jpeg\r\n"
            "Content-Length: "
        ).encode()
        self._kept: list[Connection] = []

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._kept:
            self._kept.pop()[1].close()

    async def post(self, data: bytes) -> int:
        """The status of the answer, which has been read. OSError and TimeoutError."""
        async with asyncio.timeout(_LIMIT_S):
            connection = self._kept.pop() if self._kept else await self._open()
            reader, writer = connection
            try:
                writer.writelines((self._head + f"{len(data)}\r\n\r\n".encode(), data))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
            except (asyncio.IncompleteReadError, ValueError) as error:
                writer.close()
                raise ConnectionError("an answer that ends in the middle") from error
            except BaseException:
                writer.close()
                raise
            if b"\r\nconnection: close" in head:
                writer.close()
            else:
                self._kept.append(connection)
            return int(head[9:12])

    async def _open(self) -> Connection:
        return await asyncio.open_connection(self._host, self._port)
