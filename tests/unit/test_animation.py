"""Animations: what is seen, for how long and how often, from every format to every format."""

import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from omnishot_ray.errors import (
    ContradictoryOptions,
    CorruptImage,
    ImageError,
    LimitExceeded,
)
from omnishot_ray.imaging import animation
from omnishot_ray.imaging.formats import ANIMATED, Format
from omnishot_ray.imaging.geometry import Size
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import Rendition, Result, process
from omnishot_ray.imaging.ssim import ssim
from omnishot_ray.protocol import ImageTask, run_task
from tests import corpus
from tests.golden.compare import measure
from tests.moving import (
    GifPatch,
    PngPatch,
    apng,
    assert_same,
    block,
    cells,
    fail,
    frames_of,
    gif,
    gif_reference,
    make,
    watched,
)
from tests.pictures import (
    Pixels,
    encode,
    mean_difference,
    noise,
    opened,
    plain,
    scene,
)

MOVING = [
    "gif_animated_chi_320x240",
    "gif_animated_loop3_370x285",
    "webp_animated_loop3_370x285",
    "webp_animated_squares_80x80",
    "avif_animated_colors_150x150",
]
by_name = pytest.mark.parametrize("name", MOVING)
by_format = pytest.mark.parametrize("format", sorted(ANIMATED))


# Real animations: the picture, resized, is what it was at every time.


def resized(frame: Pixels, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)


def on_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


@by_name
@by_format
@pytest.mark.parametrize("width", [120, None])
def test_it_looks_like_its_source_at_every_time(name: str, format: str, width: int | None) -> None:
    data = corpus.read(name)
    source = watched(data)
    options = {"format": format, "quality": 95} | ({"width": width} if width else {})
    rendition = make(data, **options)
    made = watched(rendition.data)

    assert rendition.frames == len(made.frames)
    rounding = 5 * len(source.durations) if format == "gif" else 0
    assert sum(made.durations) == pytest.approx(sum(source.durations), abs=rounding)
    size = rendition.width, rendition.height
    begins = 0.0
    for frame, duration in zip(source.frames, source.durations, strict=True):
        seen = Image.fromarray(made.at(begins + duration / 2))
        difference = measure(on_white(resized(frame, size)), on_white(seen))
        assert difference.mean < 4, difference
        assert difference.similarity > 0.9, difference
        begins += duration


@by_name
def test_a_gif_keeps_every_frame_and_its_time(name: str) -> None:
    data = corpus.read(name)
    source, made = watched(data), watched(make(data, width=60, format="gif").data)
    assert len(made.frames) == len(source.frames)
    assert made.durations == pytest.approx(source.durations, abs=10)


TIMES = [[40, 70, 1000], [10, 10, 10], [0, 0, 0], [20, 500, 30]]


