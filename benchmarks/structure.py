"""Where a picture file has its rows, lengths and sizes, as far as a broken one can be followed."""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from omnishot_ray.imaging.formats import Format


@dataclass(frozen=True)
class Row:
    """A segment, chunk, block, box or entry: where it is, and where its length is written.

    `length` is (offset, bytes, order of bytes); None where there is none.
    """

    start: int
    end: int
    body: int
    length: tuple[int, int, str] | None = None


def read_rows(data: bytes, format: Format) -> list[Row]:
    """The rows of a file up to the first that cannot be followed."""
    reader = _ROWS.get(format)
    rows: list[Row] = []
    if reader is not None:
        with suppress(IndexError, struct.error):
            rows.extend(islice(reader(data), 2_000))
    return [row for row in rows if row.start < row.end <= len(data)]


def _jpeg_rows(data: bytes) -> Iterator[Row]:
    at = 2
    while data[at] == 0xFF:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        scan = data[at + 1] == 0xDA
        if scan:  # with the coded data behind it, up to the next marker that is no restart
            found = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(data, end)
            end = found.start() if found else len(data)
        yield Row(at, end, at + 4, (at + 2, 2, "big"))
        at = end


def _png_rows(data: bytes) -> Iterator[Row]:
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        yield Row(at, end, at + 8, (at, 4, "big"))
        at = end


def _riff_rows(data: bytes, at: int = 12, last: int | None = None) -> Iterator[Row]:
    last = len(data) if last is None else last
    while at + 8 <= last:
        (length,) = struct.unpack_from("<I", data, at + 4)
        end = at + 8 + length + (length & 1)
        yield Row(at, end, at + 8, (at + 4, 4, "little"))
        if data[at : at + 4] == b"ANMF":
            yield from _riff_rows(data, at + 24, min(end, last))
        at = end


def _gif_rows(data: bytes) -> Iterator[Row]:
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] in (0x21, 0x2C):
        start = at
        local = data[at + 9] if data[at] == 0x2C else 0
        at += 2 if data[start] == 0x21 else 11 + (3 << (local & 7) + 1 if local & 0x80 else 0)
        first = at
        while data[at]:
            at += 1 + data[at]
        at += 1
        yield Row(start, at, start + 1, (first, 1, "little"))


_BOXES_OF_BOXES = {
    # how many bytes are before the first inner box (ISO/IEC 14496-12, 23008-12)
    **dict.fromkeys((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"iprp", b"ipco", b"dinf"), 8),
    b"meta": 12,
    b"iinf": 14,
    b"iref": 12,
    b"stsd": 16,
    b"av01": 86,
}


def _avif_rows(data: bytes, at: int = 0, last: int | None = None) -> Iterator[Row]:
    last = len(data) if last is None else last
    while at + 8 <= last:
        end = at + max(8, struct.unpack_from(">I", data, at)[0])
        yield Row(at, end, at + 8, (at, 4, "big"))
        inner = _BOXES_OF_BOXES.get(data[at + 4 : at + 8])
        if inner is not None:
            yield from _avif_rows(data, at + inner, min(end, last))
        at = end


def _tiff_rows(data: bytes) -> Iterator[Row]:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        yield Row(place, place + 12, place, (place + 4, 4, "little" if order == "<" else "big"))


_ROWS: dict[Format, Callable[[bytes], Iterator[Row]]] = {
    Format.JPEG: _jpeg_rows,
    Format.PNG: _png_rows,
    Format.WEBP: _riff_rows,
    Format.GIF: _gif_rows,
    Format.AVIF: _avif_rows,
    Format.TIFF: _tiff_rows,
}


def size_fields(data: bytes, format: Format) -> Iterator[tuple[int, int, str]]:
    """Where a width, a height or the like is written: (offset, bytes, order of bytes)."""
    if format is Format.PNG:
        yield from ((16, 4, "big"), (20, 4, "big"))
    elif format is Format.BMP:
        yield from ((18, 4, "little"), (22, 4, "little"))
    elif format is Format.JPEG:
        for row in read_rows(data, format):
            if data[row.start + 1] in (0xC0, 0xC1, 0xC2):
                yield from ((row.start + 5, 2, "big"), (row.start + 7, 2, "big"))
    elif format is Format.GIF:
        yield from ((6, 2, "little"), (8, 2, "little"))
        for row in read_rows(data, format):
            if data[row.start] == 0x2C:
                yield from ((row.start + at, 2, "little") for at in (1, 3, 5, 7))
    elif format is Format.WEBP:
        for row in read_rows(data, format):
            kind = data[row.start : row.start + 4]
            at, size = {b"VP8 ": (6, 2), b"VP8L": (1, 2), b"VP8X": (4, 3)}.get(kind, (0, 0))
            if kind == b"ANMF":
                yield from ((row.body + place, 3, "little") for place in (0, 3, 6, 9))
            elif size:
                yield from ((row.body + at, size, "little"), (row.body + at + size, size, "little"))
    elif format is Format.AVIF:
        for found in re.finditer(b"ispe", data):
            yield from ((found.end() + at, 4, "big") for at in (4, 8))
    elif format is Format.TIFF:
        order = "little" if data[:2] == b"II" else "big"
        code = "<H" if order == "little" else ">H"
        for row in read_rows(data, format):
            if struct.unpack_from(code, data, row.start)[0] in (256, 257, 277, 278, 258):
                yield (row.start + 8, 4, order)
