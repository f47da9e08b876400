"""Directories of TIFF and EXIF cost no more than the file that holds them."""

import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.info import describe
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import process
from tests.pictures import encode, noise, opened, plain, scene

UNDEFINED, SHORT = 7, 3
ORIENTATION = struct.pack("<HHII", 0x0112, SHORT, 1, 6)
MEGABYTE = 1_000_000


def crowded(data: bytes, count: int, kind: int = UNDEFINED, numbers: int = MEGABYTE) -> bytes:
    """A directory with the orientation and `count` more entries, all of the same `data`."""
    entries = b"".join(
        struct.pack("<HHII", 20_000 + index, kind, numbers, 8) for index in range(count)
    )
    start = struct.pack("<I", 8 + len(data))
    return b"II*\0" + start + data + struct.pack("<H", 1 + count) + ORIENTATION + entries + bytes(4)


@contextmanager
def bounded_memory(limit: int) -> Iterator[None]:
    """Python's own memory; pixels are not in it."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("kind", [UNDEFINED, SHORT])
def test_entries_that_share_their_data_are_not_read(format: str, kind: int) -> None:
    """Read, these thousand would take a gigabyte."""
    numbers = MEGABYTE if kind == UNDEFINED else MEGABYTE // 2
    block = crowded(bytes(MEGABYTE), 1000, kind, numbers)
    data = encode(scene(20, 10), format, exif=b"Exif\0\0" + block)
    with bounded_memory(30 * MEGABYTE):
        result = process(data, [Options(width=10, metadata="keep")], Limits())
        info = describe(data, Limits())
    assert result.source.width == info.source.width == 10, "its orientation alone is read"


def test_a_tiff_of_such_entries_is_refused() -> None:
    with pytest.raises(CorruptImage):
        process(tiff_around(crowded(bytes(MEGABYTE), 1000)), [Options()], Limits())


def tiff_around(block: bytes) -> bytes:
    """With a size, so that it is not turned away for the lack of one."""
    at = int.from_bytes(block[4:8], "little")
    (count,) = struct.unpack_from("<H", block, at)
    sides = struct.pack("<HHIIHHII", 256, SHORT, 1, 8, 257, SHORT, 1, 8)
    return block[:at] + struct.pack("<H", count + 2) + sides + block[at + 2 :]


def test_many_numbers_in_one_entry_are_not_read() -> None:
    block = crowded(bytes(20 * MEGABYTE), 1, SHORT, 10 * MEGABYTE)
    data = encode(scene(20, 10), exif=b"Exif\0\0" + block)
    with bounded_memory(100 * MEGABYTE):  # the file, and the block of it
        assert process(data, [Options(metadata="keep")], Limits()).source.width == 10


def test_a_large_block_of_different_data_is_read() -> None:
    """A preview of two megabytes and ten entries more than the bound would let through unseen."""
    block = crowded(bytes(2 * MEGABYTE), 1, numbers=2 * MEGABYTE - 100)
    data = encode(scene(20, 10), exif=b"Exif\0\0" + block)
    result = process(data, [Options(width=10)], Limits())
    assert (result.source.width, result.source.height) == (10, 20), "it stands upright"


def test_a_tiff_of_many_strips_is_read() -> None:
    data = encode(noise(800, 3000), "TIFF", compression="tiff_lzw", strip_size=1)
    assert len(opened(data).tag_v2[273]) == 3000  # type: ignore[attr-defined]
    assert process(data, [Options(width=100)], Limits()).source.height == 3000


def test_a_large_plain_tiff_is_read() -> None:
    data = encode(plain(3000, 3000), "TIFF")
    assert len(data) > 16 * MEGABYTE
    assert process(data, [Options(width=100)], Limits()).source.height == 3000
