"""docs/operations.md says something of every setting, and of none that there is not."""

import re
from pathlib import Path

import pytest

from benchmarks.limits import rows
from benchmarks.parts.__main__ import CASES
from benchmarks.parts.case import default_of
from benchmarks.settings import SETTINGS, variable
from omnishot_ray.load.shapes import SHAPES
from omnishot_ray.serving.environment import RAY_ENVIRONMENT
from omnishot_ray.settings import known_names, load_settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
FOUND = re.findall(r"^\| `([\w.]+)`( ⏱| 📏| ⚙)? \| (.+) \|$", PAGE, re.MULTILINE)
ROWS = {name: mark for name, mark, _ in FOUND}
NOT_WAITED_FOR = {"jobs.timeout_s"}
"""Whose default takes longer than anybody wants to measure."""


def test_the_page_names_settings_that_exist() -> None:
    assert ROWS.keys() <= known_names().keys() | RAY_ENVIRONMENT.keys()


def test_every_setting_has_its_effect_once() -> None:
    assert known_names().keys() <= ROWS.keys()
    assert len(FOUND) == len(ROWS)


def test_what_is_marked_as_measurable_is_measured() -> None:
    marked = {name for name, mark in ROWS.items() if mark == " ⏱"}
    assert marked == {setting.name for setting in SETTINGS}
    by_picture = {name for name, mark in ROWS.items() if mark == " 📏"}
    assert by_picture == {f"limits.{row.limit}" for row in rows()}
    by_part = [name for name, mark in ROWS.items() if mark == " ⚙"]
    assert sorted(by_part) == sorted(case.setting for case in CASES)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_values_that_are_measured_can_be_set(setting) -> None:
    for value in setting.values:
        given = {k: v for k, v in setting.environment(value).items() if k.startswith("OMNISHOT_")}
        load_settings({}, given)
    if setting.plain:
        assert RAY_ENVIRONMENT[setting.name] == setting.values[0]
        return
    # Of the machine that it was written for, two cores.
    if setting.name != "gateways.replicas":
        default = float(default_of(setting.name))
        assert default == float(setting.values[0]), "the first is the default"
    assert variable(setting.name) in setting.environment("1")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.setting)
def test_values_of_parts_can_be_set(case) -> None:
    for value in case.values:
        load_settings({}, case.environment(value))
    if case.setting not in NOT_WAITED_FOR:
        assert case.values[0] == default_of(case.setting), "the first is the default"


def test_commands_of_the_page_exist() -> None:
    for shape in re.findall(r"--shape ([a-z-]+)", PAGE):
        assert shape in SHAPES
    for module in re.findall(r"python -m (benchmarks[\w.]+)", PAGE):
        path = ROOT / (module.replace(".", "/"))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_links_lead_to_headings() -> None:
    for page, anchor in re.findall(r"\]\((\w+\.md)#([\w-]+)\)", PAGE):
        text = (ROOT / "docs" / page).read_text()
        anchors = {
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        assert anchor in anchors, f"{page}#{anchor}"
