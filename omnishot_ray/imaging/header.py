"""Size, frames and scans of a picture, read from its bytes without decoding any pixel.

Pillow's own `open` is not enough: it allocates the whole canvas of an animated WebP, and it walks
all frames of a GIF to count them. What is read here is what `limits` and `cost` decide on, so a
file of 28 bytes that claims 90 megapixels is turned away for the price of reading 28 bytes.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from omnishot_ray.errors import CorruptImage, UnsupportedFormat
from omnishot_ray.imaging.formats import Format, sniff


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    `width` and `height` are in pixels as stored (before EXIF orientation). `frames` is exact up to
    `_FRAME_COUNT_STOP`, where counting stops; of an APNG those of its animation, whether or not its
    default image is one of them. `scans` is above 1 for a progressive JPEG, and for one whose
    components come one after the other.
    """

    format: Format
    width: int
    height: int
    frames: int = 1
    alpha: bool = False
    channels: int = 3
    scans: int = 1


_FRAME_COUNT_STOP = 1_024


def read_header(data: bytes) -> Header:
    """Read the header of a picture.

    Raises:
        UnsupportedFormat: the bytes are not of an allowed format.
        CorruptImage: the format is allowed but its header is cut off or impossible.
    """
    format = sniff(data)
    if format is None:
        raise UnsupportedFormat(
            "The bytes are not a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP image; "
            "send one of these formats."
        )
    try:
        header = _READERS[format](data)
    except (IndexError, struct.error):
        header = None
    if header is None or header.width < 1 or header.height < 1:
        raise CorruptImage(
            f"The {format.plugin} header is cut off or damaged; send the whole file."
        )
    return header


def _read_jpeg(data: bytes) -> Header | None:
    """Walk the marker segments up to the frame header (ITU-T T.81 §B.2.2)."""
    at = 2
    for _ in range(_MOST_BLOCKS):
        fill = data.find(b"\xff", at)
        code = _NOT_FILL.search(data, fill) if fill >= 0 else None
        if code is None:
            return None
        marker, at = data[code.start()], code.end()
        if marker in _JPEG_STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_FRAME_MARKERS:
            height, width, channels = struct.unpack_from(">HHB", data, at + 3)
            scans = _count_scans(data, at + length)
            if scans is None:
                return None
            return Header(Format.JPEG, width, height, channels=channels, scans=max(1, scans))
        if marker in (0xDA, 0xD9):
            return None
        at += length
    return None


def _count_scans(data: bytes, at: int) -> int | None:
    """Scan headers from `at` to the end of the picture; None behind too many segments.

    A baseline JPEG may have as many as a progressive one (T.81 §B.2.3 has one for each component,
    libjpeg takes any number), and each costs a walk over all coefficients.
    """
    scans = 0
    for _ in range(_MOST_BLOCKS):
        found = _NEXT_MARKER.search(data, at)
        if found is None:
            return scans
        marker, at = data[found.end() - 1], found.end()
        if marker == 0xD9 or at + 2 > len(data):
            return scans
        scans += marker == 0xDA
        if marker not in _JPEG_STANDALONE:
            at += struct.unpack_from(">H", data, at)[0]
    return None


_MOST_BLOCKS = 4_096
"""Segments, chunks or boxes looked at before a header counts as damaged: a real file has dozens,
and the walk runs on the event loop of the gateway."""
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Within coded data 0xFF is followed by 0x00 or a restart, so this ends a scan (T.81 §B.1.1.5)."""
_NOT_FILL = re.compile(rb"[^\xff]")
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _read_png(data: bytes) -> Header | None:
    """IHDR, and tRNS and acTL among the chunks before the pixels (W3C PNG 3rd edition).

    The frames are those that acTL claims: nothing more is ever decoded.
    """
    if data[12:16] != b"IHDR":
        return None
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour)
    if channels is None:
        return None
    alpha, frames, at = colour in (4, 6), 1, 33
    for _ in range(_MOST_BLOCKS):
        if at + 8 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"IDAT":
            break
        alpha = alpha or kind == b"tRNS"
        if kind == b"acTL":
            (claimed,) = struct.unpack_from(">I", data, at + 8)
            frames = min(max(1, claimed), _FRAME_COUNT_STOP)
        at += 12 + length
    return Header(Format.PNG, width, height, frames, alpha, channels)


def _read_webp(data: bytes) -> Header | None:
    """The first chunk of the RIFF container; animations are counted by their ANMF chunks."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(Format.WEBP, width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        alpha = bool(bits >> 28 & 1)
        return Header(
            Format.WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1, alpha, 3 + alpha
        )
    if kind == b"VP8X":
        flags = data[20]
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        alpha = bool(flags & 0x10)
        frames = _count_webp_frames(data) if flags & 0x02 else 1
        return Header(Format.WEBP, width, height, frames, alpha, 3 + alpha)
    return None


