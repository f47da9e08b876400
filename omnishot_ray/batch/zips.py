"""What is in a zip, read from its directory piece by piece, however many members there are.

Structures by PKWARE's APPNOTE 6.3.10, the section is named with each. The standard library keeps
the whole directory as objects, a kilobyte for each member; this holds one at a time.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omnishot_ray.batch.members import Found, Zipped
from omnishot_ray.batch.names import readable
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.spans import Fault

STORED, DEFLATED = 0, 8
_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END64_PLACE = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
_ENCRYPTED, _UTF8 = 0x1, 0x800  # 4.4.4
_PIECE = 256 << 10
_MAX_RATIO = 200
_FREE_BYTES = 1 << 20
"""Pictures hardly get smaller by compression; what shrinks more is a bomb."""
_MAX_GROWTH = 1 << 10
"""What cannot be deflated grows by five bytes for each block of some KiB."""
_UNIX, _LINK, _KIND = 3, 0o120000, 0o170000


class Damaged(Exception):
    """The zip is not as the format wants it."""


def index_zip(place: Place) -> Iterator[Found]:
    """Members in the order of the directory; the pictures are not read."""
    try:
        with place.open() as file:
            yield from _read_directory(file)
    except (Damaged, struct.error) as error:
        yield Found("", -1, Fault("archive-damaged", f"The zip cannot be read on: {error}."))


def _read_directory(file: Any) -> Iterator[Found]:
    size = file.size()
    start, length, count, shift = _find_directory(file, size)
    pieces = _Pieces(file, start, length)
    packed_sum = 0
    entries = 0
    while pieces.left:
        signature = pieces.take(4)
        if signature == b"PK\x05\x05":  # 4.3.13: it signs the entries before it
            break
        if signature != b"PK\x01\x02":
            raise Damaged("its directory is broken")
        entries += 1
        fields = _ENTRY.unpack(signature + pieces.take(_ENTRY.size - 4))
        _, made_by, _, flags, method, _, _, crc = fields[:8]
        packed, plain, name_size, extra_size, comment_size = fields[8:13]
        attributes, offset = fields[15], fields[16]
        name = pieces.take(name_size)
        extra = pieces.take(extra_size)
        pieces.take(comment_size)
        plain, packed, offset = _wide(extra, plain, packed, offset)
        packed_sum += packed
        if packed_sum > size:
            # Members that share their bytes: D. Fifield, "A better zip bomb", WOOT 2019.
            yield Found("", -1, Fault("archive-bomb", "Members of the zip overlap each other."))
            return
        text = _name(name, flags, extra)
        if text.endswith("/"):
            yield Found(text, 0, Zipped(0, 0, STORED, 0))
            continue
        is_link = made_by >> 8 == _UNIX and (attributes >> 16) & _KIND == _LINK
        fault = _refused(flags, method, packed, plain, is_link)
        if not fault and offset + shift + packed > size:
            fault = Fault("member-damaged", "The member lies beyond the end of the archive.")
        at = fault or Zipped(offset + shift, packed, method, crc)
        yield Found(text, plain, at)
    if (entries - count) % 0x10000:  # archivers without zip64 write no more than 16 bits of it
        raise Damaged(f"its directory has {entries} entries where it says {count}")


def _refused(flags: int, method: int, packed: int, plain: int, is_link: bool) -> Fault | None:
    if is_link:
        return Fault("unsafe-member", "It is a link in the archive; only plain files are read.")
    if flags & _ENCRYPTED:
        return Fault("unsafe-member", "The member is encrypted.")
    if method not in (STORED, DEFLATED):
        detail = f"The member is packed by method {method}; stored and deflated are read."
        return Fault("unsupported-compression", detail)
    if plain > _FREE_BYTES + _MAX_RATIO * packed:
        return Fault("archive-bomb", f"The member grows from {packed} to {plain} bytes.")
    if packed > plain + (plain // 1000 + _MAX_GROWTH if method == DEFLATED else 0):
        return Fault("member-damaged", f"The member has {packed} bytes for its {plain}.")
    return None


def _find_directory(file: Any, size: int) -> tuple[int, int, int, int]:
    """Where the directory begins, its bytes, its entries, and how far all offsets are shifted."""
    tail_size = min(size, _END.size + 0xFFFF)
    tail = bytes(file.read_at(tail_size, size - tail_size)) if size else b""
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise Damaged("it has no directory")
    _, _, _, _, count, length, start, _ = _END.unpack_from(tail, at)
    end_at = size - tail_size + at
    if 0xFFFF in (count,) or 0xFFFFFFFF in (length, start):
        place_at = at - _END64_PLACE.size
        if place_at >= 0 and tail[place_at : place_at + 4] == b"PK\x06\x07":
            end_at = _END64_PLACE.unpack_from(tail, place_at)[2]
            if end_at + _END64.size > size:
                raise Damaged("its directory lies beyond its end")
            end64 = _END64.unpack(bytes(file.read_at(_END64.size, end_at)))
            if end64[0] != b"PK\x06\x06":
                raise Damaged("its directory is broken")
            count, length, start = end64[7], end64[8], end64[9]
    shift = end_at - length - start  # bytes before the archive: a program that unpacks itself
    if shift < 0 or start + length + shift > size:
        raise Damaged("its directory lies beyond its end")
    return start + shift, length, count, shift


def _wide(extra: bytes, plain: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset beyond 4 GiB, from the zip64 field (4.5.3)."""
    body = _extra_field(extra, 0x0001)
    at = 0
    values = []
    for value in (plain, packed, offset):
        if value == 0xFFFFFFFF and len(body) >= at + 8:
            value = int.from_bytes(body[at : at + 8], "little")
            at += 8
        values.append(value)
    return values[0], values[1], values[2]


