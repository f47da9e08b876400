"""How the memory of each process of a running service goes while it is under load."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import psutil

from omnishot_ray.load.report import slope_a_minute

_EVERY_S = 10.0


@dataclass
class Growth:
    """Points of one process: seconds, and MB that are its own."""

    name: str
    points: list[tuple[float, float]] = field(default_factory=list)

    def slope(self, warm_s: float) -> float:
        """MB a minute after the warm-up, by Theil and Sen."""
        return slope_a_minute([point for point in self.points if point[0] >= warm_s])


@contextmanager
def watch_processes(pid: int) -> Iterator[dict[int, Growth]]:
    """The growth of a process and of all that it started, by process id, while the block runs."""
    seen: dict[int, Growth] = {}
    stop, began = threading.Event(), monotonic()

    def look() -> None:
        while not stop.wait(_EVERY_S):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                try:
                    own = process.memory_full_info().uss / 1e6
                    name = " ".join(process.cmdline()[:1]).rpartition("/")[2][:60]
                except psutil.Error:
                    continue
                growth = seen.setdefault(process.pid, Growth(name or str(process.pid)))
                growth.points.append((monotonic() - began, own))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
