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
class AutoscaleConfig:
    """When the number of Resizers changes (`autoscaling.py` has the rules)."""

    drain_s: float = 5.0
    """Seconds within which what waits should be worked off."""
    waiting_limit: int = 50
    """Tasks waiting in all gateways, or one for each replica where that is more."""
    active_limit: float = 10.0
    """Tasks at a replica: of cheap ones a batch holds many."""
    cpu_limit: float = 0.8
    cpu_goal: float = 0.6
    """Shares of the Resizers' cores: replicas come above the limit, as many as bring it to the
    goal, and go as far as the goal allows. What lies between keeps the number still."""
    p95_limit_ms: float = 500.0
    """Of waiting and working together; counts only while enough waits to be the reason."""
    upscale_delay_s: float = 2.0
    """Between a signal and the first step up, and between steps."""
    downscale_delay_s: float = 60.0
    """Of calm before the first step down; those after it take a quarter of it each."""
    step_up: int = 4
    """Replicas that a step may add where doubling would add fewer."""
    stale_s: float = 10.0
    """Reports older than this are not believed."""
    target_batches: float = 1.0
    """Batches in flight at a replica above which replicas are added when no report comes."""

    def __post_init__(self) -> None:
        for name in ("drain_s", "active_limit", "p95_limit_ms", "stale_s", "target_batches"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        if self.waiting_limit < 1 or self.step_up < 1:
            raise ValueError("waiting_limit and step_up must be at least 1")
        if not 0 < self.cpu_goal < self.cpu_limit <= 1:
            raise ValueError("cpu_goal must be more than 0 and below cpu_limit, that at most 1")
        if self.upscale_delay_s < 0 or self.downscale_delay_s < 0:
            raise ValueError("upscale_delay_s and downscale_delay_s must be 0 or more")


@dataclass(frozen=True, slots=True)
class ResizerScale:
    """Resizers scale with the work: one core each."""

    min_replicas: int = 1
    max_replicas: int = field(default_factory=usable_cores)
    num_cpus: float = 1.0
    niceness: int = 5
    """How far a replica stands back from the gateways on the same cores (0 to 19): what is cheap
    is done there and should not wait for a core."""
    autoscale: AutoscaleConfig = field(default_factory=AutoscaleConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ValueError("min_replicas must be at least 1 and at most max_replicas")
        if self.num_cpus < 0 or not 0 <= self.niceness <= 19:
            raise ValueError("num_cpus must be 0 or more, niceness within 0 and 19")
