"""One picture described: what its file says and what is seen in it."""

import json
import math
import pickle
import struct
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFilter

from omnishot_ray.errors import CorruptImage, ImageError, OmnishotError
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.info import ImageInfo, describe
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import InfoTask, run_task
from tests import corpus
from tests.corpus import HOSTILE, ORIENTED, REFUSED, VALID, Picture
from tests.pictures import encode, exif_entry, gray_png_16bit, noise, opened, plain, png, scene


def told(data: bytes) -> ImageInfo:
    info = describe(data, Limits())
    assert_sane(info)
    return info


def assert_sane(info: ImageInfo) -> None:
    values: dict[str, Any] = {**asdict(info), "thumbhash": info.thumbhash.hex()}
    json.dumps(values, allow_nan=False)
    assert info.sharpness >= 0
    assert 0 <= info.entropy <= 8
    assert len(info.palette) <= 5
    assert len(info.blurhash) == 28
    assert 5 <= len(info.thumbhash) <= 25


# The corpus.


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_every_picture_of_the_corpus_is_described(picture: Picture) -> None:
    info = told(picture.data)
    stored = {picture.width, picture.height}
    assert {info.source.width, info.source.height} == stored
    assert info.source.format == picture.format
    assert info.source.bytes == len(picture.data)
    assert info.timings.decode > 0
    assert info.timings.transform > 0


@pytest.mark.parametrize("picture", [*HOSTILE, *REFUSED], ids=lambda picture: picture.file)
def test_a_hostile_file_is_described_or_refused(picture: Picture) -> None:
    outcome = run_task(InfoTask(picture.data, "a-request"), Limits())
    if isinstance(outcome, OmnishotError):
        assert isinstance(outcome, ImageError)
    else:
        assert_sane(outcome)


def test_what_the_corpus_says_of_itself() -> None:
    """Alpha, frames, mode and profile of files of which they are known."""
    for name, known in {
        "photo_flower_480x360": ("RGB", 1, False, None),
        "cmyk_ycck_swop_icc_500x333": ("CMYK", 1, False, "U.S. Web Coated (SWOP) v2"),
        "jpeg_display_p3_gainmap_384x512": ("RGB", 1, False, "Display P3"),
        "product_jar_on_white_1125x1800_adobergb_icc": ("RGB", 1, False, "Adobe RGB (1998)"),
        "png_gray_16bit_32x32": ("I;16", 1, False, None),
        "png_palette_alpha_828x322": ("P", 1, True, None),
        "png_palette_transparent_300x225": ("P", 1, True, None),
        "gif_animated_chi_320x240": ("P", 31, True, None),
        "gif_animated_loop3_370x285": ("P", 10, False, None),
        "webp_animated_squares_80x80": ("RGBA", 9, True, None),
        "avif_dice_alpha": ("RGBA", 1, True, None),
    }.items():
        info = told(corpus.read(name))
        assert (info.mode, info.frames, info.has_alpha, info.icc_name) == known, name


LIGHT = [one for one in [*VALID, *HOSTILE] if len(one.data) < 60_000]


@settings(max_examples=150)
@given(
    picture=st.sampled_from(LIGHT),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_a_damaged_file_is_described_or_refused(
    picture: Picture, changes: list[tuple[float, int]]
) -> None:
    """Half of the changes fall into the first kilobyte, where headers and EXIF are."""
    data = bytearray(picture.data or b"GIF89a")
    for index, (place, value) in enumerate(changes):
        length = min(len(data), 1024) if index % 2 else len(data)
        data[min(int(place * length), length - 1)] = value
    outcome = run_task(InfoTask(bytes(data), "a-request"), Limits())
    if isinstance(outcome, OmnishotError):
        assert isinstance(outcome, ImageError), outcome
    else:
        assert_sane(outcome)


def test_a_damaged_avif_is_refused() -> None:
    """Its plugin raises what no other does."""
    data = bytearray(corpus.read("avif_dice_alpha"))
    pixels = data.index(b"mdat") + 8
    data[pixels : pixels + 400] = bytes(400)
    assert isinstance(run_task(InfoTask(bytes(data), "a-request"), Limits()), CorruptImage)


# Size and orientation.


@pytest.mark.parametrize("picture", ORIENTED, ids=lambda picture: picture.file)
def test_everything_is_told_of_the_upright_picture(picture: Picture) -> None:
    info, upright = told(picture.data), told(ORIENTED[0].data)
    assert info.orientation == int(picture.name[-1])
    assert (info.source.width, info.source.height) == (1800, 1200)
    assert info.blurhash == upright.blurhash
    assert info.thumbhash[:5] == upright.thumbhash[:5]
    assert info.sharpness == pytest.approx(upright.sharpness, rel=0.05)
    assert info.entropy == pytest.approx(upright.entropy, rel=0.01)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_impossible_orientation_is_none(value: int) -> None:
    data = encode(scene(20, 10), "JPEG", exif=exif_entry(0x0112, 3, struct.pack("<H", value)))
    info = told(data)
    assert info.orientation == 1
    assert (info.source.width, info.source.height) == (20, 10)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 900), (900, 1), (2, 3)])
def test_odd_shapes_are_described(width: int, height: int) -> None:
    info = told(png(width, height, color=(200, 10, 10)))
    assert (info.source.width, info.source.height) == (width, height)
    assert [swatch.color for swatch in info.palette] == ["#c80a0a"]
    assert info.sharpness == info.entropy == 0


