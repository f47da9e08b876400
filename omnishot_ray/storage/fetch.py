"""Pictures from the web, past the guard."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name, for a port. Raises `OSError` where there are none."""


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
    max_at_once: int = 16
    """Downloads at a time in one process; more wait within their time."""
    fail_max: int = 5
    """After so many failures in a row a host is left alone …"""
    rest_s: float = 30.0
    """… for so long."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "rest_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was at an address."""

    data: bytes
    content_type: str
    """As the server said it, which proves nothing: formats are told from the bytes."""
    url: str
    """Where it came from in the end, after redirects."""


class Fetcher:
    """Fetches by http and https from public addresses, decided on the connection itself."""

    def __init__(self, config: FetchConfig, resolver: Resolver | None = None) -> None:
        self._config = config
        self._resolver = resolver

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
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of connections and threads."""
