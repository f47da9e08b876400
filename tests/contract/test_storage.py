"""What every store does, each with its real backend: files, and S3 by moto's server."""

import asyncio
import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from omnishot_ray.digest import content_digest
from omnishot_ray.errors import (
    AddressRefused,
    NotStored,
    SourceTooLarge,
    StorageUnavailable,
    UpstreamRefused,
    UpstreamResting,
)
from omnishot_ray.storage.blobs import Blobs
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.folders import Folder, TooLarge, open_folder
from omnishot_ray.storage.outputs import CACHE_CONTROL, Output, Outputs
from omnishot_ray.storage.sources import Sources
from tests.s3_server import S3Server
from tests.small_disk import mounted

DATA = bytes(range(256)) * 40
PAST_S = 10_000.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server(free_port())
    yield server
    server.end()


@pytest.fixture(params=["file", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where nothing is yet."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    s3: S3Server = request.getfixturevalue("s3")
    return s3.uri(f"test/{tmp_path.name}")


@pytest.fixture
def folder(uri: str) -> Folder:
    return open_folder(uri)


@pytest.fixture
def blobs(uri: str) -> Blobs:
    return Blobs(uri)


# Folders.


def test_gives_what_was_written(folder: Folder) -> None:
    folder.write("a/b/c.bin", DATA)
    assert folder.read("a/b/c.bin") == DATA
    info = folder.stat("a/b/c.bin")
    assert (info.path, info.size) == ("a/b/c.bin", len(DATA))


def test_replaces(folder: Folder) -> None:
    folder.write("name", DATA)
    folder.write("name", b"other")
    assert folder.read("name") == b"other"


def test_nothing_is_a_size_too(folder: Folder) -> None:
    folder.write("empty", b"")
    assert folder.read("empty", limit=0) == b""


@pytest.mark.parametrize(
    "name", ["a b", "größe.webp", "a+b&c=d", "100%", "~x", "a#b?c", "-", "日本"]
)
def test_names_stay_as_they_are(folder: Folder, name: str) -> None:
    folder.write(f"x/{name}", DATA)
    assert folder.read(f"x/{name}") == DATA
    assert [info.path for info in folder.list_files()] == [f"x/{name}"]


def test_what_is_not_there_is_not_found(folder: Folder) -> None:
    folder.write("there", DATA)
    for ask in (folder.read, folder.stat, folder.delete):
        for path in ("nothing", "no/thing"):
            with pytest.raises(FileNotFoundError):
                ask(path)
    assert not folder.touch("nothing")


def test_no_more_is_read_than_is_wanted(folder: Folder) -> None:
    folder.write("name", DATA)
    assert folder.read("name", limit=len(DATA)) == DATA
    with pytest.raises(TooLarge):
        folder.read("name", limit=len(DATA) - 1)


def test_lists_and_deletes(folder: Folder) -> None:
    assert list(folder.list_files()) == []
    for path in ("a", "b/c", "b/d/e"):
        folder.write(path, DATA)
    assert sorted(info.path for info in folder.list_files()) == ["a", "b/c", "b/d/e"]
    assert folder.delete("b/c")
    assert sorted(info.path for info in folder.list_files()) == ["a", "b/d/e"]


def test_deletes_only_what_is_old_enough(folder: Folder) -> None:
    folder.write("name", DATA)
    assert not folder.delete("name", older_than_s=PAST_S)
    assert folder.read("name") == DATA
    assert folder.delete("name", older_than_s=-PAST_S)


def test_many_writers_of_one_name_leave_one_of_theirs(folder: Folder) -> None:
    contents = [bytes([number]) * 50_000 for number in range(16)]
    seen: set[bytes] = set()
    folder.write("name", contents[0])
    with ThreadPoolExecutor(8) as pool:
        for written in [pool.submit(folder.write, "name", one) for one in contents]:
            seen.add(folder.read("name"))
            written.result()
    assert {*seen, folder.read("name")} <= set(contents)
    assert [info.path for info in folder.list_files()] == ["name"]
    assert folder.sweep(-PAST_S) == 0


def test_gives_signs_of_life(folder: Folder) -> None:
    folder.check()


# Blobs.


def test_a_blob_is_named_by_its_content(blobs: Blobs) -> None:
    digest = blobs.put(DATA)
    assert digest == content_digest(DATA).hex()
    assert blobs.get(digest) == DATA
    assert blobs.exists(digest)


def test_putting_twice_is_putting_once(blobs: Blobs) -> None:
    assert blobs.put(DATA) == blobs.put(DATA)
    assert len(list(blobs.list_older(-PAST_S))) == 1


def test_what_was_never_put_is_not_stored(blobs: Blobs) -> None:
    digest = "0" * 64
    with pytest.raises(NotStored):
        blobs.get(digest)
    assert not blobs.exists(digest)
    assert not blobs.delete(digest)


@pytest.mark.parametrize("digest", ["", "..", "../" * 21 + "a", "A" * 64, "0" * 63, "0" * 65])
def test_what_is_no_digest_is_no_name(blobs: Blobs, digest: str) -> None:
    for ask in (blobs.get, blobs.exists, blobs.delete):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            ask(digest)


def test_damage_is_seen_and_mended(blobs: Blobs, folder: Folder) -> None:
    digest = blobs.put(DATA)
    folder.write(f"{digest[:2]}/{digest}", b"x" * len(DATA))
    with pytest.raises(NotStored, match="damaged"):
        blobs.get(digest)
    blobs.put(DATA)
    assert blobs.get(digest) == DATA


def test_garbage_is_what_is_old(blobs: Blobs, folder: Folder) -> None:
    digest = blobs.put(DATA)
    folder.write("somebody/elses", DATA)
    assert list(blobs.list_older(PAST_S)) == []
    (info,) = blobs.list_older(-PAST_S)
    assert (info.digest, info.size) == (digest, len(DATA))
    assert not blobs.delete(digest, older_than_s=PAST_S)
    assert blobs.delete(digest)
    assert not blobs.exists(digest)


def test_putting_again_renews(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(DATA)
    os.utime(tmp_path / digest[:2] / digest, (1, 1))
    assert [info.digest for info in blobs.list_older(PAST_S)] == [digest]
    blobs.put(DATA)
    assert list(blobs.list_older(PAST_S)) == []
    assert not blobs.delete(digest, older_than_s=PAST_S)


# Files alone.


def test_who_has_put_it_has_it_whatever_a_collector_does(tmp_path: Path) -> None:
    blobs, digest, ended = Blobs(tmp_path.as_uri()), content_digest(DATA).hex(), threading.Event()
    path = tmp_path / digest[:2] / digest

    def collect() -> int:
        collected = 0
        while not ended.is_set():
            collected += blobs.delete(digest, older_than_s=PAST_S)
        return collected

    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(collect)
        try:
            for _ in range(200):
                blobs.put(DATA)
                assert blobs.get(digest) == DATA
                os.utime(path, (1, 1))  # now it is old, and may go at any moment
        finally:
            ended.set()
        assert collecting.result() > 0


def test_an_abandoned_write_is_swept_away(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(DATA)
    half = tmp_path / digest[:2] / ".0123.part"
    half.write_bytes(b"half")
    assert len(list(blobs.list_older(-PAST_S))) == 1
    assert half.exists(), "somebody may be writing it"
    os.utime(half, (1, 1))
    assert len(list(blobs.list_older(-PAST_S))) == 1
    assert not half.exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path.as_uri())

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageUnavailable):
        blobs.put(DATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_bytes_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    synced, renamed = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        synced(descriptor)

    def rename(*names: str, **folders: int) -> None:
        order.append("name")
        renamed(*names, **folders)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    open_folder(tmp_path.as_uri()).write("name", DATA)
    assert order == ["file", "name", "folder"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "64k") as disk:
        yield disk


def test_a_full_disk_keeps_nothing_half(small_disk: Path) -> None:
    blobs = Blobs(small_disk.as_uri())
    kept = [blobs.put(bytes([number]) * 10_000) for number in range(3)]
    with pytest.raises(StorageUnavailable, match="full") as told:
        blobs.put(os.urandom(60_000))
    assert told.value.retry_after_s >= 10
    assert sorted(info.digest for info in blobs.list_older(-PAST_S)) == sorted(kept)
    assert [blobs.get(digest)[0] for digest in kept] == [0, 1, 2]
    with pytest.raises(OSError, match="No space"):
        (small_disk / "rest").write_bytes(bytes(100_000))
    with pytest.raises(StorageUnavailable, match="full"):
        blobs.check()
    (small_disk / "rest").unlink()
    blobs.check()
    assert blobs.get(blobs.put(b"room again")) == b"room again"


def test_a_file_in_place_of_the_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    blobs = Blobs((tmp_path / "store").as_uri())
    for call in (lambda: blobs.put(DATA), lambda: blobs.get("0" * 64), blobs.check):
        with pytest.raises(StorageUnavailable):
            call()


# S3 alone.


def test_a_store_that_is_down_is_said_soon() -> None:
    server = S3Server(free_port())
    blobs = Blobs(server.uri("blobs"))
    digest = blobs.put(DATA)
    server.end()
    calls: list[Callable[[], object]] = [
        lambda: blobs.put(DATA),
        lambda: blobs.get(digest),
        lambda: blobs.exists(digest),
        lambda: blobs.delete(digest),
        lambda: list(blobs.list_older(0)),
        blobs.check,
    ]
    for call in calls:
        with pytest.raises(StorageUnavailable, match="cannot be reached") as told:
            call()
        assert told.value.retry_after_s >= 1
        assert str(server.port) not in told.value.detail


def test_a_bucket_that_is_not_there_is_no_store(s3: S3Server) -> None:
    blobs = Blobs(s3.uri("blobs", bucket="nothing"))
    with pytest.raises(StorageUnavailable):
        blobs.put(DATA)
    with pytest.raises(StorageUnavailable):
        blobs.check()


# Google Cloud Storage alone: no server that imitates it is to be had.


@pytest.mark.parametrize("path", ["", "/some/folder"])
def test_a_bucket_of_google_that_cannot_be_reached_is_said(path: str) -> None:
    uri = f"gs://bucket{path}?endpoint_override=127.0.0.1:{free_port()}&scheme=http&anonymous=true"
    blobs = Blobs(uri)
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        blobs.put(DATA)
    with pytest.raises(StorageUnavailable):
        blobs.get("0" * 64)


# Sources.


@pytest.mark.anyio
async def test_a_source_may_be_in_a_store(uri: str) -> None:
    open_folder(uri).write("shop/a photo.jpg", DATA)
    plain = re.sub(r"key:word@|\?.*", "", uri)
    sources = Sources(FetchConfig(max_bytes=len(DATA)), StorageConfig(source_roots=(uri,)))
    sources.check(f"{plain}/shop/a%20photo.jpg")
    found = await sources.fetch(f"{plain}/shop/a%20photo.jpg")
    assert (found.data, found.url) == (DATA, f"{plain}/shop/a%20photo.jpg")
    with pytest.raises(UpstreamRefused, match="Nothing is stored"):
        await sources.fetch(f"{plain}/shop/another.jpg")
    open_folder(uri).write("large", DATA + b"x")
    with pytest.raises(SourceTooLarge, match=f"more than {len(DATA)} bytes"):
        await sources.fetch(f"{plain}/large")
    for refused in (
        f"{plain}/../large",
        f"{plain}x/large",
        "s3://other/large",
        "file:///etc/passwd",
    ):
        with pytest.raises(AddressRefused):
            sources.check(refused)
        with pytest.raises(AddressRefused):
            await sources.fetch(refused)
    await sources.close()


@pytest.mark.anyio
async def test_a_store_of_sources_that_is_down_is_left_alone_for_a_while() -> None:
    server = S3Server(free_port())
    uri = server.uri("shop")
    open_folder(uri).write("a.jpg", DATA)
    fetch = FetchConfig(fail_max=2, rest_s=1.0, timeout_s=20)
    sources = Sources(fetch, StorageConfig(source_roots=(uri,)))
    assert sources.describe_services()["sources"]["circuit"] == "closed"
    server.end()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await sources.fetch("s3://bucket/shop/a.jpg")
    with pytest.raises(UpstreamResting, match="s3://bucket failed") as told:
        await sources.fetch("s3://bucket/shop/a.jpg")
    assert told.value.retry_after_s >= 1
    health = sources.describe_services()["sources"]
    assert (health["status"], health["circuit"]) == ("down", "open")
    assert health["detail"] == "left alone: s3://bucket"
    assert await sources.check_storage() == "left alone: s3://bucket"
    again = S3Server(server.port)
    open_folder(uri).write("a.jpg", DATA)
    deadline = monotonic() + 20
    while True:
        try:
            assert (await sources.fetch("s3://bucket/shop/a.jpg")).data == DATA
            break
        except UpstreamResting:
            assert monotonic() < deadline
            await asyncio.sleep(0.1)
    assert sources.describe_services()["sources"]["circuit"] == "closed"
    again.end()
    await sources.close()


# Outputs.


def output(uri: str, data: bytes = DATA) -> Output:
    return Output(uri, data, "image/webp", "webp", 640, 480)


def outputs_under(*roots: str) -> Outputs:
    return Outputs(StorageConfig(output_roots=roots))


def test_an_output_of_s3_tells_what_it_is(s3: S3Server) -> None:
    outputs_under(s3.uri("out")).write(output("s3://bucket/out/shop/small.webp"))
    told = s3.describe("out/shop/small.webp")
    assert told["ContentType"] == "image/webp"
    assert told["CacheControl"] == CACHE_CONTROL == "public, max-age=31536000, immutable"
    assert told["Metadata"] == {"format": "webp", "width": "640", "height": "480"}
    assert "-" not in told["ETag"], "one request, not an upload in parts"
    assert open_folder(s3.uri("out")).read("shop/small.webp") == DATA


def test_many_outputs_are_written(s3: S3Server, tmp_path: Path) -> None:
    outputs = outputs_under(s3.uri("many"), tmp_path.as_uri())
    named = [
        f"{place}/{number}.webp"
        for number in range(20)
        for place in ("s3://bucket/many", tmp_path.as_uri())
    ]
    outputs.write_all([output(uri, uri.encode()) for uri in named])
    assert len(list(open_folder(s3.uri("many")).list_files())) == 20
    for number in range(20):
        path = tmp_path / f"{number}.webp"
        assert path.read_bytes() == f"{tmp_path.as_uri()}/{number}.webp".encode()
    outputs.write_all([])


def test_nothing_is_written_when_one_is_not_allowed(tmp_path: Path) -> None:
    wanted = [output(f"{tmp_path.as_uri()}/a"), output("file:///etc/b")]
    with pytest.raises(AddressRefused):
        outputs_under(tmp_path.as_uri()).write_all(wanted)
    assert list(tmp_path.iterdir()) == []


def test_one_that_fails_is_told_when_all_have_ended(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(AddressRefused):
        outputs_under(tmp_path.as_uri()).write_all(
            [output(f"{tmp_path.as_uri()}/{name}") for name in "abc"]
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_without_roots_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(AddressRefused, match="none of the folders"):
        outputs_under().write(output(f"{tmp_path.as_uri()}/a"))


TRICKS = [
    "{root}/../secret",
    "{root}/a/../../secret",
    "{root}/%2e%2e/secret",
    "{root}/..%2fsecret",
    "{root}/%2e%2e%2fsecret",
    "{root}//etc/passwd",
    "{root}/%2fetc%2fpasswd",
    "{root}/./a",
    "{root}/a/",
    "{root}/",
    "{root}",
    "{root}x/a",
    "{root}/a\\b",
    "{root}/a%00b",
    "{root}/a%0ab",
    "{root}/a%ff",
    "{root}/a?region=eu",
    "{root}/a#b",
    "{root}/" + "a" * 300,
    "{root}/" + "a/" * 600 + "a",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file://localhost/etc/passwd",
    "/etc/passwd",
    "etc/passwd",
    "",
    "FILE:///etc/passwd",
    "s3://bucket/a",
    "s3://key:word@bucket/out/a",
    "s3://bucket/out/a?endpoint_override=evil.example",
    "http://example.org/a",
    "file://[/a",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_leads_out_of_the_root(tmp_path: Path, trick: str) -> None:
    root = tmp_path / "out"
    root.mkdir()
    uri = trick.replace("{root}", root.as_uri())
    with pytest.raises(AddressRefused) as told:
        outputs_under(root.as_uri()).write(output(uri))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out"]
    assert str(tmp_path) not in told.value.detail


@pytest.mark.parametrize("name", ["link/a", "link/deep/a", "inside/link/a"])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "out", tmp_path / "outside"
    for place in (root / "inside", outside / "deep"):
        place.mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "inside" / "link").symlink_to("../../outside")
    with pytest.raises(AddressRefused, match="link"):
        outputs_under(root.as_uri()).write(output(f"{root.as_uri()}/{name}"))
    assert [path for path in outside.rglob("*") if path.is_file()] == []


def test_a_link_in_place_of_the_file_is_replaced_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "out", tmp_path / "outside"
    root.mkdir()
    outside.write_bytes(b"precious")
    (root / "a").symlink_to(outside)
    outputs_under(root.as_uri()).write(output(f"{root.as_uri()}/a"))
    assert outside.read_bytes() == b"precious"
    assert (root / "a").read_bytes() == DATA
    assert not (root / "a").is_symlink()


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    outputs_under((tmp_path / "out").as_uri()).write(output(f"{(tmp_path / 'out').as_uri()}/a"))
    assert (tmp_path / "real" / "a").read_bytes() == DATA


def test_only_files_are_read(tmp_path: Path) -> None:
    folder = open_folder(tmp_path.as_uri())
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(AddressRefused):
        folder.read("link")
    for name in ("folder", "pipe"):
        with pytest.raises((FileNotFoundError, AddressRefused)):
            folder.read(name)


@pytest.mark.parametrize("folder", ["", "/", "/shop", "/shop/"])
def test_a_folder_for_outputs_can_be_checked_before(tmp_path: Path, folder: str) -> None:
    outputs_under(tmp_path.as_uri()).check(f"{tmp_path.as_uri()}{folder}")


@pytest.mark.parametrize(
    "uri", ["", "file:///", "file:///etc", "{root}/..", "{root}x", "{root}//a"]
)
def test_a_folder_that_is_not_allowed_is_told_before(tmp_path: Path, uri: str) -> None:
    with pytest.raises(AddressRefused):
        outputs_under(tmp_path.as_uri()).check(uri.replace("{root}", tmp_path.as_uri()))


def test_roots_may_have_odd_names(tmp_path: Path) -> None:
    root = tmp_path / "a b ü"
    outputs_under(root.as_uri()).write(output(f"{root.as_uri()}/c%20d"))
    assert (root / "c d").read_bytes() == DATA
