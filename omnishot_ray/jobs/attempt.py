"""One attempt at a job: read the picture, make what is missing chunk by chunk, keep each."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Protocol

from omnishot_ray.errors import AllVariantsFailed, OmnishotError, TaskTimeout
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result
from omnishot_ray.jobs.model import Failure, Job, Source, VariantResult
from omnishot_ray.jobs.threads import Threads
from omnishot_ray.jobs.work import as_options, in_chunks
from omnishot_ray.protocol import ImageTask
from omnishot_ray.storage.blobs import Blobs
from omnishot_ray.storage.outputs import Output, Outputs
from omnishot_ray.storage.sources import Sources


class Engine(Protocol):
    """Where a job's pixels are done."""

    @property
    def slots(self) -> int:
        """How many tasks may be there at a time; 0 while there is nobody to do them."""
        ...

    async def run(self, task: ImageTask, limit_s: float) -> Result | OmnishotError:
        """Do the work; what takes longer than `limit_s` is stopped, not only left alone."""
        ...


class Keep(Protocol):
    """Writes down how far an attempt has come. Raises `StaleAttempt` when it has lost the job."""

    async def __call__(
        self, source: Source | None, results: tuple[VariantResult, ...], digest: str = ""
    ) -> None:
        """Keep the new results, and the digest of a picture that has been fetched."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to do a job."""

    blobs: Blobs
    sources: Sources
    outputs: Outputs
    engine: Engine
    limits: Limits
    chunk_ms: float
    threads: Threads


async def attempt(job: Job, means: Means, keep: Keep) -> None:
    """Do what is left to do of a job. Raises `OmnishotError`; what was kept before stays kept."""
    deadline = monotonic() + job.timeout_s
    try:
        async with asyncio.timeout(job.timeout_s):
            await _attempt(job, means, keep, deadline)
    except TimeoutError:
        raise TaskTimeout(
            f"The job was not done within its {job.timeout_s:g} s; ask for fewer or smaller "
            "renditions, a lower effort, or more time (timeout_s)."
        ) from None


async def _attempt(job: Job, means: Means, keep: Keep, deadline: float) -> None:
    data, digest = await _read(job, means, keep)
    header = read_header(data)
    check_header(header, means.limits)
    everything = tuple(as_options(values) for values in job.work.variants)
    made = {one.name: one for one in job.results}
    missing = [options for options in everything if options.name not in made]
    for chunk in in_chunks(len(data), header, missing, means.chunk_ms):
        task = ImageTask(
            data,
            chunk,
            job.request_id or job.id,
            priority=job.priority,
            known_digest=digest,
            beside=everything,
        )
        outcome = await means.engine.run(task, max(0.1, deadline - monotonic()))
        if isinstance(outcome, OmnishotError):
            raise outcome
        results = await _write(job, outcome.renditions, means)
        made |= {one.name: one for one in results}
        await keep(source_of(outcome), results)
    failures = [one.failure for one in made.values() if one.failure]
    if failures and len(failures) == len(made):
        raise AllVariantsFailed(f"Not one of the variants could be made: {failures[0].detail}")


async def _read(job: Job, means: Means, keep: Keep) -> tuple[bytes, str]:
    """The picture, and its name in storage; one from an address is kept for later attempts."""
    if job.work.digest:
        data = await means.threads.run(partial(means.blobs.get, job.work.digest))
        return data, job.work.digest
    fetched = await means.sources.fetch(job.work.url)
    digest = await means.threads.run(partial(means.blobs.put, fetched.data))
    await keep(None, (), digest)
    return fetched.data, digest


async def _write(
    job: Job, renditions: Sequence[Rendition | FailedRendition], means: Means
) -> tuple[VariantResult, ...]:
    async def one(rendition: Rendition | FailedRendition) -> VariantResult:
        if isinstance(rendition, FailedRendition):
            return VariantResult(rendition.name, failure=Failure.of(rendition.error))
        digest = await means.threads.run(partial(means.blobs.put, rendition.data))
        output = output_of(job, rendition)
        if output:
            await means.threads.run(partial(means.outputs.write, output))
        return kept(rendition, digest, output.uri if output else "")

    return tuple(await asyncio.gather(*map(one, renditions)))


def source_of(result: Result) -> Source:
    """What is remembered of the picture."""
    source = result.source
    return Source(source.width, source.height, source.format.value, source.bytes)


def kept(rendition: Rendition, digest: str, output: str = "") -> VariantResult:
    """A rendition whose bytes are in storage under their digest."""
    return VariantResult(
        rendition.name,
        digest,
        rendition.width,
        rendition.height,
        rendition.format.value,
        len(rendition.data),
        tuple(rendition.crop) if rendition.crop else None,
        output,
    )


def output_of(job: Job, rendition: Rendition) -> Output | None:
    """The file that a job asks for besides, `<output>/<name>.<extension>`; None without one."""
    if not job.work.output:
        return None
    name = f"{rendition.name}.{rendition.format.extension}"
    return Output(
        f"{job.work.output.rstrip('/')}/{name}",
        rendition.data,
        rendition.format.mime,
        rendition.format,
        rendition.width,
        rendition.height,
    )
