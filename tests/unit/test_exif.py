"""EXIF comes out as plain values, whatever the file says, and never tells a place."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import GPS, IFD, TAGS, Base

from omnishot_ray.imaging.exif import MAX_ENTRIES, MAX_NUMBERS, MAX_TEXT_BYTES, read_exif
from tests import corpus
from tests.corpus import SMALL
from tests.pictures import opened

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, FLOAT, DOUBLE = 1, 2, 3, 4, 5, 7, 11, 12


def block(entries: dict[int, Any], below: dict[int, dict[int, Any]] | None = None) -> bytes:
    """As Pillow writes it."""
    exif = Image.Exif()
    for tag, value in entries.items():
        exif[tag] = value
    for directory, values in (below or {}).items():
        exif.get_ifd(directory).update(values)
    return exif.tobytes()


def raw(tag: int, kind: int, count: int, value: bytes, order: str = "<") -> bytes:
    """One entry, written out; what is longer than 4 bytes follows the directory."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", 26)
    entry = struct.pack(order + "HHHI", 1, tag, kind, count) + inline
    return head + entry + bytes(4) + (value if len(value) > 4 else b"")


def test_both_directories_are_read() -> None:
    data = block(
        {Base.Make: "A maker", Base.Orientation: 6, Base.XResolution: 72.5},
        {IFD.Exif: {Base.FNumber: 2.8, Base.ISOSpeedRatings: 100, Base.ExifVersion: b"0232"}},
    )
    assert read_exif(data) == {
        "Make": "A maker",
        "Orientation": 6,
        "XResolution": 72.5,
        "FNumber": 2.8,
        "ISOSpeedRatings": 100,
        "ExifVersion": "0232",
    }


@pytest.mark.parametrize("picture", SMALL, ids=lambda picture: picture.file)
def test_what_is_told_is_what_pillow_reads(picture: corpus.Picture) -> None:
    image = opened(picture.data)
    told = read_exif(image.info.get("exif", b""))
    exif = image.getexif()
    known = {**dict(exif), **exif.get_ifd(IFD.Exif)}
    for name, value in told.items():
        (theirs,) = (known[tag] for tag in known if TAGS.get(tag) == name)
        if isinstance(theirs, bytes):
            theirs = theirs.rstrip(b"\0").decode()
        if isinstance(theirs, str):
            assert value == "".join(sign for sign in theirs if sign.isprintable()).strip()
        elif isinstance(value, list):
            pairs = zip(value, theirs, strict=True)
            assert all(mine is None or mine == pytest.approx(float(one)) for mine, one in pairs)
        else:
            assert value == pytest.approx(float(theirs))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "code", "values", "told"),
    [
        (BYTE, "B", [7], 7),
        (SHORT, "H", [65535], 65535),
        (SHORT, "H", [1, 2, 3], [1, 2, 3]),
        (LONG, "I", [2**32 - 1], 2**32 - 1),
        (RATIONAL, "I", [1, 8], 0.125),
        (RATIONAL, "I", [24, 1, 70, 1, 0, 0, 0, 0], [24.0, 70.0, None, None]),
        (10, "i", [-1, 2], -0.5),
        (FLOAT, "f", [0.5], 0.5),
        (DOUBLE, "d", [1e300], 1e300),
    ],
)
def test_numbers_are_told(order: str, kind: int, code: str, values: list[Any], told: Any) -> None:
    count = len(values) // 2 if kind in (RATIONAL, 10) else len(values)
    packed = struct.pack(f"{order}{len(values)}{code}", *values)
    assert read_exif(raw(Base.Contrast, kind, count, packed, order)) == {"Contrast": told}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (FLOAT, struct.pack("<f", float("nan"))),
        (DOUBLE, struct.pack("<d", float("inf"))),
        (RATIONAL, struct.pack("<II", 5, 0)),
        (UNDEFINED, bytes(range(8))),
        (99, b"abcd"),
    ],
    ids=["nan", "inf", "over zero", "bytes", "unknown kind"],
)
def test_what_is_no_value_is_left_out(kind: int, value: bytes) -> None:
    assert read_exif(raw(Base.Contrast, kind, len(value) if kind == UNDEFINED else 1, value)) == {}


