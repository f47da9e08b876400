"""Runs a shape: starts the processes of visitors, gathers what they say, bounds all of it."""

import importlib.util
import ipaddress
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import IO, Any
from urllib.parse import urlsplit

from omnishot_ray.load.answers import Answer
from omnishot_ray.load.shapes import Shape
from omnishot_ray.load.traffic import Mix

MOST_REQUESTS = 1_000_000
_READY_S = 120.0
_GRACE_S = 45.0
"""How much longer than its shape a run may take, with what is open at its end."""


class LoadTestFailed(Exception):
    """The load test itself could not be run; nothing is said of the service."""


@dataclass
class Run:
    """All answers, the users by the second, and the CPU time that the load itself took.

    `shares` are of the processes of visitors: Unix time, and what share of a core one of them took
    since it was heard of before. Each can take one core at most.
    `ended_s` is None, or after how many seconds it ended before its time, and `ended` why.
    """

    shape: Shape
    started_at: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    users: list[tuple[float, int]] = field(default_factory=list)
    cpu_s: float = 0.0
    shares: list[tuple[float, float]] = field(default_factory=list)
    ended_s: float | None = None
    ended: str = ""

    @property
    def over_s(self) -> float:
        """When its load was over, by the same clock as `started_at`."""
        return self.started_at + self.seconds

    @property
    def seconds(self) -> float:
        """How long it really was."""
        return self.shape.seconds if self.ended_s is None else self.ended_s


INTERRUPTED = "interrupted"
BOUND = "as many requests as a run may have"
_EARLY_S = 2.0
"""A run that is shorter than its shape by more has ended before its time."""
_LEAST_S = 0.001
_SHORT_S = 0.25
"""A line of a process that comes sooner after the one before says nothing of its CPU."""

Progress = Callable[[float, int, Sequence[Answer]], None]
"""Called about once a second with the seconds since the beginning, the users, and the answers of
all processes since the last call."""


def has_locust() -> bool:
    """Whether the optional dependency is there."""
    try:
        return importlib.util.find_spec("locust") is not None
    except ValueError:  # None in its place
        return False


def is_loopback(url: str) -> bool:
    """Whether all addresses of the host are this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(one[4][0]).is_loopback for one in found)


def run_shape(
    shape: Shape,
    url: str,
    mix: Mix,
    *,
    seed: int = 1,
    processes: int = 1,
    pictures: Path | None = None,
    decode_every: int = 20,
    most_requests: int = MOST_REQUESTS,
    key: str = "",
    on_progress: Progress | None = None,
) -> Run:
    """Send the traffic of a mix in a shape to `url`, with an API key where there is one.

    Raises `LoadTestFailed` when a process of visitors ends before its time. Ctrl-C ends the run,
    which has what came until then.
    """
    processes = min(processes, min(stage.users for stage in shape.stages)) or 1
    run, lines = Run(shape), queue.SimpleQueue[tuple[int, dict[str, Any]]]()
    with tempfile.TemporaryFile("w+") as errors:
        workers = [_start(errors) for _ in range(processes)]
        try:
            for number, worker in enumerate(workers):
                order = {
                    "url": url.rstrip("/"),
                    "mix": asdict(mix) | {"think_s": shape.think_s},
                    "seed": seed,
                    "stages": [
                        (_share(stage.users, number, processes), stage.seconds)
                        for stage in shape.stages
                    ],
                    "seconds": shape.seconds,
                    "pace_s": shape.pace_s,
                    "first": number,
                    "step": processes,
                    "pictures": str(pictures or ""),
                    "decode_every": decode_every,
                    "most_requests": -(-most_requests // processes),
                    "key": key,
                }
                _tell(worker, json.dumps(order))
                threading.Thread(target=_read, args=(number, worker, lines), daemon=True).start()
            _gather(run, workers, lines, on_progress, -(-most_requests // processes))
        except KeyboardInterrupt:
            if not run.started_at:
                raise
            passed_s = min(time() - run.started_at, shape.seconds)
            run.ended_s, run.ended = max(passed_s, _LEAST_S), INTERRUPTED
        except LoadTestFailed as failure:
            errors.seek(0)
            tail = errors.read().strip().splitlines()[-5:]
            raise LoadTestFailed("\n".join([str(failure), *tail])) from None
        finally:
            _end(workers)
    return run


def _share(users: int, number: int, processes: int) -> int:
    return users // processes + (number < users % processes)


def _start(errors: IO[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "omnishot_ray.load.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        process_group=0,  # Ctrl-C is for us, who end them
    )


def _tell(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin
    try:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        raise LoadTestFailed("A process of visitors ended before it had begun.") from None


def _read(
    number: int,
    worker: "subprocess.Popen[str]",
    lines: "queue.SimpleQueue[tuple[int, dict[str, Any]]]",
) -> None:
    assert worker.stdout
    for line in worker.stdout:
        lines.put((number, json.loads(line)))
    lines.put((number, {"end": True}))


def _gather(
    run: Run,
    workers: Sequence["subprocess.Popen[str]"],
    lines: "queue.SimpleQueue[tuple[int, dict[str, Any]]]",
    on_progress: Progress | None,
    most: int,
) -> None:
    """Until all have ended, or one has had `most` answers: then it sends no more."""
    deadline = monotonic() + _READY_S
    ready, ended, users = 0, 0, dict.fromkeys(range(len(workers)), 0)
    cpu_s = dict.fromkeys(range(len(workers)), 0.0)
    told_s: dict[int, float] = {}
    heard, fresh, counts = set[int](), list[Answer](), [0] * len(workers)

    def report() -> None:
        if on_progress and heard:
            on_progress(time() - run.started_at, sum(users.values()), list(fresh))
        heard.clear()
        fresh.clear()

    while ended < len(workers):
        try:
            number, said = lines.get(timeout=max(0.0, deadline - monotonic()))
        except queue.Empty:
            raise LoadTestFailed("The visitors did not keep to their time.") from None
        if said.get("end"):
            ended += 1
            if workers[number].wait(_GRACE_S) != 0:
                raise LoadTestFailed("A process of visitors failed.")
        elif said.get("ready"):
            ready += 1
            if ready == len(workers):
                run.started_at = time()
                deadline = monotonic() + run.shape.seconds + _GRACE_S
                for worker in workers:
                    _tell(worker, "go")
        else:
            if number in heard:  # the next second of one, while another is late
                report()
            answers = [Answer(*row) for row in said["answers"]]
            now = time()
            passed_s = now - told_s.get(number, run.started_at)
            if passed_s > _SHORT_S:
                run.shares.append((now, (said["cpu_s"] - cpu_s[number]) / passed_s))
            told_s[number] = now
            users[number], cpu_s[number] = said["users"], said["cpu_s"]
            run.cpu_s = sum(cpu_s.values())
            run.answers += answers
            run.users.append((now, sum(users.values())))
            heard.add(number)
            counts[number] += len(answers)
            reached_s = now - run.started_at
            if counts[number] >= most and reached_s < run.shape.seconds - _EARLY_S:
                run.ended_s, run.ended = max(reached_s, _LEAST_S), BOUND
                break
            fresh += answers
            if len(heard) == len(workers):
                report()
    report()


def _end(workers: Sequence["subprocess.Popen[str]"]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
