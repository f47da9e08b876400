"""A circuit: after some failures in a row, what is behind it is left alone for a while.

pybreaker counts and decides. Its `calling()` is not used around awaits: a caller who goes away in
the middle would count as a failure of the store, or, with `CancelledError` excluded, as a success
that closes a half-open circuit (pybreaker 1.4, `CircuitBreakerState.generator_call`), and while it
is half-open everybody may call. So operations run outside, their outcomes are told to it, and one
caller at a time tries a half-open circuit.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from omnishot_ray.frugal import hidden

with hidden("redis"):
    import pybreaker

logger = logging.getLogger(__name__)

CLOSED: str = pybreaker.STATE_CLOSED
OPEN: str = pybreaker.STATE_OPEN
HALF_OPEN: str = pybreaker.STATE_HALF_OPEN


class Circuit:
    """The circuit around one thing that can fail. Not for several threads."""

    def __init__(
        self,
        name: str,
        fail_max: int = 5,
        reset_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self.fail_max = fail_max
        self._reset_timeout_s = reset_timeout_s
        self._clock = clock
        self._trying = False
        self._opened_at = 0.0
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=fail_max,
            reset_timeout=reset_timeout_s,
            throw_new_error_on_trip=False,
            name=name,
        )

    @property
    def state(self) -> str:
        """`closed` is well, `open` leaves it alone, `half-open` tries it once."""
        return self._circuit.current_state

    @property
    def rests_for_s(self) -> float:
        """Seconds until it is tried again; 0 when it may be."""
        if self.state != OPEN:
            return 0.0
        return max(0.0, self._opened_at + self._reset_timeout_s - self._clock())

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether it may be tried now; whoever may tells `note` how it went, if that is known."""
        if self.state == OPEN and not self.rests_for_s:
            self._circuit.half_open()
        trial = self.state == HALF_OPEN
        if self.state == OPEN or (trial and self._trying):
            yield False
            return
        self._trying = trial
        try:
            yield True
        finally:
            if trial:
                self._trying = False

    def note(self, error: Exception | None) -> None:
        """Count a failure, or None for a success."""
        before = self.state
        if before == OPEN:
            return  # begun before it opened: old news
        try:
            self._circuit.call(_tell, error)
        except Exception as told:
            if told is not error:
                raise
        if self.state == before:
            return
        if self.state == OPEN:
            self._opened_at = self._clock()
            logger.warning(
                "%s is left alone for %g s: %r", self._name, self._reset_timeout_s, error
            )
        else:
            logger.warning("%s is used again", self._name)


class Circuits:
    """One for each name; beyond `most` those not asked for longest are forgotten."""

    def __init__(self, fail_max: int, reset_timeout_s: float, most: int) -> None:
        self._settings = fail_max, reset_timeout_s
        self._most = most
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()

    def find(self, name: str) -> Circuit:
        """The circuit of a name."""
        circuit = self._circuits.pop(name, None) or Circuit(name, *self._settings)
        self._circuits[name] = circuit
        if len(self._circuits) > self._most:
            self._circuits.popitem(last=False)
        return circuit

    def describe(self, down: str) -> dict[str, object]:
        """All of them as one part of a service's health; `down` is its status where one rests."""
        resting = [name for name, one in self._circuits.items() if one.state != CLOSED]
        return {
            "status": down if resting else "ok",
            "latency_ms": None,
            "circuit": self._circuits[resting[0]].state if resting else CLOSED,
            "detail": f"left alone: {', '.join(resting[:5])}" if resting else "",
        }


def _tell(error: Exception | None) -> None:
    if error is not None:
        raise error
