"""How fast the engine is at the moment: a basket of its work, in a process of its own.

The machine gets slower and faster from one minute to the next, and each kind of work in its own
measure (`guard/yardstick.py`), so that only the engine says how much the engine does.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import mean
from time import perf_counter

from benchmarks.simulator.times import basket, took_ms
from omnishot_ray.imaging.allocation import MALLOC

_SECONDS = 1.2
_TURNS = 2


class Pace:
    """The process, for as long as the block lasts; it does nothing until it is asked."""

    def __enter__(self) -> "Pace":
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.simulator.pace"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **MALLOC},
            text=True,
        )
        self.basket_ms()  # the first warms up
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate()

    def basket_ms(self) -> float:
        """Core-milliseconds of the basket. Takes a second."""
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write("go\n")
        self._child.stdin.flush()
        return float(self._child.stdout.readline())


def measure_beside(paces: Sequence[Pace]) -> list[float]:
    """How much longer the engine takes in all of these at once than in the first alone, by turns.

    It is not the same for long: what is beside a core here may be somebody else's.
    """
    ratios = []
    with ThreadPoolExecutor(len(paces)) as threads:
        for _ in range(_TURNS):
            before_ms = paces[0].basket_ms()
            together_ms = mean(threads.map(Pace.basket_ms, paces))
            ratios.append(together_ms / ((before_ms + paces[0].basket_ms()) / 2))
    return ratios


def main() -> None:
    """A figure for each line of standard input."""
    some = basket()
    for _ in sys.stdin:
        until, passes = perf_counter() + _SECONDS, []
        while perf_counter() < until:
            passes.append(sum(map(took_ms, some)))
        print(mean(passes), flush=True)


if __name__ == "__main__":
    main()
