"""Cores of a node that threads share: on each, the one that has had least goes next.

As Linux does it (kernel documentation, sched-design-CFS and sched-domains): every core has a line
of its own, in which a thread's virtual time runs slower the more it weighs, and one that wakes does
not lag behind by more than a little. Who wakes goes to a core that has nothing to do, else to the
one that he was on, where he interrupts who has had more; a core that runs out of work takes from
the longest line, and once in a while the heaviest line gives to the lightest. So it is not always
who has had least of all that goes next.
"""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import simpy

_SLICE_MS = 4.0
"""A tick of the kernel (HZ=250)."""
_LEAST_MS = 1.4
"""Nobody is interrupted sooner than this (`base_slice_ns` on two cores)."""
_LAG_MS = 3.0
NICE_WEIGHTS = {0: 1.0, 5: 335 / 1024}
"""`sched_prio_to_weight` of the kernel, over that of nice 0."""
_BALANCE_MS = 16.0
"""For each core of a node: between two balances of busy cores (`busy_factor` of a domain)."""
_MEMORY_MS = 500.0
"""Over how long it counts how busy a node was: caches forget about as fast."""


class Thread:
    """What runs on the cores, one piece of work at a time.

    Who has more to do keeps its core while it is its turn, as an event loop works off all that has
    come when it wakes.
    """

    def __init__(self, node: "Node", nice: int = 0) -> None:
        self.node = node
        self.weight = NICE_WEIGHTS[nice]
        self.virtual_ms = 0.0
        self.core: _Core | None = None
        self._turn = simpy.Resource(node.env, 1)
        self.busy_ms = self.on_core_ms = 0.0
        """Work that it was given, and how long it was on a core for that."""

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return len(self._turn.queue)

    def run(self, ms: float, calm: float | None = None) -> Iterator[Any]:
        """A process of simpy: wait for the thread, then for a core, work.

        `calm` is this work's own, where it is known.
        """
        with self._turn.request() as turn:
            yield turn
            self.busy_ms += ms
            yield from self.node.occupy(self, ms, calm)


@dataclass
class _Core:
    """Who runs on it and who waits for it. Virtual times are of this core."""

    running: Thread | None = None
    process: simpy.Process | None = None
    """Of who is running, as long as nobody has interrupted him."""
    since_ms: float = 0.0
    """When he began what is not in his virtual time yet."""
    line: list[tuple[float, int, Thread, simpy.Event]] = field(default_factory=list)
    least_ms: float = 0.0

    @property
    def weight(self) -> float:
        """Of all that are here."""
        here = sum(thread.weight for _, _, thread, _ in self.line)
        return here + (self.running.weight if self.running else 0.0)

    def advance(self) -> None:
        """The virtual time of who has had least here."""
        here = [entry[0] for entry in self.line[:1]]
        if self.running:
            here.append(self.running.virtual_ms)
        if here:
            self.least_ms = max(self.least_ms, min(here))

    def receive(self, thread: Thread) -> None:
        """Keep its lag when it comes from another core."""
        if thread.core is not None and thread.core is not self:
            thread.virtual_ms += self.least_ms - thread.core.least_ms
        thread.core = self


