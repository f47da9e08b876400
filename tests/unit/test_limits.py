"""What a picture may cost is decided on its header."""

import struct
import zlib
from dataclasses import replace

import pytest

from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.limits import (
    ENCODING_BYTES,
    Limits,
    check_animation,
    check_header,
    check_output,
    is_playable,
    most_output_pixels,
    output_fits,
)
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import process
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


def tiled_tiff(side: int, tile_side: int, tile: bytes) -> bytes:
    """A grey TIFF in one tile."""
    entries = [
        *((256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1)),
        *((322, tile_side), (323, tile_side), (324, 8 + 2 + 12 * 10 + 4), (325, len(tile))),
    ]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + tile


def test_a_tile_larger_than_its_tiff_counts() -> None:
    """It is decoded whole: 16×16 pixels in a tile of 34 000×34 000 took 1 146 MB."""
    served = tiled_tiff(16, 64, zlib.compress(bytes(64 * 64)))
    assert process(served, [Options(width=8)], Limits()).source.width == 16
    with pytest.raises(LimitExceeded, match=r"1156\.0 megapixels"):
        check_header(read_header(tiled_tiff(16, 34_000, b"")), Limits())
    usual = read_header(tiled_tiff(7_000, 256, b""))
    check_header(usual, Limits())
    assert usual.tiled == 7_000 * 7_000


# What a rendition may take.

OPAQUE = Header(Format.JPEG, 1000, 1000)


@pytest.mark.parametrize("format", ENCODING_BYTES)
@pytest.mark.parametrize("header", [OPAQUE, replace(OPAQUE, alpha=True, channels=4)])
def test_the_memory_of_a_task_is_the_source_and_a_rendition(format: Format, header: Header) -> None:
    limits = Limits(max_task_mb=100)
    most = most_output_pixels(header, format, limits)
    source = 8 if header.alpha else 4
    assert most == (100 - source) * 10**6 // ENCODING_BYTES[format][header.alpha]
    check_output((1000, most // 1000), format, header, limits)
    with pytest.raises(LimitExceeded) as caught:
        check_output((1000, most // 1000 + 1), format, header, limits)
    said = (f"{most / 1e6:.1f} megapixels", "100 MB", format.value, "smaller")
    assert all(part in caught.value.detail for part in said)


def test_what_takes_more_leaves_less() -> None:
    limits = Limits()
    usual = most_output_pixels(OPAQUE, Format.WEBP, limits)
    larger = replace(OPAQUE, width=7000, height=7000)
    assert most_output_pixels(larger, Format.WEBP, limits) < usual
    assert most_output_pixels(OPAQUE, Format.WEBP, limits, lossless=True) < usual
    assert most_output_pixels(OPAQUE, Format.WEBP, limits, frames=2) < usual


def test_a_source_may_leave_nothing() -> None:
    limits = Limits(max_task_mb=3)
    assert most_output_pixels(OPAQUE, Format.JPEG, limits) == 0
    assert not output_fits((1, 1), Format.JPEG, OPAQUE, limits)


def test_a_usual_picture_may_be_as_large_as_the_contract_says() -> None:
    assert output_fits((8192, 8192), Format.JPEG, OPAQUE, Limits())
    assert not output_fits((8193, 1), Format.JPEG, OPAQUE, Limits())
    assert not output_fits((8192, 8192), Format.AVIF, OPAQUE, Limits())
