"""Broken pictures: good ones with small changes, where a format keeps its lengths, sizes and rows.

Changes at random places are found out by the first checksum or magic number; so half of these know
the structure of a file: JPEG segments, PNG chunks (whose checksums are mended), RIFF chunks, GIF
blocks, ISOBMFF boxes, TIFF entries. The same state of `random` makes the same bytes.
"""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pillow_avif  # noqa: F401 - registers AVIF with Pillow
from PIL import Image

from benchmarks.structure import read_rows, size_fields
from omnishot_ray.imaging.container import png_chunk
from omnishot_ray.imaging.formats import Format, sniff

MOST_SEED_BYTES = 150_000


def read_seeds(folders: Sequence[Path]) -> tuple[bytes, ...]:
    """The small files of the folders that there are, in the order of their names, and `made()`."""
    files = sorted(
        (path for folder in folders if folder.is_dir() for path in folder.rglob("*.*")),
        key=lambda path: (path.name, str(path)),
    )
    small = [path for path in files if path.is_file() and path.stat().st_size <= MOST_SEED_BYTES]
    found = [data for path in small if sniff(data := path.read_bytes())]
    return tuple(dict.fromkeys([*found, *made()]))


def made() -> list[bytes]:
    """Small pictures of the kinds that no small file of the corpus has, as Pillow writes them."""
    random = Random(0)
    colour = Image.frombytes("RGB", (40, 24), random.randbytes(40 * 24 * 3)).resize((64, 48))
    frames = [colour.rotate(angle).convert("P") for angle in (0, 90, 180)]
    alpha = colour.convert("RGBA")
    alpha.putalpha(colour.convert("L"))
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x8298: "Someone", 0x8825: {1: "N", 2: (1.0, 2.0)}})
    icc = (Path(__file__).parents[1] / "tests/data/valid/png_display_p3_8x8.png").read_bytes()
    told = {"exif": exif.tobytes(), "icc_profile": Image.open(io.BytesIO(icc)).info["icc_profile"]}
    wanted: list[tuple[Image.Image, str, dict[str, object]]] = [
        *((colour, "TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "packbits")),
        *((colour, "TIFF", {"compression": name}) for name in ("jpeg", "tiff_adobe_deflate")),
        (colour.convert("1"), "TIFF", {"compression": "group4"}),
        *((colour.convert(mode), "TIFF", {}) for mode in ("P", "CMYK", "L", "I;16", "F", "LAB")),
        *((colour.convert(mode), "BMP", {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
        *((colour.convert(mode), "PNG", {}) for mode in ("1", "L", "LA", "P", "I;16")),
        (alpha, "PNG", told),
        (colour.convert("L"), "PNG", {"transparency": 7}),
        *((colour.convert(mode), "JPEG", told) for mode in ("L", "CMYK")),
        (colour, "JPEG", {"progressive": True, "subsampling": "4:2:2"}),
        (colour, "JPEG", {"subsampling": "4:4:4", "restart_marker_blocks": 2, **told}),
        (frames[0], "GIF", {"save_all": True, "append_images": frames[1:], "disposal": 2}),
        (alpha, "WEBP", {"lossless": True, **told}),
        (alpha, "WEBP", told),
        (colour, "WEBP", {"save_all": True, "append_images": frames[1:]}),
        (alpha, "AVIF", {"speed": 9, **told}),
        (colour, "AVIF", {"speed": 9, "subsampling": "4:2:0"}),
    ]
    moving = _encoded(frames[0], "PNG", {"save_all": True, "append_images": frames[1:]})
    still = _encoded(colour, "PNG", {})
    only_claimed = still[:33] + png_chunk(b"acTL", struct.pack(">II", 2, 0)) + still[33:]
    return [*(_encoded(*one) for one in wanted), moving, only_claimed]


def _encoded(image: Image.Image, format: str, settings: dict[str, object]) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format, **settings)
    return sink.getvalue()


class Mutator:
    """Draws broken files from good ones."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._by_format: dict[Format, list[bytes]] = {}
        for data in seeds:
            format = sniff(data)
            if format is not None:
                self._by_format.setdefault(format, []).append(data)

    def draw(self, random: Random, format: Format | None = None) -> bytes:
        """One file of `format`, or of any: every format as often as the others."""
        chosen = format or random.choice(list(self._by_format))
        alike = self._by_format[chosen]
        data = random.choice(alike)
        mends = chosen is Format.PNG and random.random() < 0.9
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
            change = random.choice(_PLAIN if random.random() < 0.4 else _STRUCTURED)
            data = change(random, data, chosen, alike)
            if chosen is Format.PNG and random.random() < 0.1:
                data = _within_idat(random, data)
        return _mend_png(data) if mends else data


# Changes that know nothing of the format: (random, data, format, files of the same format) -> data


def _flip_bits(random: Random, data: bytes, *_: object) -> bytes:
    changed = bytearray(data)
    for _number in range(random.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


_TELLING = (0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF)


def _set_bytes(random: Random, data: bytes, *_: object) -> bytes:
    """Most often near the beginning, where headers are."""
    changed = bytearray(data)
    reach = random.choice((64, 512, len(data))) or 1
    for _number in range(random.choice((1, 2, 4))):
        if changed:
            at = random.randrange(min(reach, len(changed)))
            changed[at] = random.choice((*_TELLING, random.randrange(256)))
    return bytes(changed)


def _truncate(random: Random, data: bytes, *_: object) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _piece(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 2, 4, 16, 256, 4096)))


def _cut_out(random: Random, data: bytes, *_: object) -> bytes:
    start, end = _piece(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, *_: object) -> bytes:
    start, end = _piece(random, data)
    return data[:end] + data[start:end] * random.choice((1, 2, 30)) + data[end:]


def _splice(random: Random, data: bytes, _format: Format, alike: Sequence[bytes]) -> bytes:
    other = random.choice(alike)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


# Changes that know the rows of the format


def _edit_length(random: Random, data: bytes, format: Format, _: object) -> bytes:
    rows = [row for row in read_rows(data, format) if row.length]
    if not rows:
        return _set_bytes(random, data)
    at, size, order = random.choice(rows).length or (0, 0, "")
    value = int.from_bytes(data[at : at + size], "big" if order == "big" else "little")
    return _put(data, at, _number_near(random, value, size), size, order)


def _edit_size(random: Random, data: bytes, format: Format, _: object) -> bytes:
    """Width or height, wherever the header has them."""
    places = list(size_fields(data, format))
    if not places:
        return _set_bytes(random, data)
    at, size, order = random.choice(places)
    value = int.from_bytes(data[at : at + size], "big" if order == "big" else "little")
    return _put(data, at, _number_near(random, value, size), size, order)


def _edit_body(random: Random, data: bytes, format: Format, _: object) -> bytes:
    """A number at the beginning of a row: that is where it says what is in it."""
    rows = read_rows(data, format)
    if not rows:
        return _set_bytes(random, data)
    row = random.choice(rows)
    size = random.choice((1, 1, 2, 4))
    at = row.body + random.randrange(24)
    value = int.from_bytes(data[at : at + size], "big")
    return _put(data, at, _number_near(random, value, size), size, "big")


def _drop_row(random: Random, data: bytes, format: Format, _: object) -> bytes:
    rows = read_rows(data, format)
    if not rows:
        return _cut_out(random, data)
    row = random.choice(rows)
    return data[: row.start] + data[row.end :]


def _repeat_row(random: Random, data: bytes, format: Format, _: object) -> bytes:
    rows = read_rows(data, format)
    if not rows:
        return _repeat(random, data)
    row, behind = random.choice(rows), random.choice(rows)
    times = random.choice((1, 1, 3, 100))
    copies = data[row.start : row.end] * (times if row.end - row.start < 2_000 else 1)
    return data[: behind.end] + copies + data[behind.end :]


def _borrow_row(random: Random, data: bytes, format: Format, alike: Sequence[bytes]) -> bytes:
    """A row of another file in the place of one, or before it."""
    other = random.choice(alike)
    rows, others = read_rows(data, format), read_rows(other, format)
    if not rows or not others:
        return _splice(random, data, format, alike)
    row, borrowed = random.choice(rows), random.choice(others)
    rest = random.choice((row.start, row.end))
    return data[: row.start] + other[borrowed.start : borrowed.end] + data[rest:]


_Change = Callable[[Random, bytes, Format, Sequence[bytes]], bytes]
_PLAIN: tuple[_Change, ...] = (_flip_bits, _set_bytes, _truncate, _cut_out, _repeat, _splice)
_STRUCTURED: tuple[_Change, ...] = (
    _edit_length,
    _edit_size,
    _edit_size,
    _edit_body,
    _edit_body,
    _drop_row,
    _repeat_row,
    _borrow_row,
)


def _number_near(random: Random, value: int, size: int) -> int:
    most = 256**size - 1
    told = (0, 1, 2, value - 1, value + 1, value * 2, value // 2, value + 8, 5_000, 7_000, most)
    number = random.choice((*told, most >> 1, most ^ (most >> 1), random.randint(0, most)))
    return max(0, min(most, number))


def _put(data: bytes, at: int, value: int, size: int, order: str) -> bytes:
    return (
        data[:at] + value.to_bytes(size, "big" if order == "big" else "little") + data[at + size :]
    )


def _within_idat(random: Random, data: bytes) -> bytes:
    """Change the rows of a PNG behind their compression, which would find it out."""
    rows = read_rows(data, Format.PNG)
    coded = b"".join(
        data[r.body : r.end - 4] for r in rows if data[r.start + 4 : r.body] == b"IDAT"
    )
    try:
        raw = zlib.decompressobj().decompress(coded, 4_000_000)
    except zlib.error:
        return data
    raw = random.choice((_flip_bits, _set_bytes, _truncate, _cut_out, _repeat))(random, raw)
    idat = png_chunk(b"IDAT", zlib.compress(raw, 1))
    others = [r for r in rows if data[r.start + 4 : r.body] != b"IDAT"]
    last = others.pop() if others else None
    tail = data[last.start : last.end] if last else b""
    return data[:8] + b"".join(data[r.start : r.end] for r in others) + idat + tail


def _mend_png(data: bytes) -> bytes:
    """The checksums of all chunks put right."""
    changed = bytearray(data)
    for row in read_rows(data, Format.PNG):
        if row.end - row.body >= 4:
            checksum = zlib.crc32(data[row.start + 4 : row.end - 4])
            changed[row.end - 4 : row.end] = struct.pack(">I", checksum)
    return bytes(changed)
