"""One shard from its members to its commit record: read, make, write, commit."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from threading import Lock
from time import monotonic, perf_counter, time

from omnishot_ray.batch.commits import Commit, Commits
from omnishot_ray.batch.engine import Answer, Engine, Laid, Source
from omnishot_ray.batch.job import BatchJob
from omnishot_ray.batch.manifest import (
    MANIFEST,
    TIMINGS,
    Counts,
    ManifestRow,
    TimingRow,
    count_rows,
    table_of,
)
from omnishot_ray.batch.members import Member, Shard
from omnishot_ray.batch.names import whole_text
from omnishot_ray.batch.outputs import Writer, open_writer
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.reading import read_members
from omnishot_ray.batch.spans import Fault, Span, SpanReader
from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result, Timings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of a shard; small, for the one who counts."""

    container: int
    ordinal: int
    counts: Counts
    bytes_of_members: int
    was_done: bool
    """In an earlier run."""
    took_ms: float = 0.0
    cpu_ms: float = 0.0
    """Of the engine: decode, transform, encode."""
    worker: str = ""
    first_error: str = ""
    is_given_up: bool = False
    """At a failure that ends the job: nothing of the shard is kept, so that it is tried again."""


class Worker:
    """Works on shards, with one engine process; for two threads.

    Pictures of one shard are made at a time. Writing to disk for sure and committing takes a fifth
    as long as making 64 small pictures, and goes on while the other thread's shard is made.
    """

    def __init__(self, job: BatchJob, niceness: int = 0, name: str = "") -> None:
        self._job = job
        self._out = Place.parse(job.out)
        self._commits = Commits(self._out)
        self._name = name
        self._turn = Lock()
        self._engine: Engine[_Picture] = Engine(
            job.renditions, job.limits, job.time_limit_s, niceness
        )

    @property
    def engine_pid(self) -> int | None:
        """Of the process that does the pixels."""
        return self._engine.pid

    def start(self) -> None:
        """Start the engine's process before the first shard comes."""
        self._engine.start()

    def close(self) -> None:
        """End the engine's process."""
        self._engine.close()

    def find_done(self, shard: Shard) -> ShardReport | None:
        """The report of a shard that an earlier run has committed."""
        commit = self._commits.find(shard, retry_failed=self._job.retry_failed)
        if commit is None:
            return None
        counts, planned = commit.counts, commit.bytes_of_members
        return ShardReport(shard.container.ordinal, shard.ordinal, counts, planned, True)

    def run(self, shard: Shard) -> ShardReport:
        """Make, write and commit a shard. Raises `OSError` where the output cannot be written."""
        self._commits.retire(shard)
        writer = open_writer(self._out, self._job.to, shard)
        rows: list[ManifestRow] = []
        timings: list[TimingRow] = []
        first_error, is_given_up = "", False
        try:
            with self._turn:
                started = perf_counter()
                pictures = _pictures(shard, self._job)
                for picture, answer in self._engine.answers(pictures, writer.folder):
                    made = _record(shard, picture, answer, self._job, writer)
                    rows += made
                    timings.append(_timing(shard, picture, answer))
                    first_error = first_error or _first_error(made)
                    is_given_up = bool(first_error) and self._job.on_error == "fail"
                    if is_given_up:
                        break
            if is_given_up:
                writer.abandon()
            else:
                writer.finish()
        except BaseException:
            writer.abandon()
            raise
        if is_given_up:
            return ShardReport(
                shard.container.ordinal,
                shard.ordinal,
                Counts(pictures=1, failed_pictures=1, failed=1),
                0,
                False,
                worker=self._name,
                first_error=first_error,
                is_given_up=True,
            )
        counts = count_rows(rows, shard.others)
        planned = shard.bytes_of_members
        commit = Commit(shard.id, counts, planned)
        self._commits.write(shard, commit, table_of(rows, MANIFEST), table_of(timings, TIMINGS))
        return ShardReport(
            shard.container.ordinal,
            shard.ordinal,
            counts,
            planned,
            False,
            (perf_counter() - started) * 1000.0,
            sum(row.decode_ms + row.transform_ms + row.encode_ms for row in timings),
            self._name,
            first_error,
        )


@dataclass(slots=True)
class _Picture:
    """A member on its way: its bytes or where they are, or why there are none."""

    member: Member
    source: Source | Fault
    read_ms: float
    began: float

    def data(self) -> bytes | Fault:
        """The bytes, once more where they were read elsewhere."""
        if not isinstance(self.source, Span):
            return self.source
        with closing(SpanReader()) as reader:
            return reader.read(self.source)


def _pictures(shard: Shard, job: BatchJob) -> Iterator[tuple[_Picture, Source | None]]:
    before = monotonic()
    for member, source in read_members(shard, job):
        now = monotonic()
        picture = _Picture(member, source, (now - before) * 1000.0, now)
        yield picture, None if isinstance(source, Fault) else source
        before = monotonic()


