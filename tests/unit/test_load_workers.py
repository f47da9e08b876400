"""What `run.py` tells its processes of visitors, and makes of what they say."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from subprocess import PIPE, Popen

import pytest

from omnishot_ray.load import run as module
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.run import BOUND, INTERRUPTED, Run, run_shape
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import MIXES

WORKER = """
import json, sys, time
order = json.loads(sys.stdin.readline())
def say(**document):
    print(json.dumps(document), flush=True)
say(ready=True)
sys.stdin.readline()
for second in range(3):
    time.sleep(0.3 + 0.02 * order["first"])
    row = [time.time(), "photo", 5.0, order["key"], 0.0, "", 1]
    say(users=2, answers=[row] * 4, cpu_s=second * 0.1)
"""
"""Says three times that four answers came, in the shape of the real one."""
SHAPE = Shape("x", "x", (Stage(4, 10.0),), Thresholds())


@dataclass
class Heard:
    """What the progress was told."""

    counts: list[int] = field(default_factory=list)

    def note(self, second: float, users: int, answers: Sequence[Answer]) -> None:
        """Keep it."""
        self.counts.append(len(answers))


def play(monkeypatch: pytest.MonkeyPatch, source: str = WORKER, **given) -> Run:
    """A run with other workers than Locust's."""

    def start(errors):
        command = [sys.executable, "-c", source]
        return Popen(command, stdin=PIPE, stdout=PIPE, stderr=errors, text=True)

    monkeypatch.setattr(module, "_start", start)
    return run_shape(SHAPE, "http://127.0.0.1:9", MIXES["usual"], processes=2, **given)


def test_the_progress_has_the_answers_of_all_processes(monkeypatch) -> None:
    heard = Heard()
    run = play(monkeypatch, on_progress=heard.note)
    assert len(run.answers) == sum(heard.counts) == 24
    assert heard.counts == [8, 8, 8]
    assert len(run.shares) == 6
    assert 0.02 < sum(share for _, share in run.shares) / 6 < 0.3, "0.1 s in each 0.3"


def test_a_run_that_reaches_its_bound_says_so(monkeypatch) -> None:
    run = play(monkeypatch, most_requests=24)
    assert run.ended == BOUND
    assert 0.8 < run.seconds < 2.5
    assert run.seconds == pytest.approx(run.answers[-1].at_s - run.started_at, abs=0.3)
    assert play(monkeypatch, most_requests=26).ended == ""


def test_ctrl_c_keeps_what_there_is(monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    run = play(monkeypatch, on_progress=interrupt)
    assert run.ended == INTERRUPTED
    assert len(run.answers) == 8
    assert 0 < run.seconds < 2.0


def test_the_key_goes_to_the_visitors(monkeypatch) -> None:
    run = play(monkeypatch, key="secret")
    assert {answer.problem for answer in run.answers} == {"secret"}
