"""How late a process is woken that does nothing but sleep: what the machine itself adds to p99.

    python -m benchmarks.serving.lateness SECONDS

Prints milliseconds. A pause counts as wrk counts one: for all who would have asked meanwhile.
"""

import sys
from time import perf_counter, sleep

_EVERY_S = 0.001


def measure_lateness(seconds: float) -> float:
    """The 99th percentile of it in milliseconds, over so many seconds."""
    late: list[float] = []
    until = perf_counter() + seconds
    while (begun := perf_counter()) < until:
        sleep(_EVERY_S)
        passed_s = perf_counter() - begun - _EVERY_S
        late += [passed_s - missed * _EVERY_S for missed in range(1 + int(passed_s / _EVERY_S))]
    return sorted(late)[int(0.99 * len(late))] * 1000.0


if __name__ == "__main__":
    print(measure_lateness(float(sys.argv[1])))
