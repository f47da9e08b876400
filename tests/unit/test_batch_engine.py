"""The engine's process: what ends or hangs it costs its own picture."""

import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from omnishot_ray.batch.engine import Answer, Engine, Laid
from omnishot_ray.batch.spans import Fault, Span
from omnishot_ray.errors import CorruptImage, EngineUnavailable, TaskTimeout
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import Rendition, Result, process
from tests import batches

HOSTILE = Path(__file__).resolve().parents[1] / "data" / "hostile"
BOMB = (HOSTILE / "bomb_jpeg_progressive_4000x4000_4000scans.jpg").read_bytes()
"""Takes some seconds where nobody counts its scans."""
LAX = Limits(max_scans=10_000)


class Mortal(Engine[str]):
    """Its children may take two seconds of CPU time from when they are ready; then Linux kills."""

    def _wait_until_ready(self, pipe) -> None:
        super()._wait_until_ready(pipe)
        assert self.pid is not None
        ticks = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        limit = int(used) + 2
        resource.prlimit(self.pid, resource.RLIMIT_CPU, (limit, limit))


def kinds(answers: Iterator[tuple[str, Answer | None]]) -> dict[str, object]:
    return {tag: type(answer.outcome) if answer else None for tag, answer in answers}


def test_outcomes_are_those_of_the_engine_in_order() -> None:
    pictures = [(str(n), batches.photo(n)) for n in range(6)]
    pictures.insert(2, ("broken", b"\xff\xd8\xff broken"))
    with Engine[str](batches.SMALL, Limits(), 30) as engine:
        made = list(engine.answers([*pictures, ("none", None)]))
    assert [tag for tag, _ in made] == ["0", "1", "broken", "2", "3", "4", "5", "none"]
    for tag, answer in made:
        if tag == "none":
            assert answer is None
            continue
        assert answer is not None
        if tag == "broken":
            assert isinstance(answer.outcome, CorruptImage)
        else:
            assert_is_of(answer, int(tag))


def assert_is_of(answer: Answer, number: int) -> None:
    assert isinstance(answer.outcome, Result)
    alone = process(batches.photo(number), batches.SMALL, Limits())
    assert answer.outcome.renditions == alone.renditions


def test_what_a_file_holds_is_read_by_the_child(tmp_path: Path) -> None:
    one, two = batches.photo(1), batches.photo(2)
    (tmp_path / "both").write_bytes(b"before" + one + two)
    (tmp_path / "two").write_bytes(two)
    both, whole = str(tmp_path / "both"), str(tmp_path / "two")
    spans = {
        "first": Span(both, 6, len(one)),
        "whole": Span(whole, most=len(two)),
        "second": Span(both, 6 + len(one), len(two)),
        "cut": Span(both, 6 + len(one), len(two) + 1),
        "large": Span(whole, most=len(two) - 1),
        "gone": Span(str(tmp_path / "gone"), most=9),
        "folder": Span(str(tmp_path), most=1 << 20),
        "no name": Span("/a\0b", most=9),
        "no place": Span(both, 1 << 63, 9),
    }
    with Engine[str](batches.SMALL, Limits(), 30) as engine:
        made = dict(engine.answers([*spans.items(), ("bytes", one)]))
    for name, number, data in (("first", 1, one), ("whole", 2, two), ("second", 2, two)):
        answer = made[name]
        assert answer is not None
        assert_is_of(answer, number)
        assert (answer.size, answer.sha256) == (len(data), sha256(data).hexdigest())
        assert answer.read_ms > 0
    codes = {name: a.outcome.code for name, a in made.items() if a and isinstance(a.outcome, Fault)}
    assert codes == {
        "cut": "archive-damaged",
        "large": "source-too-large",
        "gone": "not-found",
        "folder": "source-unreadable",
        "no name": "source-unreadable",
        "no place": "source-unreadable",
    }
    assert made["bytes"] is not None
    assert (made["bytes"].size, made["bytes"].sha256) == (0, "")


def test_what_is_to_become_files_is_written_by_the_child(tmp_path: Path) -> None:
    pictures = [
        ("0", batches.photo(0)),
        ("broken", b"\xff\xd8\xff broken"),
        ("1", batches.photo(1)),
    ]
    (tmp_path / "0-0").write_bytes(b"left by an earlier try, and longer" * 10_000)
    with Engine[str](batches.SMALL, Limits(), 30) as engine:
        made = dict(engine.answers(pictures, str(tmp_path)))
    broken = made.pop("broken")
    assert broken is not None
    assert isinstance(broken.outcome, CorruptImage)
    expected = {}
    for tag, place in (("0", 0), ("1", 2)):
        answer = made[tag]
        assert answer is not None
        assert isinstance(answer.outcome, Result)
        alone = process(batches.photo(int(tag)), batches.SMALL, Limits()).renditions
        assert answer.outcome.renditions == tuple(replace(one, data=b"") for one in alone)
        for number, (one, laid) in enumerate(zip(alone, answer.laid, strict=True)):
            assert isinstance(one, Rendition)
            path = f"{tmp_path}/{place}-{number}"
            assert laid == Laid(path, len(one.data), sha256(one.data).hexdigest())
            expected[path] = one.data
    assert {str(path): path.read_bytes() for path in tmp_path.iterdir()} == expected


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with Engine[str](batches.SMALL, Limits(), 30) as engine:
        ((_, answer),) = engine.answers([("0", batches.photo(0))], f"{tmp_path}/gone")
    assert answer is not None
    assert isinstance(answer.outcome, FileNotFoundError)


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_picture_that_hangs_is_tried_twice_and_ended(place: int) -> None:
    pictures = [(str(n), batches.photo(n)) for n in range(4)]
    pictures.insert(place, ("bomb", BOMB))
    with Engine[str](batches.SMALL, LAX, 0.5) as engine:
        made = kinds(engine.answers(pictures))
    assert made.pop("bomb") is TaskTimeout
    assert set(made.values()) == {Result}
    assert list(made) == ["0", "1", "2", "3"]


def test_a_picture_that_ends_its_process_is_tried_twice() -> None:
    pictures = [("0", batches.photo(0)), ("bomb", BOMB), ("1", batches.photo(1))]
    with Mortal(batches.SMALL, LAX, 60) as engine:
        made = kinds(engine.answers(pictures))
    assert made == {"0": Result, "bomb": EngineUnavailable, "1": Result}


def test_a_process_that_was_killed_once_costs_nothing() -> None:
    with Engine[str](batches.SMALL, Limits(), 30) as engine:

        def pictures() -> Iterator[tuple[str, bytes]]:
            for n in range(8):
                if n in (1, 2, 6):
                    assert engine.pid is not None
                    os.kill(engine.pid, signal.SIGKILL)
                yield str(n), batches.photo(n)

        made = kinds(engine.answers(pictures()))
    assert made == dict.fromkeys(map(str, range(8)), Result)


def test_who_goes_away_in_the_middle_leaves_no_answers_behind() -> None:
    with Engine[str](batches.SMALL, Limits(), 30) as engine:
        first = engine.answers((str(n), batches.photo(n)) for n in range(6))
        next(first)
        ((_, answer),) = engine.answers([("40", batches.photo(40))])
    assert answer is not None
    assert_is_of(answer, 40)


def test_the_process_ends_with_the_engine() -> None:
    engine = Engine[str](batches.SMALL, Limits(), 30)
    assert kinds(engine.answers([("0", batches.photo())])) == {"0": Result}
    pid = engine.pid
    assert pid is not None
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
