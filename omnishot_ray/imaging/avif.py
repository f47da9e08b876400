"""Whether the pictures coded in an AVIF are as large as the file says.

The container states sizes (`ispe`), and limits rest on them; the decoder goes by the AV1 stream
within and asks nobody: 454 bytes that say 16×16 can hold 6 megapixels. Read are the boxes that lead
to the streams (ISO/IEC 14496-12, ISO/IEC 23008-12), and of these the headers of sequences and of
frames, up to the size (AV1 specification §5.5, §5.9).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_BLOCK = 64
"""Pixels up to whose multiple a stream may be larger: a coder may fill up its superblocks."""
_MOST_STEPS = 8_192
"""Boxes, entries and OBUs looked at before a file counts as damaged: the gateway reads headers on
its event loop."""

_Size = tuple[int, int]
_Stream = tuple[bytes, int, int]
"""The OBUs between two places of some bytes."""


def is_coded_larger(data: bytes, width: int, height: int) -> bool:
    """Whether a picture or track of an AVIF is coded larger than its own size, in pixels.

    `width` and `height` are the largest that the file states; they hold for what states none.
    Raises `struct.error` or `IndexError` where the boxes are cut off.
    """
    file, largest = _File(data), _filled_up((width, height))
    for stream, stated in _streams(file):
        most = _filled_up(stated) if stated else largest
        for coded in _coded_sizes(file, *stream):
            if coded[0] > most[0] or coded[1] > most[1]:
                return True
            if coded[0] * coded[1] > largest[0] * largest[1]:
                return True
    return False


def _filled_up(size: _Size) -> _Size:
    return -(-size[0] // _BLOCK) * _BLOCK, -(-size[1] // _BLOCK) * _BLOCK


def holds_only_pixels(data: bytes) -> bool:
    """Whether an AVIF is one picture in sRGB as it is shown, and nothing else: no EXIF, no XMP.

    Raises as `is_coded_larger` does.
    """
    file = _File(data)
    boxes = list(_boxes(file, 0, len(data)))
    if sorted(kind for kind, *_ in boxes) != [b"ftyp", b"mdat", b"meta"]:
        return False
    (start, end) = next((start, end) for kind, start, end in boxes if kind == b"meta")
    meta = {kind: (start, stop) for kind, start, stop in _boxes(file, start + 4, end)}
    if not {b"iinf", b"iprp"} <= meta.keys() <= _PICTURE_BOXES:
        return False
    if not set(_item_types(file, *meta[b"iinf"]).values()) <= {b"av01", b"grid"}:
        return False
    properties = next(_boxes(file, *meta[b"iprp"]))[1:]
    return all(
        kind in _PICTURE_PROPERTIES or (kind == b"colr" and data[at : at + 8] in _SRGB_CODES)
        for kind, at, _ in _boxes(file, *properties)
    )


_PICTURE_BOXES = frozenset(
    (b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp", b"iref", b"idat"),
)
_PICTURE_PROPERTIES = frozenset((b"ispe", b"pixi", b"av1C", b"auxC", b"pasp"))
"""None that turns or cuts."""
_SRGB_CODES = frozenset(
    b"nclx" + struct.pack(">HH", primaries, transfer)
    for primaries in (1, 2)
    for transfer in (1, 2, 6, 13)
)
"""Primaries and transfer, those of BT.709 and sRGB or not told (ITU-T H.273)."""


@dataclass(slots=True)
class _File:
    """The bytes, and how much of them may still be looked at."""

    data: bytes
    steps_left: int = _MOST_STEPS
    joined: int = 0
    sequence: "_Sequence | None" = None
    """The last one, by which the frames behind it are read."""
    met: set[int] = field(default_factory=set)
    """Where OBUs began."""

    def step(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise IndexError("the file has more parts than a picture has")

    def join(self, spans: Sequence[tuple[int, int]]) -> bytes:
        """What is stored in pieces, which do not overlap."""
        self.joined += sum(stop - start for start, stop in spans)
        if self.joined > len(self.data):
            raise IndexError("the pieces are more than the file")
        return b"".join(self.data[start:stop] for start, stop in spans)


def _streams(file: _File) -> Iterator[tuple[_Stream, _Size | None]]:
    """Each with the size that the file states for it."""
    for kind, start, end in _boxes(file, 0, len(file.data)):
        if kind == b"meta":
            yield from _items(file, start, end)
        elif kind == b"moov":
            yield from ((stream, None) for stream in _tracks(file, start, end, 0))


def _boxes(file: _File, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, and where the content begins and ends, of the boxes between two places."""
    while at + 8 <= end:
        file.step()
        size, kind = struct.unpack_from(">I4s", file.data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", file.data, start)
            start += 8
        stop = at + size if size else end
        if stop < start:
            return
        yield kind, start, min(stop, end)
        at = stop


def _items(file: _File, at: int, end: int) -> Iterator[tuple[_Stream, _Size | None]]:
    meta = {kind: (start, stop) for kind, start, stop in _boxes(file, at + 4, end)}
    if b"iloc" not in meta or b"iinf" not in meta:
        return
    sizes = _stated_sizes(file, *meta[b"iprp"]) if b"iprp" in meta else {}
    types = _item_types(file, *meta[b"iinf"])
    base = meta.get(b"idat", (0, 0))[0]
    for item, spans in _locations(file, *meta[b"iloc"], base):
        if types.get(item) != b"av01":
            continue
        if len(spans) == 1:
            yield (file.data, *spans[0]), sizes.get(item)
        elif spans:
            stream = file.join(spans)
            yield (stream, 0, len(stream)), sizes.get(item)


def _item_types(file: _File, at: int, end: int) -> Mapping[int, bytes]:
    """What the items of `iinf` are."""
    data, found = file.data, {}
    first = at + (6 if data[at] == 0 else 8)
    for kind, start, _ in _boxes(file, first, end):
        if kind == b"infe" and data[start] >= 2:
            code = ">I2x4s" if data[start] > 2 else ">H2x4s"
            item, type = struct.unpack_from(code, data, start + 4)
            found[item] = type
    return found


def _stated_sizes(file: _File, at: int, end: int) -> Mapping[int, _Size]:
    """The `ispe` of each item that has one."""
    properties: list[_Size | None] = [None]  # they are counted from 1
    sizes: dict[int, _Size] = {}
    for kind, start, stop in _boxes(file, at, end):
        if kind == b"ipco":
            for one, inner, _ in _boxes(file, start, stop):
                is_size = one == b"ispe"
                size = struct.unpack_from(">II", file.data, inner + 4) if is_size else None
                properties.append(size)
        elif kind == b"ipma":
            for item, index in _associations(file, start):
                size = properties[index] if index < len(properties) else None
                if size is not None:
                    sizes.setdefault(item, size)
    return sizes


def _associations(file: _File, at: int) -> Iterator[tuple[int, int]]:
    """Item and number of a property, of `ipma` (ISO/IEC 23008-12 §9.3.2)."""
    data = file.data
    version, wide = data[at], data[at + 3] & 1
    (count,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(count):
        file.step()
        (item,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        for place in range(data[at]):
            file.step()
            if wide:
                yield item, struct.unpack_from(">H", data, at + 1 + 2 * place)[0] & 0x7FFF
            else:
                yield item, data[at + 1 + place] & 0x7F
        at += 1 + data[at] * (1 + wide)


def _locations(
    file: _File, at: int, end: int, base: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Where each item of `iloc` is: the ends of its extents (ISO/IEC 14496-12 §8.11.3).

    `base` is where `idat` begins, in which an item may lie.
    """
    data = file.data
    version = data[at]
    (sizes,) = struct.unpack_from(">H", data, at + 4)
    offset_size, length_size, base_size, index_size = (sizes >> bits & 15 for bits in (12, 8, 4, 0))
    reader = _Reader(data, at + 6, end)
    for _ in range(reader.take(4 if version == 2 else 2)):
        file.step()
        item = reader.take(4 if version == 2 else 2)
        method = reader.take(2) & 15 if version else 0
        reader.take(2)  # of this file
        start = reader.take(base_size) + (base if method == 1 else 0)
        spans = []
        for _ in range(reader.take(2)):
            file.step()
            if version:
                reader.take(index_size)
            offset, length = reader.take(offset_size), reader.take(length_size)
            first = start + offset
            spans.append((first, min(first + length, len(data)) if length else len(data)))
        yield item, spans


@dataclass(slots=True)
class _Reader:
    """Big-endian numbers of any size, one after the other."""

    data: bytes
    at: int
    end: int

    def take(self, size: int) -> int:
        if self.at + size > self.end:
            raise IndexError("the box ends before its content")
        value = int.from_bytes(self.data[self.at : self.at + size], "big")
        self.at += size
        return value


def _tracks(file: _File, at: int, end: int, depth: int) -> Iterator[_Stream]:
    """The samples of all tracks, from each of the places where some begin."""
    for kind, start, stop in _boxes(file, at, end):
        if kind in _PARENTS and depth < len(_PARENTS):
            yield from _tracks(file, start, stop, depth + 1)
        elif kind in _CHUNK_TABLES:
            code = _CHUNK_TABLES[kind]
            (count,) = struct.unpack_from(">I", file.data, start + 4)
            for index in range(count):
                file.step()
                where = start + 8 + struct.calcsize(code) * index
                (place,) = struct.unpack_from(code, file.data, where)
                if place not in file.met:  # it has been come to by going on
                    yield file.data, place, len(file.data)


_PARENTS = frozenset((b"trak", b"mdia", b"minf", b"stbl"))
_CHUNK_TABLES = {b"stco": ">I", b"co64": ">Q"}


# The streams.


def _coded_sizes(file: _File, data: bytes, at: int, end: int) -> Iterator[_Size]:
    """The sizes that the headers of a stream state, of sequences and frames.

    Where one cannot be read the decoder ends too.
    """
    while at < end:
        file.step()
        if data is file.data:
            file.met.add(at)
        head = data[at]
        kind, at = head >> 3 & 15, at + (2 if head & 4 else 1)
        length = end - at
        if head & 2:
            length, at = _leb128(data, at)
        bits = _Bits(data[at : min(end, at + min(length, _HEADER_BYTES))])
        at += length
        try:
            if kind == _SEQUENCE:
                file.sequence = sequence = _read_sequence(bits)
                yield sequence.width, sequence.height
            elif kind in _FRAMES and file.sequence and not file.sequence.reduced:
                size = _own_size(bits, file.sequence)
                if size:
                    yield size
        except IndexError:
            return


_SEQUENCE, _FRAMES = 1, (3, 6)
"""Kinds of OBU (§6.2.2): a frame's header comes alone or with the frame."""
_HEADER_BYTES = 512


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for place in range(8):
        value |= (data[at + place] & 0x7F) << 7 * place
        if not data[at + place] & 0x80:
            return value, at + place + 1
    raise IndexError("a number does not end")


class _Bits:
    """Numbers of some bits, one after the other, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError("the header ends before its content")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def skip_uvlc(self) -> None:
        zeros = 0
        while not self.take(1):
            zeros += 1
        self.take(min(zeros, 32))


@dataclass(slots=True)
class _Sequence:
    """What a sequence header says, as far as frame headers have to be read by it (§5.5)."""

    width: int = 0
    height: int = 0
    reduced: bool = False
    """A still picture whose frame has no size of its own."""
    width_bits: int = 0
    height_bits: int = 0
    presentation_bits: int = 0
    """Of the time that each shown frame states, 0 where none does."""
    has_decoder_model: bool = False
    frame_id_bits: int = 0
    delta_frame_id_bits: int = 0
    screen_content: int = 2
    """0 or 1, or 2: each frame says so itself. The next is alike."""
    integer_motion: int = 2
    order_hint_bits: int = 0


def _read_sequence(bits: _Bits) -> _Sequence:
    sequence = _Sequence()
    bits.take(4)  # profile, still picture
    sequence.reduced = bool(bits.take(1))
    if sequence.reduced:
        bits.take(5)
    else:
        _read_operating_points(bits, sequence)
    sequence.width_bits, sequence.height_bits = bits.take(4) + 1, bits.take(4) + 1
    sequence.width = bits.take(sequence.width_bits) + 1
    sequence.height = bits.take(sequence.height_bits) + 1
    if not sequence.reduced:
        _read_tools(bits, sequence)
    return sequence


def _read_operating_points(bits: _Bits, sequence: _Sequence) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        equal_interval = bits.take(1)
        if equal_interval:
            bits.skip_uvlc()
        sequence.has_decoder_model = bool(bits.take(1))
        if sequence.has_decoder_model:
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5)
            presentation_bits = bits.take(5) + 1
            sequence.presentation_bits = 0 if equal_interval else presentation_bits
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if sequence.has_decoder_model and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)


def _read_tools(bits: _Bits, sequence: _Sequence) -> None:
    if bits.take(1):
        sequence.delta_frame_id_bits = bits.take(4) + 2
        sequence.frame_id_bits = sequence.delta_frame_id_bits + bits.take(3) + 1
    bits.take(3 + 4)
    has_order_hint = bits.take(1)
    if has_order_hint:
        bits.take(2)
    sequence.screen_content = 2 if bits.take(1) else bits.take(1)
    if sequence.screen_content:
        sequence.integer_motion = 2 if bits.take(1) else bits.take(1)
    if has_order_hint:
        sequence.order_hint_bits = bits.take(3) + 1


_KEY, _INTER, _INTRA_ONLY, _SWITCH = range(4)


def _own_size(bits: _Bits, sequence: _Sequence) -> _Size | None:
    """The size that a frame states for itself, which the sequence does not bound (§5.9.2)."""
    if bits.take(1):  # one that has been decoded is shown
        return None
    kind, shown = bits.take(2), bits.take(1)
    if shown:
        bits.take(sequence.presentation_bits)
    else:
        bits.take(1)
    resilient = kind == _SWITCH or (kind == _KEY and shown) or bits.take(1)
    bits.take(1)
    screen_content = sequence.screen_content
    if screen_content == 2:
        screen_content = bits.take(1)
    if screen_content and sequence.integer_motion == 2:
        bits.take(1)
    bits.take(sequence.frame_id_bits)
    if kind != _SWITCH and not bits.take(1):
        return None
    bits.take(sequence.order_hint_bits)
    is_intra = kind in (_KEY, _INTRA_ONLY)
    if not (is_intra or resilient):
        bits.take(3)
    if sequence.has_decoder_model and bits.take(1):
        return 1 << sequence.width_bits, 1 << sequence.height_bits  # no picture has that
    refreshed = 0xFF
    if not (kind == _SWITCH or (kind == _KEY and shown)):
        refreshed = bits.take(8)
    if (not is_intra or refreshed != 0xFF) and resilient:
        bits.take(8 * sequence.order_hint_bits)
    if not is_intra:
        short = sequence.order_hint_bits and bits.take(1)
        bits.take(6 if short else 0)
        for _ in range(7):
            bits.take((0 if short else 3) + sequence.delta_frame_id_bits)
        if not resilient and any(bits.take(1) for _ in range(7)):
            return None  # that of a frame before it
    return bits.take(sequence.width_bits) + 1, bits.take(sequence.height_bits) + 1
