"""Size, frames and scans of a picture, read from its bytes without decoding any pixel.

Pillow's own `open` is not enough: it allocates the whole canvas of an animated WebP, and it walks
all frames of a GIF to count them. What is read here is what `limits` and `cost` decide on, so a
file of 28 bytes that claims 90 megapixels is turned away for the price of reading 28 bytes.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from omnishot_ray.errors import CorruptImage, UnsupportedFormat
from omnishot_ray.imaging.avif import is_coded_larger
from omnishot_ray.imaging.formats import Format, sniff


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    `width` and `height` are in pixels as stored (before EXIF orientation). `frames` is exact up to
    `_FRAME_COUNT_STOP`, where counting stops; of an APNG those of its animation, whether or not its
    default image is one of them. `scans` is above 1 for a progressive JPEG, and for one whose
    components come one after the other. `tiled` is as far as the tiles of a TIFF reach, in pixels,
    0 where there are none: a tile is decoded whole, and may be larger than the picture.

    The rest is read for the estimate of the work alone, and only where it is cheap to find. `bits`
    are those of a pixel as stored, of a JPEG before its coding: 12 with 4:2:0, 24 with 4:4:4.
    `lossless` tells the two kinds of WebP apart. `profile`: colours have to be converted to sRGB.
    `turned`: upright is turned from stored or mirrored, `swaps_sides`: by a quarter (JPEG, TIFF).
    `quantum`: the mean step that the luma of a JPEG is rounded to, 1 for other formats. `beside`:
    bytes of the file that are not the coded picture, but a profile, a preview or other metadata;
    a damaged file may claim more than it has.
    """

    format: Format
    width: int
    height: int
    frames: int = 1
    alpha: bool = False
    channels: int = 3
    scans: int = 1
    bits: int = 24
    lossless: bool = False
    profile: bool = False
    swaps_sides: bool = False
    quantum: float = 1.0
    beside: int = 0
    turned: bool = False
    tiled: int = 0


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
    exif = profile = steps = b""
    for _ in range(MOST_BLOCKS):
        fill = data.find(b"\xff", at)
        code = _NOT_FILL.search(data, fill) if fill >= 0 else None
        if code is None:
            return None
        marker, at = data[code.start()], code.end()
        if marker in _JPEG_STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in JPEG_FRAME_MARKERS:
            height, width, channels = struct.unpack_from(">HHB", data, at + 3)
            orientation = _read_orientation(exif)
            is_sequential = marker in _JPEG_SEQUENTIAL_MARKERS
            scans = _count_scans(data, at + length, channels if is_sequential else None)
            if scans is None:
                return None
            return Header(
                Format.JPEG,
                width,
                height,
                channels=channels,
                scans=max(1, scans),
                bits=_jpeg_bits(data[at + 8 : at + 8 + 3 * channels]),
                profile=bool(profile) and not _says_srgb(profile),
                swaps_sides=orientation > 4,
                quantum=sum(steps) / len(steps) if steps else _USUAL_QUANTUM,
                beside=at,
                turned=orientation > 1,
            )
        if marker in (0xDA, 0xD9):
            return None
        if marker == 0xE1 and data[at + 2 : at + 8] == b"Exif\0\0":
            exif = exif or data[at + 8 : at + length]
        if marker == 0xDB:  # its first table; steps of 16 bits are rare and count by their bytes
            steps = steps or data[at + 3 : at + min(length, 67)]
        if marker == 0xE2 and data[at + 2 : at + 14] == b"ICC_PROFILE\0":
            profile = profile or data[at + 14 : at + length]
        at += length
    return None


_START_OF_SCAN = 0xDAFF
"""FF DA as a little-endian number."""


def _holds_pair(data: bytes, pair: int, at: int) -> bool:
    """Whether these two bytes are anywhere from `at`; a quarter of the time of `bytes.find`."""
    for start in (at, at + 1):
        count = (len(data) - start) // 2
        if count > 0 and bool((np.frombuffer(data, "<u2", count, start) == pair).any()):
            return True
    return False


