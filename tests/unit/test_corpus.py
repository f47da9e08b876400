"""The table of the test pictures is complete."""

import pytest

from tests.corpus import DATA, HOSTILE, ORIENTED, PICTURES, REFUSED, VALID, Picture

OTHERS = {"subjects", "grafana", "deploy"}
"""Folders of what is no picture, or has a table of its own."""


def test_every_file_has_its_row() -> None:
    paths = [path.relative_to(DATA) for path in DATA.rglob("*") if path.is_file()]
    files = {str(path) for path in paths if path.parts[0] not in OTHERS}
    assert {picture.file for picture in PICTURES} == files - {"corpus.csv", "subjects.csv"}
    assert len({picture.name for picture in PICTURES}) == len(PICTURES)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.file)
def test_every_row_states_a_licence(picture: Picture) -> None:
    assert picture.licence.strip()


def test_the_selections_hold_something() -> None:
    assert len(ORIENTED) == 8
    assert len(VALID) + len(REFUSED) + len(HOSTILE) == len(PICTURES)
    assert {"jpeg", "png", "webp", "avif", "gif", "tiff"} <= {one.format for one in VALID}
