"""A job from its beginning to its end, whoever works on the shards.

begin    the output holds no other job; what is half written is removed
…        shards are worked on, in any order, by any number of processes
finish   manifest, timings and summary are written of the commit records
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from tempfile import TemporaryFile
from time import time
from typing import IO, Any

from omnishot_ray.batch.commits import Commits
from omnishot_ray.batch.job import BatchJob
from omnishot_ray.batch.manifest import MANIFEST, TIMINGS, Counts, write_parts
from omnishot_ray.batch.outputs import clear_scratch
from omnishot_ray.batch.places import STATE, Place, make_folder
from omnishot_ray.batch.plan import plan_shards
from omnishot_ray.batch.sources import find_containers
from omnishot_ray.batch.worker import ShardReport, Worker
from omnishot_ray.errors import FieldError, InvalidParameters


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a job. `finished` is false where it stopped at too many errors."""

    out: str
    finished: bool
    counts: Counts
    errors: dict[str, int] = field(default_factory=dict)
    """Rows of the manifest by the code of their error."""
    seconds: float = 0.0
    """Of this run."""
    new: Counts = field(default_factory=Counts)
    """Of this run: without what earlier ones had done."""
    first_error: str = ""
    """Of this run: the picture, and what is wrong with it."""

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed."""
        return 0 if self.finished and not self.counts.failed_pictures else 1


class Run:
    """The bookkeeping around the work. Use it in one process, and close it."""

    def __init__(self, job: BatchJob, *, resume: bool = False) -> None:
        """Find the sources and take possession of the output.

        Raises:
            InvalidParameters: there are no sources, or the output holds another job, or this one
                without `resume`, or another run works on it.
            OSError: the output cannot be written.
        """
        self.job = job
        self.out = Place.parse(job.out)
        self.containers = find_containers(job.sources, self.out, job.match)
        self.started_at = time()
        self.counts = Counts()
        self.new = Counts()
        self._shards: dict[int, int] = {}
        self._first_error, self._is_given_up = "", False
        self._lock = _lock(self.out)
        try:
            self._take_possession(resume)
        except BaseException:
            self.close()
            raise
        clear_scratch(self.out)

    @property
    def fingerprint(self) -> str:
        """What shards' ids are made with."""
        return self.job.fingerprint

    @property
    def bytes_planned(self) -> int:
        """Bytes of all containers, where they are known; for the progress."""
        return sum(container.size for container in self.containers)

    @property
    def is_over(self) -> bool:
        """Whether there are more errors than one run allows."""
        limit = self.job.max_errors
        return self._is_given_up or (limit is not None and self.new.failed_pictures > limit)

    def close(self) -> None:
        """Let another run have the output."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def note(self, report: ShardReport) -> None:
        """Count a shard that is done."""
        self.counts += report.counts
        if not report.was_done:
            self.new += report.counts
        self._first_error = self._first_error or report.first_error
        self._is_given_up |= report.is_given_up
        self._shards[report.container] = self._shards.get(report.container, 0) + 1

    def finish(self) -> Summary:
        """Write manifest, timings and summary. Only when every shard was noted."""
        commits = Commits(self.out)
        for container in self.containers:
            commits.trim(container.ordinal, self._shards.get(container.ordinal, 0))
        commits.trim_containers(len(self.containers))
        stale = commits.stale_outputs()
        errors: dict[str, int] = {}
        counts = Counts()

        def parts() -> Iterator[Any]:
            nonlocal counts
            for commit, table in commits.rows():
                counts += commit.counts
                stale.difference_update(table.column("output").to_pylist())
                for code in table.column("error").to_pylist():
                    if code:
                        errors[code] = errors.get(code, 0) + 1
                yield table

        for name, tables, schema in (
            ("manifest", parts(), MANIFEST),
            ("timings", commits.timings(), TIMINGS),
        ):
            with TemporaryFile() as file:
                write_parts(tables, schema, file)
                _deliver(file, self.out / f"{name}.parquet")
        summary = self.summary(finished=True, counts=counts, errors=errors)
        (self.out / "summary.json").write(_json(_lasting(summary, self.job)))
        (self.out / "run.json").write(_json(self._run_facts(summary)))
        for name in sorted(stale):
            (self.out / name).delete()
        commits.forget_stale()
        clear_scratch(self.out)
        return summary

    def summary(
        self,
        *,
        finished: bool,
        counts: Counts | None = None,
        errors: dict[str, int] | None = None,
    ) -> Summary:
        """What has come of the job so far."""
        return Summary(
            str(self.out),
            finished,
            self.counts if counts is None else counts,
            dict(sorted((errors or {}).items())),
            time() - self.started_at,
            self.new,
            self._first_error,
        )

    def _take_possession(self, resume: bool) -> None:
        place = self.out / STATE / "job.json"
        wanted = {"fingerprint": self.fingerprint, "sources": list(self.job.sources)}
        try:
            held = json.loads(place.read())
        except FileNotFoundError:
            held = None
        except ValueError:
            raise _invalid(
                f"{self.out} holds something else in {STATE}; name another folder"
            ) from None
        if held is None:
            place.write(_json(wanted))
        elif not resume:
            raise _invalid(f"{self.out} holds a batch already; --resume goes on with it")
        elif held != wanted:
            raise _invalid(
                f"{self.out} holds a batch of other sources or options; name another folder"
            )

    def _run_facts(self, summary: Summary) -> dict[str, Any]:
        seconds = max(summary.seconds, 1e-9)
        return {
            "started_at": self.started_at,
            "seconds": summary.seconds,
            "new": asdict(summary.new),
            "pictures_per_s": summary.new.pictures / seconds,
            "megabytes_per_s": summary.new.bytes_in / seconds / 1e6,
        }


def _lock(out: Place) -> int | None:
    """Keeps other runs off an output of this machine; the system lets go with this process."""
    if not out.is_local:
        return None
    make_folder((out / STATE).path)
    handle = os.open((out / STATE / "lock").path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise _invalid(f"another run works on {out}; wait for its end, or end it") from None
    except OSError:  # a file system that has no locks
        os.close(handle)
        return None
    return handle


def _deliver(file: IO[bytes], place: Place) -> None:
    if not place.is_local:
        place.upload(file)
        return
    file.seek(0)
    with open(f"{place.path}.partial", "wb") as target:
        shutil.copyfileobj(file, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    os.replace(f"{place.path}.partial", place.path)


def _lasting(summary: Summary, job: BatchJob) -> dict[str, Any]:
    """What is the same however often the job was interrupted."""
    return {
        "sources": list(job.sources),
        "fingerprint": job.fingerprint,
        "renditions": [options.name for options in job.renditions],
        "to": job.to,
        "counts": asdict(summary.counts),
        "errors": summary.errors,
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(
        "utf-8", "backslashreplace"
    )


def _invalid(detail: str) -> InvalidParameters:
    return InvalidParameters(detail, (FieldError("out", detail),))


def work_here(run: Run) -> Summary:
    """The whole job in this process and its engine's, without Ray. Raises `OSError`."""
    worker = Worker(run.job)
    try:
        for container in run.containers:
            for shard in plan_shards(container, run.job, run.fingerprint):
                run.note(worker.find_done(shard) or worker.run(shard))
                if run.is_over:
                    return run.summary(finished=False)
        return run.finish()
    finally:
        worker.close()
        run.close()
