"""Pictures from the web, past the guard."""

import asyncio
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from omnishot_ray import __version__
from omnishot_ray.circuit import Circuit, Circuits
from omnishot_ray.errors import (
    AddressRefused,
    InvalidParameters,
    Overloaded,
    SourceTooLarge,
    StorageUnavailable,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamResting,
    UpstreamTimeout,
)
from omnishot_ray.storage.guard import Guard, read_allowed
from omnishot_ray.storage.outbound import OpenSocket, Outbound, Resolver

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from yarl import URL

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_A_RETRY = frozenset({408, 425, 429})
_HOSTS_KNOWN = 1024
_CHUNK_BYTES = 64 * 1024
USER_AGENT = f"OmniShot-Ray/{__version__}"
_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "image/*, */*;q=0.5",
    # What is compressed could be a thousand times as large: it is neither asked for nor decoded.
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """What may be fetched, and how long it may take."""

    timeout_s: float = 5.0
    """Everything together: names, connections, redirects, bytes."""
    max_bytes: int = 32 * 1024 * 1024
    """Largest source."""
    max_redirects: int = 3
    """Each is checked like the first address."""
    ports: tuple[int, ...] = (80, 443)
    """Ports that may be asked."""
    allow: tuple[str, ...] = ()
    """Hosts, addresses or networks that may be asked although they are not public, each with
    `:port` where the port is not one of `ports` (IPv6 then in brackets)."""
    deny: tuple[str, ...] = ()
    """Networks that may not be asked although they are public: one's own."""
    ca_file: str = ""
    """Certificates of authorities that are trusted beside the system's, as PEM."""
    max_at_once: int = 16
    """Downloads at a time in one process; more wait for half of their time."""
    fail_max: int = 5
    """After so many failures in a row a host is left alone …"""
    rest_s: float = 30.0
    """… for so long."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "rest_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")
        for name in ("max_bytes", "max_at_once", "fail_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.max_redirects < 0:
            raise ValueError("max_redirects must not be negative")
        if not all(0 < port < 65536 for port in self.ports):
            raise ValueError("ports must be 1 to 65535")
        if self.ca_file and not self.ca_file.startswith("/"):
            raise ValueError("ca_file must be an absolute path")
        for entry in self.allow:
            read_allowed(entry)
        for entry in self.deny:
            ip_network(entry)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was at an address."""

    data: bytes
    content_type: str
    """As the server said it, which proves nothing: formats are told from the bytes."""
    url: str
    """Where it came from in the end, after redirects."""


@contextmanager
def attempt(circuit: Circuit, whom: str) -> Iterator[None]:
    """Ask somebody for a picture, unless he is left alone, and tell the circuit how it went.

    Raises:
        UpstreamResting: he failed too often lately.
    """
    with circuit.turn() as may:
        if not may:
            wait_s = max(1.0, circuit.rests_for_s)
            raise UpstreamResting(
                f"{whom} failed {circuit.fail_max} times in a row and is left alone; "
                f"try again in {wait_s:.0f} s.",
                wait_s,
            )
        try:
            yield
        except (UpstreamFailed, UpstreamTimeout, StorageUnavailable) as fault:
            circuit.note(fault)
            raise
        except (UpstreamRefused, SourceTooLarge):
            circuit.note(None)  # an answer, if not the one that was wanted
            raise
        circuit.note(None)


