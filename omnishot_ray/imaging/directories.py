"""A bound to what Pillow reads of TIFF and EXIF directories, and text written as it was read.

`ImageFileDirectory_v2.load` copies the data of every entry before anybody can ask about one. An
entry takes 12 bytes, and all may point to the same data: a PNG of 1 MB, of which 12 KB are entries,
takes 1 GB, and one of 2 MB more than there is. No header tells of it, because every format has its
EXIF elsewhere, and most read it while they open; so the bound is at the one place that all use.

Text is of any encoding, whatever the standard says. Pillow reads it as Latin-1, which every byte is
a letter of, but writes ASCII with a question mark for all else.
"""

from typing import IO, Any

from PIL import TiffImagePlugin

_HARMLESS_BYTES = 16 * 1024 * 1024
"""No more than this can come of entries × bytes: looking closer would only cost time."""
_MOST_NUMBERS = 262_144
"""Numbers in one entry, which become Python's objects; a TIFF has one for every strip of rows."""
_BYTE_KINDS = (1, 2, 6, 7)

_TEXT = 2
"""The kind of an entry that holds text (TIFF 6.0 §2)."""

_Directory = TiffImagePlugin.ImageFileDirectory_v2
_load = _Directory.load


def bound_directories() -> None:
    """Have Pillow refuse a directory (`ValueError`) whose entries hold more than their file."""
    _Directory.load = _load_bounded  # type: ignore[method-assign,assignment]


def keep_texts() -> None:
    """Have Pillow write the text of a directory with the bytes that it was read from."""
    _Directory._write_dispatch[_TEXT] = _write_text


def _write_text(_: Any, value: str | bytes | int) -> bytes:
    raw = value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
    return raw + b"\0"


def _load_bounded(directory: Any, source: IO[bytes]) -> None:
    start = source.tell()
    length = source.seek(0, 2)
    source.seek(start)
    form = ("Q", 8, "HHQ8x", 20) if directory._bigtiff else ("H", 2, "HHI4x", 12)
    head_code, head_size, entry_code, entry_size = form
    head = source.read(head_size)
    if len(head) == head_size:
        (count,) = directory._unpack(head_code, head)
        if count * length > _HARMLESS_BYTES:
            entries = source.read(min(count, length // entry_size) * entry_size)
            claimed = 0
            for at in range(0, len(entries) - entry_size + 1, entry_size):
                _, kind, number = directory._unpack(entry_code, entries[at : at + entry_size])
                unit, _ = directory._load_dispatch.get(kind, (0, None))
                claimed += unit * number if unit * number <= length else 0
                if claimed > length or (number > _MOST_NUMBERS and kind not in _BYTE_KINDS):
                    raise ValueError("the entries of a directory hold more than the file")
    source.seek(start)
    _load(directory, source)
