"""`omnishot loadtest`: visitors of all kinds on a service, a report of what came of it."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from omnishot_ray.load.answers import Answer
from omnishot_ray.load.page import describe_end, describe_knee, describe_load, write_page
from omnishot_ray.load.pictures import read_library
from omnishot_ray.load.report import Document, build_report, compare, contrast, read_earlier
from omnishot_ray.load.run import (
    INTERRUPTED,
    LoadTestFailed,
    Run,
    has_locust,
    is_loopback,
    run_shape,
)
from omnishot_ray.load.service import answers_at, has_jobs, own_service
from omnishot_ray.load.shapes import Shape, build_shape
from omnishot_ray.load.traffic import MIXES, Mix, without

_USERS_A_PROCESS = 2000
_LINE_S = 10.0
_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "not seen:"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says."""

    shape: str
    url: str | None = None
    users: int | None = None
    seconds: float | None = None
    mix: str = "usual"
    seed: int = 1
    processes: int | None = None
    pictures: Path | None = None
    report: Path | None = None
    beside: Path | None = None
    most_errors: float | None = None
    most_shed: float | None = None
    most_p95_ms: float | None = None
    allow_remote: bool = False
    as_json: bool = False
    key_env: str | None = None


def run_loadtest(wanted: Wanted) -> int:
    """Run it and say what came of it. Returns the exit code."""
    if not has_locust():
        return _complain(
            "Locust is missing: run `make setup-dev`, or install it into this environment with "
            f"`{sys.executable} -m pip install locust psutil`.",
            3,
        )
    for number in (signal.SIGTERM, signal.SIGHUP):  # what was started here ends with us
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` wants it
            signal.signal(number, _end)
    try:
        key, shape = _read_key(wanted.key_env), _shape(wanted)
        earlier = _read_earlier(wanted.beside)
        notes = contrast(shape, wanted.mix, earlier) if earlier else []
        _check_places(wanted)
        _check_pictures(wanted.pictures)
    except ValueError as error:
        return _complain(str(error), 2)
    for note in notes:
        _say(f"beside {wanted.beside}: {note}")
    if wanted.url:
        url = wanted.url.rstrip("/")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            return _complain(f"--url has to be as http://127.0.0.1:8000, not {url}", 2)
        if not wanted.allow_remote and not is_loopback(url):
            return _complain(
                f"{url} is not this machine; load goes to others only with --allow-remote, "
                "and only where you are allowed to send it.",
                2,
            )
        if reason := answers_at(url):
            return _complain(f"nobody answers at {url}: {reason}", 3)
    try:
        with _service(wanted.url) as (url, pid):
            report = _measure(wanted, shape, url, pid, key)
            if earlier is not None and wanted.beside:
                report["beside"], report["compared"] = wanted.beside.name, compare(report, earlier)
                report["compared_notes"] = notes
            if report.get("ended", {}).get("why") == INTERRUPTED:
                _write(wanted, report)
                raise KeyboardInterrupt  # the service is not waited for either
    except LoadTestFailed as failure:
        return _complain(str(failure), 3)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    return _write(wanted, report)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    sys.exit(128 + number)


def _read_key(name: str | None) -> str:
    """From the environment, where other users of the machine cannot see it. Raises ValueError."""
    if name is None:
        return ""
    key = os.environ.get(name, "")
    if not key:
        raise ValueError(f"--key-env: the environment has no variable {name}, or it is empty")
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"--key-env: what {name} holds cannot be sent as a header")
    return key


def _shape(wanted: Wanted) -> Shape:
    shape = build_shape(wanted.shape, wanted.users, wanted.seconds)
    changed = {
        name: value
        for name, value in (
            ("most_errors", wanted.most_errors),
            ("most_shed", wanted.most_shed),
            ("most_p95_ms", wanted.most_p95_ms),
        )
        if value is not None
    }
    return replace(shape, thresholds=replace(shape.thresholds, **changed))


def _check_pictures(folder: Path | None) -> None:
    """Raises ValueError where there is nothing to send."""
    if folder is not None:
        try:
            read_library(folder)
        except (OSError, ValueError) as error:
            raise ValueError(f"--pictures {folder}: {error}") from None


def _places(wanted: Wanted) -> tuple[Path, Path]:
    """Where the page goes, and its JSON."""
    page = wanted.report or Path("out") / f"loadtest-{wanted.shape}.html"
    return page, page.with_suffix(".json")


def _check_places(wanted: Wanted) -> None:
    """A run is not to be lost for a report that cannot be written. Raises ValueError."""
    page, document = _places(wanted)
    if page.suffix.lower() == ".json":
        raise ValueError(f"--report names the page, not its JSON: {page.with_suffix('.html')}")
    for path in (page, document):
        was_there = path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise ValueError(f"--report: {path} cannot be written: {error.strerror}") from None
        if not was_there:
            path.unlink()


def _read_earlier(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return read_earlier(json.loads(path.read_text()))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


@contextmanager
def _service(url: str | None) -> Iterator[tuple[str, int | None]]:
    """The one that runs, with its first process where that can be seen; or one of our own."""
    if url is None:
        _say("starting the service …")
        with own_service() as started:
            yield started
        return
    url = url.rstrip("/")
    from omnishot_ray.load.watch import find_service

    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = find_service(port) if is_loopback(url) else None
    yield url, found.pid if found else None


def _measure(wanted: Wanted, shape: Shape, url: str, pid: int | None, key: str) -> Document:
    import psutil

    from omnishot_ray.load.watch import Watch, machine

    mix = MIXES[wanted.mix]
    if "job" in mix.weights and not has_jobs(url, key):
        mix = without(mix, {"job"})
    about = {
        "url": url,
        "mix": wanted.mix,
        "seed": wanted.seed,
        "machine": machine(),
        "users": shape.users,
    }
    if pid is None:
        return build_report(_send(wanted, shape, url, mix, key), [], about)
    with Watch(psutil.Process(pid)) as watch:
        run = _send(wanted, shape, url, mix, key)
    return build_report(run, watch.seen, about)


def _send(wanted: Wanted, shape: Shape, url: str, mix: Mix, key: str) -> Run:
    processes = wanted.processes or max(1, -(-shape.users // _USERS_A_PROCESS))
    with _progress(shape, quiet=wanted.as_json) as on_progress:
        return run_shape(
            shape,
            url,
            mix,
            seed=wanted.seed,
            processes=processes,
            pictures=wanted.pictures,
            key=key,
            on_progress=on_progress,
        )


@contextmanager
def _progress(shape: Shape, *, quiet: bool) -> Iterator[Any]:
    """A bar on a terminal, lines elsewhere; nothing beside a JSON document."""
    if quiet and not sys.stderr.isatty():
        yield None
        return
    if not sys.stderr.isatty():
        yield Lines(shape).note
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(shape.name, total=shape.seconds, told="")
        wrong = 0

        def note(second: float, users: int, answers: Sequence[Answer]) -> None:
            nonlocal wrong
            wrong += sum(not one.is_right for one in answers)
            told = f"{users} users, {len(answers)} answers/s, {wrong} wrong"
            bar.update(task, completed=min(second, shape.seconds), told=told)

        yield note


class Lines:
    """A line when a stage begins, and every ten seconds what came since the last."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._said = -1
        self._since_s = 0.0
        self._count = self._wrong = 0

    def note(self, second: float, users: int, answers: Sequence[Answer]) -> None:
        """Say it where it is time."""
        stage = self._shape.stage_at(second)
        if stage is not None and stage > self._said:
            self._said = stage
            one = self._shape.stages[stage]
            _say(f"{self._shape.name}: {one.users} users for {one.seconds:g} s")
        self._count += len(answers)
        self._wrong += sum(not one.is_right for one in answers)
        passed_s = second - self._since_s
        if passed_s >= _LINE_S:
            _say(
                f"{second:.0f} of {self._shape.seconds:g} s: {users} users, "
                f"{self._count / passed_s:.1f} answers/s, {self._wrong} wrong"
            )
            self._since_s, self._count = second, 0


def _write(wanted: Wanted, report: Document) -> int:
    """To standard output first, which is left when a disk is full. Returns the exit code."""
    if wanted.as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        _print_table(report)
    page, document = _places(wanted)
    try:
        page.write_text(write_page(report))
        document.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        return _complain(f"the report could not be written: {error}", 3)
    if not wanted.as_json:
        sys.stdout.write(f"Report: {page}, {document}\n")
    return 0 if report["passed"] else 1


def _print_table(report: Document) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    titles = ("users", "requests", "failures", "success", "answers/s", "p50", "p95", "p99", "ΔMB")
    table = Table(*titles, box=None, pad_edge=False)
    for step in report["steps"]:
        table.add_row(
            str(step["users"]),
            str(step["requests"]),
            str(step["failures"]),
            f"{100 * step['success_rate']:.2f} %",
            f"{step['rps']:.1f}",
            *(_tell(step[name], ".0f", " ms") for name in ("p50", "p95", "p99")),
            f"{step['memory_delta_mb']:+.0f}" if "memory_delta_mb" in step else "",
        )
    console.print(table)
    for problem, count in report["totals"]["errors"].items():
        console.print(f"{count} × {problem}", highlight=False, markup=False)
    console.print(describe_load(report), highlight=False)
    if "ended" in report:
        console.print(describe_end(report), highlight=False)
    if "knee" in report:
        console.print(describe_knee(report), highlight=False)
    if report.get("compared") == []:
        console.print(f"No stage in common with {report['beside']}", highlight=False)
    for row in report.get("compared", []):
        then, now = row["rps"]
        console.print(
            f"{row['users']} users: {then:.1f} → {now:.1f} answers/s, "
            f"p95 {_tell(row['p95'][0], '.0f')} → {_tell(row['p95'][1], '.0f')} ms "
            f"beside {report['beside']}",
            highlight=False,
        )
    for verdict in report["thresholds"]:
        mark = _MARKS[verdict["passed"]]
        console.print(
            f"{mark} {verdict['what']} {_tell(verdict['value'], 'g')} ({verdict['sign']} "
            f"{verdict['limit']:g})",
            highlight=False,
        )


def _tell(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _complain(text: str, code: int) -> int:
    click.echo(f"omnishot: {text}", err=True)
    return code


def _say(text: str) -> None:
    sys.stderr.write(text + os.linesep)
    sys.stderr.flush()
