"""Metadata put into finished files and taken out of them, without touching the coded pixels.

JPEG (ITU-T T.81 annex B), PNG (W3C PNG 3rd edition §5), WebP (RFC 9649 §2) and GIF (GIF89a) are
rows of segments, chunks or blocks; these functions copy the rows that carry pixels and leave the
others out. An AVIF is full of places, so it is taken as it is or not at all.
"""

import struct
import zlib
from collections.abc import Iterator

from omnishot_ray.imaging.avif import holds_only_pixels
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import NEXT_MARKER

_EXIF_HEAD = b"Exif\x00\x00"

_WEBP_ALPHA, _WEBP_EXIF, _WEBP_ANIMATION = 0x10, 0x08, 0x02


def with_exif(data: bytes, format: Format, exif: bytes) -> bytes:
    """`data` (a JPEG, PNG or WebP as our encoders write it) with an EXIF block.

    `exif` starts with the word `Exif` and two zeros, as Pillow writes it. Empty `exif` returns
    `data` itself, and a GIF, which has no place for it.
    """
    if not exif or format is Format.GIF:
        return data
    if format is Format.JPEG:
        at = 2 if data[3] != 0xE0 else 4 + int.from_bytes(data[4:6], "big")  # behind JFIF's APP0
        return b"".join((data[:at], b"\xff\xe1", struct.pack(">H", len(exif) + 2), exif, data[at:]))
    body = exif.removeprefix(_EXIF_HEAD)
    if format is Format.PNG:
        return b"".join((data[:_PNG_IHDR_END], png_chunk(b"eXIf", body), data[_PNG_IHDR_END:]))
    chunks = [chunk for chunk in _webp_chunks(data, 12) if chunk[0] != b"EXIF"]
    return _write_webp([*chunks, (b"EXIF", body)])


def without_metadata(data: bytes, format: Format) -> bytes | None:
    """The same pixels without EXIF, XMP, comments, thumbnails and whatever is appended.

    None for a TIFF or BMP, for an AVIF that has more than its pixels, and for a file whose
    structure is not followed.
    """
    try:
        if format is Format.JPEG:
            return _bare_jpeg(data)
        if format is Format.PNG:
            return _bare_png(data)
        if format is Format.WEBP:
            return _write_webp(_bare_webp(_webp_chunks(data, 12)))
        if format is Format.GIF:
            return _bare_gif(data)
        if format is Format.AVIF:
            return data if holds_only_pixels(data) else None
    except (IndexError, ValueError, struct.error):
        return None
    return None


def _bare_jpeg(data: bytes) -> bytes | None:
    parts, at = [data[:2]], 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _END:
            return b"".join((*parts, data[at : at + 2]))
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        parts.append(_bare_segment(marker, data[at:end]))
        if marker == _START_OF_SCAN:
            following = NEXT_MARKER.search(data, end)
            if following is None:
                return None
            parts.append(data[end : following.start()])
            end = following.start()
        at = end
    return None


_START_OF_SCAN, _END = 0xDA, 0xD9


def _bare_segment(marker: int, segment: bytes) -> bytes:
    """A segment, or what says how samples are to be read of one that says more, or nothing.

    JFIF's is cut off before its thumbnail, Adobe's behind the transform (T.872 §6.5.3).
    """
    if marker == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
        return b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0"
    if marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16:
        return b"\xff\xee\x00\x0e" + segment[4:16]
    return b"" if 0xE0 <= marker <= 0xEF or marker == 0xFE else segment


