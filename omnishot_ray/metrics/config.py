"""What is measured, how long it is kept, and where."""

import math
import re
from dataclasses import dataclass

_URI = re.compile(r"[a-z][a-z0-9+]*://\S+")


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Of the hub and of those who tell it."""

    enabled: bool = True
    """Without it nothing is measured, and there is no hub."""
    window_s: float = 60.0
    """What the live figures look back on."""
    flush_s: float = 1.0
    """How often each process tells the hub what it has seen."""
    buffer_samples: int = 20_000
    """What a process holds for the hub; beyond it samples are dropped and counted."""
    resources_s: float = 2.0
    """How often a process looks at what it takes."""
    uri: str = ""
    """A pyarrow.fs URI such as `file:///…` or `s3://…` for Parquet; empty: only in memory."""
    write_s: float = 10.0
    """How often samples are written there: as much is lost when the hub dies."""
    retention_days: float = 30.0
    """How long Parquet and rollups are kept."""
    raw_s: float = 3600.0
    """How long samples as they came stay in memory."""
    raw_bytes: int = 16 << 20
    """What they may take there; the oldest go first."""
    rollup_bytes: int = 64 << 20
    """What the sums and sketches in memory may take; the oldest and finest go first."""
    max_subscribers: int = 64
    """Open `WS /api/metrics/stream` of one gateway."""

    def __post_init__(self) -> None:
        for name in ("window_s", "flush_s", "resources_s", "write_s", "retention_days", "raw_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")
        for name in ("buffer_samples", "raw_bytes", "rollup_bytes", "max_subscribers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.window_s > 86_400:
            raise ValueError("window_s must be at most 86400, a day")
        if self.uri and not _URI.fullmatch(self.uri):
            raise ValueError("uri must be a URI such as file:///path or s3://bucket/path")
