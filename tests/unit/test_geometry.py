"""Sizes, crops and orientation follow the contract for every source and every box."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnishot_ray.imaging.geometry import (
    Box,
    Crop,
    Orientation,
    Plan,
    Size,
    exif_orientation,
    place,
    plan_rendition,
)
from omnishot_ray.imaging.option_table import COMPASS, FITS
from omnishot_ray.imaging.option_values import read_focal_point
from omnishot_ray.imaging.options import Options

sides = st.integers(1, 6000) | st.integers(1, 12)
sizes = st.builds(Size, sides, sides)
fractions = st.floats(0, 1)
focal_points = st.builds("fp:{},{}".format, fractions, fractions)
gravities = st.sampled_from(COMPASS) | focal_points
boxes = st.builds(Size, st.integers(1, 8192) | st.integers(1, 12), st.integers(1, 8192))


def boxed(fit: str) -> st.SearchStrategy[Options]:
    return st.builds(
        lambda box, gravity, enlarge: Options(*box, fit, gravity, enlarge),
        boxes,
        gravities,
        st.booleans(),
    )


one_sided = st.builds(
    lambda side, first, fit, enlarge: Options(
        side if first else None, None if first else side, fit, enlarge=enlarge
    ),
    st.integers(1, 8192),
    st.booleans(),
    st.sampled_from((None, *FITS)),
    st.booleans(),
)
any_options = st.one_of(one_sided, st.just(Options()), *(boxed(fit) for fit in FITS))


def same_shape(size: Size | Crop, shape: Size) -> bool:
    """Whether a size has the aspect of `shape` to half a pixel, on the side that was rounded."""
    return (
        abs(size.width - max(1, size.height * shape.width / shape.height)) <= 0.5 + 1e-6
        or abs(size.height - max(1, size.width * shape.height / shape.width)) <= 0.5 + 1e-6
    )


def box_of(options: Options) -> Size:
    assert options.width is not None
    assert options.height is not None
    return Size(options.width, options.height)


@given(sizes, any_options)
def test_a_plan_stays_within_its_source_and_canvas(source: Size, options: Options) -> None:
    plan = plan_rendition(source, options)
    x, y, width, height = plan.crop
    assert 0 <= x < x + width <= source.width
    assert 0 <= y < y + height <= source.height
    assert min(plan.scaled) >= 1
    if plan.canvas:
        left, top = plan.offset
        assert 0 <= left <= left + plan.scaled.width <= plan.canvas.width
        assert 0 <= top <= top + plan.scaled.height <= plan.canvas.height
    assert all(type(number) is int for number in (*plan.crop, *plan.output, *plan.offset))


@given(sizes, any_options)
def test_nothing_is_scaled_up_unless_asked(source: Size, options: Options) -> None:
    plan = plan_rendition(source, replace(options, enlarge=False))
    assert plan.scaled.width <= plan.crop.width
    assert plan.scaled.height <= plan.crop.height


@given(sizes, any_options.filter(lambda options: options.resolved_fit not in ("cover",)))
def test_only_cover_crops(source: Size, options: Options) -> None:
    assert plan_rendition(source, options).crop == (0, 0, *source)


@given(sizes, boxed("cover"))
def test_cover_takes_the_largest_box_of_the_asked_shape(source: Size, options: Options) -> None:
    box, plan = box_of(options), plan_rendition(source, options)
    assert plan.crop.width == source.width or plan.crop.height == source.height
    assert same_shape(plan.crop, box)
    fits = plan.crop.width >= box.width and plan.crop.height >= box.height
    assert plan.output == (box if options.enlarge or fits else plan.crop[2:])


@given(sizes, boxed("contain"))
def test_contain_shows_all_of_it_on_the_asked_canvas(source: Size, options: Options) -> None:
    box, plan = box_of(options), plan_rendition(source, options)
    assert plan.output == box
    assert_scaled_to(plan, source, box, min, options.enlarge)


@given(sizes, boxed("inside"))
def test_inside_is_at_most_the_box(source: Size, options: Options) -> None:
    box, plan = box_of(options), plan_rendition(source, options)
    assert plan.output.width <= box.width
    assert plan.output.height <= box.height
    assert_scaled_to(plan, source, box, min, options.enlarge)


@given(sizes, boxed("outside"))
def test_outside_is_at_least_the_box(source: Size, options: Options) -> None:
    box, plan = box_of(options), plan_rendition(source, options)
    if options.enlarge or (source.width >= box.width and source.height >= box.height):
        assert plan.output.width >= box.width
        assert plan.output.height >= box.height
    assert_scaled_to(plan, source, box, max, options.enlarge)


def assert_scaled_to(plan: Plan, source: Size, box: Size, pick: object, enlarge: bool) -> None:
    """The picture keeps its shape, and meets the box on a side unless that would enlarge it."""
    assert callable(pick)
    assert same_shape(plan.scaled, source)
    scale = pick(box.width / source.width, box.height / source.height)
    if scale > 1 and not enlarge:
        assert plan.scaled == source
    else:
        assert plan.scaled.width == box.width or plan.scaled.height == box.height


@given(sizes, boxed("fill"))
def test_fill_stretches_to_the_box(source: Size, options: Options) -> None:
    box, plan = box_of(options), plan_rendition(source, options)
    if options.enlarge:
        assert plan.output == box
    else:
        assert plan.output == (min(box.width, source.width), min(box.height, source.height))


@given(sizes, one_sided)
def test_a_side_left_out_follows_the_shape(source: Size, options: Options) -> None:
    plan = plan_rendition(source, options)
    asked = options.width or options.height or 0
    held = source.width if options.width else source.height
    made = plan.output.width if options.width else plan.output.height
    assert made == (asked if options.enlarge else min(asked, held))
    assert same_shape(plan.output, source)
    assert plan.canvas is None


def test_nothing_asked_leaves_the_size() -> None:
    assert plan_rendition(Size(300, 200), Options()).output == (300, 200)


@pytest.mark.parametrize(
    ("fit", "enlarge", "box", "crop", "output"),
    [
        ("cover", False, (100, 100), (50, 0, 200, 200), (100, 100)),
        ("cover", False, (400, 400), (50, 0, 200, 200), (200, 200)),
        ("cover", False, (900, 300), (0, 50, 300, 100), (300, 100)),
        ("cover", True, (400, 400), (50, 0, 200, 200), (400, 400)),
        ("contain", False, (600, 600), (0, 0, 300, 200), (600, 600)),
        ("inside", False, (150, 150), (0, 0, 300, 200), (150, 100)),
        ("inside", True, (600, 600), (0, 0, 300, 200), (600, 400)),
        ("outside", False, (150, 150), (0, 0, 300, 200), (225, 150)),
        ("outside", False, (250, 250), (0, 0, 300, 200), (300, 200)),
        ("outside", True, (600, 600), (0, 0, 300, 200), (900, 600)),
        ("fill", False, (150, 600), (0, 0, 300, 200), (150, 200)),
        ("fill", True, (150, 600), (0, 0, 300, 200), (150, 600)),
    ],
)
def test_a_picture_of_300_by_200(
    fit: str,
    enlarge: bool,
    box: tuple[int, int],
    crop: tuple[int, ...],
    output: tuple[int, int],
) -> None:
    plan = plan_rendition(Size(300, 200), Options(*box, fit, enlarge=enlarge))
    assert (plan.crop, plan.output) == (crop, output)


@pytest.mark.parametrize(
    ("gravity", "offset"),
    [
        ("center", (150, 200)),
        ("northwest", (0, 0)),
        ("south", (150, 400)),
        ("fp:1,0.5", (300, 200)),
    ],
)
def test_gravity_places_a_contained_picture(gravity: str, offset: tuple[int, int]) -> None:
    plan = plan_rendition(Size(300, 200), Options(600, 600, "contain", gravity))
    assert (plan.scaled, plan.offset) == ((300, 200), offset)


# Where a crop of 100 × 50 lies in a picture of 300 × 200.
_CORNERS = {
    "northwest": (0, 0),
    "north": (100, 0),
    "northeast": (200, 0),
    "west": (0, 75),
    "center": (100, 75),
    "east": (200, 75),
    "southwest": (0, 150),
    "south": (100, 150),
    "southeast": (200, 150),
    "fp:0.5,0.5": (100, 75),
    "fp:0,0": (0, 0),
    "fp:1,1": (200, 150),
    "fp:0.3,0.7": (40, 115),
    "fp:0.1,0.5": (0, 75),
}


@pytest.mark.parametrize(("gravity", "corner"), _CORNERS.items())
def test_gravity_places_a_crop(gravity: str, corner: tuple[int, int]) -> None:
    assert place(Size(300, 200), Size(100, 50), gravity) == (*corner, 100, 50)


def test_every_compass_point_was_tried() -> None:
    assert set(COMPASS) <= set(_CORNERS)


@given(sizes, sizes, focal_points)
def test_a_crop_holds_its_focal_point(source: Size, size: Size, gravity: str) -> None:
    size = Size(min(size.width, source.width), min(size.height, source.height))
    x, y = read_focal_point(gravity)
    crop = place(source, size, gravity)
    assert crop.x - 0.5 <= x * source.width <= crop.x + crop.width + 0.5
    assert crop.y - 0.5 <= y * source.height <= crop.y + crop.height + 0.5
    free = Size(source.width - size.width, source.height - size.height)
    if 0 < crop.x < free.width:
        assert abs(crop.x + size.width / 2 - x * source.width) <= 0.5 + 1e-6
    if 0 < crop.y < free.height:
        assert abs(crop.y + size.height / 2 - y * source.height) <= 0.5 + 1e-6


# Orientation, against what Pillow really does to pixels (CIPA DC-008, tag 0x0112).

_TO_UPRIGHT = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CLOCKWISE = {
    0: None,
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
TURNS = list(itertools.product(_TO_UPRIGHT, _CLOCKWISE))


def turned(image: Image.Image, exif: int, degrees: int) -> Image.Image:
    for method in (_TO_UPRIGHT[exif], _CLOCKWISE[degrees]):
        image = image if method is None else image.transpose(method)
    return image


def numbered(width: int, height: int) -> Image.Image:
    """A picture in which no two pixels are alike."""
    return Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width))


@pytest.mark.parametrize(("exif", "degrees"), TURNS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_box_is_found_again_in_the_stored_pixels(
    exif: int, degrees: int, data: st.DataObject
) -> None:
    stored = numbered(7, 4)
    after = turned(stored, exif, degrees)
    orientation = exif_orientation(exif).then_rotated(degrees)
    left = data.draw(st.integers(0, after.width - 1))
    top = data.draw(st.integers(0, after.height - 1))
    right = data.draw(st.integers(left + 1, after.width))
    bottom = data.draw(st.integers(top + 1, after.height))

    before = orientation.box_before(Box(left, top, right, bottom), Size(*after.size))

    assert orientation.applied_to(Size(*stored.size)) == after.size
    again = turned(stored.crop(tuple(map(int, before))), exif, degrees)
    assert again.size == (right - left, bottom - top)
    assert again.tobytes() == after.crop((left, top, right, bottom)).tobytes()


@pytest.mark.parametrize("value", [0, 9, 255, -1, None, "6", 6.0, b"\x06", (6,)])
def test_other_orientations_mean_upright(value: object) -> None:
    assert exif_orientation(value) == Orientation()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turning_four_times_is_no_turn(degrees: int) -> None:
    for exif in range(1, 9):
        start = exif_orientation(exif)
        turned_again = start.then_rotated(degrees).then_rotated(360 - degrees)
        assert turned_again == start
