"""Cores of a node that processes share: the one that has had least goes next.

As Linux does it (CFS: each process has a virtual time that runs slower the more it weighs, and one
that wakes does not lag behind by more than a little; kernel documentation, sched-design-CFS).
"""

import math
from collections.abc import Iterator
from typing import Any

import simpy

_SLICE_MS = 4.0
_LAG_MS = 3.0
NICE_WEIGHTS = {0: 1.0, 5: 335 / 1024}
"""`sched_prio_to_weight` of the kernel, over that of nice 0."""
_MEMORY_MS = 500.0
"""Over how long it counts how busy a node was: caches forget about as fast."""


class Thread:
    """What runs on the cores, one piece of work at a time."""

    def __init__(self, node: "Node", nice: int = 0) -> None:
        self.node = node
        self.weight = NICE_WEIGHTS[nice]
        self.virtual_ms = 0.0
        self._turn = simpy.Resource(node.env, 1)
        self.busy_ms = 0.0

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return len(self._turn.queue)

    def run(self, ms: float, calm: float | None = None) -> Iterator[Any]:
        """A process of simpy: wait for the thread, then for the core, work.

        `calm` is this work's own, where it is known.
        """
        with self._turn.request() as turn:
            yield turn
            self.busy_ms += ms
            yield from self.node.occupy(self, ms, calm)


class Node:
    """A machine. With `shared` its threads have `cores` among them, else each its own.

    `calm` and `busy` are how much longer work takes on shared cores that had nothing to do before
    and on such that had no rest: caches go cold in between, and cores get into each other's way.
    """

    def __init__(
        self,
        env: simpy.Environment,
        cores: int,
        shared: bool = False,
        calm: float = 1.0,
        busy: float = 1.0,
    ) -> None:
        self.env = env
        self.cores = cores
        self._calm, self._busy = calm, busy
        self._used = self._done_ms = self._seen_at = 0.0
        self._pool = simpy.PriorityResource(env, cores) if shared else None
        self._least_ms = 0.0
        self.alive = True

    def occupy(self, thread: Thread, ms: float, calm: float | None = None) -> Iterator[Any]:
        """Be on a core for so long."""
        if self._pool is None:
            yield self.env.timeout(ms)
            return
        thread.virtual_ms = max(thread.virtual_ms, self._least_ms - _LAG_MS)
        while ms > 0:
            with self._pool.request(priority=thread.virtual_ms) as core:
                yield core
                while ms > 0:
                    self._least_ms = max(self._least_ms, thread.virtual_ms)
                    part = min(ms, _SLICE_MS)
                    takes_ms = part * self._factor(self._calm if calm is None else calm)
                    yield self.env.timeout(takes_ms)
                    self._done_ms += takes_ms
                    thread.virtual_ms += takes_ms / thread.weight
                    ms -= part
                    if self._pool.queue and self._pool.queue[0].priority < thread.virtual_ms:
                        break  # another has had less

    def _factor(self, calm: float) -> float:
        """How much longer work takes that begins now."""
        passed_ms = float(self.env.now) - self._seen_at
        if passed_ms > 0:
            share = min(1.0, self._done_ms / (self.cores * passed_ms))
            self._used += -math.expm1(-passed_ms / _MEMORY_MS) * (share - self._used)
            self._seen_at, self._done_ms = float(self.env.now), 0.0
        return calm + (self._busy - calm) * self._used
