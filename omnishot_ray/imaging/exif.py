"""The EXIF of a picture as plain values: what a camera and a person wrote, and nowhere where.

Read here and not by Pillow, which copies the data of every entry before anything can be asked
about it: 65 535 entries may share one block of 30 MB. Here an entry is looked at only when it is
wanted, and only as far as it is wanted.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from PIL.ExifTags import IFD, TAGS, Base

ExifNumber = int | float | None
ExifValue = str | int | float | list[ExifNumber]

MAX_ENTRIES = 100
MAX_TEXT_BYTES = 1_024
MAX_NUMBERS = 64
_MOST_LOOKED_AT = 1_024
"""Entries of one directory that are looked at; a camera writes about fifty."""

_FIRST_TAG = 254
"""Below it are the tags of the GPS and interoperability directories, wherever they may stand."""
_LEFT_OUT = frozenset(
    {
        IFD.Exif,
        IFD.GPSInfo,
        IFD.Interop,
        IFD.MakerNote,
        Base.SubIFDs,
        Base.XMLPacket,
        Base.IPTCNAA,
        Base.ImageResources,
        Base.InterColorProfile,
        Base.JpegIFOffset,  # the thumbnail
        Base.JpegIFByteCount,
        Base.StripOffsets,  # where a TIFF keeps its pixels
        Base.StripByteCounts,
        Base.TileOffsets,
        Base.TileByteCounts,
        Base.FreeOffsets,
        Base.FreeByteCounts,
    }
)


def read_exif(block: bytes) -> dict[str, ExifValue]:
    """The entries of an EXIF block (or a TIFF file) by their names, as values that JSON can hold.

    First those of the picture, then those of its Exif directory, at most `MAX_ENTRIES` in all.
    Rationals are numbers, those without a value None within a list; texts end after
    `MAX_TEXT_BYTES`, lists over `MAX_NUMBERS`, bytes that are no text and unknown tags are left
    out. There is never a position, maker's note, thumbnail, XMP or IPTC among them. A damaged
    block gives what can be read of it. Source: CIPA DC-008 (Exif 3.0) §4.6, TIFF 6.0 §2.
    """
    found: dict[str, ExifValue] = {}
    first = _Directory.first_of(block)
    for directory in (first, first and first.below(IFD.Exif)):
        for tag, value in directory.values() if directory else ():
            if len(found) >= MAX_ENTRIES:
                return found
            found.setdefault(TAGS[tag], value)
    return found


def read_orientation(block: bytes) -> int:
    """The orientation 1–8 that an EXIF block (or a TIFF file) states; 1 where it states none.

    Source: CIPA DC-008 (Exif 3.0) §4.6.5.1.A.
    """
    first = _Directory.first_of(block)
    value = first.value(Base.Orientation) if first else None
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


class _Directory:
    """One directory (IFD) of a block: which entry is where, nothing of it read yet."""

    def __init__(self, block: bytes, order: str, entries: Mapping[int, int]) -> None:
        self._block = block
        self._order = order
        self._entries = entries

    @classmethod
    def first_of(cls, block: bytes) -> "_Directory | None":
        """That of the picture, in an EXIF block or a TIFF file."""
        block = block.removeprefix(b"Exif\0\0")
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        return None if order is None else cls.at(block, 4, order)

    @classmethod
    def at(cls, block: bytes, pointer: int, order: str) -> "_Directory | None":
        """The directory that the four bytes at `pointer` point to."""
        try:
            (start,) = struct.unpack_from(order + "I", block, pointer)
            (count,) = struct.unpack_from(order + "H", block, start)
        except struct.error:
            return None
        places = range(start + 2, len(block) - 11, 12)[: min(count, _MOST_LOOKED_AT)]
        entries = {struct.unpack_from(order + "H", block, place)[0]: place for place in places}
        return cls(block, order, entries)

    def below(self, tag: int) -> "_Directory | None":
        """The directory that an entry points to."""
        place = self._entries.get(tag)
        return None if place is None else self.at(self._block, place + 8, self._order)

    def value(self, tag: int) -> ExifValue | None:
        """What an entry says; None where there is none, or none that can be told."""
        place = self._entries.get(tag)
        return None if place is None else self._value(tag, place)

    def values(self) -> Iterator[tuple[int, ExifValue]]:
        """The entries that are wanted and can be told."""
        for tag, place in self._entries.items():
            if tag >= _FIRST_TAG and tag in TAGS and tag not in _LEFT_OUT:
                value = self._value(tag, place)
                if value is not None:
                    yield tag, value

    def _value(self, tag: int, place: int) -> ExifValue | None:
        kind, count = struct.unpack_from(self._order + "HI", self._block, place + 2)
        size, code = _KINDS.get(kind, (0, ""))
        start = place + 8
        if size * count > 4:
            (start,) = struct.unpack_from(self._order + "I", self._block, start)
        if not size or start + size * count > len(self._block):
            return None
        if not code or (code == "B" and count > 4):  # text, or bytes that may be text
            length = min(count, MAX_TEXT_BYTES)
            return _text(tag, self._block[start : start + length], kind == _ASCII)
        if not 0 < count <= MAX_NUMBERS:
            return None
        parts = struct.unpack_from(f"{self._order}{count * len(code)}{code[0]}", self._block, start)
        numbers = [_number(parts[i : i + len(code)]) for i in range(0, len(parts), len(code))]
        return numbers[0] if count == 1 else numbers


_ASCII = 2
_KINDS = {
    # type: (bytes of one value, code of `struct`; two of them make a rational)
    1: (1, "B"),
    2: (1, ""),
    3: (2, "H"),
    4: (4, "I"),
    5: (8, "II"),
    6: (1, "b"),
    7: (1, ""),
    8: (2, "h"),
    9: (4, "i"),
    10: (8, "ii"),
    11: (4, "f"),
    12: (8, "d"),
}


def _number(parts: tuple[Any, ...]) -> ExifNumber:
    if len(parts) == 2:
        numerator, denominator = parts
        return numerator / denominator if denominator else None
    (value,) = parts
    return value if math.isfinite(value) else None


_XP_TAGS = range(0x9C9B, 0x9CA0)
"""Windows' own title, comment, author, keywords and subject: bytes of UTF-16."""
_COMMENT_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"\0" * 8: "utf-8"}


def _text(tag: int, raw: bytes, declared: bool) -> str | None:
    """None where bytes that are not `declared` text are none. Control characters are left out."""
    encoding = "utf-8"
    if tag in _XP_TAGS:
        encoding = "utf-16-le"
    elif tag == Base.UserComment:
        encoding, raw = _COMMENT_CODES.get(raw[:8], ""), raw[8:]
        if not encoding:
            return None
    if not encoding.startswith("utf-16"):
        raw = raw.partition(b"\0")[0]
        if not declared and any(byte < 32 and byte not in b"\t\r\n" for byte in raw):
            return None
    text = raw.decode(encoding, "ignore").partition("\0")[0]
    return "".join(sign for sign in text if sign.isprintable() or sign == "\n").strip() or None
