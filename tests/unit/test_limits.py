"""What a picture may cost is decided on its header."""

from dataclasses import replace

import pytest

from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.limits import Limits, check_animation, check_header, is_playable
from tests import corpus

LIMITS = Limits(max_pixels=1000, max_source_side=100, max_frames=4, max_scans=10)
FITTING = Header(Format.WEBP, 20, 10, frames=4, scans=10)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"width": 100, "height": 10, "frames": 1},
        {"width": 10, "height": 100, "frames": 1},
        {"width": 25, "height": 10},
    ],
)
def test_a_picture_at_a_limit_passes(change: dict[str, int]) -> None:
    check_header(replace(FITTING, **change), LIMITS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 101, "height": 1}, ["101×1", "100"]),
        ({"width": 1, "height": 101}, ["1×101", "100"]),
        ({"frames": 5}, ["4 frames"]),
        ({"width": 26}, ["26×10", "4 frames", "megapixels"]),
        ({"width": 91, "height": 11, "frames": 1}, ["91×11", "megapixels"]),
        ({"scans": 11}, ["11 scans", "10"]),
    ],
)
def test_a_picture_over_a_limit_is_told_which(change: dict[str, int], said: list[str]) -> None:
    with pytest.raises(LimitExceeded) as caught:
        check_header(replace(FITTING, **change), LIMITS)
    assert all(part in caught.value.detail for part in said)


@pytest.mark.parametrize(("frames", "playable"), [(4, True), (5, False)])
def test_the_frames_of_an_apng_count_when_they_are_played(frames: int, playable: bool) -> None:
    header = replace(FITTING, format=Format.PNG, frames=frames)
    check_header(header, LIMITS)
    assert is_playable(header, LIMITS) is playable
    if not playable:
        with pytest.raises(LimitExceeded):
            check_animation(header, LIMITS)


def test_the_pixels_of_an_apng_count_when_they_are_played() -> None:
    header = replace(FITTING, format=Format.PNG, width=26)
    check_header(header, LIMITS)
    assert not is_playable(header, LIMITS)


def test_the_defaults_are_those_of_the_contract() -> None:
    defaults = Limits()
    assert (defaults.max_pixels, defaults.max_output_side) == (50_000_000, 8192)
    assert defaults.max_frames == 64


@pytest.mark.parametrize(
    "name",
    [
        "avif_17000x17000_1340bytes",
        "bomb_gif_4000x4000_3000frames",
        "bomb_jpeg_progressive_4000x4000_4000scans",
        "bomb_png_1bit_13377x13377_under_error_limit",
        "bomb_webp_28bytes_9459x9459_under_warn_limit",
        "decompression_bomb_44bytes",
        "jpeg_9643x10328_99MP_real",
        "jpeg_sof_patched_9400x9400",
        "lottapixel_64250x64250",
        "png_65536_uint32_limit",
        "png_header_9000x9000_no_data",
    ],
)
def test_bombs_are_stopped(name: str) -> None:
    with pytest.raises(LimitExceeded):
        check_header(read_header(corpus.read(name)), Limits())
