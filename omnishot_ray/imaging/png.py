"""PNG read by the decoder of image-rs, and written with libdeflate: each a third of Pillow's time.

libpng judges the filter of each row by the smallest sum of differences, which suits photos and
makes flat graphics larger. Here a sample of the rows is compressed with each filter first.
"""

import struct
from collections.abc import Iterator

import imagecodecs
import kornia_rs.io
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from omnishot_ray.imaging.container import png_chunk, png_chunk_parts

Pixels = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels to colour type (W3C PNG 3rd edition table 12.1)."""

_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)
_WHOLE = (_NONE, _SUB, _UP, _PAETH)
"""Filters tried for a whole picture; the average hardly ever wins."""
_BAND_ROWS = 8
_BANDS = 8

_LEVELS = (1, 1, 4, 4, 6, 6, 7, 9, 10, 12)
"""libdeflate's level (1–12) of each effort. Level 6 takes a seventh of zlib's time at its level 6
for 1.5 % more bytes of a photo; beyond 9 the parsing is near-optimal and slow."""
_FILTER_EACH_ROW_FROM = 5


def decode_png(data: bytes, opened: Image.Image) -> Image.Image | None:
    """The pixels of the PNG that Pillow has `opened`, for 8-bit RGB and RGBA without tRNS.

    And for RGB of 16 bits with tRNS, of which Pillow has the upper 8 alone when it compares them.
    None for every other kind, and for a damaged file: Pillow's decoder then has the verdict.
    """
    mode: str = opened.mode
    tiles = opened.tile if isinstance(opened, ImageFile.ImageFile) else []
    layout = tiles[0].args if tiles else None  # loaded already
    size = (opened.height, opened.width)
    try:
        if "transparency" in opened.info:
            return _decode_deep(data, size) if layout == "RGB;16B" else None
        if mode not in ("RGB", "RGBA") or layout != mode:
            return None
        pixels = kornia_rs.io.decode_image_png_u8(data, size, mode.lower())
    except Exception:  # it has no type of its own
        return None
    return Image.frombuffer(mode, opened.size, pixels, "raw", mode, 0, 1)


def _decode_deep(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    """RGB of 16 bits as `RGBA`; the colour of tRNS is transparent (§11.3.1.1)."""
    at = 8
    while data[at + 4 : at + 8] != b"tRNS":
        (length,) = struct.unpack_from(">I", data, at)
        at += 12 + length
    colour = struct.unpack_from(">3H", data, at + 8)
    pixels = kornia_rs.io.decode_image_png_u16(data, size, "rgb")
    rgba = np.empty((*size, 4), np.uint8)
    for strip in _strips(len(rgba)):
        rgba[strip, :, :3] = pixels[strip] >> 8
        rgba[strip, :, 3] = np.where((pixels[strip] == colour).all(axis=-1), 0, 255)
    return Image.fromarray(rgba)


def write_png(pixels: Pixels, effort: int) -> bytes:
    """PNG of 8-bit `pixels` (height × width × channels; 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA).

    `effort` 0–9: up to 4 one filter for all rows, above that the best of each row if that is
    smaller.
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    filters = _choose(rows, channels, each_row=effort >= _FILTER_EACH_ROW_FROM)
    raw = bytearray(height * (width * channels + 1))
    lines = np.frombuffer(raw, np.uint8).reshape(height, -1)
    for strip in _strips(height):
        lines[strip] = _filtered(rows, channels, filters, strip)
    del pixels, rows  # may be the last to hold them
    coded = bytes(imagecodecs.deflate_encode(raw, level=_LEVELS[effort], raw=False))
    del lines, raw
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    ends = png_chunk(b"IHDR", header), png_chunk(b"IEND", b"")
    return b"".join((_SIGNATURE, ends[0], *png_chunk_parts(b"IDAT", coded), ends[1]))


_STRIP_ROWS = 32
"""Rows filtered at once: a filter takes up to twenty bytes of memory for one of the picture, and is
faster where they stay in the cache."""


def _strips(height: int) -> Iterator[slice]:
    return (slice(top, min(height, top + _STRIP_ROWS)) for top in range(0, height, _STRIP_ROWS))