class Node:
    """A machine. With `shared` its threads have `cores` among them, else each its own.

    `calm` and `busy` are how much longer work takes on shared cores that had nothing to do before
    and on such that had no rest: caches go cold in between. `beside` is how much longer it takes
    while the other cores work too: what is sold as a core is often half of one, and memory is
    shared.
    """

    def __init__(
        self,
        env: simpy.Environment,
        cores: int,
        shared: bool = False,
        calm: float = 1.0,
        busy: float = 1.0,
        beside: float = 1.0,
    ) -> None:
        self.env = env
        self.cores = cores
        self._calm, self._busy, self._beside = calm, busy, beside
        self._used = self._done_ms = self._seen_at = self._balanced_at = 0.0
        self._cores = [_Core() for _ in range(cores)] if shared else []
        self._running = 0
        self._ties = itertools.count()
        self.alive = True

    def occupy(self, thread: Thread, ms: float, calm: float | None = None) -> Iterator[Any]:
        """Be on a core for so long."""
        if not self._cores:
            yield self.env.timeout(ms)
            return
        core = thread.core
        if core is None or core.running is not thread:
            core = self._choose(thread)
            core.receive(thread)
            thread.virtual_ms = max(thread.virtual_ms, core.least_ms - _LAG_MS)
            if core.running is None:
                self._start(core, thread)
            else:
                turn = self._wait(core, thread)
                self._interrupt(core, thread)
                yield turn
        while True:
            core = thread.core or core
            part = min(ms, _SLICE_MS)
            takes_ms = part * self._factor(self._calm if calm is None else calm)
            core.process, core.since_ms = self.env.active_process, float(self.env.now)
            try:
                yield self.env.timeout(takes_ms)
                ms -= part
            except simpy.Interrupt:
                ms -= part * (float(self.env.now) - core.since_ms) / takes_ms
            core.process = None
            took_ms = float(self.env.now) - core.since_ms
            self._done_ms += took_ms
            thread.on_core_ms += took_ms
            thread.virtual_ms += took_ms / thread.weight
            core.advance()
            self._balance()
            if ms <= 1e-9:
                break
            if core.line and core.line[0][0] < thread.virtual_ms:
                turn = self._wait(core, thread)
                self._leave(core)
                yield turn
        if not thread.waiting or (core.line and core.line[0][0] < thread.virtual_ms):
            self._leave(core)

    def _choose(self, thread: Thread) -> _Core:
        last = thread.core
        if last is not None and last.running is None:
            return last
        idle = next((core for core in self._cores if core.running is None), None)
        if idle is not None:
            return idle
        return last or min(self._cores, key=lambda core: core.weight)

    def _wait(self, core: _Core, thread: Thread) -> simpy.Event:
        turn = self.env.event()
        heapq.heappush(core.line, (thread.virtual_ms, next(self._ties), thread, turn))
        return turn

    def _interrupt(self, core: _Core, thread: Thread) -> None:
        """Who wakes and has had less does not wait for the end of a slice."""
        if core.process is None or core.running is None:
            return
        passed_ms = float(self.env.now) - core.since_ms
        if passed_ms < _LEAST_MS - 1e-6:
            self.env.process(self._interrupt_later(core, thread, _LEAST_MS - passed_ms))
            return
        if thread.virtual_ms < core.running.virtual_ms + passed_ms / core.running.weight:
            core.process.interrupt()
            core.process = None

    def _interrupt_later(self, core: _Core, thread: Thread, ms: float) -> Iterator[Any]:
        yield self.env.timeout(ms)
        if any(waits is thread for _, _, waits, _ in core.line):
            self._interrupt(core, thread)

    def _start(self, core: _Core, thread: Thread) -> None:
        core.running = thread
        self._running += 1

    def _leave(self, core: _Core) -> None:
        """The next one on this core, or one from the longest line."""
        core.running = None
        self._running -= 1
        if not core.line:
            longest = max(self._cores, key=lambda one: len(one.line))
            if not longest.line:
                return
            self._move(longest, core)
        _, _, thread, turn = heapq.heappop(core.line)
        self._start(core, thread)
        core.advance()
        turn.succeed()

    def _move(self, source: _Core, target: _Core) -> None:
        """The next of one line into another."""
        _, tie, thread, turn = heapq.heappop(source.line)
        target.receive(thread)
        heapq.heappush(target.line, (thread.virtual_ms, tie, thread, turn))

    def _balance(self) -> None:
        if float(self.env.now) - self._balanced_at < _BALANCE_MS * self.cores:
            return
        self._balanced_at = float(self.env.now)
        weights = [(core.weight, at) for at, core in enumerate(self._cores)]
        (least, to), (most, source) = min(weights), max(weights)
        line = self._cores[source].line
        if line and most - least > line[0][2].weight:
            self._move(self._cores[source], self._cores[to])

    def _factor(self, calm: float) -> float:
        """How much longer work takes that begins now."""
        passed_ms = float(self.env.now) - self._seen_at
        if passed_ms > 0:
            share = min(1.0, self._done_ms / (self.cores * passed_ms))
            self._used += -math.expm1(-passed_ms / _MEMORY_MS) * (share - self._used)
            self._seen_at, self._done_ms = float(self.env.now), 0.0
        rest = calm + (self._busy - calm) * self._used
        others = max(1, self.cores - 1)
        return rest * (1.0 + (self._beside - 1.0) * (self._running - 1) / others)
