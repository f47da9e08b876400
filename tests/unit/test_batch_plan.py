"""Plans are the same every time, and take the same memory for any number of members."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.batch.bundles import bundled
from omnishot_ray.batch.members import Container, Found, Inline, Range, Shard
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.plan import cut, plan_shards
from tests import batches

TAR = Container(0, Place("/data/a.tar"), "tar", 10**12, 1)
JOB = batches.job_of(Path("/data/a.tar"), out=Path("/out"))


def members(sizes: list[int]) -> Iterator[Found]:
    at = 0
    for number, size in enumerate(sizes):
        yield Found(f"{number % 7}.jpg", size, Range(at))
        at += size


@given(st.lists(st.integers(0, 40_000_000)), st.integers(1, 9), st.integers(1, 100_000_000))
def test_every_member_is_in_one_shard_in_order(sizes: list[int], most: int, size: int) -> None:
    job = replace(JOB, shard_members=most, shard_bytes=size)
    shards = list(cut(TAR, members(sizes), job, "job"))
    assert [m.index for shard in shards for m in shard.members] == list(range(len(sizes)))
    assert [shard.ordinal for shard in shards] == list(range(len(shards)))
    assert shards == list(cut(TAR, members(sizes), job, "job"))
    for shard in shards:
        assert 1 <= len(shard.members) <= most
        kept = [m.size for m in shard.members if isinstance(m.at, Range)]
        assert sum(kept) <= size or len(kept) == 1


@given(st.lists(st.integers(0, 40_000_000), max_size=3000))
def test_rows_hold_all_shards_in_order_and_none_holds_much_of_the_work(sizes: list[int]) -> None:
    shards = list(cut(TAR, members(sizes), replace(JOB, shard_members=1), "job"))
    rows = list(bundled(shards))
    assert [shard for row in rows for shard in row] == shards
    handed_out = 0
    for row in rows:
        assert 1 <= len(row) <= max(1, min(16, handed_out / 32))
        kept = [s for s in row[:-1] if isinstance(s, Shard)]
        assert sum(m.size for shard in kept for m in shard.members) < 64 << 20
        handed_out += len(row)


def test_long_plans_of_small_pictures_take_few_rows() -> None:
    shards = cut(TAR, members([10_000] * 64_000), replace(JOB, shard_members=64), "job")
    assert sum(1 for _ in bundled(shards)) < 250


def test_a_shard_that_carries_its_bytes_is_the_last_of_its_row() -> None:
    found = (Found(f"{n}.jpg", 3, Inline(b"abc")) for n in range(400))
    shards = list(cut(TAR, found, replace(JOB, shard_members=1), "job"))
    assert all(len(row) == 1 for row in bundled(shards))


def test_the_id_follows_source_range_and_options() -> None:
    def first(container: Container = TAR, job: str = "job", sizes: tuple[int, ...] = (5, 6)) -> str:
        return next(cut(container, members(list(sizes)), JOB, job)).id

    ids = [
        first(),
        first(replace(TAR, changed_ns=2)),
        first(replace(TAR, place=Place("/data/b.tar"))),
        first(replace(TAR, size=1)),
        first(job="other"),
        first(sizes=(6, 5)),
    ]
    assert first() == ids[0]
    assert len(set(ids)) == len(ids)


def test_a_file_that_changes_changes_its_shard_alone(tmp_path: Path) -> None:
    folder = batches.write_folder(tmp_path / "in", batches.photos(6))
    job = batches.job_of(folder, out=tmp_path / "out", shard_members=2)
    container = Container(0, Place.parse(str(folder)), "folder")

    def ids() -> list[str]:
        return [shard.id for shard in plan_shards(container, job, "job")]

    before = ids()
    (folder / "folder-0" / "photo 0000.jpg").write_bytes(b"other")
    assert [a == b for a, b in zip(before, ids(), strict=True)] == [False, True, True]


def test_a_file_of_a_listing_that_changes_changes_its_shard_alone(tmp_path: Path) -> None:
    folder = batches.write_folder(tmp_path, {f"{n}.jpg": batches.photo(n) for n in range(6)})
    names = [f"{n}.jpg" if n % 2 else str(folder / f"{n}.jpg") for n in range(6)]
    listing = batches.container(batches.lines(tmp_path / "list.jsonl", names), "jsonl")
    job = batches.job_of(tmp_path / "list.jsonl", out=tmp_path / "out", shard_members=1)
    before = [shard.id for shard in plan_shards(listing, job, "job")]
    for n in (2, 3):
        (folder / f"{n}.jpg").write_bytes(b"other")
    after = [shard.id for shard in plan_shards(listing, job, "job")]
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert changed == [False, False, True, True, False, False]


def test_row_groups_are_not_cut_but_where_they_are_long() -> None:
    found = (Found(str(n), -1, Range(n), may_cut=n % 10 == 0) for n in range(100))
    job = replace(JOB, shard_members=4)
    table = replace(TAR, kind="parquet")
    lengths = [len(shard.members) for shard in cut(table, found, job, "")]
    assert lengths == [10] * 10


def test_prefixes_keep_containers_apart() -> None:
    shards: list[Shard] = []
    for ordinal, prefix in enumerate(("a", "b")):
        container = replace(TAR, ordinal=ordinal, prefix=prefix)
        shards += cut(container, members([1]), JOB, "")
    assert [shard.members[0].stem for shard in shards] == ["a/0", "b/0"]


_PLAN = """
import resource, sys
from tests.unit.test_batch_plan import *
def found(count):
    return (Found(f"folder/{n:09d}.jpg", 100_000, Range(n * 100_352)) for n in range(count))
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sum(1 for _ in cut(TAR, found(2_000), JOB, ""))
before = peak()
shards = sum(1 for _ in cut(TAR, found(int(sys.argv[1])), JOB, ""))
print(shards, peak() - before)
"""


@pytest.mark.timeout(300)
def test_memory_is_flat_in_the_number_of_members() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PLAN, "200000"], capture_output=True, text=True, check=True
    )
    shards, grown_kib = map(int, run.stdout.split())
    assert shards == 200_000 // 64
    assert grown_kib < 4096