class Fetcher:
    """Fetches by http and https from public addresses, decided on the connection itself."""

    def __init__(
        self,
        config: FetchConfig,
        resolver: Resolver | None = None,
        open_socket: OpenSocket = socket.socket,
    ) -> None:
        self._config = config
        self.guard = Guard(config.ports, config.allow, config.deny)
        self._outbound = Outbound(self.guard, resolver, config.ca_file, open_socket)
        self._circuits = Circuits(config.fail_max, config.rest_s, _HOSTS_KNOWN)
        self._places = asyncio.Semaphore(config.max_at_once)

    async def fetch(self, url: str) -> Fetched:
        """The bytes at an address.

        Raises:
            InvalidParameters: the text is no address.
            AddressRefused: scheme, port, user information or the network address are not allowed,
                here or after a redirect.
            SourceTooLarge: more than `max_bytes`, by `Content-Length` or while reading.
            UpstreamRefused: an answer other than 200, or compressed (not worth a retry).
            UpstreamFailed: no connection, broken connection, 5xx, 408, 425, 429.
            UpstreamTimeout: `timeout_s` passed.
            UpstreamResting: the host failed `fail_max` times in a row less than `rest_s` ago.
            Overloaded: no place was free within half of `timeout_s`.
        """
        at = self.guard.read(url)
        deadline = asyncio.get_running_loop().time() + self._config.timeout_s
        try:
            # Whoever waited longer would not have the time that a host deserves.
            async with asyncio.timeout(self._config.timeout_s / 2):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(
                f"{self._config.max_at_once} downloads are under way; try again soon."
            ) from None
        try:
            for _ in range(self._config.max_redirects + 1):
                found = await self._visit(at, deadline)
                if isinstance(found, Fetched):
                    return found
                at = found
        finally:
            self._places.release()
        raise UpstreamRefused(
            f"More than {self._config.max_redirects} redirects, the last one to {at.raw_host}; "
            "name the address where the picture is."
        )

    def describe_services(self) -> dict[str, dict[str, object]]:
        """The hosts that were asked, as one part of the service's health."""
        # Somebody else's server is no part of this service.
        return {"upstreams": self._circuits.describe("ok")}

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._outbound.close()

    async def _visit(self, url: "URL", deadline: float) -> "Fetched | URL":
        """What is at an address, or where it leads, unless its host is left alone."""
        host = str(url.raw_host)
        circuit = self._circuits.find(f"{host}:{url.port}")
        with attempt(circuit, host):
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._ask(url)
            except TimeoutError:
                raise UpstreamTimeout(
                    f"{host} did not send the picture within {self._config.timeout_s:g} s."
                ) from None

    async def _ask(self, url: "URL") -> "Fetched | URL":
        from aiohttp import ClientError  # noqa: PLC0415

        try:
            async with await self._outbound.ask("GET", url, _HEADERS) as answer:
                if answer.status in _REDIRECTS:
                    return self._target(url, answer.headers.get("Location", ""))
                self._check_status(url, answer)
                data = await self._read(url, answer)
                return Fetched(data, answer.headers.get("Content-Type", ""), str(url))
        except (ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise UpstreamFailed(
                f"{url.raw_host} could not be reached, or broke off its answer."
            ) from error

    def _target(self, url: "URL", location: str) -> "URL":
        """Where a redirect leads, checked like the address that was asked for."""
        try:
            return self.guard.read(str(url.join(type(url)(location))))
        except AddressRefused as refusal:
            raise AddressRefused(
                f"{url.raw_host} redirects to where nothing is fetched from. {refusal.detail}",
                refusal.fields,
            ) from None
        except (ValueError, InvalidParameters):
            raise UpstreamRefused(f"{url.raw_host} redirects to what is no address.") from None

    def _check_status(self, url: "URL", answer: "ClientResponse") -> None:
        status = answer.status
        if status >= 500 or status in _WORTH_A_RETRY:
            raise UpstreamFailed(f"{url.raw_host} answered {status}.")
        if status != 200:
            raise UpstreamRefused(
                f"{url.raw_host} answered {status}; 200 with a picture is wanted."
            )
        coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        transfer = answer.headers.get("Transfer-Encoding", "chunked").strip().lower()
        if (coding, transfer) != ("identity", "chunked"):
            raise UpstreamRefused(
                f"{url.raw_host} sent a compressed answer that was not asked for."
            )

    async def _read(self, url: "URL", answer: "ClientResponse") -> bytes:
        limit = self._config.max_bytes
        if (answer.content_length or 0) > limit:
            raise self._too_large(url)
        data = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            if len(data) + len(chunk) > limit:
                raise self._too_large(url)
            data += chunk
        if not data:
            raise UpstreamRefused(f"{url.raw_host} sent an empty answer; a picture is wanted.")
        return bytes(data)

    def _too_large(self, url: "URL") -> SourceTooLarge:
        limit = self._config.max_bytes
        return SourceTooLarge(
            f"{url.raw_host} sends more than {limit} bytes ({limit / 2**20:g} MiB); "
            "name a smaller file."
        )
