"""Sources and outputs in a bucket, of Amazon's kind and of Google's."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from omnishot_ray.batch.job import OUTPUT_KINDS, BatchJob
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.run import Run, work_here
from omnishot_ray.errors import InvalidParameters
from tests import batches
from tests.google_storage import google_storage
from tests.integration.service import free_port
from tests.s3_server import S3Server


@dataclass(frozen=True)
class Bucket:
    """Where it is, and what has to be said to get there."""

    root: str
    query: str

    def uri(self, key: str) -> str:
        return f"{self.root}/{key}?{self.query}"


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "word")
        if request.param == "s3":
            server = S3Server(free_port())
            yield Bucket("s3://bucket", server.uri().partition("?")[2])
            server.end()
        else:
            with google_storage("bucket") as endpoint:
                query = f"endpoint_override={endpoint}&scheme=http"
                yield Bucket("gs://anonymous@bucket", query)


def put(bucket: Bucket, key: str, data: bytes) -> Place:
    place = Place.parse(bucket.uri(key))
    place.write(data)
    return place


def content(bucket: Bucket, folder: str) -> dict[str, str]:
    root = Place.parse(bucket.uri(folder))
    return {
        entry.place.path.removeprefix(root.path): hashlib.sha256(entry.place.read()).hexdigest()
        for entry in root.walk()
        if entry.place.name not in batches.CHANGING and "/timings/" not in entry.place.path
    }


def job(bucket: Bucket, source: str, out: str, **given) -> BatchJob:
    places = (bucket.uri(source),), bucket.uri(out)
    return BatchJob(*places, batches.SMALL, shard_members=4, **given)


@pytest.mark.parametrize("to", OUTPUT_KINDS)
def test_from_bucket_to_bucket_and_resumed(tmp_path: Path, bucket: Bucket, to: str) -> None:
    path = batches.write_tar(tmp_path / "a.tar", batches.photos(10))
    put(bucket, "in/a.tar", path.read_bytes())
    whole = work_here(Run(job(bucket, "in/a.tar", f"whole-{to}", to=to)))
    assert (whole.counts.pictures, whole.exit_code) == (10, 0)
    out = f"out-{to}"
    work_here(Run(job(bucket, "in/a.tar", out, to=to)))
    record = ".omnishot/commits/000000/00000001.parquet"
    Place.parse(bucket.uri(f"{out}/{record}")).delete()
    again = work_here(Run(job(bucket, "in/a.tar", out, to=to), resume=True))
    assert again.new.pictures == 4
    assert content(bucket, out) == content(bucket, f"whole-{to}")


@pytest.mark.parametrize("source", ["loose", "loose/*/*.jpg", "listing.jsonl", "zips/*.zip"])
def test_folders_globs_listings_and_archives_of_a_bucket(
    tmp_path: Path, bucket: Bucket, source: str
) -> None:
    members = batches.photos(7)
    for name, data in members.items():
        put(bucket, f"loose/{name}", data)
    names = [f"loose/{name}" for name in members]
    put(bucket, "listing.jsonl", batches.lines(tmp_path / "l", names).read_bytes())
    put(bucket, "zips/a.zip", batches.write_zip(tmp_path / "a.zip", members).read_bytes())
    summary = work_here(Run(job(bucket, source, f"from-{source.replace('*', 'x')}")))
    assert (summary.counts.pictures, summary.counts.failed) == (7, 0)


def test_an_output_within_its_source_is_passed_over(bucket: Bucket) -> None:
    for name, data in batches.photos(3).items():
        put(bucket, f"around/{name}", data)
    for resume in (False, True):
        summary = work_here(Run(job(bucket, "around", "around/out"), resume=resume))
        assert summary.counts.pictures == 3
    # What another job left in there is a source like any, but for what it has of its own.
    run = Run(job(bucket, "around", "elsewhere"))
    assert [one.kind for one in run.containers] == ["folder", "parquet", "parquet"]
    with pytest.raises(InvalidParameters, match="output too"):
        Run(job(bucket, "around/*.jpg", "around"))


def test_a_listing_in_a_bucket_names_no_files_of_this_machine(
    tmp_path: Path, bucket: Bucket
) -> None:
    (tmp_path / "secret.jpg").write_bytes(batches.photo())
    secret = str(tmp_path / "secret.jpg")
    put(bucket, "seen.jpg", batches.photo())
    climbing = "A://" + "../" * 40 + secret
    named = [secret, f"file://{secret}", climbing, f"{bucket.root}/seen.jpg"]
    put(bucket, "bad.jsonl", batches.lines(tmp_path / "l", named).read_bytes())
    summary = work_here(Run(job(bucket, "bad.jsonl", "out-bad")))
    assert summary.errors == {"bad-address": 3}
    assert summary.counts.renditions == 1  # asked as the listing is


def test_keys_in_addresses_are_refused() -> None:
    for address in ("s3://key:secret@pictures/in", "gs://key@pictures/in", "s3://anonymous@in"):
        with pytest.raises(ValueError, match="keys do not belong"):
            Place.parse(address)
