"""Whole jobs in one process: sources, outputs, manifest, resuming, errors."""

import io
import json
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnishot_ray.batch.commits import Commit, Commits
from omnishot_ray.batch.job import OUTPUT_KINDS, read_renditions, read_variants_file
from omnishot_ray.batch.manifest import MANIFEST, TIMINGS, Counts, ManifestRow, table_of
from omnishot_ray.batch.members import Container, Shard
from omnishot_ray.batch.outputs import Writer, open_writer
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.plan import plan_shards
from omnishot_ray.batch.run import Run, work_here
from omnishot_ray.batch.sample import read_output
from omnishot_ray.batch.sources import find_containers
from omnishot_ray.errors import InvalidParameters, OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import process
from tests import batches

HOSTILE = Path(__file__).resolve().parents[1] / "data" / "hostile"
BROKEN = b"\xff\xd8\xff" + b"broken" * 20
TWO = read_renditions(variants=[{"name": "small", "width": 16}, {"name": "tiny", "width": 8}])


def tables(folder: Path, members: dict[str, bytes]) -> dict[str, Path]:
    """The same pictures in every kind of source."""
    folder.mkdir(exist_ok=True)
    values = list(members.values())
    loose = batches.write_folder(folder / "loose", members)
    names = [str(loose / name) for name in members]
    struct = pa.array(
        [{"bytes": data, "path": name} for name, data in members.items()],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    paths = {
        "folder": loose,
        "tar": batches.write_tar(folder / "a.tar", members),
        "tar.gz": batches.write_tar(folder / "a.tar.gz", members, "w:gz"),
        "zip": batches.write_zip(folder / "a.zip", members, zipfile.ZIP_DEFLATED),
        "parquet": folder / "a.parquet",
        "huggingface": folder / "hf.parquet",
        "arrow": folder / "a.arrow",
        "arrow stream": folder / "stream.arrow",
        "parquet of paths": folder / "paths.parquet",
        "jsonl": batches.lines(folder / "a.jsonl", [{"path": name} for name in names]),
        "csv": folder / "a.csv",
    }
    plain = pa.table({"id": list(range(len(values))), "jpg": pa.array(values, pa.binary())})
    pq.write_table(plain, paths["parquet"], row_group_size=4)
    pq.write_table(pa.table({"image": struct, "label": [0] * len(values)}), paths["huggingface"])
    with pa.OSFile(str(paths["arrow"]), "wb") as sink, pa.ipc.new_file(sink, plain.schema) as out:
        out.write_table(plain, max_chunksize=3)
    stream = pa.OSFile(str(paths["arrow stream"]), "wb")
    with stream as sink, pa.ipc.new_stream(sink, plain.schema) as out:
        out.write_table(plain, max_chunksize=3)
    pq.write_table(pa.table({"path": names}), paths["parquet of paths"])
    paths["csv"].write_text("id,path\n" + "".join(f'{n},"{p}"\n' for n, p in enumerate(names)))
    return paths


SOURCES = (
    "folder", "tar", "tar.gz", "zip", "parquet", "huggingface", "arrow", "arrow stream",
    "parquet of paths", "jsonl", "csv",
)  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_every_picture_once(tmp_path: Path, kind: str) -> None:
    members = batches.photos(10)
    source = tables(tmp_path / "in", members)[kind]
    out = tmp_path / "out"
    summary = batches.make(source, out=out, shard_members=3)
    assert (summary.counts.pictures, summary.counts.failed, summary.exit_code) == (10, 0, 0)
    made = {row["sha256_in"]: (out / row["output"]).read_bytes() for row in batches.rows(out)}
    expected = {
        process(data, batches.SMALL, Limits()).renditions[0].data for data in members.values()
    }
    assert set(made.values()) == expected
    assert len(made) == 10


@pytest.mark.parametrize("kind", SOURCES[4:])
def test_rows_and_lines_stand_for_their_share_of_the_file(tmp_path: Path, kind: str) -> None:
    source = tables(tmp_path / "in", batches.photos(40))[kind]
    job = batches.job_of(source, out=tmp_path / "out", shard_members=10)
    (container,) = find_containers(job.sources, Place.parse(job.out))
    sizes = [shard.bytes_of_members for shard in plan_shards(container, job, "job")]
    assert 0.2 * container.size < sum(sizes) <= container.size
    assert min(sizes) > 0


@pytest.mark.parametrize("to", OUTPUT_KINDS)
def test_every_output_holds_what_the_manifest_says(tmp_path: Path, to: str) -> None:
    members = batches.photos(9) | {"a.b.c.jpg": batches.photo(77), "broken.jpg": BROKEN}
    source = batches.write_tar(tmp_path / "a.tar", members)
    out = tmp_path / "out"
    batches.make(source, out=out, to=to, renditions=TWO, shard_members=4)
    rows = batches.rows(out)
    assert len(rows) == 21
    for row in rows:
        if row["member"] == "broken.jpg":
            assert (row["status"], row["error"], row["output"]) == ("failed", "corrupt-image", "")
            continue
        data = read_output(Place.parse(str(out)), row["output"], row["entry"])
        alone = process(members[row["member"]], TWO, Limits()).renditions
        assert data in [one.data for one in alone if one.name == row["rendition"]]
        assert row["bytes_out"] == len(data)
    assert not (out / ".omnishot" / "tmp").exists()


def test_webdataset_keys_end_at_the_first_dot(tmp_path: Path) -> None:
    names = ("a.b.jpg", "a~db.jpg", "d.x/c.jpg")
    source = batches.write_tar(tmp_path / "a.tar", {n: batches.photo() for n in names})
    batches.make(source, out=tmp_path / "out", to="webdataset")
    with tarfile.open(tmp_path / "out" / "shard-000000-000000.tar") as archive:
        found = archive.getnames()
        notes = json.load(archive.extractfile(found[1]))  # type: ignore[arg-type]
    assert found == [
        "a~db.small.jpg", "a~db.small.json",
        "a~~db.small.jpg", "a~~db.small.json",
        "d.x/c.small.jpg", "d.x/c.small.json",
    ]  # fmt: skip
    assert notes["member"] == "a.b.jpg"


def test_manifest_says_what_was_made(tmp_path: Path) -> None:
    wanted = read_renditions(variants=[{"name": "box", "width": 8, "height": 4, "quality": 71}])
    source = batches.write_folder(tmp_path / "in", {"p.jpg": batches.photo()})
    batches.make(source, out=tmp_path / "out", renditions=wanted)
    (row,) = batches.rows(tmp_path / "out")
    assert (row["width_in"], row["height_in"], row["format_in"]) == (24, 24, "jpeg")
    assert (row["width"], row["height"], row["format"], row["quality"]) == (8, 4, "jpeg", "71")
    assert (row["crop_width"], row["crop_height"]) == (24, 12)
    assert row["source"] == str(source)
    times = pq.read_table(tmp_path / "out" / "timings.parquet").to_pylist()
    assert times[0]["member"] == "p.jpg"
    assert times[0]["decode_ms"] > 0


@pytest.mark.parametrize("to", OUTPUT_KINDS)
def test_resuming_reads_nothing_that_is_done(tmp_path: Path, to: str) -> None:
    source = batches.write_tar(tmp_path / "a.tar", batches.photos(12))
    batches.make(source, out=tmp_path / "whole", to=to, shard_members=4)
    out = tmp_path / "out"
    run = Run(batches.job_of(source, out=out, to=to, shard_members=4))
    assert work_here(run).counts.shards == 3
    assert batches.digests(out) == batches.digests(tmp_path / "whole")
    (out / ".omnishot" / "commits" / "000000" / "00000001.parquet").unlink()
    raw = source.read_bytes()
    stat = source.stat()
    second = raw.index(batches.photo(4))
    last = raw.index(batches.photo(8))
    source.write_bytes(_headers_kept(raw, second, last))
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = batches.make(source, out=out, to=to, shard_members=4, resume=True)
    assert (again.new.pictures, again.counts.pictures) == (4, 12)
    assert batches.digests(out) == batches.digests(tmp_path / "whole")


def _headers_kept(raw: bytes, begin: int, end: int) -> bytes:
    """The tar with its pictures gone, but for those between two places."""
    blank = bytearray(raw)
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for item in archive:
            if not begin <= item.offset_data < end:
                blank[item.offset_data : item.offset_data + item.size] = bytes(item.size)
    return bytes(blank)


def test_a_source_that_changed_is_made_anew_and_the_old_goes(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", {f"{n}.jpg": batches.photo(n) for n in range(6)})
    out = tmp_path / "out"
    batches.make(source, out=out, shard_members=2)
    (source / "5.jpg").unlink()
    (source / "4.jpg").unlink()
    (source / "1.jpg").rename(source / "01.jpg")
    again = batches.make(source, out=out, shard_members=2, resume=True)
    assert (again.new.pictures, again.counts.pictures) == (2, 4)
    assert {path.name for path in out.glob("*.jpg")} == {
        "0.small.jpg", "01.small.jpg", "2.small.jpg", "3.small.jpg",
    }  # fmt: skip


def test_a_source_that_changes_back_is_made_anew(tmp_path: Path, monkeypatch) -> None:
    source = batches.write_folder(tmp_path / "in", {"a.jpg": batches.photo(1)})
    picture, out = source / "a.jpg", tmp_path / "out"
    batches.make(source, out=out)
    before, stat = batches.digests(out), picture.stat()
    picture.write_bytes(batches.photo(2))

    def end(*_: object) -> None:
        raise OSError("ended between the outputs and the record")

    with monkeypatch.context() as patch:
        patch.setattr(Commits, "write", end)
        with pytest.raises(OSError, match="ended"):
            batches.make(source, out=out, resume=True)
    picture.write_bytes(batches.photo(1))
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    batches.make(source, out=out, resume=True)
    after = batches.digests(out)
    assert {name: after[name] for name in before} == before


def test_files_that_move_between_shards_are_kept(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", {f"{n}.jpg": batches.photo(n) for n in range(7)})
    out = tmp_path / "out"
    batches.make(source, out=out, shard_members=2)
    (source / "0.jpg").unlink()
    (source / "1.jpg").unlink()
    (source / "4.jpg").unlink()
    again = batches.make(source, out=out, shard_members=2, resume=True)
    assert again.counts.pictures == 4
    batches.make(source, out=tmp_path / "anew", shard_members=2)
    left = {name: digest for name, digest in batches.digests(out).items() if name.endswith(".jpg")}
    anew = batches.digests(tmp_path / "anew")
    assert left == {name: digest for name, digest in anew.items() if name.endswith(".jpg")}
    assert len(left) == 4


def test_records_beyond_a_gap_go_with_their_files(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", {f"{n}.jpg": batches.photo(n) for n in range(8)})
    out = tmp_path / "out"
    batches.make(source, out=out, shard_members=2)
    state = out / ".omnishot"
    # As one leaves it that is killed while the third shard is made, or within `finish`.
    (state / "commits" / "000000" / "00000002.parquet").unlink()
    for n in range(4, 8):
        (source / f"{n}.jpg").unlink()
    again = batches.make(source, out=out, shard_members=2, resume=True)
    assert again.counts.pictures == 4
    assert [row["member"] for row in batches.rows(out)] == [f"{n}.jpg" for n in range(4)]
    times = pq.read_table(out / "timings.parquet").column("member").to_pylist()
    assert times == [f"{n}.jpg" for n in range(4)]
    assert not (out / "6.small.jpg").exists()
    names = {path.name for path in (state / "timings").rglob("*.parquet")}
    assert names == {"00000000.parquet", "00000001.parquet"}


def test_records_of_a_source_that_has_gone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        batches.write_tar(
            tmp_path / f"{name}.tar", {f"{n}.jpg": batches.photo(n) for n in range(3)}
        )
    out = tmp_path / "out"
    batches.make(tmp_path / "*.tar", out=out, shard_members=1)
    (out / ".omnishot" / "commits" / "000001" / "00000000.parquet").unlink()
    (tmp_path / "b.tar").unlink()
    batches.make(tmp_path / "*.tar", out=out, shard_members=1, resume=True)
    assert len(batches.rows(out)) == 3
    assert list((out / "b").glob("*.jpg")) == [out / "b" / "0.small.jpg"]  # nobody knows of it


def test_an_output_holds_one_job(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(1))
    batches.make(source, out=tmp_path / "out")
    with pytest.raises(InvalidParameters, match="--resume"):
        batches.make(source, out=tmp_path / "out")
    with pytest.raises(InvalidParameters, match="other sources or options"):
        batches.make(source, out=tmp_path / "out", renditions=TWO, resume=True)


def test_an_output_is_worked_on_by_one_run(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(1))
    job = batches.job_of(source, out=tmp_path / "out")
    first = Run(job)
    with pytest.raises(InvalidParameters, match="another run"):
        Run(job, resume=True)
    assert work_here(first).counts.pictures == 1
    assert work_here(Run(job, resume=True)).counts.pictures == 1


@pytest.mark.parametrize("to", OUTPUT_KINDS)
def test_who_outlives_his_run_harms_no_other(tmp_path: Path, to: str) -> None:
    out = Place.parse(str(tmp_path / "out"))
    shard = Shard(Container(0, Place("/data"), "folder"), 0, "id", ())

    def begin() -> Writer:
        writer = open_writer(out, to, shard)
        writer.add("a", "small", "jpg", b"whole")
        return writer

    old, new = begin(), begin()
    again = begin()  # and begins once more while the other has done half of it
    new.finish()
    made = {path.name: path.read_bytes() for path in Path(out.path).iterdir() if path.is_file()}
    assert len(made) == 1
    for other in (old, again):
        other.finish()
        (path,) = (path for path in Path(out.path).iterdir() if path.is_file())
        assert made == {path.name: path.read_bytes()}


def test_what_goes_to_a_bucket_leaves_nothing_here(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shard = Shard(Container(0, Place("/data"), "folder"), 0, "id", ())
    writer = open_writer(Place("bucket/out", "s3"), "zip", shard)
    writer.add("a", "small", "jpg", b"whole")
    assert list(tmp_path.iterdir()) == []
    writer.abandon()


def test_errors_are_rows_and_can_be_copied(tmp_path: Path) -> None:
    members = batches.photos(3) | {"broken.jpg": BROKEN, "text.png": b"no picture"}
    source = batches.write_zip(tmp_path / "a.zip", members)
    skipped = batches.make(source, out=tmp_path / "skip")
    assert (skipped.exit_code, skipped.errors) == (
        1,
        {"corrupt-image": 1, "unsupported-format": 1},
    )
    assert skipped.counts.renditions == 3
    copied = batches.make(source, out=tmp_path / "copy", on_error="copy")
    assert (copied.exit_code, copied.counts.copied) == (1, 2)
    assert (tmp_path / "copy" / "broken.original.jpg").read_bytes() == BROKEN
    assert batches.errors(tmp_path / "copy") == batches.errors(tmp_path / "skip")


@pytest.mark.parametrize(("most", "shards"), [(1, 2), (9, 3)])
def test_too_many_errors_end_the_job_and_resume_goes_on(
    tmp_path: Path, most: int, shards: int
) -> None:
    members = {f"{n}.jpg": BROKEN if n % 2 else batches.photo(n) for n in range(6)}
    source = batches.write_folder(tmp_path / "in", members)
    out = tmp_path / "out"
    summary = batches.make(source, out=out, shard_members=2, max_errors=most)
    assert summary.finished == (shards == 3)
    assert summary.exit_code == 1
    assert summary.counts.shards == shards
    assert summary.first_error.startswith("1.jpg: ")
    assert (out / "manifest.parquet").exists() == (shards == 3)
    again = batches.make(source, out=out, shard_members=2, max_errors=most, resume=True)
    assert (again.finished, again.counts.shards, again.counts.failed) == (True, 3, 3)


def test_the_first_error_ends_the_job_within_its_shard(tmp_path: Path) -> None:
    members = {f"{n}.jpg": BROKEN if n in (0, 4) else batches.photo(n) for n in range(6)}
    source = batches.write_folder(tmp_path / "in", members)
    out = tmp_path / "out"
    first = batches.make(source, out=out, shard_members=3, on_error="fail")
    assert (first.finished, first.exit_code, first.new.pictures) == (False, 1, 1)
    assert first.first_error.startswith("0.jpg: ")
    assert list(out.glob("*.jpg")) == []
    (source / "0.jpg").write_bytes(batches.photo(0))
    second = batches.make(source, out=out, shard_members=3, on_error="fail", resume=True)
    assert (second.finished, second.counts.renditions) == (False, 3)
    assert second.first_error.startswith("4.jpg: ")
    third = batches.make(source, out=out, shard_members=3, on_error="skip", resume=True)
    assert (third.finished, third.counts.renditions, third.new.pictures) == (True, 5, 3)
    batches.make(source, out=tmp_path / "anew", shard_members=3)
    assert batches.digests(out) == batches.digests(tmp_path / "anew")


def test_what_failed_for_the_moment_is_tried_anew(tmp_path: Path) -> None:
    slow = HOSTILE / "bomb_jpeg_progressive_4000x4000_4000scans.jpg"  # takes some seconds
    members = {"a.jpg": slow.read_bytes(), "b.jpg": BROKEN}
    source = batches.write_folder(tmp_path / "in", members)
    out = tmp_path / "out"

    def made(seconds: float, **more: bool) -> tuple[int, dict[str, str]]:
        limits = Limits(max_scans=10_000)
        given = {"shard_members": 1, "on_error": "copy", "limits": limits, "time_limit_s": seconds}
        summary = batches.make(source, out=out, **given, **more)
        return summary.new.pictures, batches.errors(out)

    both = {"a.jpg": "timeout", "b.jpg": "corrupt-image"}
    assert made(0.5) == (2, both)
    assert (out / "a.original.jpg").exists()
    assert made(60, resume=True) == (0, both)
    assert made(60, resume=True, retry_failed=True) == (1, {"b.jpg": "corrupt-image"})
    assert {path.name for path in out.glob("*.jpg")} == {"a.small.jpg", "b.original.jpg"}


def test_what_each_try_has_made_is_kept_in_mind(tmp_path: Path) -> None:
    commits = Commits(Place.parse(str(tmp_path)))
    shard = Shard(Container(0, Place("/data"), "folder"), 0, "id", ())
    for output in ("a.original.jpg", "a.small.jpg"):
        row = ManifestRow("/data", "a.jpg", 0, "", "ok", output=output)
        commits.write(
            shard, Commit("id", Counts()), table_of([row], MANIFEST), table_of([], TIMINGS)
        )
        commits.retire(shard)
    assert commits.stale_outputs() == {"a.original.jpg", "a.small.jpg"}


def test_members_of_several_sources_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        batches.write_tar(tmp_path / f"{name}.tar", {"same.jpg": batches.photo(ord(name))})
    out = tmp_path / "out"
    batches.make(tmp_path / "*.tar", out=out)
    assert {row["output"] for row in batches.rows(out)} == {
        "a/same.small.jpg",
        "b/same.small.jpg",
    }


def test_globs_folders_and_archives_in_folders(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(6) | {"x.txt": b"text"})
    batches.write_zip(source / "folder-1" / "more.zip", {"z.jpg": batches.photo(99)})
    assert batches.make(source, out=tmp_path / "a").counts.pictures == 7
    assert batches.make(source / "*" / "*.jpg", out=tmp_path / "b").counts.pictures == 6
    assert batches.make(source / "**" / "*0003.jpg", out=tmp_path / "c").counts.pictures == 1
    one = source / "folder-0" / "photo 0000.jpg"
    assert batches.make(one, out=tmp_path / "d").counts.pictures == 1
    matched = batches.make(source, out=tmp_path / "e", match="*.txt")
    assert matched.errors == {"unsupported-format": 1}
    with pytest.raises(InvalidParameters, match="no pictures"):
        batches.make(tmp_path / "*.tiff", out=tmp_path / "f")
    with pytest.raises(InvalidParameters, match="no such file"):
        batches.make(tmp_path / "nowhere", out=tmp_path / "f")


def test_names_with_brackets_are_meant_as_they_are(tmp_path: Path) -> None:
    members = {"a[1].jpg": batches.photo(), "a1.jpg": batches.photo(1), "d[2]/b.jpg": b"broken"}
    source = batches.write_folder(tmp_path / "in[3]", members)

    def made(name: str) -> set[str]:
        out = tmp_path / f"out-{sum(1 for _ in tmp_path.iterdir())}"
        batches.make(source / name, out=out)
        return {row["member"] for row in batches.rows(out)}

    assert made("a[1].jpg") == {"a[1].jpg"}
    assert made("d[2]") == {"b.jpg"}
    assert made("a[0-9].jpg") == {"a1.jpg"}
    assert made("a[[]1].jpg") == {"a[1].jpg"}
    assert made("d[2]/*.jpg") == {"b.jpg"}
    assert made("*/b.jpg") == {"d[2]/b.jpg"}
    for name in ("d[2]/none.jpg", "d[3]"):
        with pytest.raises(InvalidParameters, match="there"):
            made(name)


def test_what_is_matched_is_read_once(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", {"a.jpg": batches.photo()})
    batches.write_zip(source / "b.zip", {"c.jpg": batches.photo(1)})
    batches.make(source, out=tmp_path / "out", match="*")
    assert {row["member"] for row in batches.rows(tmp_path / "out")} == {"a.jpg", "c.jpg"}


def test_an_output_within_its_source_is_passed_over(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(3))
    (tmp_path / "link").symlink_to(source)
    out = source / "out"
    for resume in (False, True):
        assert batches.make(source, out=out, resume=resume).counts.pictures == 3

    def kinds(folder: Path, output: Path) -> list[str]:
        return [one.kind for one in find_containers([str(folder)], Place.parse(str(output)))]

    assert kinds(tmp_path / "link", out) == ["folder"]
    assert kinds(source, tmp_path / "link" / "out") == ["folder"]
    assert kinds(out / "folder-0", out) == ["folder"]
    assert kinds(source, tmp_path / "other") == ["folder", "parquet", "parquet"]


@pytest.mark.parametrize("pattern", ["", "*.jpg"])
def test_an_output_that_is_its_source_is_refused(tmp_path: Path, pattern: str) -> None:
    source = batches.write_folder(tmp_path / "in", {"a.jpg": batches.photo()})
    (tmp_path / "link").symlink_to(source)
    for out in (source, tmp_path / "link"):
        with pytest.raises(InvalidParameters, match="output too"):
            batches.make(source / pattern, out=out)
    assert [path.name for path in source.iterdir()] == ["a.jpg"]


def test_links_in_folders_are_not_followed(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(1))
    (source / "link.jpg").symlink_to(source / "folder-0" / "photo 0000.jpg")
    (source / "round").symlink_to(source)
    batches.make(source, out=tmp_path / "out")
    assert batches.errors(tmp_path / "out") == {"link.jpg": "unsafe-member"}


def test_listings_name_what_they_may(tmp_path: Path) -> None:
    batches.write_folder(tmp_path, {"in/a.jpg": batches.photo(), "secret.jpg": batches.photo(2)})
    listing = batches.lines(
        tmp_path / "in" / "list.jsonl",
        ["a.jpg", "../secret.jpg", "gone.jpg", "ftp://host/a.jpg", {"other": 1}],
    )
    with listing.open("a") as file:
        file.write("not json\n")
    batches.make(listing, out=tmp_path / "out")
    assert batches.errors(tmp_path / "out") == {
        "../secret.jpg": "bad-address",
        "gone.jpg": "not-found",
        "ftp://host/a.jpg": "bad-address",
        "line 5": "bad-line",
        "line 6": "bad-line",
    }


def test_listings_do_not_say_how_stores_are_asked(tmp_path: Path) -> None:
    batches.write_folder(tmp_path, {"a.jpg": batches.photo()})
    climbing = "../" * len(tmp_path.parts) + str(tmp_path)
    odd = ["s3://b/a.jpg?endpoint_override=127.0.0.1:1&scheme=http", f"A://../{climbing}/a.jpg"]
    listing = batches.lines(tmp_path / "list.jsonl", odd)
    batches.make(listing, out=tmp_path / "out")
    assert batches.errors(tmp_path / "out") == dict.fromkeys(odd, "bad-address")


def test_addresses_that_are_none_cost_a_row_each(tmp_path: Path) -> None:
    batches.write_folder(tmp_path, {"a.jpg": batches.photo()})
    odd = {
        "http://[x/a.jpg": "bad-address",
        "http://\u2100x/a.jpg": "bad-address",
        "\ud800.jpg": "not-found",
        "/a\0b.jpg": "source-unreadable",
    }
    listing = batches.lines(tmp_path / "list.jsonl", [*odd, "a.jpg"])
    summary = batches.make(listing, out=tmp_path / "out", time_limit_s=5)
    assert summary.counts.renditions == 1
    assert list(batches.errors(tmp_path / "out").values()) == list(odd.values())


@pytest.mark.parametrize("to", ["folder", "webdataset"])
def test_file_names_of_unknown_encoding(tmp_path: Path, to: str) -> None:
    members = {"caf\udce9.jpg": batches.photo(), "caf\udce9.tar": b""}
    source = batches.write_folder(tmp_path / "in", members)
    batches.make(source, out=tmp_path / "out", to=to)
    picture, archive = batches.rows(tmp_path / "out")
    assert (picture["member"], picture["status"]) == ("caf%E9.jpg", "ok")
    assert archive["source"] == f"{source}/caf%E9.tar"
    assert archive["error"] == "source-unreadable"


def test_a_member_named_like_a_file_of_the_output(tmp_path: Path) -> None:
    members = {"manifest.parquet/a.jpg": batches.photo(), "run.json/b.jpg": batches.photo(1)}
    source = batches.write_tar(tmp_path / "a.tar", members)
    batches.make(source, out=tmp_path / "out")
    assert [row["output"] for row in batches.rows(tmp_path / "out")] == [
        "_manifest.parquet/a.small.jpg",
        "_run.json/b.small.jpg",
    ]


def test_text_columns_that_are_no_text(tmp_path: Path) -> None:
    batches.write_folder(tmp_path, {"a.jpg": batches.photo()})
    raw = [b"a.jpg", b"caf\xe9.jpg", None]
    text = pa.array(raw, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"path": text}), tmp_path / "paths.parquet")
    batches.make(tmp_path / "paths.parquet", out=tmp_path / "paths")
    errors = batches.errors(tmp_path / "paths")
    assert errors == {"caf%E9.jpg": "not-found", "_archive": "bad-address"}
    pictures = pa.array([batches.photo(n) for n in range(3)], pa.binary())
    struct = pa.StructArray.from_arrays([pictures, text], ["bytes", "path"])
    table = pa.table({"image": struct})
    pq.write_table(table, tmp_path / "hf.parquet")
    sink = pa.OSFile(str(tmp_path / "hf.arrow"), "wb")
    with sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    for name in ("hf.parquet", "hf.arrow"):
        batches.make(tmp_path / name, out=tmp_path / f"out-{name}")
        members = [row["member"] for row in batches.rows(tmp_path / f"out-{name}")]
        assert members[:2] == ["a.jpg", "caf%E9.jpg"]
        assert len(members) == 3


def test_a_record_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(2))
    out = tmp_path / "out"
    batches.make(source, out=out)
    before = batches.digests(out)
    record = out / ".omnishot" / "commits" / "000000" / "00000000.parquet"
    record.write_bytes(record.read_bytes()[:100])
    again = batches.make(source, out=out, resume=True)
    assert again.new.pictures == 2
    assert batches.digests(out) == before


def test_records_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(25))
    batches.make(source, out=tmp_path / "out", shard_members=2)
    indices = [row["index"] for row in batches.rows(tmp_path / "out")]
    assert indices == list(range(25))
    counted = sum(1 for _ in Commits(Place.parse(str(tmp_path / "out"))).rows())
    assert counted == 13


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("- {name: a, width: 3}\n- {platform: x-post}", ["a", "x-post"]),
        ("a: {width: 3}\nb: {height: 4}", ["a", "b"]),
        ("variants:\n  a: {width: 3}", ["a"]),
    ],
)
def test_variants_of_a_file(tmp_path: Path, text: str, names: list[str]) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(text)
    wanted = read_renditions(variants=read_variants_file(path))
    assert [options.name for options in wanted] == names


@pytest.mark.parametrize(
    "text", ["3", "[1]", "{a: [", "- {name: a, widht: 3}", "- {name: a/b, width: 3}", "a: 3"]
)
def test_wrong_variants_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(text)
    with pytest.raises(OmnishotError):
        batches.job_of(
            tmp_path, out=tmp_path, renditions=read_renditions(variants=read_variants_file(path))
        )
