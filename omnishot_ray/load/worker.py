"""One process of visitors: `python -m omnishot_ray.load.worker`, started by `run.py`.

Reads an order from the first line of standard input, says `ready` and what it warns of, and begins
when a second line comes. Then writes a line a second: how many users there are, and all answers
since the last. An API key comes as `key` of the order: arguments and environment can be read by
others, and nothing here writes it.
"""

import gevent.monkey

gevent.monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from time import monotonic, process_time  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from locust import LoadTestShape  # noqa: E402
from locust.env import Environment  # noqa: E402

from omnishot_ray.load.answers import Answer  # noqa: E402
from omnishot_ray.load.pictures import drawn_library, read_library  # noqa: E402
from omnishot_ray.load.traffic import Mix, Traffic  # noqa: E402
from omnishot_ray.load.visitor import PATIENCE_S, make_visitor  # noqa: E402

_FLUSH_S = 1.0
_MOST_STARTS = 200
"""Users that one process starts in a second."""


class Plan(LoadTestShape):  # type: ignore[misc]
    """Locust's shape of our stages, as long as nothing is over a bound."""

    def __init__(self, stages: list[tuple[int, float]]) -> None:
        super().__init__()
        self.stages = stages
        self.over = False

    def tick(self) -> tuple[int, float] | None:
        """Users now, and how many start in a second; None at the end."""
        if self.over:
            return None
        second = self.get_run_time()
        for users, seconds in self.stages:
            second -= seconds
            if second < 0:
                return users, _MOST_STARTS
        return None


def main() -> int:
    """Run the order of standard input."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # each user has a connection
    order = json.loads(sys.stdin.readline())
    pictures = order["pictures"]
    warnings: list[str] = []
    library = read_library(Path(pictures), warnings.append) if pictures else drawn_library()
    traffic = Traffic(library, Mix(**order["mix"]), order["seed"])
    answers: list[Answer] = []
    plan = Plan([tuple(stage) for stage in order["stages"]])
    noted = 0
    patience_s = float(order.get("patience_s", PATIENCE_S))

    def note(answer: Answer) -> None:
        nonlocal noted
        answers.append(answer)
        noted += 1
        plan.over = plan.over or noted >= order["most_requests"]

    visitor = make_visitor(
        traffic,
        note,
        order["first"],
        order["step"],
        order["pace_s"],
        order["decode_every"],
        order.get("key") or "",
        patience_s,
    )
    visitor.host = order["url"]
    environment = Environment(
        user_classes=[visitor], shape_class=plan, catch_exceptions=True, stop_timeout=patience_s
    )
    runner = environment.create_local_runner()

    def flush() -> None:
        rows = [answer.as_row() for answer in answers]
        answers.clear()
        cpu_s = process_time() - began_s
        _say({"users": runner.user_count, "answers": rows, "cpu_s": round(cpu_s, 4)})

    _say({"ready": True, "warnings": warnings})
    sys.stdin.readline()
    began_s = process_time()
    runner.start_shape()
    until = monotonic() + order["seconds"] + patience_s + 5.0
    while monotonic() < until and runner.shape_greenlet is not None:
        gevent.sleep(_FLUSH_S)
        flush()
    runner.quit()
    flush()
    return 0


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
