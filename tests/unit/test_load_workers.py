"""What `run.py` tells its processes of visitors, and makes of what they say."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from subprocess import PIPE, Popen

import pytest

from omnishot_ray.load import run as module
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.run import Run, run_shape
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
SHAPE = Shape("x", "x", (Stage(4, 3.0),), Thresholds())


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


def test_the_key_goes_to_the_visitors(monkeypatch) -> None:
    run = play(monkeypatch, key="secret")
    assert {answer.problem for answer in run.answers} == {"secret"}