def _count_webp_frames(data: bytes) -> int:
    frames, at = 0, 12
    for _ in range(_MOST_BLOCKS):
        if at + 8 > len(data):
            break
        frames += data[at : at + 4] == b"ANMF"
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + length + (length & 1)
    return max(1, frames)


def _read_gif(data: bytes) -> Header | None:
    """The logical screen, and the image blocks counted by hopping over their data (GIF89a)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames, alpha, budget = 0, False, _MOST_GIF_BLOCKS
    while at < len(data) and frames < _FRAME_COUNT_STOP and budget > 0:
        block = data[at]
        if block == 0x21:
            if data[at + 1] == 0xF9:
                alpha = alpha or bool(data[at + 3] & 1)
            at, budget = _skip_gif_blocks(data, at + 2, budget)
        elif block == 0x2C:
            frames += 1
            left, top, w, h, local = struct.unpack_from("<HHHHB", data, at + 1)
            if frames == 1:  # it may reach beyond the screen; Pillow then enlarges the picture
                width, height = max(width, left + w), max(height, top + h)
            at += 11 + (3 << (local & 7) + 1 if local & 0x80 else 0)
            at, budget = _skip_gif_blocks(data, at, budget)
        else:
            break
    return Header(Format.GIF, width, height, frames, alpha) if frames and budget > 0 else None


_MOST_GIF_BLOCKS = 150_000
"""As many full blocks of 255 bytes as 32 MiB hold, and some."""


def _skip_gif_blocks(data: bytes, at: int, budget: int) -> tuple[int, int]:
    """Hop over sub-blocks; returns where they end and what is left of the budget."""
    while budget > 0 and at < len(data) and data[at]:
        at += 1 + data[at]
        budget -= 1
    return at + 1, budget - 1


def _read_avif(data: bytes) -> Header | None:
    """The largest `ispe` among the item properties (ISO/IEC 23008-12 §6.5.3), and `auxC` alpha."""
    meta = data.find(b"meta", 4, 4096)
    (length,) = struct.unpack_from(">I", data, meta - 4)
    box = data[meta : meta - 4 + min(length, _MOST_META_BYTES)]
    found = islice(re.finditer(b"ispe", box), _MOST_BLOCKS)
    sizes = [struct.unpack_from(">II", box, match.start() + 8) for match in found]
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    alpha = b"auxiliary:alpha" in box
    frames = _count_avif_frames(data) if data[8:12] == b"avis" else 1
    return Header(Format.AVIF, width, height, frames, alpha, 3 + alpha)


_MOST_META_BYTES = 256 * 1024
"""The properties of an AVIF take some hundred bytes."""


def _count_avif_frames(data: bytes) -> int:
    """The sample count of the first track's `stsz` box (ISO/IEC 14496-12 §8.7.3)."""
    at = data.find(b"stsz")
    if at < 0:
        return 1
    (count,) = struct.unpack_from(">I", data, at + 12)
    return max(1, int(count))


def _read_tiff(data: bytes) -> Header | None:
    """Width, height and samples of the first directory only (TIFF 6.0 §2)."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for index in range(entries):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at + 2 + 12 * index)
        if tag in (256, 257, 277) and count == 1:
            code = {3: "H", 4: "I"}.get(kind)
            if code:
                (tags[tag],) = struct.unpack_from(order + code, data, at + 10 + 12 * index)
    if 256 not in tags or 257 not in tags:
        return None
    channels = tags.get(277, 1)
    return Header(Format.TIFF, tags[256], tags[257], alpha=channels in (2, 4), channels=channels)


def _read_bmp(data: bytes) -> Header | None:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return Header(Format.BMP, abs(width), abs(height))


_READERS: dict[Format, Callable[[bytes], Header | None]] = {
    Format.JPEG: _read_jpeg,
    Format.PNG: _read_png,
    Format.WEBP: _read_webp,
    Format.GIF: _read_gif,
    Format.AVIF: _read_avif,
    Format.TIFF: _read_tiff,
    Format.BMP: _read_bmp,
}
