"""The guard before every connection that somebody outside asks for (SSRF).

An address is judged three times: as it is written (`Guard.read`), as its name resolves, and as the
address of the very socket that is about to be connected (`Guard.permits`, both by
`omnishot_ray.storage.outbound`). The last one decides; the others are there for a clear sentence.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from omnishot_ray.errors import AddressRefused, FieldError, InvalidParameters
from omnishot_ray.storage.addresses import is_public, read_address

if TYPE_CHECKING:
    from yarl import URL

_MAX_URL = 4096
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
"""Some parsers drop them, some end there, some take a backslash for a slash."""
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<other>[^:\[]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class _Allowed:
    """One entry of the allowlist: a name or a network, for a port or for the usual ones."""

    name: str
    network: IPv4Network | IPv6Network | None
    port: int | None


def read_allowed(entry: str) -> _Allowed:
    """One entry: `host`, `10.0.0.5`, `10.0.0.0/8`, `fd00::/8`, and with a port `host:8080`,
    `10.0.0.0/8:8080`, `[fd00::/8]:8080`.

    Raises `ValueError`.
    """
    found = _WITH_PORT.fullmatch(entry)
    text = (found["v6"] or found["other"]) if found else entry
    port = int(found["port"]) if found else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{entry!r} has a port that is none")
    try:
        return _Allowed("", ip_network(text), port)
    except ValueError:
        name = text.lower().rstrip(".")
        if not _NAME.fullmatch(name) or _is_numeric(name):
            raise ValueError(
                f"{entry!r} has to be a host, an address or a network (its last bits 0), with "
                ":port where needed"
            ) from None
        return _Allowed(name, None, port)


class Guard:
    """Says which addresses may be asked.

    `ports` are those that may be; `allow` widens, `deny` narrows (see `FetchConfig`).
    """

    def __init__(
        self, ports: tuple[int, ...], allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()
    ) -> None:
        self._ports = frozenset(ports)
        self._allowed = tuple(map(read_allowed, allow))
        self._denied = tuple(map(ip_network, deny))

    def read(self, text: str) -> "URL":
        """An address that may be tried.

        Raises:
            InvalidParameters: the text is no address.
            AddressRefused: scheme, user information, port or host are not allowed.
        """
        # 20 ms that only the first download takes
        from yarl import URL  # noqa: PLC0415

        if len(text) > _MAX_URL or _UNPRINTABLE.search(text):
            raise _unreadable(
                f"an address has at most {_MAX_URL} characters, without spaces or backslashes"
            )
        try:
            url, exact = URL(text), URL(text, encoded=True)
            host = url.raw_host
            port = url.port
            if text.isascii() and exact.raw_host == host and exact.port == port:
                url = exact  # signed addresses have to be sent as they are written
        except ValueError:
            raise _unreadable("it cannot be read") from None
        if not url.scheme:
            raise _unreadable("it has to begin with http:// or https://")
        if url.scheme not in ("http", "https"):
            raise _refused("only http:// and https:// are fetched")
        if not host or port is None:
            raise _unreadable("it names no host")
        if url.raw_user is not None or url.raw_password is not None:
            raise _refused("an address with a user name or password is not fetched; leave it out")
        if (address := read_address(host)) is not None:
            if not self.permits(str(address), port):
                raise self.refusal(host, port)
        elif ":" in host or not _NAME.fullmatch(host) or len(host) > 254:
            raise _unreadable("its host is neither a name nor an address")
        elif _is_numeric(host):
            raise _refused("an IPv4 address is written as four decimal numbers, 192.0.2.1")
        elif not self._may_have(host, port):
            raise self.refusal(host, port)
        return url

    def trusts(self, host: str, port: int) -> bool:
        """Whether a host may be asked by its name, wherever that leads."""
        name = host.rstrip(".")
        return any(
            one.network is None and one.name == name and self._fits(one, port)
            for one in self._allowed
        )

    def permits(self, address: str, port: int) -> bool:
        """Whether a connection to this network address may be made."""
        ip = read_address(address)
        if ip is None or any(ip in network for network in self._denied):
            return False
        if any(
            one.network is not None and ip in one.network and self._fits(one, port)
            for one in self._allowed
        ):
            return True
        return port in self._ports and is_public(ip)

    def refusal(self, host: str, port: int) -> AddressRefused:
        """What is said of an address that is not permitted; never where its name leads."""
        if not self._may_have(host, port):
            return _refused(f"port {port} is not one that is asked")
        return _refused(f"{host} is not at a public address")

    def _may_have(self, host: str, port: int) -> bool:
        """Whether the port can be right; which network it is, is not known before it resolves."""
        return port in self._ports or any(
            one.port == port and (one.network is not None or one.name == host.rstrip("."))
            for one in self._allowed
        )

    def _fits(self, one: _Allowed, port: int) -> bool:
        return port == one.port or (one.port is None and port in self._ports)


def _is_numeric(host: str) -> bool:
    """Whether resolvers would take it for an IPv4 address (WHATWG URL, "ends in a number")."""
    return bool(_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]))


def _unreadable(detail: str) -> InvalidParameters:
    return InvalidParameters(f"url: {detail}.", (FieldError("url", detail),))


def _refused(detail: str) -> AddressRefused:
    return AddressRefused(f"This address is not allowed: {detail}.", (FieldError("url", detail),))
