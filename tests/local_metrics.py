"""Metrics in this process, and what they were told."""

from time import time
from typing import Any

from omnishot_ray.metrics import local
from omnishot_ray.metrics.samples import EventSample, FunnelSample, Sample, VitalSample


class LocalMetrics(local.LocalMetrics):
    """The real ones; `told` is what browsers said, `listed` are alerts to be told of."""

    def __init__(self) -> None:
        # A second ahead: what came within this one belongs to the past only when it is over.
        super().__init__(clock=lambda: time() + 1.0)
        self.told: list[Sample] = []
        self.listed: list[dict[str, Any]] | None = None

    def record(self, sample: Sample) -> None:
        if isinstance(sample, VitalSample | EventSample | FunnelSample):
            self.told.append(sample)
        super().record(sample)

    async def alerts(self) -> list[dict[str, Any]]:
        return await super().alerts() if self.listed is None else self.listed
