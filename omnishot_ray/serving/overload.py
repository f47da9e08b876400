"""How fast work is done, and whether there has been too much of it for a while."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OverloadConfig:
    """When renditions are made cheaper so that more clients get one."""

    degrade: bool = True
    """Whether under lasting overload effort is lowered and `format=auto` keeps to JPEG and PNG,
    said in `X-OmniShot-Degraded`."""
    above: float = 0.5
    """Share of the queue's bound that counts as overload."""
    below: float = 0.1
    """Share under which it counts as calm again."""
    after_s: float = 2.0
    """How long either has to last."""
    effort: int = 1
    """The highest effort while it lasts."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.below < self.above <= 1.0:
            raise ValueError("below must be less than above, both within 0 and 1")
        if self.after_s < 0 or not 0 <= self.effort <= 9:
            raise ValueError("after_s must be 0 or more, effort within 0 and 9")


class Overload:
    """Tells lasting overload from a burst: with hysteresis in level and in time."""

    def __init__(self, config: OverloadConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._lasts = False
        self._contrary_since: float | None = None

    def note(self, fill: float) -> None:
        """Take note of how full the queue is, as a share of its bound."""
        contrary = fill < self._config.below if self._lasts else fill > self._config.above
        if not contrary:
            self._contrary_since = None
        elif self._contrary_since is None:
            self._contrary_since = self._clock()
        self._turn_over()

    @property
    def lasts(self) -> bool:
        """Whether there has been too much work for a while."""
        self._turn_over()
        return self._lasts

    def _turn_over(self) -> None:
        since = self._contrary_since
        if since is not None and self._clock() - since >= self._config.after_s:
            self._lasts = not self._lasts
            self._contrary_since = None


class DrainRate:
    """Core-milliseconds of estimated work done in a millisecond, as seen of late.

    Starts from the number of replicas, of which this process may not get all.
    """

    _MEMORY_S = 10.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._busy_since = 0.0
        self._out = 0
        self._seen_s = 0.0
        self._done_ms = 0.0

    def begin(self) -> None:
        """A batch leaves."""
        if self._out == 0:
            self._busy_since = self._clock()
        self._out += 1

    def end(self, cost_ms: float) -> None:
        """A batch of this estimated work has come back."""
        now = self._clock()
        self._out -= 1
        elapsed = now - self._busy_since
        self._busy_since = now
        fade = max(0.0, 1.0 - elapsed / self._MEMORY_S)
        self._seen_s = self._seen_s * fade + elapsed
        self._done_ms = self._done_ms * fade + cost_ms

    def per_ms(self, replicas: int) -> float:
        """The rate; `replicas` stand in for the second before anything can be said."""
        known = min(1.0, self._seen_s)
        seen = self._done_ms / (self._seen_s * 1000.0) if self._seen_s else 0.0
        return max(known * seen + (1.0 - known) * replicas, 0.05)
