"""`omnishot optimize`: what it says, and its exit codes."""

import importlib
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from omnishot_ray.cli import main
from tests.pictures import encode, scene


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(name: str) -> str:
    Path(name).write_bytes(encode(scene(24, 16), "JPEG"))
    return name


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["optimize", *arguments])


@pytest.mark.parametrize("output", ["a.jpg/below", "/proc/nosuch"])
def test_an_output_that_cannot_be_had_is_said(output: str) -> None:
    answer = run(picture("a.jpg"), "-o", output)
    assert (answer.exit_code, "cannot be written" in answer.output) == (3, True), answer.output


@pytest.mark.parametrize("name", ["we[bold]ird.jpg", "a:cat:.jpg"])
def test_names_are_shown_as_they_are(name: str) -> None:
    answer = run(picture(name), "-o", "out[/b]")
    assert answer.exit_code == 0, answer.output
    assert name in answer.output
    assert "in out[/b]" in answer.output
    Path(name).write_bytes(b"no picture")
    failed = run(name)
    assert (failed.exit_code, failed.output.count(name)) == (1, 2), failed.output


def test_names_that_are_no_text_are_shown() -> None:
    answer = run(picture(os.fsdecode(b"a\xff.jpg")))
    assert (answer.exit_code, "a\N{REPLACEMENT CHARACTER}.jpg" in answer.output) == (0, True)


def test_a_name_that_is_too_long_is_a_failed_item() -> None:
    assert run(picture("a.jpg"), "b" * 300).exit_code == 1


def test_a_folder_without_images_is_wrong_usage() -> None:
    Path("empty").mkdir()
    answer = run("empty")
    assert (answer.exit_code, "No images in empty." in answer.output) == (2, True), answer.output
    assert not Path("out").exists()


def test_lines_come_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [picture(f"{n}.jpg") for n in range(3)]
    assert "of 3 files" not in run(*names).output
    module = importlib.import_module("omnishot_ray.cli.optimize")  # `main` has the name
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0.0)
    answer = run(*names)
    assert "2 of 3 files\n" in answer.stderr
    assert "of 3 files" not in answer.stdout