_PNG_IHDR_END = 33
_PNG_PIXELS = frozenset(
    (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sBIT", b"sRGB", b"gAMA", b"cHRM", b"pHYs")
)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return b"".join(png_chunk_parts(kind, body))


def png_chunk_parts(kind: bytes, body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """What a chunk is joined of, for a large `body` that shall not be copied twice."""
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)


def _bare_png(data: bytes) -> bytes:
    parts, at = [data[:8]], 8
    while True:
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind in _PNG_PIXELS:
            parts.append(data[at : at + 12 + length])
        at += 12 + length
        if kind == b"IEND":
            return b"".join(parts)


def is_png_sound(data: bytes) -> bool:
    """Whether the pixels of a PNG inflate to the end, where their checksum is (RFC 1950 §2.2)."""
    inflater, at = zlib.decompressobj(), 8
    try:
        while not inflater.eof and at < len(data):
            (length,) = struct.unpack_from(">I", data, at)
            if data[at + 4 : at + 8] == b"IDAT":
                left = data[at + 8 : at + 8 + length]
                while left and not inflater.eof:
                    inflater.decompress(left, _INFLATED_AT_ONCE)
                    left = inflater.unconsumed_tail
            at += 12 + length
    except (zlib.error, struct.error):
        return False
    return inflater.eof


_INFLATED_AT_ONCE = 1 << 20
_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM"))
_WEBP_FRAME_HEAD = 16


def _bare_webp(chunks: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of the picture; within a frame may be others too."""
    bare = []
    for kind, body in chunks:
        if kind == b"ANMF":
            inner = _bare_webp(_webp_chunks(body, _WEBP_FRAME_HEAD))
            bare.append((kind, body[:_WEBP_FRAME_HEAD] + _join_webp(inner)))
        elif kind in _WEBP_PIXELS:
            bare.append((kind, body))
    return bare


def _webp_chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def _write_webp(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A RIFF of these chunks, extended (`VP8X`) where it holds more than one picture's data."""
    kinds = [kind for kind, _ in chunks]
    if b"VP8X" not in kinds and len(chunks) > 1:
        chunks = [(b"VP8X", _extended_header(*chunks[0])), *chunks]
    written = []
    for kind, body in chunks:
        if kind == b"VP8X":
            flags = body[0] & (_WEBP_ALPHA | _WEBP_ANIMATION) | _WEBP_EXIF * (b"EXIF" in kinds)
            body = bytes((flags,)) + body[1:]
        written.append((kind, body))
    content = _join_webp(written)
    return b"".join((b"RIFF", struct.pack("<I", len(content) + 4), b"WEBP", content))


def _join_webp(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = []
    for kind, body in chunks:
        parts += [kind, struct.pack("<I", len(body)), body, b"\x00" * (len(body) & 1)]
    return b"".join(parts)


def _extended_header(kind: bytes, body: bytes) -> bytes:
    """The canvas and alpha of a simple WebP, in the form of RFC 9649 §2.7.1."""
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
        width, height, alpha = width - 1, height - 1, 0
    flags = bytes((_WEBP_ALPHA * alpha, 0, 0, 0))
    return b"".join((flags, int(width).to_bytes(3, "little"), int(height).to_bytes(3, "little")))


def _bare_gif(data: bytes) -> bytes | None:
    """None too where an image reaches beyond the screen, which is not shown alike everywhere."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _gif_table_size(flags)
    parts = [data[:at]]
    while data[at] in (_GIF_EXTENSION, _GIF_IMAGE):
        start = at
        if data[at] == _GIF_IMAGE:
            left, top, w, h, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if left + w > width or top + h > height:
                return None
            at = end_of_gif_blocks(data, at + 11 + _gif_table_size(flags))
            parts.append(data[start:at])
            continue
        at = end_of_gif_blocks(data, at + 2)
        if data[start + 1 : start + 3] == _GIF_CONTROL:
            parts.append(data[start : start + 7] + b"\0")
        elif data[start + 1 : start + 16] in _GIF_LOOPS:
            parts.append(data[start : start + 18] + b"\0")
        elif data[start + 1] in _GIF_DRAWN:
            return None
    return b"".join((*parts, b"\x3b")) if data[at] == 0x3B else None


_GIF_EXTENSION, _GIF_IMAGE, _GIF_CONTROL = 0x21, 0x2C, b"\xf9\x04"
_GIF_DRAWN = (0x01, 0xF9)
"""Text that is to be drawn, and a control block of another size than it has."""
_GIF_LOOPS = (b"\xff\x0bNETSCAPE2.0\x03\x01", b"\xff\x0bANIMEXTS1.0\x03\x01")


def _gif_table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def end_of_gif_blocks(data: bytes, at: int) -> int:
    """Where a row of sub-blocks ends (GIF89a §15). Raises `IndexError` where it does not."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