def _count_scans(data: bytes, at: int, channels: int | None) -> int | None:
    """Scan headers from `at` to the end of the picture; None behind too many segments.

    A sequential JPEG may have as many as a progressive one (T.81 §B.2.3 has one for each component,
    libjpeg takes any number), and each costs a walk over all coefficients. But where the first
    holds all its `channels`, libjpeg refuses a second (`consume_markers` of jdinput.c); None where
    the frame is not sequential.
    """
    scans = 0
    for _ in range(MOST_BLOCKS):
        found = NEXT_MARKER.search(data, at)
        if found is None:
            return scans
        marker, at = data[found.end() - 1], found.end()
        if marker == 0xD9 or at + 2 > len(data):
            return scans
        if marker == 0xDA:
            scans += 1
            if data[at + 2] == channels:
                return 1
            # The usual picture has no other; going on by markers would take 16 times as long.
            if scans == 1 and not _holds_pair(data, _START_OF_SCAN, at):
                return scans
        if marker not in _JPEG_STANDALONE:
            at += struct.unpack_from(">H", data, at)[0]
    return None


_USUAL_QUANTUM = 10.0
"""Where the tables come after the frame header, which they may."""


def _jpeg_bits(components: bytes) -> int:
    """Of a pixel: eight of each component by its share of the samples (T.81 §A.1.1)."""
    shares = [(factors >> 4) * (factors & 15) for factors in components[1::3]]
    return 8 * sum(shares) // max(shares, default=1) if all(shares) else 8 * len(shares)


def _read_orientation(exif: bytes) -> int:
    """The orientation (CIPA DC-008 §4.6.5.1.A) if it is among the first tags, else 1."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, at)
        for index in range(min(entries, _MOST_TAGS)):
            tag, value = struct.unpack_from(order + "H6xH", exif, at + 2 + 12 * index)
            if tag >= 0x0112:  # they are in rising order
                return int(value) if tag == 0x0112 and value <= 8 else 1
    except struct.error:
        pass
    return 1


_MOST_TAGS = 64


def _says_srgb(profile: bytes) -> bool:
    """Whether sRGB is named, in the text of either version of ICC profiles."""
    return b"sRGB" in profile or b"s\0R\0G\0B" in profile


MOST_BLOCKS = 4_096
"""Segments, chunks or boxes looked at before a header counts as damaged: a real file has dozens,
and the walk runs on the event loop of the gateway."""
NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Within coded data 0xFF is followed by 0x00 or a restart, so this ends a scan (T.81 §B.1.1.5)."""
_NOT_FILL = re.compile(rb"[^\xff]")
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEQUENTIAL_MARKERS = frozenset({0xC0, 0xC1, 0xC9})


def _read_png(data: bytes) -> Header | None:
    """IHDR, and tRNS and acTL among the chunks before the pixels (W3C PNG 3rd edition).

    The frames are those that acTL claims: nothing more is ever decoded.
    """
    if data[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour)
    if channels is None:
        return None
    bits = depth * (1 if colour == 3 else channels)
    alpha, profile, frames, at = colour in (4, 6), False, 1, 33
    for _ in range(MOST_BLOCKS):
        if at + 8 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"IDAT":
            break
        alpha = alpha or kind == b"tRNS"
        if kind == b"iCCP":
            profile = profile or not _says_srgb(_head_of_iccp(data[at + 8 : at + 8 + length]))
        if kind == b"acTL":
            (claimed,) = struct.unpack_from(">I", data, at + 8)
            frames = min(max(1, claimed), _FRAME_COUNT_STOP)
        at += 12 + length
    return Header(
        Format.PNG, width, height, frames, alpha, channels, bits=bits, profile=profile, beside=at
    )


def _head_of_iccp(chunk: bytes) -> bytes:
    """The name, and the beginning of the compressed profile (§11.3.2.3)."""
    name, _, packed = chunk[:_MOST_PROFILE_BYTES].partition(b"\0")
    try:
        return name + zlib.decompressobj().decompress(packed[1:], _MOST_PROFILE_BYTES)
    except zlib.error:
        return name


