"""Work that no change of this project touches: how fast the machine is at the moment.

What makes a shared machine slow is its caches and its memory, hardly ever its clock: on one that
went from one speed to another within a minute, the engine took 1.3 times as long and a copy of
pixels 1.4 times, the hash of a block that lies in the caches 1.00 times. So the stretch goes
through memory as pictures do. Small Python objects are no part of it: they took 1.0 or 1.8 times
as long by turns that the engine knew nothing of.
"""

import random
import zlib
from time import perf_counter, thread_time

import numpy as np

YARDSTICK = 2
"""Ratios to another one are not to be compared."""

_DATA = random.Random(1).randbytes(120_000) + bytes(120_000)
_PIXELS = np.random.default_rng(1).integers(0, 256, (800, 800, 3), np.uint8)
_FLOATS = np.empty(_PIXELS.shape, np.float32)
_BACK = np.empty_like(_PIXELS)


def stretch() -> float:
    """CPU seconds that one stretch takes: some 10 ms of compressing, and of pixels made floats and
    back. It allocates nothing that malloc would have to ask the kernel for.
    """
    started = thread_time()
    zlib.compress(_DATA, 6)
    for _ in range(2):
        np.multiply(_PIXELS, np.float32(0.5), out=_FLOATS)
        np.copyto(_BACK, _FLOATS, casting="unsafe")
    return thread_time() - started


def speed(seconds: float = 0.2) -> float:
    """Stretches a second of CPU time, at least one."""
    until, count, spent = perf_counter() + seconds, 0, 0.0
    while perf_counter() < until or not count:
        spent += stretch()
        count += 1
    return count / spent
