"""One picture in, N renditions out: the engine on real pictures."""

import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from omnishot_ray.errors import (
    CorruptImage,
    ImageError,
    LimitExceeded,
    OmnishotError,
    UnsupportedFormat,
)
from omnishot_ray.imaging import pipeline
from omnishot_ray.imaging.decode import Decoded, dct_divisor, dct_margin
from omnishot_ray.imaging.formats import OUTPUT_FORMATS, Format, sniff
from omnishot_ray.imaging.geometry import Size
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.info import describe
from omnishot_ray.imaging.jpeg import write_jpeg
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.metadata import read_iptc_credits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result, process
from omnishot_ray.imaging.scans import lacks_scans
from omnishot_ray.imaging.unchanged import is_coarser
from omnishot_ray.protocol import ImageTask, Outcome, run_task, with_queue_time
from tests import corpus
from tests.corpus import HOSTILE, ORIENTED, SMALL, VALID, Picture
from tests.pictures import (
    encode,
    exif_entry,
    gray_png_16bit,
    mean_difference,
    noise,
    opened,
    pixels,
    plain,
    png,
    psnr,
    scene,
)

by_format = pytest.mark.parametrize("format", OUTPUT_FORMATS)
LOSSY = (Format.JPEG, Format.WEBP, Format.AVIF)


def make(data: bytes, **options: Any) -> Rendition:
    """The one rendition of `data` with these options."""
    (rendition,) = process(data, [Options(**options)], Limits()).renditions
    assert isinstance(rendition, Rendition), rendition
    assert (rendition.width, rendition.height) == opened(rendition.data).size
    return rendition


def made_pixels(data: bytes, mode: str = "RGB", **options: Any) -> Any:
    return pixels(make(data, **{"format": "png", **options}).data, mode)


def run(data: bytes, *wanted: Options, limits: Limits | None = None) -> Outcome:
    return run_task(ImageTask(data, wanted or (Options(),), "a-request"), limits or Limits())


# Every kind of source, every kind of result.


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_every_picture_of_the_corpus_becomes_a_rendition(picture: Picture) -> None:
    result = process(picture.data, [Options(width=64, format="png")], Limits())
    (rendition,) = result.renditions
    assert isinstance(rendition, Rendition)
    assert result.source.format is picture.format
    assert {result.source.width, result.source.height} == {picture.width, picture.height}
    assert result.source.bytes == len(picture.data)
    assert opened(rendition.data).size == (rendition.width, rendition.height)


@by_format
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_every_mode_can_be_written_in_every_format(mode: str, format: Format) -> None:
    rendition = make(png(40, 30, mode), width=20, format=format)
    image = opened(rendition.data)
    assert image.format == format.plugin
    assert image.size == (20, 15)


@pytest.mark.parametrize("picture", HOSTILE, ids=lambda picture: picture.file)
def test_a_hostile_file_has_an_outcome(picture: Picture) -> None:
    outcome = run(picture.data, Options(width=32), Options(width=9, format="png"))
    assert isinstance(outcome, Result | UnsupportedFormat | CorruptImage | LimitExceeded)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("truncated_2725x2225_first_10k", CorruptImage),
        ("truncated_640x480", CorruptImage),
        ("png_iccp_60MB_bomb", CorruptImage),
        ("webp_26bytes_claims_11330x446", CorruptImage),
        ("bomb_jpeg_progressive_4000x4000_4000scans", LimitExceeded),
        ("lottapixel_64250x64250", LimitExceeded),
        ("psd_oob_write_overflow", UnsupportedFormat),
    ],
)
def test_a_hostile_file_is_refused_for_the_right_reason(
    name: str, error: type[OmnishotError]
) -> None:
    assert type(run(corpus.read(name), Options(width=64))) is error


