"""Commit records: a shard is done when its record is there, and its record says what was done.

`OUT/.omnishot/commits/<container>/<shard>.parquet` holds the shard's rows of the manifest, and its
id and counts in the metadata. It is written after the outputs are there for good, whole or not at
all. Resuming asks for one record at a time: there is no list of what has been done.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnishot_ray.batch.manifest import MANIFEST, TIMINGS, Counts
from omnishot_ray.batch.members import Shard
from omnishot_ray.batch.places import STATE, Place, scratch_of

PASSING = frozenset(
    (
        "timeout",
        "engine-unavailable",
        "internal",
        "not-found",
        "source-unreadable",
        "upstream-failed",
        "upstream-timeout",
        "upstream-resting",
    )
)
"""Codes of failures that may not be there the next time."""
_META = b"omnishot.commit"


@dataclass(frozen=True, slots=True)
class Commit:
    """What a record says without its rows."""

    shard_id: str
    counts: Counts
    bytes_of_members: int = 0
    """As planned, for the progress."""


class Commits:
    """The records of one output."""

    def __init__(self, out: Place) -> None:
        state = out / STATE
        self._commits = state / "commits"
        self._timings = state / "timings"
        self._stale = state / "stale"
        self._scratch = scratch_of(out)

    def find(self, shard: Shard, *, retry_failed: bool = False) -> Commit | None:
        """The record of exactly this shard; None where it is still to be done, or once more."""
        commit = self._read(shard)
        if commit is None or commit.shard_id != shard.id:
            return None
        if retry_failed and commit.counts.failed_pictures:
            table = _table(self._commits / f"{shard.key}.parquet")
            if not PASSING.isdisjoint(table.column("error").to_pylist()):
                return None
        return commit

    def retire(self, shard: Shard) -> None:
        """Forget what was made in its place before, of a source that has changed since.

        Before the first file of it is replaced: the source may change back. Files that were made
        may be outputs of another shard by now, so they are kept in mind and go when all is done.
        """
        commit = self._read(shard)
        if commit is not None:
            record = self._commits / f"{shard.key}.parquet"
            self._note(record)
            record.delete()

    def write(self, shard: Shard, commit: Commit, rows: pa.Table, timings: pa.Table) -> None:
        """Put the record there; with it the shard is done. Raises `OSError`."""
        self._put(self._timings / f"{shard.key}.parquet", _packed(timings, None))
        self._put(self._commits / f"{shard.key}.parquet", _packed(rows, commit))

    def trim(self, container: int, shards: int) -> None:
        """Forget records beyond the last shard of a container that has become smaller.

        Shards are committed in any order, so there may be gaps. The record goes last: who is killed
        before that finds all of it again.
        """
        for ordinal in sorted(self._ordinals(container)):
            if ordinal < shards:
                continue
            key = f"{container:06d}/{ordinal:08d}.parquet"
            self._note(self._commits / key)
            (self._timings / key).delete()
            (self._commits / key).delete()

    def trim_containers(self, containers: int) -> None:
        """The same of containers beyond the last."""
        for name in {*self._commits.names(), *self._timings.names()}:
            if name.isdigit() and int(name) >= containers:
                self.trim(int(name), 0)

    def _ordinals(self, container: int) -> set[int]:
        folders = (kept / f"{container:06d}" for kept in (self._commits, self._timings))
        stems = [PurePosixPath(name).stem for folder in folders for name in folder.names()]
        return {int(stem) for stem in stems if stem.isdigit()}

    def stale_outputs(self) -> set[str]:
        """All files of sources as they were; some may have been made anew since."""
        names = self._stale.names()
        return {name for file in names for name in json.loads((self._stale / file).read())}

    def forget_stale(self) -> None:
        """When they are gone."""
        for name in self._stale.names():
            (self._stale / name).delete()

    def _note(self, record: Place) -> None:
        try:
            outputs = set(_table(record).column("output").to_pylist()) - {""}
        except (FileNotFoundError, pa.ArrowException, KeyError):
            return  # killed before it was written, or damaged: it counts as none
        data = json.dumps(sorted(outputs)).encode()
        # By its content: what was noted of an earlier record in the same place is kept.
        self._put(self._stale / f"{hashlib.sha256(data).hexdigest()}.json", data)

    def _put(self, place: Place, data: bytes) -> None:
        if place.is_local:
            os.makedirs(self._scratch.path, exist_ok=True)
        place.write(data, (self._scratch / f"record-{secrets.token_hex(8)}").path)

    def rows(self) -> Iterator[tuple[Commit, pa.Table]]:
        """All records in the order of the plan."""
        for place in _files(self._commits):
            table = _table(place)
            yield _commit(table.schema), table.replace_schema_metadata(None).cast(MANIFEST)

    def timings(self) -> Iterator[pa.Table]:
        """The same for the times."""
        for place in _files(self._timings):
            yield _table(place).cast(TIMINGS)

    def _read(self, shard: Shard) -> Commit | None:
        place = self._commits / f"{shard.key}.parquet"
        try:
            with place.open() as file:
                return _commit(pq.read_schema(file))
        except (FileNotFoundError, pa.ArrowException, KeyError, ValueError, TypeError):
            return None


def _files(folder: Place) -> Iterator[Place]:
    for container in folder.names():
        for name in (folder / container).names():
            if name.endswith(".parquet"):
                yield folder / f"{container}/{name}"


def _table(place: Place) -> pa.Table:
    with place.open() as file:
        return pq.read_table(file)


def _packed(table: pa.Table, commit: Commit | None) -> bytes:
    if commit is not None:
        table = table.replace_schema_metadata({_META: json.dumps(asdict(commit))})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _commit(schema: Any) -> Commit:
    value = json.loads((schema.metadata or {})[_META])
    return Commit(value["shard_id"], Counts(**value["counts"]), value["bytes_of_members"])