@by_format
@pytest.mark.parametrize("times", TIMES, ids=str)
def test_times_are_kept(format: str, times: list[int]) -> None:
    patches = [GifPatch(block(8, 6, i + 1), delay=ms // 10) for i, ms in enumerate(times)]
    assert watched(make(gif(8, 6, patches), format=format).data).durations == times


@pytest.mark.parametrize(
    ("times", "centiseconds"),
    [
        ([33, 33, 34], [3, 4, 3]),
        ([16, 17, 17], [2, 2, 2]),  # browsers would show 10 ms as 100 ms
        ([8, 8, 8], [1, 1, 1]),  # they show that as 100 ms too
    ],
    ids=str,
)
def test_times_that_a_gif_cannot_say_do_not_add_up_to_another_length(
    times: list[int], centiseconds: list[int]
) -> None:
    images = [plain(8, 6, "RGB", color) for color in ("red", "green", "blue")]
    data = encode(images[0], "WEBP", save_all=True, append_images=images[1:], duration=times)
    made = watched(make(data, format="gif").data)
    assert made.durations == [10 * delay for delay in centiseconds]


def test_a_time_longer_than_a_format_can_say_is_cut_short() -> None:
    """64 frames of 18 hours are more milliseconds than the WebP encoder counts."""
    patches = [PngPatch(cells(seed, 2, 2), delay=(65535, 1)) for seed in range(64)]
    data = apng(2, 2, patches)
    assert set(watched(make(data, format="gif").data).durations) == {655_350}
    made = watched(make(data, format="webp", lossless=True).data).durations
    assert set(made) == {2**24 - 1}


@pytest.mark.parametrize("loops", [None, 0, 1, 2, 65535])
def test_a_gif_is_shown_as_often_as_before(loops: int | None) -> None:
    """A GIF's count leaves out the first showing, that of a WebP does not (see `gif2webp`)."""
    data = gif(8, 6, [GifPatch(block(8, 6, 1)), GifPatch(block(8, 6, 2))], loops)
    assert watched(make(data, format="gif").data).loop == loops
    showings = 1 if loops is None else loops and min(loops + 1, 65535)
    assert watched(make(data, format="webp").data).loop == showings


@pytest.mark.parametrize(("plays", "loops"), [(0, 0), (1, None), (2, 1), (7, 6)])
def test_an_apng_and_a_webp_are_shown_as_often_as_before(plays: int, loops: int | None) -> None:
    patches = [PngPatch(cells(seed, 8, 6)) for seed in (1, 2)]
    made = make(apng(8, 6, patches, plays=plays), format="webp").data
    assert watched(made).loop == plays
    assert watched(make(made, format="gif").data).loop == loops
    assert watched(make(made, format="webp").data).loop == plays


def test_an_animated_avif_is_shown_as_often_as_its_edit_list_says() -> None:
    data = corpus.read("avif_animated_colors_150x150")
    assert watched(make(data, format="webp").data).loop == 1
    edits, track = data.index(b"elst"), data.index(b"tkhd")
    (once,) = struct.unpack_from(">Q" if data[edits + 4] else ">I", data, edits + 12)
    wide = data[track + 4] == 1
    for length, plays in ((3 * once, 3), (2 ** (64 if wide else 32) - 1, 0)):
        repeated = bytearray(data)
        repeated[edits + 7] |= 1
        struct.pack_into(">Q" if wide else ">I", repeated, track + (32 if wide else 24), length)
        assert watched(make(bytes(repeated), format="webp").data).loop == plays


# All frames alike.


@by_format
@pytest.mark.parametrize(
    "options",
    [
        {"width": 60, "height": 60, "gravity": "east"},
        {"width": 40, "height": 90, "fit": "contain", "background": "102030"},
        {"width": 60, "rotate": 90},
        {"width": 60, "grayscale": True},
        {"width": 60, "blur": 3},
        {"width": 60, "sharpen": 1},
    ],
    ids=str,
)
def test_every_frame_is_treated_like_a_picture(format: str, options: dict[str, Any]) -> None:
    data = corpus.read("webp_animated_loop3_370x285")
    source = watched(data)
    rendition = make(data, format=format, quality=95, **options)
    made = watched(rendition.data)
    for index in (0, 4, 9):
        alone = process(
            encode(Image.fromarray(source.frames[index])),
            [parse_options({**options, "format": "png"})],
            Limits(),
        ).renditions[0]
        assert isinstance(alone, Rendition)
        assert alone.crop == rendition.crop
        expected = on_white(opened(alone.data).convert("RGBA"))
        difference = measure(expected, on_white(Image.fromarray(made.frames[index])))
        assert difference.mean < 4, difference


def test_the_contrast_is_stretched_alike_in_all_frames() -> None:
    """Else a fade to black would be no fade."""
    bright = np.asarray(scene(40, 30)) // 2
    frames = [Image.fromarray((bright * share).astype(np.uint8)) for share in (1.0, 0.5)]
    data = encode(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True
    )
    first, second = watched(make(data, format="webp", lossless=True, normalize=True).data).frames
    assert first[..., :3].max() > 230
    assert abs(float(second[..., :3].mean() / first[..., :3].mean()) - 0.5) < 0.06


def test_a_profile_is_converted_in_every_frame() -> None:
    wide = opened(corpus.read("jpeg_display_p3_gainmap_384x512"))
    profile = wide.info["icc_profile"]
    images = [plain(8, 6, "RGB", color) for color in ((200, 60, 60), (60, 200, 60))]
    data = encode(
        images[0],
        "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=100,
        lossless=True,
        icc_profile=profile,
    )
    made = watched(make(data, format="webp", lossless=True).data).frames
    for frame, image in zip(made, images, strict=True):
        still = make(encode(image, icc_profile=profile), format="png")
        assert (frame[..., :3] == np.asarray(opened(still.data).convert("RGB"))).all()
        assert not (frame[..., :3] == np.asarray(image)).all()


# Which renditions move.


def test_an_apng_moves_as_webp_and_shows_its_default_image_as_png() -> None:
    red, blue = plain(8, 6, "RGBA", (255, 0, 0, 255)), plain(8, 6, "RGBA", (0, 0, 255, 255))
    patches = [PngPatch(np.asarray(image), delay=(1, 4)) for image in (red, blue)]
    default = np.asarray(plain(8, 6, "RGBA", (0, 255, 0, 255)))
    data = apng(8, 6, patches, plays=4, default=default)
    for options in ({}, {"format": "webp"}, {"format": "gif"}):
        made = watched(make(data, **options).data)
        assert made.durations == [250, 250]
        assert mean_difference(made.frames[0][..., :3], np.asarray(red.convert("RGB"))) < 3
    for options in ({"format": "png"}, {"format": "source"}, {"animated": False}):
        made_still = make(data, **options)
        assert made_still.frames == 1
        assert opened(made_still.data).convert("RGB").getpixel((3, 3))[1] > 250


ANIMATION = gif(8, 6, [GifPatch(block(8, 6, 1)), GifPatch(block(8, 6, 2))])


@pytest.mark.parametrize(
    ("options", "format", "frames"),
    [
        ({}, Format.WEBP, 2),
        ({"animated": True}, Format.WEBP, 2),
        ({"animated": False}, Format.JPEG, 1),
        ({"format": "webp"}, Format.WEBP, 2),
        ({"format": "gif"}, Format.GIF, 2),
        ({"format": "source"}, Format.GIF, 2),
        ({"format": "source", "animated": False}, Format.GIF, 1),
        ({"format": "webp", "animated": False}, Format.WEBP, 1),
        ({"format": "jpeg"}, Format.JPEG, 1),
        ({"format": "png"}, Format.PNG, 1),
        ({"format": "avif"}, Format.AVIF, 1),
        ({"platform": "instagram-post"}, Format.JPEG, 1),
        ({"lossless": True}, Format.WEBP, 2),
        ({"palette": True}, Format.GIF, 2),
    ],
    ids=str,
)
def test_what_moves(options: dict[str, Any], format: Format, frames: int) -> None:
    made = make(ANIMATION, **options)
    assert (made.format, made.frames) == (format, frames)
    assert getattr(opened(made.data), "n_frames", 1) == frames


@pytest.mark.parametrize("accept", [(), (Format.AVIF,), (Format.AVIF, Format.WEBP)])
def test_what_moves_is_webp_whatever_else_the_client_shows(accept: tuple[Format, ...]) -> None:
    (made,) = process(ANIMATION, [Options(accept=accept)], Limits()).renditions
    assert isinstance(made, Rendition)
    assert (made.format, made.frames) == (Format.WEBP, 2)
    (still,) = process(ANIMATION, [Options(accept=accept, animated=False)], Limits()).renditions
    assert isinstance(still, Rendition)
    assert (still.format, still.frames) == (accept[0] if accept else Format.JPEG, 1)


def test_the_quality_of_an_animation_is_found_in_its_frames() -> None:
    images = [noise(64, 48, seed).filter(ImageFilter.GaussianBlur(2)) for seed in range(5)]
    data = encode(
        images[0], "WEBP", save_all=True, append_images=images[1:], duration=100, lossless=True
    )
    sizes = []
    for target in (0.6, 0.9, 0.99):
        made = make(data, format="webp", quality="auto", target_ssim=target)
        sizes.append(len(made.data))
        frames = watched(made.data).frames
        for frame, image in zip(frames, images, strict=True):
            seen, grey = (one.convert("L") for one in (Image.fromarray(frame), image))
            assert ssim(grey, seen) > target - 0.04  # frames are coded by their differences
    assert sizes == sorted(set(sizes))
    whole = make(data, format="webp", quality="auto")
    within = make(data, format="webp", quality="auto", max_bytes=len(whole.data) * 2 // 3)
    assert len(within.data) <= len(whole.data) * 2 // 3


def test_a_gif_that_stays_one_has_no_quality_to_find() -> None:
    assert type(fail(ANIMATION, format="source", quality="auto")) is ContradictoryOptions


@pytest.mark.parametrize("format", ["jpeg", "png", "avif"])
def test_what_cannot_move_is_not_asked_to(format: str) -> None:
    with pytest.raises(ContradictoryOptions, match="webp or gif"):
        parse_options({"format": format, "animated": True})


@pytest.mark.parametrize("name", ["avif_animated_colors_150x150", "apng_blend_over_128x64"])
def test_the_source_decides_whether_its_own_format_can_move(name: str) -> None:
    data = corpus.read(name)
    assert make(data, format="source").frames == 1
    assert type(fail(data, format="source", animated=True)) is ContradictoryOptions


@pytest.mark.parametrize("format", ["source", "auto", "webp", "gif"])
def test_a_picture_may_be_asked_to_move(format: str) -> None:
    assert make(encode(scene(8, 6), "JPEG"), format=format, animated=True).frames == 1


def test_many_renditions_take_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    real = animation.read_frames

    def counted(*args: Any) -> Any:
        passes.append(args)
        return real(*args)

    monkeypatch.setattr(animation, "read_frames", counted)
    data = corpus.read("webp_animated_squares_80x80")
    wanted = [
        Options(name="a", width=40, format="webp"),
        Options(name="b", format="png"),
        Options(name="c", width=30, height=20, format="gif"),
        Options(name="d", format="source"),
    ]
    together = process(data, wanted, Limits()).renditions
    assert len(passes) == 1
    assert [one.name for one in together] == ["a", "b", "c", "d"]
    assert list(together) == [process(data, [one], Limits()).renditions[0] for one in wanted]


def test_what_is_held_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renditions that do not fit together take a pass each."""
    held = []
    real = animation.render_frames

    def counted(source: Any, data: bytes, films: Any) -> Any:
        films = list(films)
        held.append(sum(film.output.width * film.output.height * 9 for film in films))
        return real(source, data, films)

    monkeypatch.setattr("omnishot_ray.imaging.pipeline.render_frames", counted)
    limits = Limits(max_pixels=9 * 80 * 80)
    wanted = [Options(name=str(side), width=side, format="webp") for side in (60, 50, 80, 10)]
    made = process(corpus.read("webp_animated_squares_80x80"), wanted, limits).renditions
    assert [one.width for one in made if isinstance(one, Rendition)] == [60, 50, 80, 10]
    assert len(held) == 3
    assert max(held) <= limits.max_pixels


# What an animation may cost.


def test_an_apng_over_the_limits_shows_its_default_image() -> None:
    data = corpus.read("apng_blend_over_128x64")  # 128 frames
    for options in ({}, {"format": "webp"}, {"format": "png"}):
        assert make(data, **options).frames == 1
    error = fail(data, format="webp", animated=True)
    assert type(error) is LimitExceeded
    assert "64 frames" in error.detail
    assert make(data, limits=Limits(max_frames=128), format="gif").frames == 128


@pytest.mark.parametrize("claimed", [65, 1000, 2**32 - 1])
def test_an_apng_that_claims_many_frames_is_not_believed(claimed: int) -> None:
    data = apng(8, 6, [PngPatch(cells(1, 8, 6)), PngPatch(cells(2, 8, 6))], claimed=claimed)
    assert type(fail(data, format="gif", animated=True)) is LimitExceeded


def test_frames_beyond_those_claimed_are_not_decoded() -> None:
    data = apng(8, 6, [PngPatch(cells(seed, 8, 6)) for seed in range(9)], claimed=3)
    assert len(frames_of(data)) == 3
    fewer = apng(8, 6, [PngPatch(cells(seed, 8, 6)) for seed in range(3)], claimed=5)
    assert len(frames_of(fewer)) == 3


def test_frames_count_against_the_pixels_of_a_result() -> None:
    limits = Limits(max_pixels=2 * 40 * 30)
    error = fail(ANIMATION, limits, width=100, enlarge=True, format="webp")
    assert type(error) is LimitExceeded
    assert "animated=false" in error.detail
    assert make(ANIMATION, limits, width=100, enlarge=True, animated=False).frames == 1
    assert make(ANIMATION, limits, width=40, enlarge=True, format="webp").frames == 2


def test_max_bytes_is_kept() -> None:
    data = corpus.read("webp_animated_loop3_370x285")
    free = make(data, format="webp")
    limit = len(free.data) * 2 // 3
    made = make(data, format="webp", max_bytes=limit)
    assert made.frames == free.frames
    assert limit // 2 < len(made.data) <= limit
    for format in ("webp", "gif"):
        error = fail(data, format=format, max_bytes=100)
        assert type(error) is LimitExceeded
        assert "animated=false" in error.detail


def test_a_walk_over_an_apng_ends_soon() -> None:
    """However many chunks: each frame needs a control chunk, and few are taken."""
    image = cells(1, 8, 6)
    data = apng(8, 6, [PngPatch(image), PngPatch(image)])
    junk = struct.pack(">I", 0) + b"teXt" + bytes(4)
    started = time.thread_time()
    make(data[:-12] + junk * 300_000 + data[-12:], format="webp")
    assert time.thread_time() - started < 1.0


@by_format
def test_what_stays_is_not_encoded_again(format: str) -> None:
    """Key frames beyond the first would hold all of it once more."""
    still = np.asarray(noise(90, 90)).copy()
    images = []
    for step in range(16):
        moved = still.copy()
        moved[40:44, 5 * step : 5 * step + 4] = 0
        images.append(Image.fromarray(moved))
    data = encode(
        images[0], "WEBP", save_all=True, append_images=images[1:], duration=50, lossless=True
    )
    first = make(data, format=format, animated=False, lossless=format == "webp")
    all_of_them = make(data, format=format, lossless=format == "webp")
    assert all_of_them.frames == 16
    assert len(all_of_them.data) < 1.5 * len(first.data)


@by_format
def test_metadata_goes_along_where_the_format_holds_it(format: str) -> None:
    exif = Image.Exif()
    exif[0x8298], exif[0x010E] = "Ada", "At home"
    images = [plain(8, 6, "RGB", color) for color in ("red", "blue")]
    data = encode(images[0], "WEBP", save_all=True, append_images=images[1:], exif=exif)
    made = make(data, format=format).data
    kept = dict(opened(made).getexif())
    assert kept == ({0x8298: "Ada"} if format == "webp" else {})
    assert b"At home" not in made


def test_the_same_task_gives_the_same_bytes() -> None:
    data = corpus.read("webp_animated_squares_80x80")
    for format in ANIMATED:
        assert make(data, width=50, format=format).data == make(data, width=50, format=format).data


def test_timings_tell_where_the_time_went() -> None:
    result = process(corpus.read("webp_animated_squares_80x80"), [Options(width=40)], Limits())
    assert isinstance(result, Result)
    assert min(result.timings.decode, result.timings.transform, result.timings.encode) > 0


_FUZZED = [
    gif(8, 6, [GifPatch(block(8, 6, i), disposal=i) for i in (1, 2, 3)], 2),
    apng(8, 6, [PngPatch(cells(seed, 8, 6), over=seed > 1) for seed in (1, 2, 3)]),
    corpus.read("webp_animated_squares_80x80"),
    corpus.read("avif_animated_colors_150x150"),
]


@pytest.mark.parametrize("data", _FUZZED, ids=["gif", "apng", "webp", "avif"])
@settings(max_examples=60)
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8))
def test_damage_has_a_named_outcome(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % min(len(damaged), 2000)] = value
    wanted = (Options(name="a", width=8, format="webp"), Options(name="b", width=8, format="gif"))
    limits = Limits(max_pixels=4_000_000)
    outcome = run_task(ImageTask(bytes(damaged), wanted, "a-request"), limits)
    assert isinstance(outcome, Result | ImageError)


def test_a_damaged_avif_is_told_to_be_one() -> None:
    """Its decoder raises an error that no other does, on opening and on decoding."""
    data = bytearray(corpus.read("avif_animated_colors_150x150"))
    data[-400:] = bytes(400)
    for options in ({"format": "webp"}, {"format": "jpeg"}):
        assert type(fail(bytes(data), **options)) is CorruptImage


def test_durations_that_no_webp_can_hold_are_shortened() -> None:
    """A broken AVIF claimed sixteen hours a frame, and the sum went beyond 32 bits."""
    film = animation.Film(Options(), Format.WEBP, Size(8, 8), None, None, lambda one: one.image)
    film.images = [plain(8, 8, color=(40 * step, 0, 0)) for step in range(4)]
    film.durations_ms = [59_733_367.0, 2e9, float("nan"), -5.0]
    shown = opened(animation.encode_film(film, b""))
    shown.seek(1)
    assert shown.info["duration"] == 0xFFFFFF


def test_a_webp_of_opaque_frames_on_a_transparent_canvas_says_so() -> None:
    patches = [GifPatch(block(1, 1, 0), 0, 2), GifPatch(block(1, 1, 0), 0, 0)]
    made = watched(make(gif(8, 6, patches), format="webp", lossless=True).data)
    assert_same(made.frames, gif_reference(8, 6, patches))
