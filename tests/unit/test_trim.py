"""Plain borders cut off, and results that are the source itself."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omnishot_ray.imaging.decode import Decoded
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Box, Orientation, Size
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from omnishot_ray.imaging.trim import find_content
from omnishot_ray.imaging.unchanged import source_as_result
from tests import corpus
from tests.pictures import encode, opened, png_of_chunks, scene


def make(data: bytes, **given: object) -> Rendition:
    (made,) = process(data, (parse_options(given),), Limits()).renditions
    assert isinstance(made, Rendition), made
    return made


def bordered(mode: str = "RGB", color: Any = (255, 255, 255)) -> Image.Image:
    """A 30×20 scene at (12, 7) of a plain 80×60 picture."""
    picture = Image.new("RGB", (80, 60), color)
    picture.paste(scene(30, 20), (12, 7))
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_the_border_goes_and_the_crop_says_what_stayed(mode: str, format: str) -> None:
    settings = {"lossless": True} if format == "WEBP" else {}
    made = make(encode(bordered(mode), format, **settings), trim=10, format="png")
    assert made.crop == (12, 7, 30, 20)
    assert (made.width, made.height) == (30, 20)
    expected = np.asarray(scene(30, 20).convert(mode).convert("RGB"))
    assert np.array_equal(np.asarray(opened(made.data).convert("RGB")), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
def test_a_tall_picture_is_trimmed_across_its_strips(mode: str) -> None:
    picture = Image.new("RGB", (20, 900), (255, 255, 255))
    picture.paste((0, 0, 0), (8, 250, 12, 260))
    picture.paste((0, 0, 0), (3, 600, 5, 770))
    decoded = Decoded(picture.convert(mode), 20.0, 900.0)
    assert find_content(decoded, Size(20, 900), 10) == (3, 250, 12, 770)


def test_a_png_that_fails_its_checksum_is_no_result() -> None:
    """Our decoder does not ask for the checksum; viewers do."""
    picture = scene(40, 30)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.asarray(picture)), 9)
    ihdr = (b"IHDR", struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0))
    sound, damaged = (
        png_of_chunks(ihdr, (b"IDAT", packed[:-1] + last), (b"IEND", b""))
        for last in (packed[-1:], bytes([packed[-1] ^ 1]))
    )
    options = parse_options({})
    assert source_as_result(sound, Format.PNG, options, b"") == sound
    assert source_as_result(damaged, Format.PNG, options, b"") is None
    made = make(damaged, format="png")
    assert np.array_equal(np.asarray(opened(made.data)), np.asarray(picture))


def test_a_jpeg_border_is_not_quite_plain() -> None:
    data = encode(bordered(), "JPEG", quality=60, subsampling="4:4:4")
    x, y, width, height = make(data, trim=40, format="png").crop or (0, 0, 0, 0)
    assert abs(x - 12) <= 4
    assert abs(y - 7) <= 4
    assert abs(width - 30) <= 6
    assert abs(height - 20) <= 6


def test_transparent_borders_are_alike_whatever_their_colour() -> None:
    picture = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    picture.paste((0, 255, 0, 0), (20, 0, 40, 40))
    picture.paste((9, 9, 9, 255), (5, 6, 25, 26))
    assert make(encode(picture), trim=1, format="png").crop == (5, 6, 20, 20)


def test_a_plain_picture_keeps_its_size() -> None:
    made = make(encode(Image.new("RGB", (40, 30), (1, 2, 3))), trim=5, format="png")
    assert (made.width, made.height, made.crop) == (40, 30, None)


def test_what_is_left_is_what_fits_are_planned_from() -> None:
    data = encode(bordered())
    made = make(data, trim=10, width=10, height=10, gravity="center", format="png")
    assert made.crop == (17, 7, 20, 20)
    seen = make(data, trim=10, width=10, height=10, gravity="attention", format="png")
    assert seen.crop is not None
    x, y, width, height = seen.crop
    assert 12 <= x <= 22
    assert (y, width, height) == (7, 20, 20)


@pytest.mark.parametrize("exif", range(1, 9))
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_it_is_upright_and_turned_like_everything_else(exif: int, rotate: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = exif
    data = encode(bordered(), "PNG", exif=tag.tobytes())
    made = make(data, trim=10, rotate=rotate, format="png")
    inner = encode(scene(30, 20), "PNG", exif=tag.tobytes())
    expected = make(inner, rotate=rotate, format="webp", lossless=True)
    assert np.array_equal(
        np.asarray(opened(made.data).convert("RGB")),
        np.asarray(opened(expected.data).convert("RGB")),
    )


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_box_after_undoes_box_before(mirror: bool, quarters: int) -> None:
    turn, before = Orientation(mirror, quarters), Size(70, 40)
    box = Box(3, 5, 20, 31)
    assert turn.box_before(turn.box_after(box, before), turn.applied_to(before)) == box


@pytest.mark.parametrize("name", ["photo_flower_480x360", "webp_lossless_1000x307"])
@pytest.mark.parametrize("quality", [80, 100])
def test_an_unchanged_picture_is_not_made_larger(name: str, quality: int) -> None:
    data = corpus.read(name)
    assert len(make(data, format="source", quality=quality).data) <= len(data)


def test_the_source_as_result_has_lost_its_metadata() -> None:
    tag = Image.Exif()
    tag[0x8298] = "Ada"
    tag[0x010F] = "Camera"
    tag.get_ifd(0x8825)[1] = "N"
    data = encode(scene(200, 150), "JPEG", quality=30, exif=tag.tobytes())
    made = make(data, format="jpeg", quality=95)
    exif = opened(made.data).getexif()
    assert len(made.data) < len(data)
    assert dict(exif) == {0x8298: "Ada"}
    assert np.array_equal(np.asarray(opened(made.data)), np.asarray(opened(data)))


@pytest.mark.parametrize(
    "change", [{"width": 199}, {"rotate": 180}, {"grayscale": True}, {"progressive": True}]
)
def test_a_changed_picture_is_coded_anew(change: dict[str, Any]) -> None:
    data = encode(scene(200, 150), "JPEG", quality=10)
    assert make(data, format="jpeg", quality=95, **change).data != data
