"""What every tier of the cache does, and how entries of shared tiers tell their age."""

import math
import re
import struct
from dataclasses import dataclass
from typing import Protocol

_KEY = re.compile(r"[0-9a-f]{64}-[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{0,64}|[0-9a-f]{64}-[0-9a-f]{0,32}")

_ENVELOPE = struct.Struct(">4sdd")
_MAGIC = b"OSRe"

ENVELOPE_BYTES = _ENVELOPE.size
"""What `seal` puts before the data."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tier held, and how many seconds ago it was made."""

    data: bytes
    age_s: float


@dataclass(slots=True)
class Counts:
    """Looks into a tier and what came of them."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    """Those of the hits that were past their time."""
    bytes_read: int = 0
    bytes_written: int = 0

    def figures(self) -> dict[str, int | float | None]:
        """With `hit_rate`, from 0 to 1; None before the first look."""
        looks = self.hits + self.misses
        rate = self.hits / looks if looks else None
        return {
            "hits": self.hits,
            "misses": self.misses,
            "stale": self.stale,
            "hit_rate": rate,
        }


class Tier(Protocol):
    """Keeps encoded results by key: `<SHA-256 of the source>-<digest of the options>`, both hex.

    Deleting by key, by source and by any other beginning of a key is one operation. Operations
    raise whatever the store raises; `breaker.GuardedTier` is what turns that into a miss.
    """

    @property
    def name(self) -> str:
        """Of the tier, for figures and health."""
        ...

    async def get(self, key: str) -> Entry | None:
        """What was put, unless its time is over; None too for what is not an entry of ours."""
        ...

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        """Keep for `ttl_s` from now. What is too large for the tier is not kept, without an error.

        `age_s` is how long ago the data was made, for what comes from another tier.
        """
        ...

    async def delete(self, prefix: str) -> int:
        """Forget all keys that begin so; how many there were. The empty prefix means all."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


def is_key(text: str) -> bool:
    """Whether it has the form of a key."""
    return _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """The key itself, fit to be part of a path.

    Raises:
        ValueError: it is no key.
    """
    if not is_key(key):
        raise ValueError("A key is 64 hexadecimal digits, a hyphen, and 32 more.")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, free of anything that a pattern or a path would read as more.

    Raises:
        ValueError: no key begins so.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("A prefix is the beginning of a key: hexadecimal digits in lower case.")
    return prefix


def seal(data: bytes, now: float, ttl_s: float, age_s: float) -> bytes:
    """The data with when it was made and until when it is good, in seconds since 1970."""
    return _ENVELOPE.pack(_MAGIC, now - age_s, now + ttl_s) + data


def unseal(sealed: bytes, now: float) -> Entry | None:
    """What was sealed; None when that is over, or it is no seal of ours."""
    if len(sealed) < ENVELOPE_BYTES:
        return None
    magic, made_at, until = _ENVELOPE.unpack_from(sealed)
    if magic != _MAGIC or not math.isfinite(made_at) or not now < until < math.inf:
        return None
    # Another node's clock may be ahead of this one's.
    return Entry(sealed[ENVELOPE_BYTES:], max(0.0, now - made_at))
