"""BlurHash and ThumbHash are those that the reference encoders make of the same pixels."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnishot_ray.imaging.placeholders import BASE83, blurhash, thumbhash
from tests.pictures import Pixels

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "placeholders.json").read_text(encoding="utf-8")
)["vectors"]
by_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def pixels_of(vector: dict[str, Any]) -> Pixels:
    flat = np.frombuffer(base64.b64decode(vector["rgba"]), np.uint8)
    return flat.reshape(vector["height"], vector["width"], 4)


@by_vector
def test_blurhash_is_that_of_the_reference(vector: dict[str, Any]) -> None:
    for terms, expected in vector["blurhash"].items():
        terms_x, terms_y = map(int, terms.split("x"))
        assert blurhash(pixels_of(vector)[..., :3], terms_x, terms_y) == expected["pypi"], terms


def test_blurhash_is_that_of_both_references_where_they_agree() -> None:
    """The second character is the scale of the waves; npm's overlooks dark ones."""
    both = [one for vector in VECTORS for one in vector["blurhash"].values()]
    assert sum(one["npm"] == one["pypi"] for one in both) > len(both) / 2
    for one in both:
        scales = {name: BASE83.index(hash[1]) for name, hash in one.items()}
        assert one["npm"] == one["pypi"] or scales["npm"] < scales["pypi"]


@by_vector
def test_thumbhash_is_that_of_the_reference(vector: dict[str, Any]) -> None:
    expected = base64.b64decode(vector["thumbhash"])
    assert thumbhash(pixels_of(vector)).hex() == expected.hex()


@pytest.mark.parametrize("alpha", [255, 90])
def test_a_plain_picture_has_the_thumbhash_of_its_colour(alpha: int) -> None:
    """The noise of rounding is not scaled up: every size of it has the same."""
    hashes = set()
    for height, width in ((7, 7), (37, 37), (100, 100)):
        plain = np.full((height, width, 4), (190, 90, 30, alpha), dtype=np.uint8)
        hashes.add(thumbhash(plain))
    assert len(hashes) == 1
    assert not any(hashes.pop()[6:])
