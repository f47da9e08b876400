"""Cores of a node that processes share: the one that has had least goes next.

As Linux does it (CFS: each process has a virtual time that runs slower the more it weighs, and one
that wakes does not lag behind by more than a little; kernel documentation, sched-design-CFS).
"""

from collections.abc import Iterator
from typing import Any

import simpy

_SLICE_MS = 4.0
_LAG_MS = 3.0
NICE_WEIGHTS = {0: 1.0, 5: 335 / 1024}
"""`sched_prio_to_weight` of the kernel, over that of nice 0."""


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

    def run(self, ms: float) -> Iterator[Any]:
        """A process of simpy: wait for the thread, then for the core, work."""
        with self._turn.request() as turn:
            yield turn
            self.busy_ms += ms
            yield from self.node.occupy(self, ms)


class Node:
    """A machine. With `shared` its threads have `cores` among them, else each its own.

    `together` is how much longer work takes with all the shared cores busy than with one: two
    hyperthreads have one core's units between them, and all cores one memory.
    """

    def __init__(
        self, env: simpy.Environment, cores: int, shared: bool = False, together: float = 1.0
    ) -> None:
        self.env = env
        self.cores = cores
        self._slower = (together - 1.0) / max(1, cores - 1)
        self._pool = simpy.PriorityResource(env, cores) if shared else None
        self._least_ms = 0.0
        self.alive = True

    def occupy(self, thread: Thread, ms: float) -> Iterator[Any]:
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
                    takes_ms = part * (1.0 + self._slower * (self._pool.count - 1))
                    yield self.env.timeout(takes_ms)
                    thread.virtual_ms += takes_ms / thread.weight
                    ms -= part
                    if self._pool.queue and self._pool.queue[0].priority < thread.virtual_ms:
                        break  # another has had less
