"""Indexes of tar and zip, read without the pictures, and what hostile ones come to."""

import gzip
import io
import os
import random
import struct
import subprocess
import tarfile
import tempfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.batch import tars
from omnishot_ray.batch.members import Container, Found, Inline, Range, Zipped
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.plan import index, plan_shards
from omnishot_ray.batch.reading import read_members
from omnishot_ray.batch.spans import Fault, Span, SpanReader
from tests import batches

MIB = 1 << 20


def found_in(path: Path, kind: str, out: Path, **given) -> list[Found]:
    return list(index(batches.container(path, kind), batches.job_of(path, out=out, **given)))


def read_all(path: Path, kind: str, out: Path, **given) -> dict[str, bytes | Fault]:
    job = batches.job_of(path, out=out, **given)
    return {
        member.name: content(source)
        for shard in plan_shards(batches.container(path, kind), job, "job")
        for member, source in read_members(shard, job)
    }


def content(source: bytes | Span | Fault) -> bytes | Fault:
    return SpanReader().read(source) if isinstance(source, Span) else source


def code(value: bytes | Fault) -> str:
    assert isinstance(value, Fault)
    return value.code


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_members_are_read_by_their_ranges(tmp_path: Path, format: int) -> None:
    members = batches.photos(20) | {"x" * 90 + "/" + "y" * 90 + ".jpg": b"long"}
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    assert read_all(path, "tar", tmp_path) == members
    raw = path.read_bytes()
    for found in found_in(path, "tar", tmp_path):
        assert isinstance(found.at, Range)
        assert raw[found.at.offset : found.at.offset + found.size] == members[found.name]


@pytest.mark.parametrize(
    ("kind", "mode"), [("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.zst", "")]
)
def test_compressed_tars_are_read_in_one_pass(tmp_path: Path, kind: str, mode: str) -> None:
    members = batches.photos(20)
    path = tmp_path / f"a.{kind}"
    if mode:
        batches.write_tar(path, members, mode)
    else:
        plain = batches.write_tar(tmp_path / "a.tar", members)
        subprocess.run(["zstd", "-q", str(plain), "-o", str(path)], check=True)
    assert read_all(path, kind, tmp_path) == members


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_read_by_their_ranges(tmp_path: Path, method: int) -> None:
    members = batches.photos(20)
    path = batches.write_zip(tmp_path / "a.zip", members, method)
    assert read_all(path, "zip", tmp_path) == members


@given(st.integers(0, 40), st.booleans(), st.binary(max_size=40))
def test_zip_directory_is_the_one_of_the_standard_library(
    count: int, deflated: bool, before: bytes
) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", 8 if deflated else 0) as archive:
        for n in range(count):
            archive.writestr(f"ä{n}.jpg", bytes(n) * 10)
        archive.comment = b"PK\x05\x06"[:2] + b"a comment"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(before + sink.getvalue())  # a program that unpacks itself
        read = read_all(path, "zip", Path(folder))
    assert read == {f"ä{n}.jpg": bytes(n) * 10 for n in range(count)}


