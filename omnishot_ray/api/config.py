"""What the HTTP face can be set to."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_network


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Bounds and headers of the HTTP answers, and who may ask for them."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Largest request body; more is answered 413."""
    max_variants: int = 64
    """Most renditions of one `POST /api/variants`."""
    body_timeout_s: float = 30.0
    """How long a client may take to send its body; longer is answered 408."""
    body_idle_s: float = 5.0
    """How long a client may send nothing, or less than 1 kB/s, in the middle of its body; longer is
    answered 408."""
    cache_control: str = "public, max-age=86400"
    """`Cache-Control` of a served rendition."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """API keys, each `key` or `name:key`; one of them has to be sent. None: everybody may ask."""
    rate_limit: str = ""
    """Most requests of one key or address, such as `600/minute`. Empty: no limit."""
    redis_url: str = field(default="", repr=False)
    """Where all gateways count together; empty: each counts for itself."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may ask, such as `https://example.org`; `*` for all."""
    hsts_s: int = 0
    """`max-age` of `Strict-Transport-Security` on every answer; 0 where there is no TLS."""
    compress_min_bytes: int = 1024
    """Text of at least this size is compressed; 0 switches compression off."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_variants", "body_timeout_s", "body_idle_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        for name in ("hsts_s", "compress_min_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        named_keys(self.keys)
        if self.rate_limit:
            parse_rate(self.rate_limit)
        if self.redis_url and not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("redis_url has to begin with redis://, rediss:// or unix://")
        for proxy in self.trusted_proxies:
            ip_network(proxy, strict=False)
        for origin in self.cors_origins:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s,]+", origin):
                raise ValueError(
                    f"cors_origins: {origin!r} has to be a scheme and a host such as "
                    "https://example.org, without a path, or *"
                )


_KEY = re.compile(r"(?:([A-Za-z0-9._-]{1,64}):)?((?![A-Za-z0-9._-]+:\Z)[!-~]+)")


def named_keys(entries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Name and key of each entry; one without a name is called by its place, `key-1`.

    Raises:
        ValueError: an entry is not `key` or `name:key`. The entry itself is not said.
    """
    pairs = []
    for place, entry in enumerate(entries, 1):
        found = _KEY.fullmatch(entry)
        if not found:
            raise ValueError(
                f"keys: number {place} has to be `key` or `name:key`, the key of printable "
                "ASCII without spaces, the name of letters, digits, dots, dashes, underscores"
            )
        pairs.append((found[1] or f"key-{place}", found[2]))
    return tuple(pairs)


_RATE = re.compile(r"([0-9]{1,9}) ?/ ?([0-9]{1,4} )?(second|minute|hour|day)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def parse_rate(text: str) -> tuple[int, int]:
    """Requests and the seconds in which they may come, of `600/minute` or `10/5 seconds`.

    Raises:
        ValueError: it cannot be read, or is a limit of nothing.
    """
    found = _RATE.fullmatch(text)
    count, window_s = (int(found[1]), int(found[2] or 1) * _SECONDS[found[3]]) if found else (0, 0)
    if not count or not window_s:
        raise ValueError(
            f"rate_limit {text[:40]!r} has to be a number a second, minute, hour or day, "
            "such as 600/minute or 10/5 seconds"
        )
    return count, window_s
