"""The frames of an animation as they are seen: the rules of patches, and what breaks them."""

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.formats import ANIMATED
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, process
from tests import corpus
from tests.moving import (
    CLEAR,
    KEEP,
    NO_DISPOSAL,
    PALETTE,
    RESTORE,
    GifPatch,
    PngPatch,
    apng,
    apng_reference,
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
from tests.pictures import encode, opened, png_of_chunks, scene

# What is seen of a GIF: the rules of its patches.


GIFS = {
    "clears to nothing, not to the background": [
        GifPatch(block(8, 6, 1), disposal=CLEAR),
        GifPatch(block(2, 2, 2), 3, 2),
    ],
    "clears its own area only": [
        GifPatch(block(8, 6, 1)),
        GifPatch(block(3, 3, 2), 1, 1, disposal=CLEAR),
        GifPatch(block(2, 2, 3), 5, 3),
    ],
    "restores what was there": [
        GifPatch(block(8, 6, 1)),
        GifPatch(block(3, 3, 2), 1, 1, disposal=RESTORE),
        GifPatch(block(3, 3, 3), 2, 2, disposal=RESTORE),
        GifPatch(block(1, 1, 4)),
    ],
    "restores nothing at first": [
        GifPatch(block(3, 3, 2), 1, 1, disposal=RESTORE),
        GifPatch(block(1, 1, 4)),
    ],
    "a disposal counts for its frame alone": [
        GifPatch(block(8, 6, 1), disposal=CLEAR),
        GifPatch(block(8, 6, 2), disposal=NO_DISPOSAL),
        GifPatch(block(2, 2, 3)),
    ],
    "transparent pixels leave what is below": [
        GifPatch(block(8, 6, 1)),
        GifPatch(np.eye(6, 8, dtype=np.uint8), transparent=0),
    ],
    "a first frame need not cover the screen": [
        GifPatch(block(3, 2, 1), 4, 3),
        GifPatch(block(1, 1, 2)),
    ],
    "palettes of their own": [
        GifPatch(block(8, 6, 1), palette=PALETTE[::-1].copy()),
        GifPatch(block(4, 4, 1), 2, 1),
        GifPatch(block(2, 2, 0), palette=np.array([(1, 2, 3), (9, 9, 9)], dtype=np.uint8)),
    ],
    "a later frame does not enlarge the screen": [
        GifPatch(block(8, 6, 1)),
        GifPatch(block(6, 6, 2), 5, 4, disposal=CLEAR),
        GifPatch(block(2, 2, 3), 9, 9),
    ],
}


@pytest.mark.parametrize("patches", GIFS.values(), ids=GIFS.keys())
def test_a_gif_is_seen_as_browsers_show_it(patches: list[GifPatch]) -> None:
    assert_same(frames_of(gif(8, 6, patches)), gif_reference(8, 6, patches))


@st.composite
def gif_patches(draw: st.DrawFn) -> list[GifPatch]:
    patches = []
    for _ in range(draw(st.integers(2, 5))):
        width, height = draw(st.integers(1, 8)), draw(st.integers(1, 6))
        cells = draw(st.binary(min_size=width * height, max_size=width * height))
        indices = (np.frombuffer(cells, np.uint8) % 6).reshape(height, width)
        x, y = draw(st.integers(0, 8 - width)), draw(st.integers(0, 6 - height))
        disposal = draw(st.sampled_from([NO_DISPOSAL, KEEP, CLEAR, RESTORE]))
        transparent = draw(st.none() | st.integers(0, 5))
        patches.append(GifPatch(indices, x, y, disposal=disposal, transparent=transparent))
    return patches


@given(gif_patches())
def test_any_gif_is_seen_as_browsers_show_it(patches: list[GifPatch]) -> None:
    data = gif(8, 6, patches)
    expected = gif_reference(8, 6, patches)
    assert_same(frames_of(data), expected)
    ours = make(data, format="gif").data
    if ours != data:  # which Pillow does not always show as browsers do
        assert_same(watched(ours).frames, expected)
    assert_same(frames_of(ours), expected)
    if not (expected[0] == expected[1]).all():  # the same twice is one picture in a WebP
        made = watched(make(data, format="webp", lossless=True).data)
        assert_same([made.at(0), made.at(100)], expected[:2])


def test_the_first_frame_alone_leaves_the_rest_of_the_screen_transparent() -> None:
    data = gif(8, 6, GIFS["a first frame need not cover the screen"])
    still = np.asarray(opened(make(data, format="png").data).convert("RGBA"))
    assert_same([still], frames_of(data)[:1])


def test_a_gif_without_any_palette_is_grey() -> None:
    ramp = np.arange(48, dtype=np.uint8).reshape(6, 8)
    data = gif(8, 6, [GifPatch(ramp), GifPatch(ramp[::-1].copy())], palette=None)
    assert (frames_of(data)[1][..., 0] == ramp[::-1]).all()


def test_an_interlaced_frame_is_put_in_order() -> None:
    image = scene(20, 17).quantize(16)
    data = bytearray(encode(image, "GIF", interlace=1))
    one = data.index(b"\x2c\x00\x00\x00\x00\x14\x00\x11\x00")
    assert data[one + 9] & 0x40
    twice = bytes(data[:-1] + data[one:])
    first, second = frames_of(twice)
    assert (first == second).all()
    assert (first[..., :3] == np.asarray(image.convert("RGB"))).all()


def test_a_frame_larger_than_the_screen_is_refused() -> None:
    """It would be decoded whole, whatever is seen of it."""
    data = bytearray(gif(8, 6, [GifPatch(block(8, 6, 1)), GifPatch(block(8, 6, 2))]))
    second = data.rindex(b"\x2c\x00\x00\x00\x00\x08\x00\x06\x00")
    data[second + 5 : second + 9] = b"\xff\xff\xff\xff"
    assert type(fail(bytes(data), format="gif")) is CorruptImage
    assert make(bytes(data), format="jpeg").frames == 1


@pytest.mark.parametrize("format", sorted(ANIMATED))
def test_a_cut_off_animation_is_refused(format: str) -> None:
    data = corpus.read("gif_animated_chi_320x240")
    assert type(fail(data[: len(data) * 2 // 3], format=format)) is CorruptImage


def test_damage_in_a_later_frame_costs_the_moving_renditions_alone() -> None:
    data = bytearray(corpus.read("gif_animated_chi_320x240"))
    data = data[: len(data) // 2]
    wanted = [Options(name=name, width=40, format=name) for name in ("webp", "jpeg", "gif")]
    webp, jpeg, moved = process(bytes(data), wanted, Limits()).renditions
    assert isinstance(webp, FailedRendition)
    assert isinstance(webp.error, CorruptImage)
    assert isinstance(jpeg, Rendition)
    assert isinstance(moved, FailedRendition)


# What is seen of an APNG.


@st.composite
def png_patches(draw: st.DrawFn) -> list[PngPatch]:
    patches = [PngPatch(cells(draw(st.integers(0, 99)), 8, 6))]
    for _ in range(draw(st.integers(1, 4))):
        width, height = draw(st.integers(1, 8)), draw(st.integers(1, 6))
        patches.append(
            PngPatch(
                cells(draw(st.integers(0, 99)), width, height),
                draw(st.integers(0, 8 - width)),
                draw(st.integers(0, 6 - height)),
                disposal=draw(st.sampled_from([0, 1, 2])),
                over=draw(st.booleans()),
            )
        )
    return patches


@given(png_patches(), st.booleans())
def test_any_apng_is_seen_as_the_specification_says(
    patches: list[PngPatch], with_default: bool
) -> None:
    default = cells(123, 8, 6) if with_default else None
    data = apng(8, 6, patches, default=default)
    expected = apng_reference(8, 6, patches)
    seen = frames_of(data)
    assert [frame.shape for frame in seen] == [(6, 8, 4)] * len(patches)
    for one, other in zip(seen, expected, strict=True):  # rounded at every step
        assert np.abs(one[..., 3].astype(int) - other[..., 3]).max() <= len(patches)
        weight = other[..., 3:] / 255.0
        assert np.abs((one[..., :3] - other[..., :3].astype(float)) * weight).max() <= 2 * len(seen)


def test_the_palette_of_an_apng_holds_for_every_frame() -> None:
    image = scene(8, 6).quantize(4)
    chunks = dict(_chunks(encode(image)))
    control = struct.pack(">IIIIHHBB", 8, 6, 0, 0, 1, 10, 0, 0)
    data = png_of_chunks(
        (b"IHDR", chunks[b"IHDR"]),
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"PLTE", chunks[b"PLTE"]),
        (b"fcTL", struct.pack(">I", 0) + control),
        (b"IDAT", chunks[b"IDAT"]),
        (b"fcTL", struct.pack(">I", 1) + control),
        (b"fdAT", struct.pack(">I", 2) + chunks[b"IDAT"]),
        (b"IEND", b""),
    )
    for frame in frames_of(data):
        assert (frame[..., :3] == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("format", sorted(ANIMATED))
def test_an_apng_that_only_claims_to_move_is_its_default_image(format: str) -> None:
    (ihdr, *rest) = _chunks(encode(scene(8, 6)))
    data = png_of_chunks(ihdr, (b"acTL", struct.pack(">II", 2, 0)), *rest)
    assert make(data, format=format).frames == 1
    (seen,) = frames_of(data)
    assert (seen[..., :3] == np.asarray(scene(8, 6))).all()
    cut_off = png_of_chunks(ihdr, (b"acTL", struct.pack(">II", 2, 0)))
    assert type(fail(cut_off, format=format)) is CorruptImage


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def test_a_frame_beyond_an_apng_is_refused() -> None:
    pixels = cells(1, 8, 6)
    data = apng(8, 6, [PngPatch(pixels), PngPatch(pixels, 1, 0)])
    assert type(fail(data, format="webp")) is CorruptImage
