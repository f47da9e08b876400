"""How far a job is: a bar on a terminal, a line every ten seconds elsewhere, samples for a hub."""

import sys
import threading
from collections.abc import Callable
from time import monotonic, time
from typing import Any, TextIO

from omnishot_ray.batch.manifest import Counts
from omnishot_ray.batch.run import Run
from omnishot_ray.batch.worker import ShardReport
from omnishot_ray.metrics.query import Notebook
from omnishot_ray.metrics.samples import BatchSample

_LINE_EVERY_S = 10.0


def record_shard(metrics: Notebook, report: ShardReport) -> None:
    """Tell the hub of a shard that was worked on now."""
    if report.was_done:
        return
    metrics.record(
        BatchSample(
            at_s=time(),
            process=report.worker,
            tasks=report.counts.pictures,
            bytes_in=report.counts.bytes_in,
            cost_ms=report.cpu_ms,
            took_ms=report.took_ms,
            failed=report.counts.failed_pictures,
        )
    )


class Pace:
    """Counts what is done, and says how fast and how long still."""

    def __init__(self, bytes_planned: int, clock: Callable[[], float] = monotonic) -> None:
        self.counts, self.new = Counts(), Counts()
        self._planned = bytes_planned
        self._clock = clock
        self._started = clock()
        self.bytes_done = 0
        self._bytes_new = 0

    def note(self, report: ShardReport) -> None:
        """Count a shard."""
        self.counts += report.counts
        self.bytes_done += report.bytes_of_members
        if not report.was_done:
            self.new += report.counts
            self._bytes_new += report.bytes_of_members

    @property
    def share(self) -> float | None:
        """Of the bytes of the sources, 0 to 1; None where these are not known."""
        if not self._planned or (self.counts.pictures and not self.bytes_done):
            return None
        return min(1.0, self.bytes_done / self._planned)

    @property
    def pictures_per_s(self) -> float:
        """Since the start of this run."""
        return self.new.pictures / max(1e-9, self._clock() - self._started)

    @property
    def megabytes_per_s(self) -> float:
        """Of sources."""
        return self.new.bytes_in / 1e6 / max(1e-9, self._clock() - self._started)

    @property
    def seconds_left(self) -> float | None:
        """At this pace; None where it cannot be told."""
        if self.share is None or not self._bytes_new:
            return None
        rate = self._bytes_new / max(1e-9, self._clock() - self._started)
        return max(0.0, (self._planned - self.bytes_done) / rate)

    def line(self) -> str:
        """`1 280 pictures, 96.2/s, 31.0 MB/s, 3 failed, 0:12:40 left`."""
        parts = [
            f"{self.counts.pictures:,} pictures".replace(",", " "),
            f"{self.pictures_per_s:.1f}/s",
            f"{self.megabytes_per_s:.1f} MB/s",
            f"{self.counts.failed_pictures} failed",
        ]
        if self.seconds_left is not None:
            parts.append(f"{clock_text(self.seconds_left)} left")
        return ", ".join(parts)


def clock_text(seconds: float) -> str:
    """`1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


class Lines:
    """For logs and pipes: a line now and then, whether a shard was done or not."""

    def __init__(self, stream: TextIO | None = None, every_s: float = _LINE_EVERY_S) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._pace: Pace | None = None
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()

    def start(self, run: Run) -> None:
        """Begin to count, and to tell."""
        self._pace = Pace(run.bytes_planned)
        self._thread = threading.Thread(
            target=self._tell, args=(self._pace,), name="progress", daemon=True
        )
        self._thread.start()

    def note(self, report: ShardReport) -> None:
        """Count a shard."""
        if self._pace is not None:
            self._pace.note(report)

    def stop(self) -> None:
        """No line comes any more."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _tell(self, pace: Pace) -> None:
        while not self._is_over.wait(self._every_s):
            self._stream.write(f"{pace.line()}\n")
            self._stream.flush()


class Bar:
    """For a terminal."""

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._bar: Any = None
        self._task: Any = None

    def start(self, run: Run) -> None:
        """Show the bar."""
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

        self._pace = Pace(run.bytes_planned)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("planning", total=None)

    def note(self, report: ShardReport) -> None:
        """Count a shard."""
        if self._pace is None:
            return
        self._pace.note(report)
        share = self._pace.share
        self._bar.update(
            self._task,
            description=self._pace.line(),
            completed=share or 0.0,
            total=None if share is None else 1.0,
        )

    def stop(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()


def open_progress() -> Bar | Lines:
    """A bar where somebody looks, lines elsewhere."""
    return Bar() if sys.stderr.isatty() else Lines()
