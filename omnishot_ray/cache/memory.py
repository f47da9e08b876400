"""The tier of this process: results as they are, so that a hit costs a look-up and nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from omnishot_ray.cache.codec import decode_result, encode_result
from omnishot_ray.cache.tiers import Entry, check_prefix
from omnishot_ray.imaging.pipeline import Rendition, Result

_OVERHEAD_BYTES = 2048
"""Key, objects and the cache's own bookkeeping of an entry with one rendition take about 1.5 kB."""
_RENDITION_BYTES = 512


@dataclass(frozen=True, slots=True)
class Held:
    """A result in memory. Times are of the tier's clock."""

    result: Result
    made_at: float
    until: float
    size: int


class MemoryTier:
    """Bounded by bytes; what was not used for longest goes first. Not for several threads."""

    name = "memory"

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._held: TLRUCache[str, Held] = TLRUCache(
            max_bytes, ttu=lambda _key, held, _now: held.until, timer=clock, getsizeof=_size
        )

    @property
    def held_bytes(self) -> int:
        """What is held now, about."""
        return int(self._held.currsize)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def get_now(self, key: str) -> Held | None:
        """What is held, unless its time is over."""
        try:
            return self._held[key]
        except KeyError:
            return None

    def keep(self, key: str, result: Result, ttl_s: float, age_s: float = 0.0) -> None:
        """Keep for `ttl_s` from now; what is larger than the whole tier is not kept."""
        size = _OVERHEAD_BYTES + sum(
            _RENDITION_BYTES + len(item.data)
            for item in result.renditions
            if isinstance(item, Rendition)
        )
        if size <= self._max_bytes:
            now = self._clock()
            self._held[key] = Held(result, now - age_s, now + ttl_s, size)

    def forget(self, prefix: str) -> int:
        """Forget all keys that begin so; how many there were."""
        check_prefix(prefix)
        self._held.expire()
        keys = [key for key in self._held if key.startswith(prefix)]
        for key in keys:
            self._held.pop(key, None)
        return len(keys)

    async def get(self, key: str) -> Entry | None:
        """The same as every other tier gives."""
        held = self.get_now(key)
        if held is None:
            return None
        return Entry(encode_result(held.result), max(0.0, self._clock() - held.made_at))

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        """Keep an encoded result."""
        result = decode_result(data)
        if result is not None:
            self.keep(key, result, ttl_s, age_s)

    async def delete(self, prefix: str) -> int:
        """Forget all keys that begin so; how many there were."""
        return self.forget(prefix)

    async def close(self) -> None:
        """Let go of everything."""
        self._held.clear()


def _size(held: Held) -> int:
    return held.size
