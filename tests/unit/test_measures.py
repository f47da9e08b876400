"""Sharpness and entropy on pictures whose figures are known."""

from math import log2

import numpy as np
import pytest
from PIL import Image, ImageFilter

from omnishot_ray.imaging.measures import measure_entropy, measure_sharpness
from tests import corpus
from tests.pictures import noise, opened


def luma(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"))


def test_the_sharpness_of_a_chessboard() -> None:
    """Every pixel differs by 255 from its four neighbours: ±1020, half of each."""
    board = (np.indices((10, 10)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert measure_sharpness(board) == 1020**2


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (50, 2), (3, 3)])
def test_a_plain_or_tiny_picture_is_not_sharp(shape: tuple[int, int]) -> None:
    assert measure_sharpness(np.full(shape, 200, np.uint8)) == 0


def test_a_slope_is_not_sharp() -> None:
    slope = np.tile(np.arange(0, 250, 5, dtype=np.uint8), (20, 1))
    assert measure_sharpness(slope) == 0


@pytest.mark.parametrize("name", ["photo_flower_480x360", "png_rgb_16bit_360x182"])
def test_blur_lowers_sharpness(name: str) -> None:
    image = opened(corpus.read(name)).convert("RGB")
    blurred = [image.filter(ImageFilter.GaussianBlur(sigma)) for sigma in (0, 0.7, 1.5, 4)]
    values = [measure_sharpness(luma(one)) for one in blurred]
    assert values == sorted(values, reverse=True)
    assert values[0] > 10 * values[-1]


def test_the_entropy_of_equal_shares() -> None:
    assert measure_entropy(np.full((9, 9), 7, np.uint8)) == 0
    for count in (2, 4, 256):
        values = np.tile(np.arange(count, dtype=np.uint8), (8, 1))
        assert measure_entropy(values) == pytest.approx(log2(count))


def test_the_entropy_of_unequal_shares() -> None:
    values = np.array([[0, 0, 0, 9]], np.uint8)
    assert measure_entropy(values) == pytest.approx(-(0.75 * log2(0.75) + 0.25 * log2(0.25)))


def test_entropy_is_between_nothing_and_a_byte() -> None:
    assert 7 < measure_entropy(luma(noise(300, 300))) <= 8
