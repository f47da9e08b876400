"""What the cache may take, and where it is."""

import math
import re
from dataclasses import dataclass, field

_MIB = 1 << 20
_REDIS_URL = re.compile(r"(redis|rediss|unix)://\S+")
_STORAGE_URI = re.compile(r"[a-z][a-z0-9+]*://\S+")


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Which tiers there are, and how long a result is good."""

    memory_bytes: int = 128 * _MIB
    """What one gateway keeps in memory; 0 switches the tier off."""
    ttl_s: float = 3600.0
    """How long a result is given out without a thought."""
    stale_s: float = 86400.0
    """How long after that it may still be given out while it is made anew."""
    redis_url: str = field(default="", repr=False)
    """`redis://`, `rediss://` or `unix://`; empty: no Redis."""
    storage_uri: str = ""
    """A pyarrow.fs URI such as `file:///…` or `s3://…`; empty: no storage. It is not bounded here:
    an object store has lifecycle rules for that."""
    max_entry_bytes: int = 16 * _MIB
    """Larger results are not written to Redis and storage."""
    timeout_s: float = 0.25
    """How long a request waits for one look into Redis or storage."""
    node_dir: str = "/dev/shm/omnishot"
    """Where the gateways of one node meet; in memory, else every request waits for a disk."""

    def __post_init__(self) -> None:
        if self.memory_bytes < 0 or self.max_entry_bytes < 1:
            raise ValueError("memory_bytes must be 0 or more, max_entry_bytes at least 1")
        for name in ("ttl_s", "timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")
        if not 0 <= self.stale_s < math.inf:
            raise ValueError("stale_s must be 0 or more and finite")
        if self.redis_url and not _REDIS_URL.fullmatch(self.redis_url):
            raise ValueError("redis_url must start with redis://, rediss:// or unix://")
        if self.storage_uri and not _STORAGE_URI.fullmatch(self.storage_uri):
            raise ValueError("storage_uri must be a URI such as file:///path or s3://bucket/path")
        if not self.node_dir.startswith("/"):
            raise ValueError("node_dir must be an absolute path")
