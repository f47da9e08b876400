"""How fast the engine is at the moment: a basket of its work, in a process of its own.

The machine gets slower and faster from one minute to the next, and each kind of work in its own
measure (`guard/yardstick.py`), so that only the engine says how much the engine does.
"""

import os
import subprocess
import sys
from time import perf_counter, process_time

from benchmarks.simulator.times import all_ways, estimate, wanted_of
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.traffic import MIXES, Ask, without
from omnishot_ray.serving.environment import RAY_ENVIRONMENT

_KINDS = ("thumbnail", "photo", "webp", "platform")
_SECONDS = 1.2


class Pace:
    """The process, for as long as the block lasts; it does nothing until it is asked."""

    def __enter__(self) -> "Pace":
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.simulator.pace"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **RAY_ENVIRONMENT},
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


def basket() -> list[Ask]:
    """The cheapest request of some kinds."""
    ways = all_ways(drawn_library(), without(MIXES["usual"], {"job"})).values()
    return [min((ask for ask in ways if ask.kind == kind), key=estimate) for kind in _KINDS]


def main() -> None:
    """A figure for each line of standard input."""
    work = [(ask.picture.data, wanted_of(ask)) for ask in basket()]
    for _ in sys.stdin:
        until, spent, count = perf_counter() + _SECONDS, 0.0, 0
        while perf_counter() < until:
            started = process_time()
            for data, wanted in work:
                process(data, wanted, Limits())
            spent += process_time() - started
            count += 1
        print(spent / count * 1000.0, flush=True)


if __name__ == "__main__":
    main()
