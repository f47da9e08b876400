"""What the jobs may take, where they are kept, and when a job is given up."""

import math
import re
from dataclasses import dataclass, field

_REDIS_URL = re.compile(r"(redis|rediss|unix)://\S+")
_STORE_URI = re.compile(r"[a-z][a-z0-9+]*://\S+")
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """Jobs are kept in SQLite under `dir`, or in Redis; their bytes under `dir`, or at a URI."""

    enabled: bool = True
    dir: str = "~/.local/state/omnishot"
    """Folder of the embedded store, on a local disk: SQLite's WAL needs shared memory."""
    redis_url: str = field(default="", repr=False)
    """`redis://`, `rediss://` or `unix://`: the store of several nodes. Let it write to disk
    (`appendonly yes`): it is the only place that knows of a job. Empty: SQLite."""
    blobs_uri: str = ""
    """pyarrow.fs URI of sources and results, for several nodes; empty: in `dir`."""
    share: float = 0.5
    """Of the Resizers that jobs may occupy, at least one: the rest stays for requests."""
    chunk_ms: float = 2000.0
    """Variants are made in chunks estimated at this many core-milliseconds; each is written and
    counts as progress, and what is written is not made again after a crash."""
    max_waiting: int = 100_000
    """Unfinished jobs; with more a new one is answered 429."""
    timeout_s: float = 300.0
    """Wall-clock time of one attempt where the job does not say."""
    max_timeout_s: float = 3600.0
    """The longest a job may ask for."""
    max_attempts: int = 3
    """Attempts where the job does not say."""
    backoff_s: float = 2.0
    """The second attempt comes at most so much later, each further one at most twice as late."""
    lease_s: float = 15.0
    """A runner that gives no sign for so long has lost its jobs."""
    max_stalls: int = 10
    """How often a job's runner may die before the job is blamed for it."""
    ageing_s: float = 10.0
    """A job that has waited so long counts as one step of priority more urgent."""
    poll_s: float = 0.25
    """How often an idle runner and an open stream of events look into the store."""
    idle_s: float = 600.0
    """How long the runner's process, of 110 MB, stays when nothing is to be done. The first job
    after that waits for another one, some 3 s. 0: it is always there."""
    keep_s: float = 7 * _DAY_S
    """How long a finished job and its results are kept."""
    key_life_s: float = _DAY_S
    """How long an `Idempotency-Key` is remembered."""
    max_batch: int = 1000
    """Sources in one batch."""
    max_streams: int = 256
    """Open streams of events in one gateway."""
    stream_s: float = 600.0
    """After this a stream ends; browsers come back by themselves and go on where they were."""

    def __post_init__(self) -> None:
        positive = (
            *("chunk_ms", "timeout_s", "max_timeout_s", "backoff_s", "lease_s", "ageing_s"),
            *("poll_s", "keep_s", "key_life_s", "stream_s"),
        )
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")
        if not 0 <= self.idle_s < math.inf:
            raise ValueError("idle_s must be 0 or more and finite")
        for name in ("max_waiting", "max_attempts", "max_stalls", "max_batch", "max_streams"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 < self.share <= 1:
            raise ValueError("share must be more than 0 and at most 1")
        if self.timeout_s > self.max_timeout_s:
            raise ValueError("timeout_s must be at most max_timeout_s")
        if self.redis_url and not _REDIS_URL.fullmatch(self.redis_url):
            raise ValueError("redis_url must start with redis://, rediss:// or unix://")
        if self.blobs_uri and not _STORE_URI.fullmatch(self.blobs_uri):
            raise ValueError("blobs_uri must be a URI such as file:///path or s3://bucket/path")
        if not self.dir:
            raise ValueError("dir must name a folder")