MODES_OF_JPEG = [("L", {}), ("RGB", {}), ("CMYK", {}), ("RGB", {"restart_marker_rows": 1})]
BEHIND = {
    "nothing": b"",
    "the end of a picture": b"\xff\xd9",
    "zeros": bytes(5_000),
    "another picture": encode(scene(16, 12), "JPEG"),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize(("mode", "settings"), MODES_OF_JPEG, ids=str)
@pytest.mark.parametrize("width", [20, None])
def test_half_a_jpeg_is_no_picture(
    mode: str, settings: dict[str, Any], behind: bytes, width: int | None
) -> None:
    data = encode(noise(160, 120).convert(mode), "JPEG", **settings)
    assert type(run(data[: len(data) // 2] + behind, Options(width=width))) is CorruptImage
    assert isinstance(run(data + behind, Options(width=width)), Result)
    if behind in (b"\xff\xd9", bytes(5_000)):  # else Pillow refuses what has no end
        assert isinstance(run(data[:-2] + behind, Options(width=width)), Result)


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_half_a_progressive_jpeg_is_no_picture(mode: str, behind: bytes) -> None:
    data = encode(noise(160, 120).convert(mode), "JPEG", progressive=True)
    assert type(run(data[: len(data) // 2] + behind)) is CorruptImage
    assert isinstance(run(data + behind), Result)


def test_a_progressive_jpeg_may_leave_out_scans() -> None:
    """What there is of them is whole."""
    data = encode(noise(160, 120), "JPEG", progressive=True)
    assert not lacks_scans(data)
    scans = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    tables = data.rindex(b"\xff\xc4", 0, scans[5])
    fewer = data[:tables] + b"\xff\xd9"
    assert lacks_scans(fewer)
    assert isinstance(run(fewer), Result)


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_no_good_jpeg_lacks_scans(picture: Picture) -> None:
    if picture.format is Format.JPEG:
        assert not lacks_scans(picture.data)


@given(cut=st.integers(0, 5_000), damage=st.binary(max_size=8))
def test_the_scans_of_a_damaged_jpeg_are_told_or_not(cut: int, damage: bytes) -> None:
    data = _PROGRESSIVE[:cut] + damage + _PROGRESSIVE[cut + len(damage) :]
    assert lacks_scans(data) in (False, True)


_PROGRESSIVE = encode(noise(48, 32), "JPEG", progressive=True)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_grey_picture_is_whole(mode: str, progressive: bool) -> None:
    for level in (127, 128):
        grey = plain(50, 37, "L", level).convert(mode)
        assert isinstance(run(encode(grey, "JPEG", progressive=progressive)), Result)


@pytest.mark.parametrize("name", ["jpeg_exif_orientation_255", "png_named", "polyglot_jpeg_zip"])
def test_an_odd_but_sound_file_is_served(name: str) -> None:
    assert isinstance(run(corpus.read(name), Options(width=50)), Result)


_FUZZED = [
    encode(scene(16, 12), "JPEG", exif=opened(ORIENTED[5].data).getexif()),
    encode(scene(16, 12), "PNG"),
    encode(scene(16, 12).quantize(8), "GIF"),
    encode(scene(16, 12), "WEBP"),
    encode(scene(16, 12), "TIFF", compression="tiff_lzw"),
    encode(scene(16, 12), "BMP"),
    corpus.read("avif_animated_colors_150x150"),
]


@pytest.mark.parametrize("data", _FUZZED, ids=lambda data: str(sniff(data)))
@settings(max_examples=60)
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8))
def test_damage_has_a_named_outcome(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % min(len(damaged), 2000)] = value
    outcome = run(bytes(damaged), Options(width=8))
    assert isinstance(outcome, Result | ImageError)


# Orientation and crops.


@pytest.mark.parametrize("picture", ORIENTED, ids=lambda picture: picture.name)
@pytest.mark.parametrize(
    "options",
    [
        {"width": 240},
        {"width": 120, "height": 120},
        {"width": 90, "height": 160, "gravity": "northwest", "rotate": 90},
        {"width": 160, "height": 90, "gravity": "fp:0.2,0.9", "rotate": 270},
        {"width": 200, "height": 200, "fit": "contain", "rotate": 180, "background": "102030"},
    ],
    ids=str,
)
def test_all_eight_orientations_show_the_same(picture: Picture, options: dict[str, Any]) -> None:
    upright = made_pixels(ORIENTED[0].data, **options)
    made = made_pixels(picture.data, **options)
    assert mean_difference(made, upright) < 3
    assert mean_difference(made[::-1], upright) > 15
    assert mean_difference(made[:, ::-1], upright) > 15


STORED = {
    "jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "avif": ("AVIF", {"quality": 95, "speed": 9}),
    "tiff": ("TIFF", {}),
    "tiff by libtiff": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("format", STORED)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"width": 20, "height": 20, "gravity": "northwest"}])
def test_every_format_is_turned_upright_once(
    format: str, orientation: int, options: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plugin, settings = STORED[format]
    upright = ImageOps.exif_transpose(opened(encode(scene(64, 48), exif=exif)))

    data = encode(scene(64, 48), plugin, exif=exif.tobytes(), **settings)
    source = process(data, [Options(width=8)], Limits()).source

    assert (source.width, source.height) == upright.size
    expected = made_pixels(encode(upright), **options)
    assert mean_difference(made_pixels(data, **options), expected) < 2
    assert describe(data, Limits()).orientation == orientation


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG", "AVIF"])
def test_an_orientation_in_xmp_turns_nothing(format: str) -> None:
    """Nor does it in browsers."""
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    settings: dict[str, Any] = {"pnginfo": text} if format == "PNG" else {"xmp": xmp.encode()}
    info = describe(encode(scene(40, 30), format, **settings), Limits())
    assert (info.source.width, info.source.height, info.orientation) == (40, 30, 1)


@pytest.mark.parametrize("picture", ORIENTED, ids=lambda picture: picture.name)
def test_the_source_is_described_upright(picture: Picture) -> None:
    source = process(picture.data, [Options(width=10)], Limits()).source
    assert (source.width, source.height) == (1800, 1200)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("gravity", ["northeast", "fp:0.4,0.7"])
def test_the_crop_is_told_in_upright_pixels(orientation: int, rotate: int, gravity: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(scene(120, 80), exif=exif)
    upright = ImageOps.exif_transpose(opened(data))

    made = make(data, width=30, height=40, gravity=gravity, rotate=rotate, format="png")

    assert made.crop is not None
    x, y, width, height = made.crop
    cut = upright.crop((x, y, x + width, y + height)).rotate(-rotate, expand=True)
    expected = np.asarray(cut.resize((30, 40), Image.Resampling.LANCZOS))
    assert mean_difference(pixels(made.data), expected) < 1


@pytest.mark.parametrize(
    "options", [{}, {"width": 50}, {"width": 60, "height": 40}, {"width": 50, "fit": "contain"}]
)
def test_no_crop_is_told_when_nothing_was_cut_off(options: dict[str, Any]) -> None:
    assert make(png(120, 80), **options).crop is None


def test_rotate_turns_clockwise() -> None:
    made = made_pixels(encode(scene(60, 40)), rotate=90)
    assert made.shape == (60, 40, 3)
    assert mean_difference(made, np.rot90(np.asarray(scene(60, 40)), -1)) == 0


# One decode for all, a failure for one.


def test_many_renditions_take_one_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    real = pipeline.decode

    def counted(*args: Any) -> Decoded:
        made = real(*args)
        decoded.append(made.image.size)
        return made

    monkeypatch.setattr(pipeline, "decode", counted)
    wanted = [Options(width=width, name=str(width)) for width in (600, 300, 50)]
    result = process(ORIENTED[0].data, wanted, Limits())
    assert [one.width for one in result.renditions if isinstance(one, Rendition)] == [600, 300, 50]
    assert decoded == [(900, 600)]  # half of 1800 × 1200: the smallest scale that holds 600


def test_together_they_are_what_each_would_be_alone() -> None:
    wanted = [
        Options(name="a", width=50, format="png", metadata="strip"),
        Options(name="b", width=90, height=20, format="webp", grayscale=True),
        Options(name="c", width=70, rotate=90, format="jpeg", blur=2),
        Options(name="d", width=40, height=40, fit="contain", background="00ff00"),
    ]
    data = encode(scene(120, 80))
    together = process(data, wanted, Limits()).renditions
    alone = [process(data, [options], Limits()).renditions[0] for options in wanted]
    assert list(together) == alone


def test_one_rendition_can_fail_while_others_are_made() -> None:
    wanted = [
        Options(name="good", width=20),
        Options(name="impossible", width=200, format="jpeg", max_bytes=100),
        Options(name="also-good", width=30),
    ]
    outcome = run(encode(noise(200, 200)), *wanted)
    assert isinstance(outcome, Result)
    good, impossible, also_good = outcome.renditions
    assert (good.name, also_good.name) == ("good", "also-good")
    assert isinstance(impossible, FailedRendition)
    assert impossible.name == "impossible"
    assert isinstance(impossible.error, LimitExceeded)
    assert "100 bytes" in impossible.error.detail


def test_a_failed_rendition_does_not_keep_the_pixels_alive() -> None:
    outcome = run(encode(noise(64, 64)), Options(format="jpeg", max_bytes=100))
    assert isinstance(outcome, Result)
    (failed,) = outcome.renditions
    assert isinstance(failed, FailedRendition)
    assert failed.error.__traceback__ is None
    assert failed.error.__context__ is None


def test_a_failed_source_does_not_keep_its_bytes_alive() -> None:
    outcome = run(corpus.read("truncated_640x480"))
    assert isinstance(outcome, CorruptImage)
    assert outcome.__traceback__ is outcome.__cause__ is outcome.__context__ is None


def test_timings_tell_where_the_time_went() -> None:
    timings = process(encode(noise(400, 300)), [Options(width=200)], Limits()).timings
    assert min(timings.decode, timings.transform, timings.encode) > 0
    assert timings.queue == timings.cache == 0


def test_the_time_in_the_queue_is_added() -> None:
    result = process(png(4, 4), [Options()], Limits())
    assert with_queue_time(result, 12.5).timings.queue == 12.5
    assert with_queue_time(result, 12.5).renditions == result.renditions


def test_the_same_task_gives_the_same_bytes() -> None:
    data = encode(scene(90, 60))
    for format in OUTPUT_FORMATS:
        assert make(data, width=50, format=format).data == make(data, width=50, format=format).data


# What a result may cost.


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ((10, 300), {"width": 50, "enlarge": True}),
        ((10, 300), {"width": 50, "height": 50, "fit": "outside", "enlarge": True}),
        ((300, 10), {}),
        ((300, 10), {"rotate": 90}),
        ((300, 10), {"width": 300, "height": 150, "fit": "contain"}),
    ],
    ids=str,
)
def test_no_side_of_a_result_is_over_the_limit(
    source: tuple[int, int], options: dict[str, Any]
) -> None:
    """A side that is left out follows the source, so it is not bounded by the range of `width`."""
    small = Options(name="small", width=5)
    outcome = run(png(*source), Options(**options), small, limits=Limits(max_output_side=200))
    assert isinstance(outcome, Result)
    too_large, made = outcome.renditions
    assert isinstance(too_large, FailedRendition)
    assert isinstance(too_large.error, LimitExceeded)
    assert isinstance(made, Rendition)


def test_a_picture_too_wide_for_the_format_fails_alone() -> None:
    """WebP ends at 16 383 pixels a side."""
    limits = Limits(max_output_side=20_000)
    outcome = run(png(17_000, 2), Options(format="webp"), Options(width=5), limits=limits)
    assert isinstance(outcome, Result)
    assert isinstance(outcome.renditions[0], FailedRendition)
    assert isinstance(outcome.renditions[1], Rendition)


@by_format
def test_max_bytes_is_kept(format: Format) -> None:
    data = ORIENTED[0].data
    free = make(data, width=200, format=format)
    limit = len(free.data) * 2 // 3
    if format is Format.GIF:  # has no quality that could be lowered
        (failed,) = process(
            data, [Options(width=200, format="gif", max_bytes=limit)], Limits()
        ).renditions
        assert isinstance(failed, FailedRendition)
        return
    made = make(data, width=200, format=format, max_bytes=limit)
    assert len(made.data) <= limit
    if format is not Format.PNG:  # its steps are coarse: full colours, then a palette
        assert len(made.data) > limit * 0.85


@by_format
def test_max_bytes_changes_nothing_that_fits(format: Format) -> None:
    data = encode(scene(60, 40))
    free = make(data, format=format)
    assert make(data, format=format, max_bytes=len(free.data)).data == free.data


@pytest.mark.parametrize("quality", [1, 50, 80, 100])
def test_a_png_is_made_to_fit_whatever_quality_is_asked_for(quality: int) -> None:
    data = encode(noise(200, 150))
    assert make(data, format="png", quality=quality).data == make(data, format="png").data
    made = make(data, format="png", quality=quality, max_bytes=40_000).data
    assert made == make(data, format="png", max_bytes=40_000).data
    assert len(made) <= 40_000


@pytest.mark.parametrize("format", LOSSY)
def test_quality_is_paid_in_bytes(format: Format) -> None:
    data = ORIENTED[0].data
    sizes = [
        len(make(data, width=150, format=format, quality=quality).data)
        for quality in (10, 50, 80, 95)
    ]
    assert sizes == sorted(set(sizes))


def test_effort_makes_the_file_smaller() -> None:
    data = ORIENTED[0].data
    for format in ("jpeg", "png", "webp"):
        fast = make(data, width=300, format=format, effort=0)
        small = make(data, width=300, format=format, effort=9)
        assert len(small.data) < len(fast.data)


@pytest.mark.parametrize(
    ("options", "progressive"),
    [
        ({}, False),
        ({"effort": 6}, True),
        ({"progressive": True}, True),
        ({"effort": 9, "progressive": False}, False),
        ({"effort": 0, "progressive": True}, True),
    ],
)
def test_jpeg_is_progressive_where_it_is_asked_for_or_size_counts(
    options: dict[str, Any], progressive: bool
) -> None:
    image = opened(make(encode(scene(60, 40)), format="jpeg", **options).data)
    assert bool(image.info.get("progressive")) is progressive


@pytest.mark.parametrize("format", [Format.PNG, Format.WEBP])
def test_lossless_loses_nothing(format: Format) -> None:
    source = noise(64, 48)
    lossless = format is not Format.PNG  # which always is
    made = make(encode(source), format=format, lossless=lossless)
    assert mean_difference(pixels(made.data), np.asarray(source)) == 0


def test_a_palette_has_at_most_256_colours_and_keeps_transparency() -> None:
    data = corpus.read("png_rgba_product_bottle_2160x2160")
    image = opened(make(data, width=200, format="png", palette=True).data)
    assert image.mode == "P"
    truth = made_pixels(data, "RGBA", width=200)
    assert mean_difference(np.asarray(image.convert("RGBA"))[..., 3], truth[..., 3]) < 4


# Which format.


@pytest.mark.parametrize(
    ("picture", "format"),
    [(one, one.format if one.format in OUTPUT_FORMATS else Format.PNG) for one in SMALL],
    ids=lambda value: getattr(value, "file", value),
)
def test_source_keeps_the_format_where_it_can_be_written(picture: Picture, format: Format) -> None:
    assert make(picture.data, width=16, format="source").format is format


@pytest.mark.parametrize(
    ("source", "accept", "format"),
    [
        ("RGB", (), Format.JPEG),
        ("RGBA", (), Format.PNG),
        ("RGB", (Format.WEBP,), Format.WEBP),
        ("RGBA", (Format.AVIF, Format.WEBP), Format.AVIF),
        ("RGB", (Format.WEBP, Format.AVIF), Format.WEBP),
    ],
)
def test_auto_takes_what_the_client_shows_best(
    source: str, accept: tuple[Format, ...], format: Format
) -> None:
    color = (10, 20, 30, 40)[: len(source)]
    assert make(png(8, 8, source, color), accept=accept).format is format


@pytest.mark.parametrize("accept", [(), (Format.WEBP,), (Format.AVIF, Format.WEBP)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_auto_takes_a_format_that_can_do_what_is_asked_for(
    mode: str, accept: tuple[Format, ...]
) -> None:
    data = png(8, 8, mode, (10, 20, 30, 40)[: len(mode)])
    made = make(data, accept=accept, palette=True)
    assert made.format is Format.PNG
    assert opened(made.data).mode == "P"
    progressive = make(data, accept=accept, progressive=True)
    if mode == "RGB":
        assert progressive.format is Format.JPEG
        assert opened(progressive.data).info["progressive"]
    else:  # which no JPEG can be
        assert progressive.format is make(data, accept=accept).format


def test_auto_takes_jpeg_for_alpha_that_hides_nothing() -> None:
    assert make(png(8, 8, "RGBA", (1, 2, 3, 255))).format is Format.JPEG
    transparent = png(8, 8, "RGBA", (1, 2, 3, 0))
    assert make(transparent, width=16, height=8, fit="contain").format is Format.JPEG


@pytest.mark.parametrize(
    "data",
    [
        encode(plain(8, 8, "L"), transparency=0),
        encode(plain(8, 8, "RGB"), transparency=(0, 0, 0)),
        encode(plain(8, 8, "P"), transparency=0),
        encode(plain(8, 8, "1"), transparency=0),
        encode(plain(8, 8, "P"), "GIF", transparency=0),
    ],
    ids=["grey", "rgb", "palette", "bilevel", "gif"],
)
def test_a_transparent_colour_is_transparent(data: bytes) -> None:
    assert made_pixels(data, "RGBA")[..., 3].max() == 0


# Colours.


def test_transparency_is_flattened_on_the_background() -> None:
    data = png(10, 10, "RGBA", (200, 0, 0, 128))
    half = made_pixels(data, format="jpeg", background="0000ff", quality=100)
    assert np.abs(half.astype(int) - (100, 0, 127)).max() <= 3
    assert made_pixels(png(10, 10, "LA", (0, 0)), format="jpeg").min() >= 254  # white unless told


def test_contain_pads_with_the_background() -> None:
    made = made_pixels(
        png(20, 10, color=(255, 0, 0)), width=30, height=30, fit="contain", background="0a0b0c"
    )
    assert (made[[0, 0, -1, -1], [0, -1, 0, -1]] == (10, 11, 12)).all()
    assert (made[10:20, 5:25] == (255, 0, 0)).all()
    assert (made[:10] == (10, 11, 12)).all()


def test_contain_shows_the_background_through_transparency() -> None:
    made = made_pixels(
        png(20, 10, "RGBA", (0, 0, 0, 0)), width=30, height=30, fit="contain", background="0a0b0c"
    )
    assert (made == (10, 11, 12)).all()


@pytest.mark.parametrize("format", ["png", "webp"])
@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_contain_lays_a_picture_of_the_very_size_on_its_background(mode: str, format: str) -> None:
    """Its own bytes would be smaller, and transparent."""
    shape = plain(40, 40, "RGBA", (0, 0, 0, 0))
    shape.paste(scene(20, 20), (10, 10))
    source = shape.quantize(32) if mode == "P" and format == "png" else shape
    data = encode(source, format, lossless=True)
    box = {"width": 40, "height": 40, "fit": "contain", "background": "ff0000"}
    made = made_pixels(data, "RGBA", format=format, lossless=format == "webp", **box)
    assert (made[0, 0] == (255, 0, 0, 255)).all()

    opaque = encode(scene(40, 40).quantize(16), "PNG", optimize=True)
    assert make(opaque, format="png", **box).data == opaque, "nothing lets the background through"


def test_transparent_edges_do_not_bleed() -> None:
    """The hidden green of the transparent half stays hidden when the picture shrinks."""
    image = plain(64, 64, "RGBA", (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 33, 64))
    made = made_pixels(encode(image), "RGBA", width=16)
    assert made[made[..., 3] > 0][:, 1].max() <= 2


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    made = made_pixels(gray_png_16bit(ramp), "L")
    assert np.abs(made[0].astype(int) - np.arange(256)).max() <= 1


def test_cmyk_becomes_rgb() -> None:
    red = encode(plain(16, 16, "CMYK", (0, 255, 255, 0)), "JPEG")
    made = made_pixels(red)
    assert made[..., 0].min() > 230
    assert made[..., 1:].max() < 25


def test_a_wide_gamut_profile_is_converted_and_dropped() -> None:
    data = corpus.read("product_jar_on_white_1125x1800_adobergb_icc")
    made = make(data, width=100, format="png")
    untreated = np.asarray(opened(data).resize((made.width, made.height)))
    assert "icc_profile" not in opened(made.data).info
    assert 0.5 < mean_difference(pixels(made.data), untreated) < 20


def test_a_damaged_profile_counts_as_none() -> None:
    data = encode(scene(30, 20), icc_profile=b"nonsense" * 20)
    assert mean_difference(made_pixels(data), np.asarray(scene(30, 20))) == 0


# Filters.


def test_grayscale_removes_colour() -> None:
    made = made_pixels(encode(scene(30, 20)), grayscale=True)
    assert (made == made[..., :1]).all()
    assert made.std() > 10


def test_blur_smooths_and_sharpen_roughens() -> None:
    data = corpus.read("photo_flower_480x360")

    def roughness(**options: float) -> float:
        made = made_pixels(data, "L", width=200, **options).astype(float)
        return float(np.abs(np.diff(made)).mean())

    assert roughness(blur=3) < roughness() * 0.6
    assert roughness(sharpen=2) > roughness() * 1.1


def test_normalize_uses_the_full_range() -> None:
    flat = Image.fromarray((np.asarray(scene(60, 40)) // 4 + 90).astype(np.uint8))
    made = made_pixels(encode(flat), normalize=True)
    assert made.min() <= 5
    assert made.max() >= 250


@pytest.mark.parametrize("filters", [{"blur": 2}, {"sharpen": 1}, {"normalize": True}])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_filters_keep_transparency(mode: str, filters: dict[str, Any]) -> None:
    image = scene(40, 30).convert(mode)
    image.putalpha(100)
    made = made_pixels(encode(image), "RGBA", **filters)
    assert (made[..., 3] == 100).all()


# Decoding at a reduced scale.


@pytest.mark.parametrize(
    ("stored", "needed", "sharp", "fast"),
    [
        ((400, 400), (200, 200), 2, 2),  # nothing is left to scale
        ((400, 400), (199, 199), 1, 2),  # nearly nothing: that would blur
        ((400, 400), (166, 166), 2, 2),
        ((2725, 2225), (1362, 1112), 1, 2),
        ((2725, 2225), (720, 588), 2, 2),
        ((4032, 3024), (1000, 750), 2, 4),
        ((4032, 3024), (840, 630), 4, 4),
        ((4032, 3024), (64, 48), 8, 8),
        ((10, 10), (1, 1), 8, 8),
        ((10, 10), (10, 10), 1, 1),
    ],
)
def test_a_jpeg_is_decoded_as_small_as_its_renditions_allow(
    stored: tuple[int, int], needed: tuple[int, int], sharp: int, fast: int
) -> None:
    assert dct_divisor(Size(*stored), Size(*needed), dct_margin(4)) == sharp
    assert dct_divisor(Size(*stored), Size(*needed), dct_margin(2)) == fast


@pytest.mark.parametrize(
    "name",
    [
        "exif_landscape_orientation_6",
        "jpeg420_progressive_flower_2268x1512",  # 2268 is no multiple of 8
        "photo_sharp_benchmark_2725x2225",
    ],
)
@pytest.mark.parametrize("width", [100, 226, 340, 720])
def test_decoding_at_a_reduced_scale_stays_close_to_decoding_in_full(name: str, width: int) -> None:
    data = corpus.read(name)
    made = make(data, width=width, format="png")
    full = ImageOps.exif_transpose(opened(data)).convert("RGB")
    expected = full.resize((made.width, made.height), Image.Resampling.LANCZOS)
    assert psnr(pixels(made.data), np.asarray(expected)) > 37


@pytest.mark.parametrize("rotate", [0, 90])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_small_crop_of_a_large_picture_is_sharp(orientation: int, rotate: int) -> None:
    """The scale is chosen by what the crop needs, not by the size of the result alone."""
    data = ORIENTED[orientation - 1].data
    box = {"width": 30, "height": 600} if rotate == 0 else {"width": 600, "height": 30}
    made = make(data, format="png", gravity="center", rotate=rotate, **box)
    full = ImageOps.exif_transpose(opened(data)).convert("RGB")
    assert made.crop is not None
    x, y, width, height = made.crop
    cut = full.crop((x, y, x + width, y + height)).rotate(-rotate, expand=True)
    expected = cut.resize((made.width, made.height), Image.Resampling.LANCZOS)
    assert psnr(pixels(made.data), np.asarray(expected)) > 30


def test_a_frame_beyond_the_screen_does_not_matter() -> None:
    """Only a later frame reaches beyond the screen; the first one is what gets decoded."""
    data = bytearray(
        encode(
            plain(20, 10, "P"),
            "GIF",
            save_all=True,
            append_images=[noise(20, 10).quantize()],
            duration=100,
        )
    )
    second = data.rindex(b"\x2c\x00\x00\x00\x00\x14\x00\x0a\x00")
    data[second + 1 : second + 3] = struct.pack("<H", 5)
    assert isinstance(run(bytes(data), Options(width=10)), Result)


# Metadata.

ARTIST, COPYRIGHT, DESCRIPTION, GPS_IFD, EXIF_IFD = 0x013B, 0x8298, 0x010E, 0x8825, 0x8769
LENS = 0xA434
WITH_EXIF = [Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF]


def tagged() -> bytes:
    exif = Image.Exif()
    exif[ARTIST] = "Ada"
    exif[COPYRIGHT] = "© Ada".encode().decode("latin-1")
    exif[DESCRIPTION] = "At home"
    exif[0x0112] = 6
    exif.get_ifd(GPS_IFD)[1] = "N"
    exif.get_ifd(GPS_IFD)[2] = (48.0, 12.0, 30.0)
    exif.get_ifd(EXIF_IFD)[LENS] = "50 mm"
    return encode(scene(40, 30), "JPEG", exif=exif, comment=b"a comment")


def exif_of(data: bytes) -> dict[int, Any]:
    exif = opened(data).getexif()
    inner = {
        (ifd, tag): value for ifd in (GPS_IFD, EXIF_IFD) for tag, value in exif.get_ifd(ifd).items()
    }
    outer = {tag: value for tag, value in exif.items() if tag not in (GPS_IFD, EXIF_IFD)}
    return {**outer, **inner}


@pytest.mark.parametrize("format", WITH_EXIF)
def test_copyright_keeps_the_author_and_nothing_else(format: Format) -> None:
    kept = exif_of(make(tagged(), format=format).data)
    assert set(kept) == {ARTIST, COPYRIGHT}
    assert kept[ARTIST] == "Ada"


@pytest.mark.parametrize("format", WITH_EXIF)
@pytest.mark.parametrize("metadata", ["copyright", "keep"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1251"])
def test_a_name_is_kept_in_whatever_letters_it_stands(
    format: Format, metadata: str, encoding: str
) -> None:
    owner = "© 2024 Müller" if encoding != "cp1251" else "© 2024 Мюллер"
    exif = Image.Exif()
    exif[COPYRIGHT] = "?" * len(owner.encode(encoding))
    exif.get_ifd(EXIF_IFD)[LENS] = "!" * len(owner.encode(encoding))
    block = exif.tobytes()
    for mark in (b"?", b"!"):
        block = block.replace(mark * len(owner.encode(encoding)), owner.encode(encoding))
    data = encode(scene(8, 8), "JPEG", exif=block)
    made = make(data, width=4, format=format, metadata=metadata).data
    assert made.count(owner.encode(encoding) + b"\0") == (2 if metadata == "keep" else 1)


@pytest.mark.parametrize("format", WITH_EXIF)
def test_strip_keeps_nothing(format: Format) -> None:
    made = make(tagged(), format=format, metadata="strip").data
    assert exif_of(made) == {}
    assert b"Ada" not in made
    assert b"a comment" not in made


@pytest.mark.parametrize("format", WITH_EXIF)
def test_keep_keeps_all_but_what_is_no_longer_true(format: Format) -> None:
    kept = exif_of(make(tagged(), format=format, metadata="keep").data)
    assert kept[DESCRIPTION] == "At home"
    assert kept[GPS_IFD, 1] == "N"
    assert kept[EXIF_IFD, LENS] == "50 mm"
    assert 0x0112 not in kept  # the turn has been made


@pytest.mark.parametrize("metadata", ["strip", "copyright"])
@pytest.mark.parametrize("picture", SMALL, ids=lambda picture: picture.file)
def test_a_place_is_never_told_unless_asked(picture: Picture, metadata: str) -> None:
    made = exif_of(make(picture.data, width=20, format="jpeg", metadata=metadata).data)
    assert set(made) <= {ARTIST, COPYRIGHT}


@pytest.mark.parametrize("picture", SMALL, ids=lambda picture: picture.file)
def test_whatever_a_picture_says_of_itself_can_be_kept(picture: Picture) -> None:
    outcome = run(picture.data, Options(width=20, metadata="keep", format="jpeg"))
    assert isinstance(outcome, Result)
    assert isinstance(outcome.renditions[0], Rendition)


@pytest.mark.parametrize("metadata", ["copyright", "keep"])
def test_a_tiff_does_not_say_how_it_was_stored(metadata: str) -> None:
    told = ImageFileDirectory_v2()
    told[COPYRIGHT], told[DESCRIPTION] = "Ada", "At home"
    for tag in (700, 33723):
        told[tag] = b"SECRET"
        told.tagtype[tag] = 7
    data = encode(noise(64, 48), "TIFF", tiffinfo=told, compression="tiff_lzw")
    made = make(data, width=32, format="jpeg", metadata=metadata).data
    kept = exif_of(made)
    assert b"SECRET" not in made
    assert kept.pop(COPYRIGHT) == "Ada"
    assert kept == ({DESCRIPTION: "At home"} if metadata == "keep" else {})


def with_iptc(data: bytes, *records: tuple[int, str]) -> bytes:
    """A JPEG with records of the application record, as Photoshop keeps them."""
    packed = [
        struct.pack(">BBBH", 0x1C, 2, number, len(text.encode())) + text.encode()
        for number, text in records
    ]
    block = b"".join(packed)
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block
    body += b"\0" * (len(block) & 1)
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_who_owns_a_press_photo_is_told() -> None:
    records = ((5, "A title"), (80, "Ada"), (80, "Jörg"), (116, "© Agency"))
    plain = encode(scene(40, 30), "JPEG")
    exif = Image.Exif()
    exif[COPYRIGHT] = "Somebody"
    owned = encode(scene(40, 30), "JPEG", exif=exif)
    for format in WITH_EXIF:
        for metadata in ("copyright", "keep"):
            options = {"width": 20, "format": format, "metadata": metadata}
            kept = exif_of(make(with_iptc(plain, *records), **options).data)
            assert kept == {
                ARTIST: "Ada; Jörg".encode().decode("latin-1"),
                COPYRIGHT: "© Agency".encode().decode("latin-1"),
            }
            kept = exif_of(make(with_iptc(owned, *records), **options).data)
            assert kept[COPYRIGHT] == "Somebody", "EXIF has the word"
    assert exif_of(make(with_iptc(plain, *records), metadata="strip", format="jpeg").data) == {}


XMP = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:secret="urn:x" secret:note="SECRET"><dc:rights>
 <rdf:Alt><rdf:li xml:lang="x-default">\xc2\xa9 Ada</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF>"""


@pytest.mark.parametrize("format", [*WITH_EXIF, Format.TIFF])
@pytest.mark.parametrize("owner", ["", "Somebody"])
def test_who_owns_a_picture_is_told_by_its_xmp(format: Format, owner: str) -> None:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    exif = Image.Exif()
    if owner:
        exif[COPYRIGHT] = owner
    extra = {"pnginfo": text} if format is Format.PNG else {"xmp": XMP}
    if format is Format.TIFF:
        tags = ImageFileDirectory_v2()
        tags[700] = XMP
        if owner:
            tags[COPYRIGHT] = owner
        extra = {"tiffinfo": tags}
    else:
        extra["exif"] = exif
    data = encode(scene(40, 30), format.value.upper(), **extra)
    made = make(data, width=20, format="jpeg").data
    assert exif_of(made) == {COPYRIGHT: owner or "© Ada".encode().decode("latin-1")}
    assert b"SECRET" not in made
    assert exif_of(make(data, width=20, format="jpeg", metadata="strip").data) == {}


@given(block=st.binary(max_size=60))
def test_a_damaged_block_of_iptc_does_no_harm(block: bytes) -> None:
    for start in (b"", b"\x1c\x02\x50", b"\x1c\x02\x74\x00\x01a"):
        assert set(read_iptc_credits(start + block)) <= {ARTIST, COPYRIGHT}


@pytest.mark.parametrize("international", [False, True])
def test_who_owns_a_png_is_told_by_its_text(international: bool) -> None:
    text = PngInfo()
    add = text.add_itxt if international else text.add_text
    add("Author", "Ada")
    add("Copyright", "© Müller")
    add("Comment", "SECRET")
    made = make(encode(scene(40, 30), pnginfo=text), width=20, format="jpeg").data
    assert exif_of(made) == {ARTIST: "Ada", COPYRIGHT: "© Müller".encode().decode("latin-1")}
    assert b"SECRET" not in made


def test_the_old_thumbnail_is_not_kept() -> None:
    """It would show what a crop has cut off."""
    exif = Image.Exif()
    exif[DESCRIPTION] = "x"
    block = bytearray(exif.tobytes()[6:])
    next_ifd = 8 + 2 + 12
    block[next_ifd : next_ifd + 4] = struct.pack("<I", len(block))
    thumbnail = encode(scene(16, 12), "JPEG")
    at = len(block) + 2 + 2 * 12 + 4
    block += struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, at, 0x202, 4, 1, len(thumbnail), 0)
    data = encode(scene(40, 30), "JPEG", exif=b"Exif\0\0" + bytes(block) + thumbnail)
    assert data.count(b"\xff\xd8\xff") == 2

    made = make(data, width=20, format="jpeg", metadata="keep").data

    assert made.count(b"\xff\xd8\xff") == 1
    assert exif_of(made)[DESCRIPTION] == "x"


@pytest.mark.parametrize("tag", [ARTIST, COPYRIGHT])
@pytest.mark.parametrize("kind", [3, 5, 7, 10, 11, 12])
def test_an_author_of_the_wrong_type_does_no_harm(tag: int, kind: int) -> None:
    data = encode(
        scene(8, 8), "JPEG", exif=exif_entry(tag, kind, b"\x01\x02\x03\x04\x05\x06\x07\x08")
    )
    outcome = run(data)
    assert isinstance(outcome, Result)
    assert isinstance(outcome.renditions[0], Rendition)


@pytest.mark.parametrize("metadata", ["copyright", "keep"])
def test_more_metadata_than_a_jpeg_holds_does_no_harm(metadata: str) -> None:
    """A JPEG segment ends at 64 KiB, other containers don't."""
    exif = Image.Exif()
    exif[COPYRIGHT] = "x" * 70_000
    outcome = run(encode(scene(8, 8), "WEBP", exif=exif), Options(metadata=metadata, format="jpeg"))
    assert isinstance(outcome, Result)


# All the options together.


@settings(max_examples=60)
@given(
    width=st.none() | st.integers(1, 60),
    height=st.none() | st.integers(1, 60),
    fit=st.sampled_from(["cover", "contain", "inside", "outside", "fill"]),
    enlarge=st.booleans(),
    rotate=st.sampled_from([0, 90, 180, 270]),
    format=st.sampled_from(["auto", "source", "jpeg", "png", "webp", "gif"]),
    gravity=st.sampled_from(["center", "southwest", "fp:0.9,0.1"]),
    blur=st.sampled_from([0, 1.5]),
    grayscale=st.booleans(),
    source=st.sampled_from(range(4)),
)
def test_any_options_give_what_they_promise(source: int, **asked: Any) -> None:
    given_options = {name: value for name, value in asked.items() if value is not None}
    options = parse_options(given_options)
    (made,) = process(_SOURCES[source], [options], Limits()).renditions
    assert isinstance(made, Rendition)
    assert opened(made.data).size == (made.width, made.height)
    if made.crop:
        assert 0 <= made.crop.x <= made.crop.x + made.crop.width <= 24
        assert 0 <= made.crop.y <= made.crop.y + made.crop.height <= 18


_SOURCES = (
    encode(scene(24, 18), "JPEG"),
    encode(scene(24, 18).convert("RGBA")),
    encode(scene(24, 18).quantize(16), "GIF"),
    encode(scene(24, 18).convert("CMYK"), "TIFF"),
)


# Output that would take too much.


SMALL_TASK = Limits(max_task_mb=4)
"""Room for a rendition of 300×300 as JPEG or PNG, of 200×200 as anything."""


def test_a_rendition_that_takes_too_much_fails_alone() -> None:
    wanted = [
        Options(width=side, format="avif", enlarge=True, name=str(side)) for side in (50, 400)
    ]
    small, large = process(png(100, 100), wanted, SMALL_TASK).renditions
    assert isinstance(small, Rendition)
    assert isinstance(large, FailedRendition)
    assert isinstance(large.error, LimitExceeded)
    assert "400×400" in large.error.detail


def test_nothing_is_decoded_for_what_takes_too_much() -> None:
    cut_off = encode(noise(100, 100))[:2000]
    (failed,) = process(
        cut_off, [Options(width=400, enlarge=True, format="avif")], SMALL_TASK
    ).renditions
    assert isinstance(failed, FailedRendition)
    assert isinstance(failed.error, LimitExceeded)


@pytest.mark.parametrize(
    ("accept", "side", "format"),
    [
        ((Format.AVIF, Format.WEBP), 200, Format.AVIF),
        ((Format.AVIF, Format.WEBP), 350, Format.WEBP),
        ((Format.AVIF, Format.WEBP), 500, Format.JPEG),
        ((Format.AVIF,), 350, Format.JPEG),
    ],
)
def test_auto_steps_back_to_a_format_that_can_be_made(
    accept: tuple[Format, ...], side: int, format: Format
) -> None:
    wanted = Options(width=side, enlarge=True, accept=accept)
    (made,) = process(png(100, 100), [wanted], SMALL_TASK).renditions
    assert isinstance(made, Rendition)
    assert made.format is format


def test_a_transparent_picture_does_not_step_back_to_a_format_without() -> None:
    data = png(100, 100, "RGBA", (1, 2, 3, 100))
    (failed,) = process(data, [Options(width=450, enlarge=True)], SMALL_TASK).renditions
    assert isinstance(failed, FailedRendition)
    assert "as png" in failed.error.detail


def test_the_border_that_is_cut_off_may_make_a_result_too_large() -> None:
    picture = plain(100, 100, color=(255, 255, 255))
    picture.paste((0, 0, 0), (49, 10, 51, 90))
    wanted = Options(width=150, trim=5, enlarge=True, format="jpeg")
    (failed,) = process(encode(picture), [wanted], SMALL_TASK).renditions
    assert isinstance(failed, FailedRendition)
    assert "150×6000" in failed.error.detail


MOVED = [scene(96, 72).rotate(7 * turn) for turn in range(4)]
COARSE = {
    "jpeg": encode(noise(120, 90), "JPEG", quality=30),
    "webp": encode(noise(120, 90), "WEBP", quality=5),
    "avif": encode(noise(120, 90), "AVIF", quality=20),
    "avif, alpha": encode(scene(120, 90).convert("RGBA"), "AVIF", quality=20),
    "gif": encode(noise(120, 90).quantize(16, dither=Image.Dither.NONE), "GIF"),
    "moving webp": encode(
        MOVED[0], "WEBP", save_all=True, append_images=MOVED[1:], duration=90, quality=10
    ),
    "moving gif": encode(
        MOVED[0].quantize(8),
        "GIF",
        save_all=True,
        append_images=[image.quantize(8) for image in MOVED[1:]],
        duration=90,
    ),
}


@pytest.mark.parametrize("name", COARSE)
def test_a_result_is_not_larger_than_a_source_of_its_format_and_size(name: str) -> None:
    data = COARSE[name]
    made = make(data, format="source")
    assert len(made.data) <= len(data)
    assert make(data, format="source", max_bytes=len(data)).data == made.data
    assert made.frames == read_header(data).frames
    padded = make(data, format="source", width=140, height=90, fit="contain")
    assert (padded.width, padded.height) == (140, min(90, read_header(data).height + 18))


@pytest.mark.parametrize(("effort", "asked"), [(4, 60), (9, 60), (9, 80), (9, 40), (4, 30)])
def test_a_source_is_handed_out_unseen_only_where_it_is_smaller(effort: int, asked: int) -> None:
    options = Options(format="jpeg", quality=asked, effort=effort)
    photo = opened(corpus.read("photo_flower_480x360"))
    told = []
    for quality in range(10, asked + 1, 5):
        data = encode(photo, "JPEG", quality=quality)
        coarser = is_coarser(read_header(data), Format.JPEG, options)
        told.append(coarser)
        if coarser:
            assert len(write_jpeg(opened(data), asked, effort, None, b"")) > len(data)
            assert process(data, [options], Limits()).renditions[0].data == data
    assert told[0]
    assert not told[-1]
    assert told == sorted(told, reverse=True)
    assert not is_coarser(read_header(data), Format.PNG, options)
