"""Tells others that work is done, by the Standard Webhooks scheme (standardwebhooks.com)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omnishot_ray.storage.fetch import FetchConfig, Resolver


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """How callbacks are signed and how long they are tried."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """`whsec_…` each; the first is the current one, every one signs. None: no webhooks."""
    timeout_s: float = 10.0
    """For one attempt."""
    max_attempts: int = 6
    backoff_s: float = 2.0
    """The second attempt comes at most so much later, each further one at most twice as late."""
    max_delay_s: float = 600.0
    """What a `Retry-After` may ask for at most, and the longest pause."""
    max_at_once: int = 8

    def __post_init__(self) -> None:
        for name in ("timeout_s", "backoff_s", "max_delay_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went."""

    delivered: bool
    status: int | None
    """Of the answer; None without one."""
    detail: str
    """What was wrong, in a sentence; empty when delivered."""
    again_in_s: float | None
    """When another attempt is worth it; None: delivered, or never."""


class Webhooks:
    """Delivers messages through the same guard as downloads; redirects are not followed."""

    def __init__(
        self, config: WebhookConfig, fetch: FetchConfig, resolver: Resolver | None = None
    ) -> None:
        self._config = config

    def check(self, url: str) -> None:
        """Say no when the job is submitted: what the address alone shows to be wrong.

        Raises `InvalidParameters` or `AddressRefused`; the latter too when no secret is set.
        """
        raise NotImplementedError

    async def attempt(
        self,
        url: str,
        event_type: str,
        payload: Mapping[str, Any],
        message_id: str,
        attempt: int = 1,
    ) -> Attempt:
        """One try, for those who keep the schedule in a store. Never raises for the receiver's sake.

        The body is `{"type", "timestamp", "data"}`. `message_id` has to be the same in every
        attempt: receivers know a repeated message by it.
        """
        raise NotImplementedError

    async def deliver(
        self, url: str, event_type: str, payload: Mapping[str, Any], message_id: str
    ) -> Attempt:
        """Attempts until it is delivered, hopeless, or `max_attempts` are made: the last one."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of connections."""
