"""A job on Ray Data: shards are planned in tasks, worked on by a pool of actors, counted here.

    plan (streaming tasks, rows of shards) → Stage (actors, one engine process each) → reports

Rows hold shards, not pictures: what is handed from process to process are places and counts, some
kilobytes for 64 pictures. Bytes travel only where an archive can be read from its beginning alone.
A row costs Ray Data some 30 ms of the driver, so rows hold more shards the longer a run gets.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, Datasource, read_datasource
from ray.data import ExecutionResources as Resources
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from ray.util.annotations import RayDeprecationWarning

from omnishot_ray.batch.bundles import bundled
from omnishot_ray.batch.commits import Commits
from omnishot_ray.batch.job import BatchJob
from omnishot_ray.batch.members import Container, Shard
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.plan import plan_shards
from omnishot_ray.batch.run import Run, Summary
from omnishot_ray.batch.worker import ShardReport, Worker
from omnishot_ray.errors import OmnishotError

_PLANNERS = 4
"""Tasks that plan side by side: containers are dealt out among them."""
_PLANNER_CPUS = 0.1
"""Hopping from header to header hardly takes any."""
_BLOCK_BYTES = 1
"""Ray Data puts rows together until a block has more than this: so each row is its own block, and
the first is worked on while the second is planned."""
_RESERVED_SHARE = 0.5
"""Of the free CPUs of a cluster that others use too, what is left to them."""


class Plan(Datasource):  # type: ignore[misc]
    """The shards of containers, as rows of one column."""

    def __init__(self, job: BatchJob, fingerprint: str, containers: Sequence[Container]) -> None:
        super().__init__()
        self._job, self._fingerprint, self._containers = job, fingerprint, containers

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known before it is planned."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task for each share of the containers."""
        del parallelism, data_context
        shares = [self._containers[first::_PLANNERS] for first in range(_PLANNERS)]
        unknown = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [
            ReadTask(
                partial(_plan_rows, share, self._job, self._fingerprint),
                unknown,
                per_task_row_limit=per_task_row_limit,
            )
            for share in shares
            if share
        ]


def _plan_rows(
    containers: Sequence[Container], job: BatchJob, fingerprint: str
) -> Iterator[pa.Table]:
    commits = Commits(Place.parse(job.out))

    def planned() -> Iterator[Shard | ShardReport]:
        for container in containers:
            for shard in plan_shards(container, job, fingerprint):
                # What was done before is told of here, lest its bytes are sent for nothing.
                yield (shard.carries_bytes and _report_of_done(commits, shard, job)) or shard

    return map(row_of, bundled(planned()))


def _report_of_done(commits: Commits, shard: Shard, job: BatchJob) -> ShardReport | None:
    commit = commits.find(shard, retry_failed=job.retry_failed)
    if commit is None:
        return None
    return ShardReport(
        shard.container.ordinal, shard.ordinal, commit.counts, commit.bytes_of_members, True
    )


def row_of(values: Sequence[Shard | ShardReport]) -> pa.Table:
    """One row of one column, which may be any length."""
    return pa.table({"values": pa.array([pickle.dumps(values, protocol=5)], pa.large_binary())})


def values_of(rows: pa.Table) -> Iterator[Any]:
    """What `row_of` was given."""
    for row in rows.column("values"):
        yield from pickle.loads(row.as_buffer())


class Stage:
    """An actor of the pool: shards in, reports out."""

    def __init__(self, job: BatchJob, niceness: int) -> None:
        name = f"batch-{ray.get_runtime_context().get_actor_id()[:4]}"
        self._worker = Worker(job, niceness, name)
        self._worker.start()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Work on the shards of a row.

        Their reports come in one block: what a retry makes has to be cut as it was the first time,
        or Ray takes one part for another.
        """
        done: list[ShardReport] = []
        for value in values_of(rows):
            done.append(self._report(value))
            if done[-1].is_given_up:
                break
        return row_of(done)

    def _report(self, value: Shard | ShardReport) -> ShardReport:
        if isinstance(value, ShardReport):
            return value
        return self._worker.find_done(value) or self._worker.run(value)


@contextmanager
def _quiet_context(workers: int) -> Iterator[DataContext]:
    """Ray Data's settings for these datasets alone."""
    context = DataContext.get_current().copy()
    context.target_max_block_size = _BLOCK_BYTES
    context.target_min_block_size = 0
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    context.memory_usage_poll_interval_s = None  # it reads all pages of a worker every second
    limits = Resources(cpu=workers + _PLANNERS * _PLANNER_CPUS)
    context.execution_options.resource_limits = limits
    level = logging.getLogger("ray.data").level
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with DataContext.current(context):
        try:
            yield context
        finally:
            logging.getLogger("ray.data").setLevel(level)


def flow(
    plan: Datasource, tasks: int, stage: type, arguments: tuple[Any, ...], workers: int
) -> Iterator[Any]:
    """Hand the rows of a plan to a pool of actors; what they answer comes as it is ready.

    Raises `OSError` and `OmnishotError` as the stage does.
    """
    with _quiet_context(workers):
        shards: Dataset = read_datasource(plan, num_cpus=_PLANNER_CPUS, override_num_blocks=tasks)
        with warnings.catch_warnings():
            # `max_concurrency` has no name of its own among the arguments of Ray 2.60.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            done = shards.map_batches(
                stage,
                batch_size=None,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(
                    min_size=1,
                    max_size=workers,
                    initial_size=workers,
                    max_tasks_in_flight_per_actor=3,
                ),
                fn_constructor_args=arguments,
                num_cpus=1,
                max_concurrency=2,  # what `Worker` is for
            )
        try:
            for batch in done.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                yield from values_of(batch)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, OSError | OmnishotError):
                raise cause from None
            raise


def reports(run: Run, workers: int, niceness: int) -> Iterator[ShardReport]:
    """Work on all shards; reports come as shards are done. Raises `OSError`."""
    plan = Plan(run.job, run.fingerprint, run.containers)
    tasks = min(_PLANNERS, len(run.containers))
    yield from flow(plan, tasks, Stage, (run.job, niceness), workers)


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[int]:
    """A cluster that is joined, or one of one's own for the time of the run.

    Yields how many workers it has room for: all cores of one's own, half of what is free in one
    that others use.
    """
    was_there = bool(ray.is_initialized())
    joins = was_there or bool(address or os.environ.get("RAY_ADDRESS"))
    cores = workers or len(os.sched_getaffinity(0))
    if not was_there:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            # One more than there is work for: planners, which hardly take any.
            **({} if joins else {"num_cpus": cores + 1, "include_dashboard": False}),
        )
    try:
        yield _free_workers() if joins else cores
    finally:
        if not was_there:
            ray.shutdown()


def _free_workers() -> int:
    free = ray.available_resources().get("CPU", 1.0)
    return max(1, int(free * (1 - _RESERVED_SHARE)))


def run_on_ray(
    run: Run,
    *,
    on_report: Callable[[ShardReport], None] | None = None,
    workers: int,
    niceness: int = 0,
) -> Summary:
    """The whole job. `on_report` is told of each shard. Raises `OSError`."""
    for report in reports(run, workers, niceness):
        run.note(report)
        if on_report is not None:
            on_report(report)
        if run.is_over:
            return run.summary(finished=False)
    return run.finish()