def test_the_terms_of_a_blurhash_follow_the_shape() -> None:
    """Its first character is (terms x − 1) + 9 × (terms y − 1)."""
    assert told(png(30, 20)).blurhash[0] == told(png(20, 20)).blurhash[0] == "L"  # 4 × 3: 21
    assert told(png(20, 30)).blurhash[0] == "T"  # 3 × 4: 29


# What is seen.


def halves(first: Any, second: Any, mode: str = "RGB", side: int = 700) -> Image.Image:
    image = plain(side, side, mode, first)
    image.paste(second, (side // 2, 0, side, side))
    return image


def test_the_dominant_colours() -> None:
    palette = told(encode(halves("#ff0000", "#0000ff"))).palette
    assert {swatch.color for swatch in palette} == {"#ff0000", "#0000ff"}
    assert [swatch.share for swatch in palette] == pytest.approx([0.5, 0.5], abs=0.02)


def test_colours_are_those_of_srgb() -> None:
    """The green of a Display P3 picture is another one in its own numbers."""
    info = told(corpus.read("png_display_p3_8x8"))
    assert info.icc_name == "Display P3"
    assert [swatch.color for swatch in info.palette] == ["#ff0000"]


def test_a_picture_that_cannot_be_seen_has_no_colour() -> None:
    info = told(png(20, 20, "RGBA", (255, 0, 0, 0)))
    assert info.palette == ()
    assert info.has_alpha
    assert info.sharpness == info.entropy == 0


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "CMYK"])
def test_every_mode_is_described(mode: str) -> None:
    image = halves("black", "white").convert(mode)
    info = told(encode(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert info.mode == mode
    assert info.has_alpha is (mode == "LA")
    assert info.entropy == pytest.approx(1, abs=0.2)
    assert {swatch.color for swatch in info.palette} == {"#000000", "#ffffff"}


def test_sixteen_bits_are_not_clipped() -> None:
    rows = np.tile(np.linspace(0, 65_535, 256).astype(np.uint16), (64, 1))
    info = told(gray_png_16bit(rows))
    assert info.mode.startswith("I")
    assert info.entropy > 7.9


def test_entropy_of_grey() -> None:
    assert told(png(300, 300, "L", 128)).entropy == 0
    assert told(encode(noise(512, 512))).entropy > 7


def test_blur_lowers_sharpness_and_little_else() -> None:
    image = opened(corpus.read("photo_flower_480x360"))
    sharp = told(encode(image))
    soft = told(encode(image.filter(ImageFilter.GaussianBlur(3))))
    assert soft.sharpness < sharp.sharpness / 10
    assert soft.entropy == pytest.approx(sharp.entropy, rel=0.1)


def test_size_does_not_change_the_look() -> None:
    """Figures are of one size, whichever the picture came in, and whatever decodes it."""
    image = opened(corpus.read("photo_sharp_benchmark_2725x2225"))
    large = told(encode(image, "JPEG", quality=92))
    small = told(encode(image.resize((1090, 890), Image.Resampling.LANCZOS)))
    assert large.entropy == pytest.approx(small.entropy, abs=0.05)
    assert large.sharpness == pytest.approx(small.sharpness, rel=0.11)
    assert large.blurhash[:6] == small.blurhash[:6]


def test_an_animation_is_described_by_its_first_frame() -> None:
    frames = [plain(30, 30, color=color) for color in ("red", "lime", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    info = told(data)
    assert info.frames == 3
    assert [swatch.color for swatch in info.palette] == ["#ff0000"]


def test_task_and_description_cross_a_process() -> None:
    task = InfoTask(png(4, 4), "a-request")
    assert pickle.loads(pickle.dumps(task)) == task
    info = told(corpus.read("photo_flower_480x360"))
    assert pickle.loads(pickle.dumps(info)) == info


# What the file says.


def test_the_name_of_a_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert told(encode(scene(8, 8), icc_profile=profile)).icc_name == "sRGB built-in"
    assert told(encode(scene(8, 8), icc_profile=b"no profile at all")).icc_name is None
    assert told(encode(scene(8, 8), icc_profile=profile[:200])).icc_name is None


def test_exif_of_every_format() -> None:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif.get_ifd(0x8769)[0x829A] = 0.004
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6)})
    for format in (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF):
        info = told(encode(scene(16, 16), format.plugin, exif=exif))
        assert info.exif == {"Make": "A maker", "ExposureTime": 0.004}, format


def test_a_tiff_has_its_exif_in_its_own_directory() -> None:
    exif = told(corpus.read("tiff_rgb_scan_425x640")).exif
    assert exif["Make"] == "Epson"
    assert exif["ExifVersion"] == "0220"
    assert not {"StripOffsets", "StripByteCounts"} & set(exif)


@pytest.mark.parametrize("kind", [5, 10, 11, 12])
def test_absurd_numbers_are_left_out(kind: int) -> None:
    value = {11: struct.pack("<f", math.nan), 12: struct.pack("<d", -math.inf)}
    data = value.get(kind, struct.pack("<II", 7, 0))
    info = told(encode(scene(8, 8), "JPEG", exif=exif_entry(0x829A, kind, data)))
    assert "ExposureTime" not in info.exif
