"""How many replicas of each kind, and on how many cores."""

import os
from dataclasses import dataclass, field


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class GatewayScale:
    """Gateways are fixed in number: scaling an ingress makes HAProxy reload."""

    replicas: int = field(default_factory=lambda: max(1, min(4, usable_cores())))
    num_cpus: float = 0.0
    """Ray CPUs that one reserves. 0 lets them share the cores of one machine with the Resizers;
    on a cluster give each its own core."""
    max_ongoing_requests: int = 256

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.max_ongoing_requests < 1 or self.num_cpus < 0:
            raise ValueError(
                "replicas and max_ongoing_requests must be at least 1, num_cpus 0 or more"
            )


@dataclass(frozen=True, slots=True)
class ResizerScale:
    """Resizers scale with the work: one core each."""

    min_replicas: int = 1
    max_replicas: int = field(default_factory=usable_cores)
    num_cpus: float = 1.0
    target_batches: float = 1.0
    """Batches in flight at each replica that the autoscaler aims for."""
    upscale_delay_s: float = 2.0
    downscale_delay_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ValueError("min_replicas must be at least 1 and at most max_replicas")
        if self.num_cpus < 0 or self.target_batches <= 0:
            raise ValueError("num_cpus must be 0 or more, target_batches more than 0")
        if self.upscale_delay_s < 0 or self.downscale_delay_s < 0:
            raise ValueError("upscale_delay_s and downscale_delay_s must be 0 or more")
