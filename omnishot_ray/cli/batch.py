"""`omnishot batch`: archives in, renditions out, on a Ray of its own or one that is there."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict

import click

from omnishot_ray.batch.job import BatchJob
from omnishot_ray.batch.run import Run, Summary
from omnishot_ray.errors import RequestError
from omnishot_ray.serving.environment import DEV_ENVIRONMENT, RAY_ENVIRONMENT, STARTUP_ENVIRONMENT

_SHOWN_ERRORS = 10


def run_batch(
    job: BatchJob,
    *,
    resume: bool,
    report: bool,
    workers: int | None,
    address: str | None,
    niceness: int,
    as_json: bool,
) -> int:
    """Work on a job and say what came of it. Returns the exit code: 1 when some failed."""
    own = not (address or os.environ.get("RAY_ADDRESS"))
    if own:
        _prepare_environment()  # before anything imports Ray
    from omnishot_ray.batch import run_job
    from omnishot_ray.batch.progress import open_progress
    from omnishot_ray.serving.batch_metrics import BatchMetrics

    progress, metrics = open_progress(), BatchMetrics()

    def start(run: Run) -> None:
        metrics.start()
        progress.start(run)

    cores = workers or len(os.sched_getaffinity(0))
    try:
        with _node(cores) if own else nullcontext():
            summary = run_job(
                job,
                resume=resume,
                report=report,
                workers=workers or (cores if own else None),
                address=address,
                niceness=niceness,
                metrics=metrics,
                on_start=start,
                on_end=metrics.close,
                on_report=progress.note,
            )
    except RequestError as error:
        click.echo(f"omnishot: {error}", err=True)
        return 2
    except (OSError, ConnectionError) as error:
        click.echo(f"omnishot: {error}. What is done stays done: --resume goes on.", err=True)
        return 3
    except KeyboardInterrupt:
        click.echo("omnishot: stopped. What is done stays done: --resume goes on.", err=True)
        return 1
    finally:
        progress.stop()
    _say(summary, job, as_json=as_json, report=report)
    return summary.exit_code


def _prepare_environment() -> None:
    wanted = RAY_ENVIRONMENT | STARTUP_ENVIRONMENT | DEV_ENVIRONMENT
    wanted["RAY_preload_python_modules"] = "omnishot_ray.batch.preload"
    wanted["RAY_BACKEND_LOG_LEVEL"] = "fatal"  # it writes into the progress
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


@contextmanager
def _node(cores: int) -> Iterator[None]:
    from omnishot_ray.serving.single_node import single_node

    with ExitStack() as stack:
        with _silent_stderr():
            stack.enter_context(single_node(cores + 1))  # planners have room beside the workers
        yield


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Ray's C++ writes a line about RAY_BACKEND_LOG_LEVEL before it heeds it, past `sys.stderr`.

    What goes wrong in a start comes as an exception and is told by then.
    """
    terminal = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _say(summary: Summary, job: BatchJob, *, as_json: bool, report: bool) -> None:
    if as_json:
        document = {**asdict(summary), "exit_code": summary.exit_code}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    counts, seconds = summary.counts, max(1e-9, summary.seconds)
    click.echo(
        f"{counts.renditions} renditions of {counts.pictures} pictures in {seconds:.1f} s "
        f"({summary.new.pictures / seconds:.1f} pictures/s), in {summary.out}"
    )
    if counts.bytes_in:
        click.echo(f"{counts.bytes_in / 1e6:.1f} MB in, {counts.bytes_out / 1e6:.1f} MB out")
    for code, count in list(summary.errors.items())[:_SHOWN_ERRORS]:
        click.echo(f"{count:6d} × {code}")
    if not summary.finished:
        limit = "--on-error fail" if job.on_error == "fail" else f"--max-errors {job.max_errors}"
        click.echo(
            f"omnishot: stopped after {summary.new.failed_pictures} failed pictures ({limit}). "
            f"The first was {summary.first_error}\n"
            "What is done stays done: --resume goes on.",
            err=True,
        )
    elif counts.failed_pictures:
        click.echo(f"{counts.failed_pictures} pictures failed; manifest.parquet says which and why")
    if report and summary.finished:
        click.echo(f"report.html in {summary.out}")
