"""Web vitals: what is measured of a page view, and what is good.

Thresholds are for the 75th percentile of page views (https://web.dev/articles/vitals and
https://web.dev/articles/defining-core-web-vitals-thresholds), each from its own page:
web.dev/articles/lcp, /inp, /cls, /fcp, /ttfb and /fid.
"""

from dataclasses import dataclass
from typing import Literal, get_args

VitalName = Literal["FCP", "LCP", "CLS", "FID", "INP", "TTFB"]
Rating = Literal["good", "needs-improvement", "poor"]
RATINGS: tuple[Rating, ...] = get_args(Rating)


@dataclass(frozen=True, slots=True)
class Vital:
    """One web vital; up to and with `good` it is good, above `poor` poor."""

    name: VitalName
    title: str
    unit: str
    good: float
    poor: float
    most: float
    """What no page view can have: larger values are not believed."""

    def rate(self, value: float) -> Rating:
        """What a value is worth."""
        if value <= self.good:
            return "good"
        return "needs-improvement" if value <= self.poor else "poor"


_TEN_MINUTES_MS = 600_000.0

VITALS: dict[str, Vital] = {
    vital.name: vital
    for vital in (
        Vital("FCP", "First Contentful Paint", "ms", 1800.0, 3000.0, _TEN_MINUTES_MS),
        Vital("LCP", "Largest Contentful Paint", "ms", 2500.0, 4000.0, _TEN_MINUTES_MS),
        Vital("CLS", "Cumulative Layout Shift", "", 0.1, 0.25, 100.0),
        Vital("FID", "First Input Delay", "ms", 100.0, 300.0, _TEN_MINUTES_MS),
        Vital("INP", "Interaction to Next Paint", "ms", 200.0, 500.0, _TEN_MINUTES_MS),
        Vital("TTFB", "Time to First Byte", "ms", 800.0, 1800.0, _TEN_MINUTES_MS),
    )
}
