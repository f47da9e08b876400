"""A process' regular look at itself: what it takes, what stands in it, how late its loop is."""

import asyncio
from collections.abc import Callable
from time import monotonic

from omnishot_ray.metrics.samples import Sample
from omnishot_ray.serving.resources import Watch

_BEAT_S = 0.25
_GAUGE_S = 1.0


class Pulse:
    """Records a sample of its process every `every_s`, and one of `gauge` every second."""

    def __init__(
        self,
        record: Callable[[Sample], None],
        watch: Watch,
        every_s: float,
        gauge: Callable[[], Sample] | None = None,
    ) -> None:
        self._record = record
        self._watch = watch
        self._every_s = every_s
        self._gauge = gauge

    async def beat(self) -> None:
        """Go on until cancelled."""
        looked_at = gauged_at = monotonic()
        late_s = 0.0
        while True:
            began = monotonic()
            await asyncio.sleep(_BEAT_S)
            now = monotonic()
            late_s = max(late_s, now - began - _BEAT_S)
            if self._gauge is not None and now - gauged_at >= _GAUGE_S:
                gauged_at = now
                self._record(self._gauge())
            if now - looked_at >= self._every_s:
                looked_at = now
                sample = self._watch.look(late_s * 1000.0)
                late_s = 0.0
                if sample is not None:
                    self._record(sample)
