"""Crops that are placed after looking at the pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnishot_ray.imaging.geometry import Box, Crop, Size
from omnishot_ray.imaging.gravity import attend, find_interest, small_copy
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from tests import corpus
from tests.pictures import encode, noise, plain, scene


def place(image: Image.Image, size: Size, heads: list[Box] | None = None) -> Crop:
    small = small_copy(image)
    scale = small.width / image.width
    boxes = [Box(*(side * scale for side in head)) for head in heads or []]
    return attend(find_interest(small, boxes), Size(*image.size), size)


def make(data: bytes, **given: object) -> Rendition:
    (rendition,) = process(data, [parse_options(given)], Limits()).renditions
    assert isinstance(rendition, Rendition), rendition
    return rendition


def with_ball(width: int, height: int, at: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A striped red square of 60 pixels on soft grey, its middle at `at`."""
    image = plain(width, height, color=(150, 155, 160))
    x, y = at
    image.paste((200, 30, 20), (x - 30, y - 30, x + 30, y + 30))
    image.paste((240, 220, 40), (x - 10, y - 30, x + 10, y + 30))
    return image.convert(mode)


def holds(crop: Crop, left: int, top: int, right: int, bottom: int) -> bool:
    box = crop.box
    return box.left <= left and box.top <= top and right <= box.right and bottom <= box.bottom


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("at", [(60, 200), (300, 150), (540, 330)])
def test_what_stands_out_stays_in(mode: str, at: tuple[int, int]) -> None:
    image = with_ball(600, 400, at, mode)
    x, y = at
    assert holds(place(image, Size(200, 400)), x - 30, 0, x + 30, 400)
    assert holds(place(image, Size(600, 150)), 0, y - 30, 600, y + 30)


def test_what_is_transparent_is_background_whatever_its_colour() -> None:
    image = noise(600, 400).convert("RGBA")
    image.putalpha(plain(600, 400, "L", 0))
    image.paste((90, 90, 90, 255), (480, 150, 560, 250))
    assert holds(place(image, Size(200, 400)), 480, 0, 560, 400)


@pytest.mark.parametrize("color", [0, 90, 255])
@pytest.mark.parametrize("source", [Size(400, 300), Size(3, 900), Size(1, 1), Size(2, 1)])
def test_where_there_is_nothing_to_see_it_is_the_middle(source: Size, color: int) -> None:
    image = plain(*source, color=(color, color, color))
    size = Size(max(1, source.width // 2), max(1, source.height // 2))
    crop = place(image, size)
    assert crop == (
        round((source.width - size.width) / 2),
        round((source.height - size.height) / 2),
        *size,
    )


def test_a_mirrored_picture_is_cropped_in_the_mirror() -> None:
    image = with_ball(500, 400, (120, 200))
    image.paste((20, 90, 40), (200, 40, 220, 380))
    size = Size(250, 400)
    there = place(image, size)
    back = place(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), size)
    assert abs(there.x - (500 - size.width - back.x)) <= 12  # a cell of three in 128 pixels


def test_the_scale_of_the_source_does_not_matter() -> None:
    image = with_ball(600, 400, (500, 200))
    larger = image.resize((2400, 1600), Image.Resampling.BICUBIC)
    x = place(image, Size(400, 400)).x
    assert abs(place(larger, Size(1600, 1600)).x / 4 - x) <= 4


def test_heads_outweigh_everything_else() -> None:
    image = with_ball(600, 400, (500, 200))
    head = Box(60, 150, 120, 230)
    assert holds(place(image, Size(200, 400), [head]), 60, 0, 120, 400)


sides = st.integers(1, 300)


@given(sides, sides, sides, sides, st.integers(0, 5), st.sampled_from(["RGB", "L", "RGBA", "LA"]))
def test_the_crop_is_always_inside(
    width: int, height: int, wide: int, high: int, seed: int, mode: str
) -> None:
    size = Size(min(wide, width), min(high, height))
    crop = place(noise(width, height, seed).convert(mode), size)
    assert (crop.width, crop.height) == size
    assert 0 <= crop.x <= width - size.width
    assert 0 <= crop.y <= height - size.height


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_the_small_copy_is_small_whatever_the_shape(width: int, height: int) -> None:
    if width * height > 1_000_000:
        width = max(1, 1_000_000 // height)
    small = small_copy(plain(width, height, "L"))
    assert max(small.size) <= 128
    assert min(small.size) >= 1


def test_the_same_picture_gives_the_same_crop() -> None:
    crops = {place(noise(301, 200, seed=3), Size(100, 200)) for _ in range(3)}
    assert len(crops) == 1


# In the pipeline.


def test_attention_is_the_default_of_a_crop_and_of_nothing_else() -> None:
    data = encode(with_ball(600, 400, (540, 200)))
    made = make(data, width=100, height=200)
    assert made.gravity == "attention"
    assert made.crop == make(data, width=100, height=200, gravity="attention").crop
    assert made.crop is not None
    assert holds(made.crop, 510, 0, 570, 400)
    for other in ({"width": 100}, {"width": 100, "height": 100, "fit": "contain"}):
        assert make(data, **other).gravity is None
    centred = make(data, width=100, height=200, gravity="center")
    assert (centred.gravity, centred.crop) == (None, (200, 0, 200, 400))


def test_a_sliver_is_cut_off_unseen() -> None:
    made = make(encode(scene(600, 400)), width=100, height=67)
    assert made.gravity is None
    assert made.crop == (2, 0, 597, 400)


def test_all_eight_orientations_are_cropped_alike() -> None:
    crops = [
        make(picture.data, width=300, height=300, format="jpeg").crop for picture in corpus.ORIENTED
    ]
    xs = [crop.x for crop in crops if crop]
    assert len(xs) == 8
    assert max(xs) - min(xs) <= 12  # of 1800: they were compressed one by one


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_turned_picture_keeps_its_subject(rotate: int) -> None:
    data = encode(with_ball(600, 400, (540, 200)))
    size = (200, 100) if rotate in (90, 270) else (100, 200)
    crop = make(data, width=size[0], height=size[1], rotate=rotate, format="png").crop
    assert crop is not None
    assert holds(crop, 510, 170, 570, 230)


@pytest.mark.parametrize(
    "name",
    ["cmyk_ycck_swop_icc_500x333", "png_palette_alpha_828x322", "png_rgb_16bit_360x182"],
)
def test_every_kind_of_pixels_can_be_looked_at(name: str) -> None:
    made = make(corpus.read(name), width=60, height=60, format="png")
    assert made.gravity == "attention"


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 2), (5000, 3)])
def test_thin_pictures_are_cropped_too(size: tuple[int, int]) -> None:
    made = make(encode(noise(*size)), width=10, height=10, format="png")
    assert (made.width, made.height) == (min(size), min(size))


def test_renditions_of_one_task_agree_with_themselves_made_alone() -> None:
    data = encode(with_ball(600, 400, (540, 200)))
    wanted = [
        parse_options({"width": 100, "height": 200}),
        parse_options({"width": 300, "height": 60}),
        parse_options({"width": 100, "height": 300, "rotate": 90}),
    ]
    together = process(data, wanted, Limits()).renditions
    for options, made in zip(wanted, together, strict=True):
        (alone,) = process(data, [options], Limits()).renditions
        assert isinstance(made, Rendition)
        assert isinstance(alone, Rendition)
        assert made.crop == alone.crop


def test_interest_of_a_picture_without_any_is_no_number_but_zero() -> None:
    interest = find_interest(plain(64, 64))
    assert np.isfinite(interest.columns).all()
    assert not interest.columns.any()
