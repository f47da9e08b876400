"""An AVIF is decoded as large as its streams say, whatever its boxes do."""

import struct
from contextlib import suppress

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.avif import is_coded_larger
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import process
from tests import corpus
from tests.pictures import encode, plain, scene

KEY, INTER = 0, 1


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags), *parts)


def obu(kind: int, *fields: tuple[int, int]) -> bytes:
    """Of fields of (value, bits), filled up to whole bytes."""
    value = bits = 0
    for number, size in fields:
        value, bits = value << size | number, bits + size
    padding = -bits % 8
    body = (value << padding).to_bytes((bits + padding) // 8, "big")
    return bytes((kind << 3 | 2, len(body))) + body


def sequence(width: int, height: int) -> bytes:
    """A sequence header that is not reduced, with 16 bits a side, of 8-bit 4:2:0."""
    start = [(0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (0, 5)]
    sides = [(15, 4), (15, 4), (width - 1, 16), (height - 1, 16)]
    tools = [(0, 1), (0, 3), (0, 4), (0, 1), (0, 1), (0, 1)]
    return obu(1, *start, *sides, *tools, (0, 3), (0, 12))


def frame(width: int, height: int, kind: int = KEY) -> bytes:
    """The header of a frame that overrides the size of its sequence."""
    start = [(0, 1), (kind, 2), (1, 1)]
    if kind == KEY:
        return obu(6, *start, (0, 1), (1, 1), (width - 1, 16), (height - 1, 16), (0, 64))
    refs = [(0, 3), (1, 8), *[(0, 3)] * 7, *[(0, 1)] * 7]
    return obu(6, *start, (0, 1), (0, 1), (1, 1), *refs, (width - 1, 16), (height - 1, 16), (0, 64))


def avif(width: int, height: int, *pieces: bytes) -> bytes:
    """One item, stored in these pieces."""
    ftyp = box(b"ftyp", b"avif", bytes(4), b"avifmif1")
    infe = full_box(b"infe", struct.pack(">HH4s", 1, 0, b"av01"), b"\0", flags=2 << 24)
    ispe = full_box(b"ispe", struct.pack(">II", width, height))
    ipma = full_box(b"ipma", struct.pack(">IHBB", 1, 1, 1, 0x81))
    others = (
        full_box(b"pitm", b"\0\1"),
        full_box(b"iinf", b"\0\1", infe),
        box(b"iprp", box(b"ipco", ispe), ipma),
    )

    def meta(start: int) -> bytes:
        extents = b""
        for piece in pieces:
            extents += struct.pack(">II", start, len(piece))
            start += len(piece)
        rows = struct.pack(">HHHHH", 0x4400, 1, 1, 0, len(pieces))
        return full_box(b"meta", *others, full_box(b"iloc", rows, extents))

    start = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(start) + box(b"mdat", *pieces)


@pytest.mark.parametrize(
    ("stream", "larger"),
    [
        (sequence(300, 200), False),
        (sequence(320, 256), False),  # whole blocks
        (sequence(321, 200), True),
        (sequence(300, 257), True),
        (obu(2) + obu(15, (0, 800)) + sequence(3000, 2000), True),
        (sequence(300, 200) + frame(100, 100), False),
        (sequence(300, 200) + frame(3000, 2000), True),
        (sequence(300, 200) + frame(300, 200) + frame(3000, 2000, INTER), True),
        (sequence(300, 200) + sequence(3000, 2000), True),
        (b"", False),
    ],
)
def test_the_stream_is_held_against_the_box(stream: bytes, larger: bool) -> None:
    assert is_coded_larger(avif(300, 200, stream), 300, 200) is larger
    cut = len(stream) // 3
    pieces = stream[:cut], stream[cut:]
    assert is_coded_larger(avif(300, 200, *pieces), 300, 200) is larger


def test_a_file_that_says_less_than_it_holds_is_refused() -> None:
    """454 bytes: 6 megapixels of three full planes in ten bits."""
    pixels = np.full((2000, 3000, 3), 500, np.uint16)
    data = bytes(
        imagecodecs.avif_encode(
            pixels, level=10, speed=10, bitspersample=10, pixelformat="444", numthreads=1
        )
    )
    assert (read_header(data).width, read_header(data).height) == (3000, 2000)
    at = data.index(b"ispe") + 8
    small = data[:at] + struct.pack(">II", 16, 16) + data[at + 8 :]
    with pytest.raises(CorruptImage, match="larger picture than it says"):
        process(small, [Options(width=8)], Limits())


@pytest.mark.parametrize("side", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_what_encoders_write_is_as_large_as_it_says(side: int, mode: str) -> None:
    for data in (
        encode(scene(side, 40).convert(mode), "AVIF", speed=10),
        bytes(imagecodecs.avif_encode(np.asarray(scene(side, 40).convert("RGB")), speed=10)),
    ):
        assert not is_coded_larger(data, side, 40)
        assert read_header(data).width == side


def test_every_track_is_held_against_the_size() -> None:
    data = corpus.read("avif_animated_colors_150x150")
    assert not is_coded_larger(data, 150, 150)
    at = data.index(b"stco") + 12
    chunk = struct.unpack_from(">I", data, at)[0]
    moved = data[:at] + struct.pack(">I", len(data)) + data[at + 4 :]
    assert not is_coded_larger(moved + data[chunk:], 150, 150)
    assert is_coded_larger(moved + sequence(3000, 2000), 150, 150)


def test_a_file_of_endless_parts_is_damaged() -> None:
    start = avif(8, 8, obu(2) * 100_000)
    with pytest.raises(CorruptImage):
        read_header(start)
    with pytest.raises(CorruptImage):
        read_header(encode(plain(8, 8), "AVIF") + box(b"free") * 100_000)


@given(st.binary(max_size=200), st.integers(0, 250))
def test_damage_ends_in_an_answer_or_a_named_error(damage: bytes, at: int) -> None:
    data = avif(300, 200, sequence(300, 200) + frame(100, 100) + frame(200, 100, INTER))
    with suppress(IndexError, struct.error):
        is_coded_larger(data[:at] + damage + data[at + len(damage) :], 300, 200)
