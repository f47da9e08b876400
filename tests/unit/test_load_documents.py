"""docs/load.md says what `omnishot loadtest` does."""

import re
from pathlib import Path

from click.testing import CliRunner

from omnishot_ray.cli import main
from omnishot_ray.load.report import build_report
from omnishot_ray.load.run import Run
from omnishot_ray.load.shapes import SHAPES, build_shape
from omnishot_ray.load.traffic import MIXES
from omnishot_ray.load.watch import Seen

loadtest = main.commands["loadtest"]
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "load.md").read_text()
SHOWN = re.findall(r"^\| ((?:`[\w-]+` ?)+)\|", PAGE, re.MULTILINE)
FIRST = [name for row in SHOWN for name in re.findall(r"`([\w-]+)`", row)]


def test_all_shapes_and_fields_are_there() -> None:
    shape = build_shape("steps", 1, 1)
    run = Run(shape, 1000.0)
    (step,) = build_report(run, [Seen(1000.5, 1.0, 10.0, 1, 1, 1)], {})["steps"]
    assert set(FIRST) == set(SHAPES) | set(step) - {"seconds"}


def test_options_of_the_page_exist() -> None:
    known = {option for parameter in loadtest.params for option in parameter.opts}
    assert set(re.findall(r"(--[a-z][\w-]+)", PAGE)) <= known


def test_choices_of_the_command_are_those_of_the_code() -> None:
    choices = {
        parameter.name: getattr(parameter.type, "choices", ()) for parameter in loadtest.params
    }
    assert tuple(choices["shape"]) == tuple(SHAPES)
    assert tuple(choices["mix"]) == tuple(MIXES)


def test_help_is_quick_and_needs_no_locust() -> None:
    answer = CliRunner().invoke(loadtest, ["--help"])
    assert answer.exit_code == 0
    assert "--allow-remote" in answer.output