def _record(
    shard: Shard, picture: _Picture, answer: Answer | None, job: BatchJob, writer: Writer
) -> list[ManifestRow]:
    """The rows of one picture; its renditions go to the writer on the way."""
    member = picture.member
    source = shard.container.source
    outcome = answer.outcome if answer else picture.source
    if isinstance(outcome, Fault):
        return [_failed(source, member, outcome.code, outcome.detail)]
    if isinstance(outcome, OSError):
        raise outcome
    assert answer is not None
    size, digest = answer.size, answer.sha256
    if not digest:
        data = picture.data()
        if isinstance(data, Fault):  # its child is gone, and now the file too
            return [_failed(source, member, data.code, data.detail)]
        size, digest = len(data), hashlib.sha256(data).hexdigest()
    if isinstance(outcome, OmnishotError):
        failed = replace(
            _failed(source, member, outcome.code, str(outcome)), sha256_in=digest, bytes_in=size
        )
        return [_copied(failed, picture, writer) if job.on_error == "copy" else failed]
    assert isinstance(outcome, Result)
    rows = []
    laid = answer.laid or (None,) * len(job.renditions)
    for options, made, file in zip(job.renditions, outcome.renditions, laid, strict=True):
        row = _row(source, member, size, digest, outcome, options, made, file, writer)
        if isinstance(made, Rendition):
            writer.add_row(row, made.data)
        rows.append(row)
    if job.on_error == "copy" and all(row.error for row in rows):
        rows.append(_copied(rows[-1], picture, writer))
    return rows


def _row(
    source: str,
    member: Member,
    size: int,
    digest: str,
    result: Result,
    options: Options,
    made: Rendition | FailedRendition,
    laid: Laid | None,
    writer: Writer,
) -> ManifestRow:
    row = ManifestRow(
        source,
        member.name,
        member.index,
        made.name,
        "ok",
        sha256_in=digest,
        bytes_in=size,
        width_in=result.source.width,
        height_in=result.source.height,
        format_in=result.source.format.value,
    )
    if isinstance(made, FailedRendition):
        return replace(row, status="failed", error=made.error.code, detail=str(made.error))
    name = member.stem, made.name, made.format.extension
    if laid:
        output, entry = writer.add_file(*name, laid.path)
    else:
        output, entry = writer.add(*name, made.data)
    crop = made.crop or (None, None, None, None)
    return replace(
        row,
        sha256_out=laid.sha256 if laid else hashlib.sha256(made.data).hexdigest(),
        bytes_out=laid.size if laid else len(made.data),
        width=made.width,
        height=made.height,
        format=made.format.value,
        quality="lossless" if options.lossless else str(options.quality or ""),
        crop_x=crop[0],
        crop_y=crop[1],
        crop_width=crop[2],
        crop_height=crop[3],
        frames=made.frames,
        output=output,
        entry=entry,
    )


def _first_error(rows: list[ManifestRow]) -> str:
    return next((f"{row.member}: {row.detail}" for row in rows if row.error), "")


def _failed(source: str, member: Member, code: str, detail: str) -> ManifestRow:
    detail = whole_text(detail)
    return ManifestRow(source, member.name, member.index, "", "failed", code, detail)


def _copied(row: ManifestRow, picture: _Picture, writer: Writer) -> ManifestRow:
    """The row of a picture that failed, whose file is handed on as it came."""
    data = picture.data()
    if isinstance(data, Fault):  # it is gone by now
        return row
    suffix = PurePosixPath(picture.member.name).suffix.lower().lstrip(".")
    extension = suffix if suffix.isascii() and suffix.isalnum() and len(suffix) <= 5 else "bin"
    output, entry = writer.add(picture.member.stem, "original", extension, data)
    copied = ManifestRow(
        row.source, row.member, row.index, "original", "copied", row.error, row.detail,
        row.sha256_in, row.sha256_in, len(data), len(data), output=output, entry=entry,
    )  # fmt: skip
    writer.add_row(copied, data)
    return copied


def _timing(shard: Shard, picture: _Picture, answer: Answer | None) -> TimingRow:
    spent = answer.outcome.timings if answer and isinstance(answer.outcome, Result) else Timings()
    read_ms = picture.read_ms + (answer.read_ms if answer else 0.0)
    return TimingRow(
        source=shard.container.source,
        member=picture.member.name,
        index=picture.member.index,
        finished_at=time(),
        read_ms=read_ms,
        decode_ms=spent.decode,
        transform_ms=spent.transform,
        encode_ms=spent.encode,
        total_ms=(monotonic() - picture.began) * 1000.0 + picture.read_ms,
    )
