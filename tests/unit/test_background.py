"""What is put behind a picture."""

import numpy as np
import pytest
from PIL import Image

from omnishot_ray.imaging.background import edge_colour, flatten, make_canvas
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from tests.pictures import encode, opened


def framed(colour: tuple[int, int, int] = (10, 120, 200)) -> Image.Image:
    """A red picture in a frame of another colour."""
    picture = Image.new("RGB", (40, 30), colour)
    picture.paste((255, 0, 0), (5, 5, 35, 25))
    return picture


def test_the_edge_colour_is_that_of_the_frame() -> None:
    assert edge_colour(framed()) == (10, 120, 200)


def test_transparent_edges_have_no_colour() -> None:
    picture = Image.new("RGBA", (10, 10), (9, 9, 9, 0))
    assert edge_colour(picture) == (255, 255, 255)
    picture.paste((0, 200, 0, 255), (0, 0, 10, 4))
    assert edge_colour(picture) == (0, 200, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (300, 7), (64, 64)])
@pytest.mark.parametrize("background", ["ffffff", "auto", "blur"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_canvas_of_any_size(size: tuple[int, int], background: str, mode: str) -> None:
    canvas = make_canvas(framed().convert(mode), size, background)
    assert (canvas.mode, canvas.size) == ("RGB", size)


def test_blur_has_the_colours_of_the_picture_and_none_of_its_edges() -> None:
    halves = Image.new("RGB", (100, 100), (250, 0, 0))
    halves.paste((0, 0, 250), (50, 0, 100, 100))
    canvas = np.asarray(make_canvas(halves, (400, 100), "blur"), np.int16)
    assert canvas[50, 5, 0] > 240
    assert canvas[50, -5, 2] > 240
    assert np.abs(np.diff(canvas, axis=1)).max() < 12


def test_behind_transparency_blur_is_auto() -> None:
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    picture.paste((0, 0, 200, 255), (0, 0, 20, 8))
    assert flatten(picture, "blur").tobytes() == flatten(picture, "auto").tobytes()


@pytest.mark.parametrize(
    ("background", "expected"), [("auto", (10, 120, 200)), ("0f0", (0, 255, 0))]
)
def test_contain_pads_with_it(background: str, expected: tuple[int, int, int]) -> None:
    options = parse_options(
        {"width": 80, "height": 30, "fit": "contain", "background": background, "format": "png"}
    )
    (made,) = process(encode(framed()), (options,), Limits()).renditions
    assert isinstance(made, Rendition)
    assert opened(made.data).convert("RGB").getpixel((2, 15)) == expected