def test_names_in_odd_encodings(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    with tarfile.open(tar, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        item = tarfile.TarInfo("grün.jpg")
        item.size = 1
        archive.addfile(item, io.BytesIO(b"x"))
    assert list(read_all(tar, "tar", tmp_path)) == ["gr%FCn.jpg"]
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("gr?n.jpg", b"x")
    path = tmp_path / "a.zip"
    path.write_bytes(sink.getvalue().replace(b"gr?n", b"gr\x81n"))  # code page 437
    assert list(read_all(path, "zip", tmp_path)) == ["grün.jpg"]


def test_links_devices_and_climbing_names_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
        ):
            item = tarfile.TarInfo(name)
            item.type, item.linkname = kind, "/etc/passwd"
            archive.addfile(item)
        for name in ("../up.jpg", "a/../../up.jpg", "/abs.jpg", "fine.jpg"):
            item = tarfile.TarInfo(name)
            item.size = 4
            archive.addfile(item, io.BytesIO(b"data"))
    read = read_all(path, "tar", tmp_path)
    refused = {name for name, value in read.items() if isinstance(value, Fault)}
    assert refused == {"link.jpg", "hard.jpg", "device.jpg", "../up.jpg", "a/../../up.jpg"}
    assert {code(read[name]) for name in refused} == {"unsafe-member"}
    assert read["/abs.jpg"] == read["fine.jpg"] == b"data"


def test_links_in_zips_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert code(read_all(path, "zip", tmp_path)["link.jpg"]) == "unsafe-member"


def test_duplicate_names_get_stems_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for data in (b"one", b"two"):
            item = tarfile.TarInfo("same.jpg")
            item.size = 3
            archive.addfile(item, io.BytesIO(data))
    job = batches.job_of(path, out=tmp_path)
    (shard,) = plan_shards(batches.container(path, "tar"), job, "job")
    read = [(member.stem, content(source)) for member, source in read_members(shard, job)]
    assert read == [("same", b"one"), ("same.jpg", b"two")]


def test_a_hundred_thousand_tiny_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    header = tarfile.TarInfo("0000000.jpg")
    header.size = 1
    with path.open("wb") as file:
        for n in range(100_000):
            header.name = f"{n:07d}.jpg"
            file.write(header.tobuf(tarfile.USTAR_FORMAT) + b"x".ljust(512, b"\0"))
        file.write(bytes(1024))
    job = batches.job_of(path, out=tmp_path, shard_members=1000)
    shards = list(plan_shards(batches.container(path, "tar"), job, "job"))
    assert [len(shard.members) for shard in shards] == [1000] * 100
    assert shards[99].members[-1].name == "0099999.jpg"
    assert len({shard.id for shard in shards}) == 100


def test_a_member_of_3_gb_costs_a_row_and_no_memory(tmp_path: Path) -> None:
    size = 3_000_000_000
    path = tmp_path / "a.tar"
    with path.open("wb") as file:  # with a hole: it takes no room on the disk
        for name, length in (("huge.jpg", size), ("fine.jpg", 4)):
            header = tarfile.TarInfo(name)
            header.size = length
            file.write(header.tobuf(tarfile.USTAR_FORMAT))
            if length > 4:
                file.seek(length + -length % 512, 1)
        file.write(b"data".ljust(512, b"\0") + bytes(1024))
    read = read_all(path, "tar", tmp_path)
    assert code(read["huge.jpg"]) == "source-too-large"
    assert read["fine.jpg"] == b"data"


def test_a_tar_that_ends_early_gives_what_is_whole(tmp_path: Path) -> None:
    path = batches.write_tar(tmp_path / "a.tar", batches.photos(5))
    path.write_bytes(path.read_bytes()[:4000])
    read = read_all(path, "tar", tmp_path)
    assert any(isinstance(value, bytes) for value in read.values())
    assert "archive-damaged" in {v.code for v in read.values() if isinstance(v, Fault)}


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_tar_with_a_broken_header_gives_what_is_before(
    tmp_path: Path, kind: str, is_cut: bool
) -> None:
    members = {f"{n}.jpg": b"data" for n in range(6)}
    path = batches.write_tar(tmp_path / "a.tar", members)
    raw = bytearray(path.read_bytes())
    if is_cut:
        raw = raw[: 3 * 1024 + 200]
    else:
        raw[3 * 1024 + 148] ^= 7  # the checksum of the fourth
    path.write_bytes(gzip.compress(raw) if kind == "tar.gz" else raw)
    read = read_all(path, kind, tmp_path)
    assert list(read) == ["0.jpg", "1.jpg", "2.jpg", "_archive"]
    assert code(read["_archive"]) == "archive-damaged"


@pytest.mark.parametrize("left", [0, 100, 512, 1536])
def test_a_tar_may_end_without_its_zeros(tmp_path: Path, left: int) -> None:
    path = batches.write_tar(tmp_path / "a.tar", {"a.jpg": b"1", "b.jpg": b"2"})
    path.write_bytes(path.read_bytes()[: 2 * 1024 + left])
    assert read_all(path, "tar", tmp_path) == {"a.jpg": b"1", "b.jpg": b"2"}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "zip", "parquet", "arrow"])