def _read_webp(data: bytes) -> Header | None:
    """The first chunk of the RIFF container; animations are counted by their ANMF chunks."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(Format.WEBP, width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        alpha = bool(bits >> 28 & 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        return Header(Format.WEBP, width, height, 1, alpha, 3 + alpha, lossless=True)
    if kind == b"VP8X":
        flags = data[20]
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        alpha = bool(flags & 0x10)
        frames = _count_webp_frames(data) if flags & 0x02 else 1
        profile = bool(flags & 0x20)
        lossless, beside = _find_webp_pixels(data, frames)
        return Header(
            Format.WEBP,
            width,
            height,
            frames,
            alpha,
            3 + alpha,
            lossless=lossless,
            profile=profile and not _says_srgb(data[30 : 30 + _MOST_PROFILE_BYTES]),
            beside=beside,
        )
    return None


_MOST_PROFILE_BYTES = 4_096
"""The name stands at the beginning."""


def _find_webp_pixels(data: bytes, frames: int) -> tuple[bool, int]:
    """Whether the first picture among the chunks is lossless, and the bytes that are no picture.

    The latter of a still; what is beside the frames of an animation is not worth a second walk.
    """
    at, coded = 12, 0
    for _ in range(MOST_BLOCKS):
        kind = data[at : at + 4]
        if at + 8 > len(data):
            break
        if kind == b"ANMF":
            at += 24  # its own fields; chunks of the picture follow
            continue
        (length,) = struct.unpack_from("<I", data, at + 4)
        coded += length if kind in _WEBP_PIXELS else 0
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L", max(0, len(data) - coded) if frames == 1 else 0
        at += 8 + length + (length & 1)
    return False, 0


_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ALPH"})


def _count_webp_frames(data: bytes) -> int:
    frames, at = 0, 12
    for _ in range(MOST_BLOCKS):
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
    """The largest `ispe` among the item properties (ISO/IEC 23008-12 §6.5.3), and `auxC` alpha.

    Raises `CorruptImage` for a file of which more would be decoded than it says.
    """
    meta = data.find(b"meta", 4, 4096)
    (length,) = struct.unpack_from(">I", data, meta - 4)
    box = data[meta : meta - 4 + min(length, _MOST_META_BYTES)]
    found = islice(re.finditer(b"ispe", box), MOST_BLOCKS)
    sizes = [struct.unpack_from(">II", box, match.start() + 8) for match in found]
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if is_coded_larger(data, width, height):
        raise CorruptImage("The AVIF holds a larger picture than it says; write it anew.")
    alpha = b"auxiliary:alpha" in box
    frames = _count_avif_frames(data) if data[8:12] == b"avis" else 1
    profile = b"colrprof" in box and not _says_srgb(box)
    return Header(
        Format.AVIF, width, height, frames, alpha, 3 + alpha, profile=profile, beside=len(box)
    )


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
    """What is needed of the first directory only (TIFF 6.0 §2)."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for index in range(entries):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at + 2 + 12 * index)
        if tag in _TIFF_TAGS and count == 1:
            code = {3: "H", 4: "I"}.get(kind)
            if code:
                (tags[tag],) = struct.unpack_from(order + code, data, at + 10 + 12 * index)
    if 256 not in tags or 257 not in tags:
        return None
    channels, orientation = tags.get(277, 1), tags.get(274, 1)
    tiled = 0
    if 322 in tags or 323 in tags:
        tiled = max(tags[256], tags.get(322, 0)) * max(tags[257], tags.get(323, 0))
    return Header(
        Format.TIFF,
        tags[256],
        tags[257],
        alpha=channels in (2, 4),
        channels=channels,
        tiled=tiled,
        swaps_sides=orientation in (5, 6, 7, 8),
        turned=orientation in range(2, 9),
    )


_TIFF_TAGS = frozenset((256, 257, 274, 277, 322, 323))
"""Width, height, orientation, samples per pixel, and the sides of a tile (TIFF 6.0 §8, §15)."""


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
