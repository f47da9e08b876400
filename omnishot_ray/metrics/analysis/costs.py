"""What the work costs: core-hours, bytes out and bytes kept, by the prices of the configuration."""

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Prices:
    """What the operator pays; 0 where it is not charged."""

    currency: str = "USD"
    core_hour: float = 0.04
    """One core for one hour."""
    egress_gb: float = 0.08
    """10⁹ bytes sent."""
    storage_gb_month: float = 0.023
    """10⁹ bytes kept for 730 hours."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise ValueError("currency has to be three capital letters such as EUR (ISO 4217)")
        for name in ("core_hour", "egress_gb", "storage_gb_month"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken in a stretch of time."""

    seconds: float
    images: int
    """Renditions that were handed out."""
    cores: float
    """Busy on average."""
    bytes_out: float
    bytes_kept: float
    by_kind: dict[str, float] = field(default_factory=dict)
    """Busy cores of each kind of process."""


def price(usage: Usage, prices: Prices) -> dict[str, Any]:
    """Costs of the time and of 1 000 images; the latter None where there were none."""
    hours = usage.seconds / 3600.0
    quantities = {
        "core_hours": usage.cores * hours,
        "egress_gb": usage.bytes_out / 1e9,
        "storage_gb_months": usage.bytes_kept / 1e9 * hours / 730.0,
    }
    costs = {
        "cores": quantities["core_hours"] * prices.core_hour,
        "egress": quantities["egress_gb"] * prices.egress_gb,
        "storage": quantities["storage_gb_months"] * prices.storage_gb_month,
    }
    costs["total"] = sum(costs.values())
    return {
        "currency": prices.currency,
        "window_s": usage.seconds,
        "images": usage.images,
        "quantities": quantities,
        "costs": costs,
        "per_1000_images": (
            {name: 1000.0 * cost / usage.images for name, cost in costs.items()}
            if usage.images
            else None
        ),
        "core_seconds_per_1000_images": (
            1000.0 * usage.cores * usage.seconds / usage.images if usage.images else None
        ),
        "busy_cores_by_kind": usage.by_kind,
    }
