"""Names of members made safe to write, and told apart without remembering each of them."""

import hashlib
import re
import struct
import unicodedata

from omnishot_ray.batch.places import STATE

_MAX_PART_BYTES = 160
"""Of one folder or file name: 255 in Linux's and macOS's file systems, less what is appended."""
_MAX_PARTS = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HALVES = re.compile(r"[\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")
_OWN_NAMES = frozenset(
    (STATE, "manifest.parquet", "timings.parquet", "summary.json", "run.json", "report.html")
)
"""What a batch puts into its output itself."""
PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp")
)


_HASHES = struct.Struct("<7I")


class UnsafeName(ValueError):
    """The name leads out of the folder that it is unpacked into."""


def readable(raw: bytes) -> str:
    """A name of unknown encoding as text: UTF-8, else what is not is written as `%E9`."""
    return whole_text(raw.decode("utf-8", "surrogateescape"))


def whole_text(text: str) -> str:
    """The same of text with halves of characters, which no file and no table takes.

    Python has bytes of file names that are not UTF-8 as such (PEP 383); others become `%uD800`.
    """
    return text if text.isascii() else _HALVES.sub(_written_out, text)


def _written_out(half: re.Match[str]) -> str:
    value = ord(half[0])
    return f"%{value - 0xDC00:02X}" if 0xDC80 <= value <= 0xDCFF else f"%u{value:04X}"


def safe_name(name: str) -> str:
    """A relative name that stays in its folder, whatever the archive says.

    A leading `/` or drive goes, as GNU tar does it; characters of control become `_`; parts that
    are too long are cut and told apart by a hash; what the output has of its own is left free.

    Raises:
        UnsafeName: it climbs with `..`, is empty, or too deep.
    """
    text = unicodedata.normalize("NFC", whole_text(name))
    text = _CONTROL.sub("_", _DRIVE.sub("", text).replace("\\", "/"))
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeName("The name climbs out of its folder with `..`; it is not unpacked.")
    if not parts:
        raise UnsafeName("The member has no name.")
    if len(parts) > _MAX_PARTS:
        raise UnsafeName(f"The name has {len(parts)} folders; at most {_MAX_PARTS} are unpacked.")
    if parts[0].casefold() in _OWN_NAMES:
        parts[0] = f"_{parts[0]}"
    # A folder must not have the name of another member's rendition.
    folders = [f"{part}_" if is_picture(part) else part for part in parts[:-1]]
    return "/".join(_cut(part) for part in (*folders, parts[-1]))


def _cut(part: str) -> str:
    raw = part.encode()
    if len(raw) <= _MAX_PART_BYTES:
        return part
    mark = hashlib.sha256(raw).hexdigest()[:16]
    stem, dot, suffix = part.rpartition(".")
    end = f"~{mark}{dot}{suffix}" if dot and len(suffix) <= 8 else f"~{mark}"
    kept = (stem if dot else part).encode()
    return kept[: _MAX_PART_BYTES - len(end)].decode("utf-8", "ignore") + end


def is_picture(name: str) -> bool:
    """Whether its suffix says picture; the `._` files of macOS are none."""
    folder, _, last = name.rpartition("/")
    del folder
    stem, dot, suffix = last.rpartition(".")
    return bool(dot and stem) and f".{suffix.lower()}" in PICTURE_SUFFIXES and last[:2] != "._"


def stem_of(name: str) -> str:
    """The name without a picture's suffix."""
    stem, dot, suffix = name.rpartition(".")
    known = f".{suffix.lower()}" in PICTURE_SUFFIXES
    return stem if dot and known and stem and not stem.endswith("/") else name


class Stems:
    """Hands out a stem of output for each member of one container, no stem twice.

    What was handed out is kept in a Bloom filter (B. H. Bloom, CACM 13(7), 1970) of a fixed 8 MiB,
    whatever their number: it never misses a stem, so none is handed out twice, and what it takes
    for one by mistake (1 in 10 000 with three million) merely gets a longer name. The same
    members in the same order always get the same stems.
    """

    _BITS = 1 << 26

    def __init__(self) -> None:
        self._bits = bytearray(self._BITS // 8)

    def take(self, name: str, index: int) -> str:
        """`photo` for `photo.jpg`; when that is taken `photo.jpg`, then `photo.jpg~17`."""
        tries = 0
        stem = stem_of(name)
        while not self._add(stem):
            stem = name if tries == 0 else f"{name}~{index}" + "~" * (tries - 1)
            tries += 1
        return stem

    def _add(self, stem: str) -> bool:
        # Names that differ in case alone are one file on some systems.
        digest = hashlib.blake2b(stem.casefold().encode(), digest_size=_HASHES.size).digest()
        is_new = False
        for value in _HASHES.unpack(digest):
            place = value % self._BITS
            mask = 1 << (place & 7)
            if not self._bits[place >> 3] & mask:
                self._bits[place >> 3] |= mask
                is_new = True
        return is_new