def _choose(rows: Pixels, channels: int, *, each_row: bool) -> Pixels:
    """The filter of every row, by what compresses bands of rows spread over the picture best."""
    height = len(rows)
    starts = np.linspace(0, max(0, height - _BAND_ROWS), min(_BANDS, -(-height // _BAND_ROWS)))
    bands = [rows[start : start + _BAND_ROWS + 1] for start in starts.astype(int)]
    tried = {filter: _sample_size(bands, channels, filter) for filter in _WHOLE}
    best = min(tried, key=lambda filter: tried[filter])
    if each_row:
        by_row = _smallest_differences(rows, channels)
        size = sum(
            _size(_filtered(band, channels, by_row[int(start) : int(start) + len(band)]))
            for start, band in zip(starts, bands, strict=True)
        )
        if size < tried[best]:
            return by_row
    return np.full(height, best, np.uint8)


def _sample_size(bands: list[Pixels], channels: int, filter: int) -> int:
    return sum(
        _size(_filtered(band, channels, np.full(len(band), filter, np.uint8))) for band in bands
    )


def _size(raw: Pixels) -> int:
    return len(imagecodecs.deflate_encode(raw.tobytes(), level=1, raw=True))


def _filtered(
    rows: Pixels, channels: int, filters: NDArray[np.uint8], strip: slice | None = None
) -> Pixels:
    """Rows, or a strip of them, with their filter bytes before them (§9.2)."""
    strip = strip or slice(0, len(rows))
    own = filters[strip]
    result = np.empty((len(own), rows.shape[1] + 1), np.uint8)
    result[:, 0] = own
    for filter in np.unique(own):
        coded = _coded(rows, channels, filter, strip)
        if (own == filter).all():
            result[:, 1:] = coded
        else:
            chosen = own == filter
            result[chosen, 1:] = coded[chosen]
    return result


def _coded(rows: Pixels, channels: int, filter: int, strip: slice) -> Pixels:
    """A strip by one filter, which looks at the row above it too."""
    above = min(1, strip.start)
    return _FILTERS[filter](rows[strip.start - above : strip.stop], channels)[above:]


def _smallest_differences(rows: Pixels, channels: int) -> Pixels:
    """The filter, by libpng's rule: that whose bytes, read as signed, have the smallest sum."""
    chosen = np.empty(len(rows), np.uint8)
    for strip in _strips(len(rows)):
        coded = (_coded(rows, channels, filter, strip) for filter in range(len(_FILTERS)))
        sums = [
            np.abs(one.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64) for one in coded
        ]
        chosen[strip] = np.argmin(np.stack(sums), axis=0)
    return chosen


def _left(rows: Pixels, channels: int) -> Pixels:
    shifted: Pixels = np.zeros_like(rows)
    shifted[:, channels:] = rows[:, :-channels]
    return shifted


def _above(rows: Pixels) -> Pixels:
    shifted: Pixels = np.zeros_like(rows)
    shifted[1:] = rows[:-1]
    return shifted


def _code_none(rows: Pixels, channels: int) -> Pixels:
    del channels
    return rows


def _code_sub(rows: Pixels, channels: int) -> Pixels:
    return rows - _left(rows, channels)


def _code_up(rows: Pixels, channels: int) -> Pixels:
    del channels
    return rows - _above(rows)


def _code_average(rows: Pixels, channels: int) -> Pixels:
    left, above = _left(rows, channels), _above(rows)
    return rows - ((left & above) + ((left ^ above) >> 1))


def _code_paeth(rows: Pixels, channels: int) -> Pixels:
    left, above = _left(rows, channels), _above(rows)
    corner = _above(left)
    a, b, c = left.astype(np.int16), above.astype(np.int16), corner.astype(np.int16)
    to_left, to_above = np.abs(b - c), np.abs(a - c)
    to_corner = np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_corner, above, corner)
    takes_left = (to_left <= to_above) & (to_left <= to_corner)
    return rows - np.where(takes_left, left, nearest)


_FILTERS = (_code_none, _code_sub, _code_up, _code_average, _code_paeth)
