"""Metadata put into finished files and taken out of them, without touching the coded pixels.

JPEG (ITU-T T.81 annex B), PNG (W3C PNG 3rd edition §5) and WebP (RFC 9649 §2) are rows of segments
or chunks; these functions copy the rows that carry pixels and leave the others out.
"""

import struct
import zlib
from collections.abc import Iterator

from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import NEXT_MARKER

_EXIF_HEAD = b"Exif\x00\x00"

_WEBP_ALPHA, _WEBP_EXIF, _WEBP_ANIMATION = 0x10, 0x08, 0x02


def with_exif(data: bytes, format: Format, exif: bytes) -> bytes:
    """`data` (a JPEG, PNG or WebP as our encoders write it) with an EXIF block.

    `exif` starts with the word `Exif` and two zeros, as Pillow writes it. Empty `exif` returns
    `data` itself.
    """
    if not exif:
        return data
    if format is Format.JPEG:
        at = 2 if data[3] != 0xE0 else 4 + int.from_bytes(data[4:6], "big")  # behind JFIF's APP0
        return b"".join((data[:at], b"\xff\xe1", struct.pack(">H", len(exif) + 2), exif, data[at:]))
    body = exif.removeprefix(_EXIF_HEAD)
    if format is Format.PNG:
        return b"".join((data[:_PNG_IHDR_END], png_chunk(b"eXIf", body), data[_PNG_IHDR_END:]))
    chunks = [chunk for chunk in _webp_chunks(data) if chunk[0] != b"EXIF"]
    return _write_webp([*chunks, (b"EXIF", body)])


def without_metadata(data: bytes, format: Format) -> bytes | None:
    """The same pixels without EXIF, XMP, comments, thumbnails and whatever is appended.

    None for a format that is not a JPEG, PNG or WebP, or a file whose structure is not followed.
    """
    try:
        if format is Format.JPEG:
            return _bare_jpeg(data)
        if format is Format.PNG:
            return _bare_png(data)
        if format is Format.WEBP:
            kept = [chunk for chunk in _webp_chunks(data) if chunk[0] in _WEBP_PIXELS]
            return _write_webp(kept)
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
_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"))


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def _write_webp(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A RIFF of these chunks, extended (`VP8X`) where it holds more than one picture's data."""
    kinds = [kind for kind, _ in chunks]
    if b"VP8X" not in kinds and len(chunks) > 1:
        chunks = [(b"VP8X", _extended_header(*chunks[0])), *chunks]
    parts = []
    for kind, body in chunks:
        if kind == b"VP8X":
            flags = body[0] & (_WEBP_ALPHA | _WEBP_ANIMATION) | _WEBP_EXIF * (b"EXIF" in kinds)
            body = bytes((flags,)) + body[1:]
        parts += [kind, struct.pack("<I", len(body)), body, b"\x00" * (len(body) & 1)]
    content = b"".join(parts)
    return b"".join((b"RIFF", struct.pack("<I", len(content) + 4), b"WEBP", content))


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
