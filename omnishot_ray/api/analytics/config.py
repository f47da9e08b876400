"""Bounds of what front ends may send."""

from dataclasses import dataclass, field

from omnishot_ray.metrics.analysis.costs import Prices
from omnishot_ray.metrics.rules import SEVERITIES
from omnishot_ray.metrics.shapes import LONG, room


@dataclass(frozen=True, slots=True)
class AnalyticsConfig:
    """Everybody may send, also where API keys are on: a key in a web page is no secret."""

    enabled: bool = True
    """Off: nothing is taken from front ends, and `/analytics.js` is not there."""
    max_body_bytes: int = 64 * 1024
    """Browsers send no larger beacons (Fetch Standard, "inflight keepalive bytes")."""
    max_items: int = 200
    """Most metrics, events, steps or alerts of one request."""
    samples_per_minute: int = 6000
    """Most of them of one address; without trusted proxies all visitors have the same one."""
    sample_share: float = 1.0
    """Share of the sessions that is kept. By session, so that funnels stay whole."""
    max_age_s: float = 3600.0
    """Older samples are refused: a page that slept must not rewrite yesterday."""
    max_ahead_s: float = 60.0
    """Samples from further in the future are taken as of now: a clock is wrong."""
    max_pages: int = 200
    """Different pages that are told apart in a day; further ones are counted as `other`. At most
    254."""
    max_types: int = 100
    """Different types of events. These and thrice `max_alerts` are at most 254."""
    max_alerts: int = 50
    """Different names of alerts."""
    max_segments: int = 50
    """Different segments of visitors, at most 254."""
    max_data_bytes: int = 2048
    """Largest `data` of an event as JSON; larger or more deeply nested than 5 it is left out. At
    most 4096."""
    prices: Prices = field(default_factory=Prices)

    def __post_init__(self) -> None:
        for name in (
            "max_body_bytes", "max_items", "samples_per_minute", "max_age_s", "max_ahead_s",
            "max_pages", "max_types", "max_alerts", "max_segments", "max_data_bytes",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        if not 0.0 <= self.sample_share <= 1.0:
            raise ValueError("sample_share must lie between 0 and 1")
        # What the tables have no room for they would cut, or count as `other`, without a word.
        for name, most in (
            ("max_pages", room("vitals", "page")),
            ("max_segments", room("funnel", "segment")),
            ("max_data_bytes", LONG["events", "data"]),
        ):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}")
        types, most = self.max_types + len(SEVERITIES) * self.max_alerts, room("events", "type")
        if types > most:
            raise ValueError(f"max_types and thrice max_alerts must be at most {most} together")
