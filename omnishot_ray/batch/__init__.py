"""Archives in, renditions out: every picture once, whatever is interrupted.

    from omnishot_ray import batch

    summary = batch.run("photos.tar", "out", platforms=["instagram-post"])
    dataset.map_batches(batch.Renditions, fn_constructor_kwargs={"platforms": ["open-graph"]}, …)

`run` starts Ray or joins it; everything else in here knows no Ray, but for `pipeline.py`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from omnishot_ray.batch.job import BatchJob, read_renditions, read_variants_file
from omnishot_ray.batch.run import Run, Summary
from omnishot_ray.batch.stage import Renditions
from omnishot_ray.batch.worker import ShardReport
from omnishot_ray.metrics.query import Notebook

__all__ = ["BatchJob", "Renditions", "Summary", "run", "run_job"]


def run(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    platforms: Sequence[str] = (),
    group: str | None = None,
    variants: Sequence[Mapping[str, Any]] | str | Path = (),
    options: Mapping[str, Any] | None = None,
    resume: bool = False,
    report: bool = False,
    workers: int | None = None,
    address: str | None = None,
    metrics: Notebook | None = None,
    on_report: Callable[[ShardReport], None] | None = None,
    **settings: Any,
) -> Summary:
    """Make renditions of every picture of the sources.

    Args:
        sources: Files, folders, globs or addresses, as on the command line.
        out: The folder or address of the output.
        platforms: Names of presets.
        group: All presets of a group.
        variants: Options of one's own with a `name` each, or a YAML file of them.
        options: Laid over every preset and under every variant.
        resume: Go on with what is in `out`.
        report: Write `report.html` too.
        workers: Processes that work, one core each; by default all cores of this machine, or half
            of what is free in a cluster that was there before.
        address: A Ray cluster to join; by default one that is joined already, RAY_ADDRESS, or a
            new one on this machine, which ends with the run.
        metrics: Told of each shard.
        on_report: Called with each shard that is done.
        settings: Fields of `BatchJob`, such as `to="parquet"` or `max_errors=100`.

    Raises:
        InvalidParameters, ContradictoryOptions: what was asked cannot be read; nothing was done.
        OSError: the output cannot be written; `resume` goes on from there.
    """
    if isinstance(variants, str | Path):
        variants = read_variants_file(Path(variants))
    named = [sources] if isinstance(sources, str | Path) else list(sources)
    job = BatchJob(
        tuple(os.fspath(name) for name in named),
        os.fspath(out),
        read_renditions(platforms, group, variants, options),
        **settings,
    )
    return run_job(
        job,
        resume=resume,
        report=report,
        workers=workers,
        address=address,
        metrics=metrics,
        on_report=on_report,
    )


def run_job(
    job: BatchJob,
    *,
    resume: bool = False,
    report: bool = False,
    workers: int | None = None,
    address: str | None = None,
    niceness: int = 0,
    metrics: Notebook | None = None,
    on_report: Callable[[ShardReport], None] | None = None,
    on_start: Callable[[Run], None] | None = None,
    on_end: Callable[[], None] | None = None,
) -> Summary:
    """The same of a `BatchJob`.

    `on_start` is told of the run before any work, `on_end` is called after it, whatever came of it;
    both while Ray is there.
    """
    from omnishot_ray.batch import pipeline  # noqa: PLC0415 - brings Ray along
    from omnishot_ray.batch.progress import record_shard  # noqa: PLC0415
    from omnishot_ray.batch.report import write_report  # noqa: PLC0415 - brings Pillow along

    run = Run(job, resume=resume)

    def note(done: ShardReport) -> None:
        if metrics is not None:
            record_shard(metrics, done)
        if on_report is not None:
            on_report(done)

    with closing(run):
        with pipeline.cluster(address, workers) as share:
            if on_start is not None:
                on_start(run)
            try:
                summary = pipeline.run_on_ray(
                    run, on_report=note, workers=workers or share, niceness=niceness
                )
            finally:
                if on_end is not None:
                    on_end()
        if report and summary.finished:
            write_report(run.out, summary)
    return summary