@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive_is_one_row(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    read = read_all(path, kind, tmp_path)
    assert [code(value) for value in read.values()] == ["archive-damaged"]


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 3_000_000_000
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    assert code(read_all(path, "tar", tmp_path)["_archive"]) == "archive-damaged"


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize("type", [b"L", b"K", b"x", b"g"])
def test_a_name_of_megabytes_is_not_kept(tmp_path: Path, kind: str, type: bytes) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = type, 60 * MIB
    member = tarfile.TarInfo("a.jpg").tobuf()
    path = tmp_path / "a"
    with gzip.open(path, "wb", 1) if kind == "tar.gz" else path.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(60):
            file.write(b"n" * MIB)
        file.write(member + bytes(1024))
    tracemalloc.start()
    read = read_all(path, kind, tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code(read["_archive"]) == "archive-damaged"
    assert most < 20 * MIB


def test_a_negative_size_does_not_lead_back(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a.jpg")
    header.pax_headers = {"size": "-1024"}
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    read = read_all(path, "tar", tmp_path, max_members=50)
    assert [code(value) for value in read.values()] == ["archive-damaged"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_is_larger_packed_is_not_read(tmp_path: Path, method: int) -> None:
    path = batches.write_zip(tmp_path / "a.zip", {"a.jpg": os.urandom(40 * MIB)}, method)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<L", raw, raw.rindex(b"PK\1\2") + 24, 10)  # what it is unpacked
    path.write_bytes(raw)
    (found,) = found_in(path, "zip", tmp_path)
    assert isinstance(found.at, Fault)
    assert found.at.code == "member-damaged"


@given(st.integers(0, 300_000))
def test_what_cannot_be_deflated_is_read(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        members = {"a.jpg": random.Random(size).randbytes(size)}
        path = batches.write_zip(Path(folder) / "a.zip", members, zipfile.ZIP_DEFLATED)
        assert read_all(path, "zip", Path(folder)) == members


def test_long_names_in_a_row_are_no_name(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    path = tmp_path / "a.tar"
    path.write_bytes((header.tobuf(tarfile.GNU_FORMAT) + b"name".ljust(512, b"\0")) * 1500)
    assert code(read_all(path, "tar", tmp_path)["_archive"]) == "archive-damaged"


def test_what_nobody_has_thought_of_costs_a_row(tmp_path: Path) -> None:
    job = batches.job_of(tmp_path, out=tmp_path)
    folder = Container(0, Place("/no\0name"), "folder")
    (found,) = index(folder, job)
    assert isinstance(found.at, Fault)
    assert found.at.code == "source-unreadable"
    path = batches.write_zip(tmp_path / "a.zip", {"a.jpg": b"x", "b.jpg": b"y"})
    (shard,) = plan_shards(batches.container(path, "zip"), job, "job")
    first, second = shard.members
    beyond = replace(first, at=Zipped(1 << 63, 1, 0, 0))
    read = [got for _, got in read_members(replace(shard, members=(beyond, second)), job)]
    assert code(read[0]) == "source-unreadable"
    assert read[1] == b"y"


def test_a_tar_that_grows_without_end_is_a_bomb(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tars, "_FREE_BYTES", 4 * MIB)
    path = batches.write_tar(tmp_path / "a.tar.gz", {"a.jpg": bytes(16 * MIB)}, "w:gz")
    assert path.stat().st_size < 20_000
    assert code(read_all(path, "tar.gz", tmp_path)["_archive"]) == "archive-bomb"


def test_a_member_of_a_zip_that_grows_a_thousandfold_is_a_bomb(tmp_path: Path) -> None:
    members = {"bomb.jpg": bytes(20 * MIB), "fine.jpg": b"data"}
    path = batches.write_zip(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)
    read = read_all(path, "zip", tmp_path)
    assert code(read["bomb.jpg"]) == "archive-bomb"
    assert read["fine.jpg"] == b"data"


def test_a_member_that_says_too_little_is_not_unpacked_beyond(tmp_path: Path) -> None:
    path = batches.write_zip(tmp_path / "a.zip", {"a.jpg": bytes(MIB)}, zipfile.ZIP_DEFLATED)
    lied = path.read_bytes().replace(struct.pack("<L", MIB), struct.pack("<L", 1000))
    path.write_bytes(lied)
    assert code(read_all(path, "zip", tmp_path)["a.jpg"]) == "member-damaged"


def test_members_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    data = batches.photo()
    path = batches.write_zip(tmp_path / "a.zip", {f"{n}.jpg": data for n in range(9)})
    raw = path.read_bytes()
    start = struct.unpack_from("<L", raw, len(raw) - 6)[0]
    with zipfile.ZipFile(path) as archive:
        one = archive.infolist()[0]
    entry = raw[start : start + 46 + len(one.filename)]
    count = 60_000
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, count, count, count * len(entry), len(data) + 35, 0
    )
    path.write_bytes(raw[: len(data) + 35] + entry * count + end)
    job = batches.job_of(path, out=tmp_path, max_members=10**9)
    last = list(index(batches.container(path, "zip"), job))[-1]
    assert isinstance(last.at, Fault)
    assert last.at.code == "archive-bomb"


def test_too_many_members_are_a_bomb(tmp_path: Path) -> None:
    path = batches.write_tar(tmp_path / "a.tar", batches.photos(9))
    read = read_all(path, "tar", tmp_path, max_members=5)
    assert len(read) == 6
    assert code(read["_archive"]) == "archive-bomb"


def test_a_broken_crc_is_one_row(tmp_path: Path) -> None:
    path = batches.write_zip(tmp_path / "a.zip", {"a.jpg": b"data" * 9, "b.jpg": b"fine"})
    path.write_bytes(path.read_bytes().replace(b"data" * 9, b"dato" * 9))
    read = read_all(path, "zip", tmp_path)
    assert code(read["a.jpg"]) == "member-damaged"
    assert read["b.jpg"] == b"fine"


def test_zip64(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(70_000):  # more than 16 bits count
            archive.writestr(f"{n}.jpg", b"x")
    found = found_in(path, "zip", tmp_path)
    assert len(found) == 70_000
    assert isinstance(found[-1].at, Zipped)
    raw = path.read_bytes()
    wide, end = raw.rindex(b"PK\6\6"), bytearray(raw[raw.rindex(b"PK\5\6") :])
    struct.pack_into("<2H", end, 8, 70_000 % 65_536, 70_000 % 65_536)
    path.write_bytes(raw[:wide] + end)  # as archivers write it that do not know of it
    assert found_in(path, "zip", tmp_path) == found


def test_a_member_beyond_the_zip_is_one_row(tmp_path: Path) -> None:
    path = batches.write_zip(tmp_path / "a.zip", {"a.jpg": b"x", "b.jpg": b"y"})
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\1\2")
    extra = struct.pack("<2HQ", 1, 8, (1 << 63) + 5)  # zip64's offset
    struct.pack_into("<H", raw, start + 30, len(extra))
    struct.pack_into("<L", raw, start + 42, 0xFFFFFFFF)
    raw[start + 51 : start + 51] = extra
    end = raw.rfind(b"PK\5\6")
    struct.pack_into("<L", raw, end + 12, struct.unpack_from("<L", raw, end + 12)[0] + len(extra))
    path.write_bytes(raw)
    read = read_all(path, "zip", tmp_path)
    assert code(read["a.jpg"]) == "member-damaged"
    assert read["b.jpg"] == b"y"


@pytest.mark.parametrize(("count", "left"), [(3, 0), (1, 1), (5, 1)])
def test_a_zip_is_read_to_the_end_of_its_directory(tmp_path: Path, count: int, left: int) -> None:
    path = batches.write_zip(tmp_path / "a.zip", {f"{n}.jpg": b"x" for n in range(3)})
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"PK\5\6")
    struct.pack_into("<2H", raw, at + 8, count, count)
    path.write_bytes(raw)
    read = read_all(path, "zip", tmp_path)
    assert [read.pop(f"{n}.jpg") for n in range(3)] == [b"x"] * 3
    assert [code(value) for value in read.values()] == ["archive-damaged"] * left


def test_a_signed_zip(tmp_path: Path) -> None:
    path = batches.write_zip(tmp_path / "a.zip", {"a.jpg": b"x"})
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"PK\5\6")
    signature = b"PK\5\5" + struct.pack("<H", 3) + b"abc"
    struct.pack_into("<L", raw, at + 12, struct.unpack_from("<L", raw, at + 12)[0] + len(signature))
    path.write_bytes(raw[:at] + signature + raw[at:])
    assert read_all(path, "zip", tmp_path) == {"a.jpg": b"x"}


def test_sidecars_are_passed_over_and_counted(tmp_path: Path) -> None:
    members = {"a.jpg": b"1", "a.json": b"{}", "b.jpg": b"2", "b.cls": b"7", "._b.jpg": b""}
    path = batches.write_tar(tmp_path / "a.tar", members)
    (shard,) = plan_shards(batches.container(path, "tar"), batches.job_of(path, out=tmp_path), "")
    assert [member.name for member in shard.members] == ["a.jpg", "b.jpg"]
    assert shard.others == 3


def test_a_compressed_tar_gives_what_is_matched(tmp_path: Path) -> None:
    members = {"a.dat": b"data", "b.jpg": b"picture", "c": b"nothing"}
    path = batches.write_tar(tmp_path / "a.tar.gz", members, "w:gz")
    assert read_all(path, "tar.gz", tmp_path, match="*.dat") == {"a.dat": b"data"}
    assert read_all(path, "tar.gz", tmp_path, match="*") == members


def test_members_beyond_the_limit_are_not_kept_while_streaming(tmp_path: Path) -> None:
    members = {"big.jpg": b"x" * 5000, "fine.jpg": b"data"}
    path = batches.write_tar(tmp_path / "a.tar.gz", members, "w:gz")
    big, fine = found_in(path, "tar.gz", tmp_path, max_source_bytes=4096)
    assert isinstance(big.at, Fault)
    assert isinstance(fine.at, Inline)
