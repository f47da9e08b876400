"""Frames to GIF: read back by Pillow, it is what went in."""

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from omnishot_ray.imaging.gif import centiseconds, write_gif
from tests.moving import PALETTE, watched
from tests.pictures import Pixels, noise, opened, plain, scene


def few_colors(indices: Pixels) -> Pixels:
    """RGBA of indices into a small palette; 0 is transparent, with a colour that nobody sees."""
    pixels = np.full((*indices.shape, 4), 77, dtype=np.uint8)
    pixels[..., :3][indices > 0] = PALETTE[indices[indices > 0]]
    pixels[..., 3] = np.where(indices > 0, 255, 0)
    return pixels


def seen(pixels: Pixels) -> Pixels:
    visible: Pixels = pixels * (pixels[..., 3:] > 0)
    return visible


@settings(max_examples=150)
@given(
    st.lists(arrays.arrays(np.uint8, (5, 7), elements=st.integers(0, 5)), min_size=1, max_size=6),
    st.integers(0, 3),
)
def test_what_has_few_colours_comes_back_as_it_was(grids: list[Pixels], plays: int) -> None:
    """Moves, vanishes, stays: every frame is seen as it is, for its time."""
    frames = [few_colors(grid) for grid in grids]
    durations = [20.0 + 10 * index for index in range(len(frames))]
    data = write_gif([Image.fromarray(frame) for frame in frames], durations, plays)
    made = watched(data)
    for one, other in zip(made.frames, frames, strict=True):
        assert (seen(one) == seen(other)).all()
    assert made.durations == durations
    if len(frames) > 1:
        assert made.loop == {0: 0, 1: None, 2: 1, 3: 2}[plays]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("count", [1, 3])
def test_every_mode_is_written(mode: str, count: int) -> None:
    images = [scene(40, 30 + index * 0).convert(mode) for index in range(count)]
    made = watched(write_gif(images, [50.0] * count, 0))
    expected = np.asarray(images[0].convert("RGBA")).astype(int)
    assert np.abs(made.frames[-1].astype(int) - expected).mean() < 4


def test_up_to_255_colours_are_exact() -> None:
    greys = np.arange(255, dtype=np.uint8)[np.newaxis].repeat(4, axis=0)
    image = Image.fromarray(greys)
    made = opened(write_gif([image], [0.0], 1))
    assert (np.asarray(made.convert("L")) == greys).all()


def test_half_transparent_pixels_are_drawn_or_not() -> None:
    alpha = np.array([[0, 1, 127, 128, 254, 255]], dtype=np.uint8)
    image = plain(6, 1, "RGB", (10, 200, 30))
    image.putalpha(Image.fromarray(alpha))
    made = np.asarray(opened(write_gif([image], [0.0], 1)).convert("RGBA"))
    assert made[0, :, 3].tolist() == [0, 0, 0, 255, 255, 255]
    assert made[0, 3:, :3].tolist() == [[10, 200, 30]] * 3


def test_hidden_colours_do_not_tint_their_neighbours() -> None:
    """They are left out of the dithering."""
    pixels = np.asarray(noise(40, 40).convert("RGBA")) // 2
    pixels[..., 3] = 255
    pixels[10:30, 10:20] = 0
    with_hidden = pixels.copy()
    with_hidden[10:30, 10:20, :3] = (255, 255, 0)
    one, other = (write_gif([Image.fromarray(p)], [0.0], 1) for p in (pixels, with_hidden))
    assert one == other


def test_every_scene_has_colours_of_its_own() -> None:
    """Five hundred colours each: one palette would not do for both."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    red, blue = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    red[..., 0], red[..., 1] = ramp, ramp[:, np.newaxis]
    blue[..., 2], blue[..., 1] = ramp, ramp[:, np.newaxis]
    scenes = [red, blue, 255 - red, 255 - blue]
    data = write_gif([Image.fromarray(one) for one in scenes], [100.0] * 4, 0)
    for one, other in zip(watched(data).frames, scenes, strict=True):
        shown, truth = (
            np.asarray(Image.fromarray(p[..., :3]).reduce(4), dtype=float) for p in (one, other)
        )
        assert np.abs(shown - truth).mean() < 4


def test_what_stays_is_not_written_again() -> None:
    still = np.asarray(noise(100, 100)).copy()
    moved = still.copy()
    moved[40:50, 40:50] = 0
    frames = [Image.fromarray(frame) for frame in (still, moved, still, still)]
    one, four = (len(write_gif(frames[:count], [50.0] * count, 0)) for count in (1, 4))
    assert four < one * 1.1


def test_an_old_picture_does_not_show_through_a_new_hole() -> None:
    full, hole = plain(20, 20, "RGBA", "red"), plain(20, 20, "RGBA", "red")
    hole.paste((0, 0, 0, 0), (5, 5, 9, 9))
    made = watched(write_gif([full, hole, full, hole], [50.0] * 4, 0)).frames
    assert [int(frame[7, 7, 3]) for frame in made] == [255, 0, 255, 0]
    assert all((frame[0, 0] == (255, 0, 0, 255)).all() for frame in made)


def test_pillow_has_nothing_to_warn_of(recwarn: pytest.WarningsRecorder) -> None:
    image = Image.open(io.BytesIO(write_gif([noise(30, 20)] * 2, [50.0] * 2, 0)))
    image.seek(1)
    image.load()
    assert not recwarn.list


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=40))
def test_centiseconds_do_not_drift(durations: list[float]) -> None:
    delays = centiseconds(durations)
    for duration, delay in zip(durations, delays, strict=True):
        assert (delay <= 1) == (duration <= 10)  # what browsers slow down stays that, and only that
    longer = [(d, c) for d, c in zip(durations, delays, strict=True) if d >= 20]
    ahead = np.cumsum([c * 10 - d for d, c in longer]) if longer else np.zeros(1)
    if len(longer) == len(durations):
        assert np.abs(ahead).max() <= 5.01


def test_a_long_time_ends_at_what_the_format_can_say() -> None:
    assert centiseconds([1e9, 50, 50]) == [0xFFFF, 5, 5]


def test_a_side_that_the_format_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="65 535"):
        write_gif([plain(65_536, 1)], [0.0], 1)


def test_a_palette_that_is_found_quickly_serves_too() -> None:
    image: Any = scene(120, 90)
    sizes = {}
    for method in (Image.Quantize.MEDIANCUT, Image.Quantize.LIBIMAGEQUANT):
        made = opened(write_gif([image], [0.0], 1, method)).convert("RGB")
        apart = np.abs(np.asarray(made).astype(int) - np.asarray(image))
        sizes[method] = float(apart.mean())
    assert all(better < worse for worse, better in pairwise(sizes.values()))
    assert sizes[Image.Quantize.MEDIANCUT] < 12
