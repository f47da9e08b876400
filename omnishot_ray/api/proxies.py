"""Who asks, and whether by TLS, when there are proxies on the way."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_MOST_HOPS = 16

Address = IPv4Address | IPv6Address


class Proxies:
    """Reads `X-Forwarded-For` and `X-Forwarded-Proto`, as far as their writers are trusted.

    Once any proxy is trusted, the loopback address is too: Ray's HAProxy stands there. It passes
    these headers on without adding to them, so that they say what the proxy before it has seen.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        given = tuple(trusted)
        self._networks = [ip_network(one, strict=False) for one in given + _LOOPBACK * bool(given)]

    def client_of(self, scope: Scope) -> str:
        """The address that asks; of IPv6 the network, as one customer has 2^64 addresses.

        The last hop that is not trusted; when all are, the first one.
        """
        peer = scope.get("client")
        client = _read_address(peer[0]) if peer else None
        if self._networks and client is not None:
            for hop in _hops(scope):
                if not self._trusts(client):
                    break
                before = _read_address(hop)
                if before is None:
                    break
                client = before
        return _customer(client)

    def sees_https(self, scope: Scope) -> bool:
        """Whether the client came by TLS, here or at a trusted proxy."""
        if scope.get("scheme") == "https":
            return True
        peer = scope.get("client")
        address = _read_address(peer[0]) if peer else None
        if address is None or not self._trusts(address):
            return False
        protocols = [v for name, v in scope["headers"] if name == b"x-forwarded-proto"]
        return bool(protocols) and protocols[-1].strip().lower() == b"https"

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _hops(scope: Scope) -> list[str]:
    """What `X-Forwarded-For` says, the nearest first."""
    said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return [hop.decode("latin-1") for hop in said.split(b",")[: -_MOST_HOPS - 1 : -1]]


@lru_cache(maxsize=4096)
def _read_address(text: str) -> Address | None:
    """An address, perhaps with a port (`192.0.2.1:80`, `[2001:db8::1]:80`)."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def _customer(address: Address | None) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address) if address else "unknown"
