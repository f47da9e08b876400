"""Sources and outputs in a bucket."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnishot_ray.batch.job import OUTPUT_KINDS, BatchJob
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.run import Run, work_here
from tests import batches
from tests.integration.service import free_port
from tests.s3_server import S3Server


@pytest.fixture(scope="module")
def query() -> Iterator[str]:
    """The query of addresses in the bucket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "word")
        server = S3Server(free_port())
        yield server.uri().partition("?")[2]
        server.end()


def put(query: str, key: str, data: bytes) -> Place:
    place = Place.parse(f"s3://bucket/{key}?{query}")
    place.write(data)
    return place


def content(query: str, folder: str) -> dict[str, str]:
    root = Place.parse(f"s3://bucket/{folder}?{query}")
    return {
        entry.place.path.removeprefix(root.path): hashlib.sha256(entry.place.read()).hexdigest()
        for entry in root.walk()
        if entry.place.name not in batches.CHANGING and "/timings/" not in entry.place.path
    }


def job(query: str, source: str, out: str, **given) -> BatchJob:
    address = f"s3://bucket/{source}?{query}"
    return BatchJob(
        (address,), f"s3://bucket/{out}?{query}", batches.SMALL, shard_members=4, **given
    )


@pytest.mark.parametrize("to", OUTPUT_KINDS)
def test_from_bucket_to_bucket_and_resumed(tmp_path: Path, query: str, to: str) -> None:
    path = batches.write_tar(tmp_path / "a.tar", batches.photos(10))
    put(query, "in/a.tar", path.read_bytes())
    whole = work_here(Run(job(query, "in/a.tar", f"whole-{to}", to=to)))
    assert (whole.counts.pictures, whole.exit_code) == (10, 0)
    out = f"out-{to}"
    work_here(Run(job(query, "in/a.tar", out, to=to)))
    record = ".omnishot/commits/000000/00000001.parquet"
    Place.parse(f"s3://bucket/{out}/{record}?{query}").delete()
    again = work_here(Run(job(query, "in/a.tar", out, to=to), resume=True))
    assert again.new.pictures == 4
    assert content(query, out) == content(query, f"whole-{to}")


@pytest.mark.parametrize("source", ["loose", "loose/*/*.jpg", "listing.jsonl", "zips/*.zip"])
def test_folders_globs_listings_and_archives_of_a_bucket(
    tmp_path: Path, query: str, source: str
) -> None:
    members = batches.photos(7)
    for name, data in members.items():
        put(query, f"loose/{name}", data)
    names = [f"loose/{name}" for name in members]
    put(query, "listing.jsonl", batches.lines(tmp_path / "l", names).read_bytes())
    put(query, "zips/a.zip", batches.write_zip(tmp_path / "a.zip", members).read_bytes())
    summary = work_here(Run(job(query, source, f"from-{source.replace('*', 'x')}")))
    assert (summary.counts.pictures, summary.counts.failed) == (7, 0)


def test_a_listing_in_a_bucket_names_no_files_of_this_machine(tmp_path: Path, query: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(batches.photo())
    listing = batches.lines(tmp_path / "l", [str(tmp_path / "secret.jpg")])
    put(query, "bad.jsonl", listing.read_bytes())
    summary = work_here(Run(job(query, "bad.jsonl", "out-bad")))
    assert summary.errors == {"bad-address": 1}


def test_keys_in_addresses_are_refused() -> None:
    with pytest.raises(ValueError, match="keys do not belong"):
        Place.parse("s3://key:secret@pictures/in")
