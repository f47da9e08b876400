"""The palette holds what a person would name."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from omnishot_ray.imaging.palette import find_palette, to_oklab
from tests.pictures import noise, plain, scene


def stripes(*colors: str, height: int = 40, mode: str = "RGB") -> Image.Image:
    """Ten columns of each colour."""
    image = Image.new(mode, (10 * len(colors), height))
    for index, color in enumerate(colors):
        image.paste(Image.new(mode, (10, height), color), (10 * index, 0))
    return image


def named(image: Image.Image, most: int = 5) -> dict[str, float]:
    return {swatch.color: swatch.share for swatch in find_palette(image, most)}


def test_two_halves_are_two_colours() -> None:
    assert named(stripes("#ff0000", "#0000ff")) == {"#ff0000": 0.5, "#0000ff": 0.5}


def test_the_larger_share_comes_first() -> None:
    image = stripes("#102030", "#ffffff", "#ffffff", "#00c000", "#00c000", "#00c000")
    assert list(named(image)) == ["#00c000", "#ffffff", "#102030"]
    assert list(named(image).values()) == pytest.approx([1 / 2, 1 / 3, 1 / 6])


def test_shades_that_look_alike_are_one_colour() -> None:
    image = stripes("#ff0000", "#fa0305", "#f80000", "#ff0000", "#0000ff")
    assert named(image) == pytest.approx({"#ff0000": 0.8, "#0000ff": 0.2})


def test_no_more_colours_than_asked_for() -> None:
    image = stripes("red", "lime", "blue", "yellow", "cyan", "magenta", "black", "white")
    assert len(named(image)) == 5
    assert len(named(image, most=3)) == 3


def test_a_seam_is_no_colour() -> None:
    image = stripes("#ff0000", "#00ff00").resize((250, 40), Image.Resampling.NEAREST)
    image.paste("#7f7f00", (125, 0, 126, 40))
    assert set(named(image)) == {"#ff0000", "#00ff00"}


def test_transparent_pixels_do_not_count() -> None:
    image = stripes("#ff0000", "#00ff0010", "#0000ffff", "#ffffff00", mode="RGBA")
    assert named(image) == {"#ff0000": 0.5, "#0000ff": 0.5}


def test_nothing_opaque_has_no_palette() -> None:
    assert find_palette(plain(8, 8, "RGBA", (255, 0, 0, 0)), 5) == ()


@pytest.mark.parametrize(("mode", "color"), [("L", 0x40), ("LA", (0x40, 255)), ("RGB", "#404040")])
def test_every_mode_has_a_palette(mode: str, color: object) -> None:
    assert named(plain(1, 1, mode, color)) == {"#404040": 1.0}


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 20, 60]))
def test_colours_are_told_apart(seed: int, blur: int) -> None:
    """Also where there are many more than there are bins."""
    image = noise(90, 60, seed).filter(ImageFilter.GaussianBlur(blur / 10))
    swatches = find_palette(image, 5)
    assert 1 <= len(swatches) <= 5
    shares = [swatch.share for swatch in swatches]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-9
    colors = np.array([list(bytes.fromhex(swatch.color[1:])) for swatch in swatches], np.uint8)
    for one, other in combinations(to_oklab(colors), 2):
        assert np.linalg.norm(one - other) >= 0.1


def test_the_colours_of_a_smooth_picture_are_its_own() -> None:
    image = scene(100, 80)
    own = to_oklab(np.asarray(image).reshape(-1, 3))
    for swatch in find_palette(image, 5):
        color = to_oklab(np.frombuffer(bytes.fromhex(swatch.color[1:]), np.uint8))
        assert np.linalg.norm(own - color, axis=1).min() < 0.03


def test_oklab_is_that_of_its_author() -> None:
    """White is L = 1, a = b = 0; red as given by CSS Color 4 (0.628, 0.2249, 0.1258)."""
    colors = to_oklab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], np.uint8))
    expected = [[1, 0, 0], [0.62796, 0.22486, 0.12585], [0, 0, 0]]
    assert np.allclose(colors, expected, atol=2e-4)