@pytest.mark.parametrize(
    ("tag", "kind", "value", "told"),
    [
        (Base.Artist, ASCII, b"J\xc3\xb6rg\0rest", "Jörg"),
        (Base.Artist, ASCII, b"a line\r\nand one more\0", "a line\nand one more"),
        (Base.Artist, ASCII, b"\xff\xfe odd\0", "odd"),
        (Base.XPTitle, BYTE, "Über uns\0".encode("utf-16-le"), "Über uns"),
        (Base.UserComment, UNDEFINED, b"ASCII\0\0\0a comment", "a comment"),
        (Base.UserComment, UNDEFINED, b"UNICODE\0" + "ü".encode("utf-16"), "ü"),
        (Base.UserComment, UNDEFINED, b"JIS\0\0\0\0\0abcd", None),
        (Base.Artist, ASCII, b"     \0", None),
        (Base.Artist, ASCII, b"\x01\x02\x03\x04\x05", None),
        (Base.Artist, ASCII, b"be\x07ll", "bell"),
        (Base.ExifVersion, UNDEFINED, b"be\x07ll", None),
    ],
)
def test_texts_are_told(tag: int, kind: int, value: bytes, told: str | None) -> None:
    assert read_exif(raw(tag, kind, len(value), value)).get(Base(tag).name) == told


def test_a_long_text_ends() -> None:
    value = b"x" * 5000
    assert read_exif(raw(Base.Artist, ASCII, len(value), value)) == {"Artist": "x" * MAX_TEXT_BYTES}


def test_a_long_list_is_left_out() -> None:
    for count in (MAX_NUMBERS, MAX_NUMBERS + 1):
        told = read_exif(raw(Base.Contrast, SHORT, count, bytes(2 * count)))
        assert bool(told) is (count <= MAX_NUMBERS)


def test_only_so_many_entries_are_told() -> None:
    entries = dict.fromkeys([tag for tag in Base if tag > 254 and tag not in iter(IFD)], 7)
    assert len(entries) > MAX_ENTRIES
    assert len(read_exif(block(entries))) == MAX_ENTRIES


# Where a picture was taken is not told.

PLACE = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 51.0, 29.6), GPS.GPSAreaInformation: "X"}


def test_the_place_is_not_told() -> None:
    data = block({Base.Make: "A maker"}, {IFD.GPSInfo: PLACE})
    written = Image.Exif()
    written.load(data)
    assert written.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] == "N"
    assert read_exif(data) == {"Make": "A maker"}


@pytest.mark.parametrize("tag", [*GPS, IFD.GPSInfo])
@pytest.mark.parametrize("kind", [ASCII, LONG])
def test_a_place_in_the_wrong_directory_is_not_told(tag: int, kind: int) -> None:
    assert read_exif(raw(tag, kind, 4 if kind == ASCII else 1, b"48N\0")) == {}


@pytest.mark.parametrize(
    "tag", [Base.MakerNote, Base.XMLPacket, Base.IPTCNAA, Base.ImageResources, Base.StripOffsets]
)
def test_blocks_of_others_are_not_told(tag: int) -> None:
    value = b"a text with 48.8583, 2.2944"
    assert read_exif(raw(tag, UNDEFINED, len(value), value)) == {}


# Damage and malice.


def assert_plain(told: dict[str, Any]) -> None:
    text = json.dumps(told, allow_nan=False)
    assert text.encode("utf-8")
    assert len(told) <= MAX_ENTRIES
    assert "GPS" not in " ".join(told)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_read(rest: bytes) -> None:
    assert_plain(read_exif(rest))
    assert_plain(read_exif(b"Exif\0\0II*\0\x08\0\0\0" + rest))
    assert_plain(read_exif(b"MM\0*\0\0\0\x08" + rest))


WHOLE = opened(corpus.read("photo_flower_480x360")).info["exif"][:700]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(6, 699), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_blocks_are_read(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    assert_plain(read_exif(bytes(data)))


@pytest.mark.parametrize(("kind", "size"), [(ASCII, 9), (RATIONAL, 8), (DOUBLE, 8), (SHORT, 8)])
def test_an_entry_that_ends_too_soon_is_left_out(kind: int, size: int) -> None:
    data = raw(Base.Contrast, kind, {RATIONAL: 1, DOUBLE: 1, SHORT: 4}.get(kind, size), b"1" * size)
    assert list(read_exif(data)) == ["Contrast"]
    assert read_exif(data[:-1]) == {}


def test_a_directory_that_points_to_itself_ends() -> None:
    data = raw(IFD.Exif, LONG, 1, struct.pack("<I", 8))
    assert read_exif(data) == {}


def test_a_huge_block_shared_by_all_entries_is_not_copied() -> None:
    """65 535 entries that share 20 MB would be 1.3 TB."""
    shared = bytes(20_000_000)
    entries = b"".join(
        struct.pack("<HHII", tag, UNDEFINED, len(shared), 8) for tag in range(65_535)
    )
    at = 8 + len(shared)
    head = b"II*\0" + struct.pack("<I", at) + shared
    assert read_exif(head + struct.pack("<H", 65_535) + entries + bytes(4)) == {}