def _name(raw: bytes, flags: int, extra: bytes) -> str:
    """UTF-8 where the flag says so (appendix D) or it is; else the DOS code page 437."""
    unicode_path = _extra_field(extra, 0x7075)  # 4.6.9: version, CRC of the other name, UTF-8
    if len(unicode_path) > 5 and int.from_bytes(unicode_path[1:5], "little") == zlib.crc32(raw):
        return readable(unicode_path[5:])
    if flags & _UTF8:
        return readable(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _extra_field(extra: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


class _Pieces:
    """The directory, read in pieces."""

    def __init__(self, file: Any, start: int, length: int) -> None:
        self._file, self._next, self._end = file, start, start + length
        self._bytes, self._at = b"", 0

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return self._end - self._next + len(self._bytes) - self._at

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._bytes):
            wanted = min(max(_PIECE, count), self._end - self._next)
            more = bytes(self._file.read_at(wanted, self._next)) if wanted > 0 else b""
            self._next += len(more)
            self._bytes, self._at = self._bytes[self._at :] + more, 0
            if count > len(self._bytes):
                raise Damaged("its directory is shorter than it says")
        data = self._bytes[self._at : self._at + count]
        self._at += count
        return data


@dataclass(frozen=True, slots=True)
class ZipReader:
    """Reads members by the place that the directory gave."""

    file: Any

    def read(self, at: Zipped, size: int) -> bytes:
        """The bytes of a member, checked against size and CRC.

        Raises `Damaged`.
        """
        local = bytes(self.file.read_at(_LOCAL.size, at.offset))
        if len(local) < _LOCAL.size or local[:4] != b"PK\x03\x04":
            raise Damaged("the member is not where the directory says")
        *_, name_size, extra_size = _LOCAL.unpack(local)
        start = at.offset + _LOCAL.size + name_size + extra_size
        data = bytes(self.file.read_at(at.packed, start))
        if len(data) < at.packed:
            raise Damaged("the archive ends within the member")
        if at.method == DEFLATED:
            data = _inflate(data, size)
        if len(data) != size or zlib.crc32(data) != at.crc:
            raise Damaged("the member is not what the directory says")
        return data


def _inflate(data: bytes, size: int) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return unpacker.decompress(data, size + 1)
    except zlib.error:
        raise Damaged("the member cannot be unpacked") from None
