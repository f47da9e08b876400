"""`omnishot batch`: what of Ray's start is seen."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from omnishot_ray.cli.batch import _node
from omnishot_ray.serving import single_node


def test_lines_of_a_start_stay_off_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def chatty(_cores: int) -> Iterator[None]:
        os.write(2, b"logging.cc:303: Set ray log level\n")
        yield

    monkeypatch.setattr(single_node, "single_node", chatty)
    with _node(1):
        os.write(2, b"progress\n")
    assert capfd.readouterr().err == "progress\n"


def test_a_start_that_fails_gives_the_terminal_back(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_cores: int) -> None:
        raise ConnectionError("no node")

    monkeypatch.setattr(single_node, "single_node", broken)
    with pytest.raises(ConnectionError), _node(1):
        pass
    os.write(2, b"told\n")
    assert capfd.readouterr().err == "told\n"
