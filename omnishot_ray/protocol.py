"""What crosses the border of a process: a task, its outcome, and who turns one into the other.

Both are plain frozen values that pickle cheaply. A failure of one picture is an `OmnishotError`
returned as a value: one bad picture in a batch then costs its own answer and nobody else's.

A task knows what it costs and how it is done, so lanes, queue and replicas need not know which
kinds there are.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

from omnishot_ray.digest import content_digest
from omnishot_ray.errors import CorruptImage, InternalError, OmnishotError
from omnishot_ray.imaging.cost import cannot_run_away, estimate_info_ms, estimate_ms
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.info import ImageInfo, describe
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Result, process

logger = logging.getLogger(__name__)

Made = TypeVar("Made", bound=Result | ImageInfo)
"""What a task comes to when all goes well."""
MadeCo = TypeVar("MadeCo", bound=Result | ImageInfo, covariant=True)


class Task(Protocol[MadeCo]):
    """Something to be done with one picture. `priority` 1 is served first, 10 last."""

    @property
    def data(self) -> bytes:
        """The file."""
        ...

    @property
    def digest(self) -> str:
        """Of the file, in hexadecimal."""
        ...

    @property
    def identity(self) -> object:
        """Equal for tasks that come to the same; hashable, and holds no data."""
        ...

    @property
    def request_id(self) -> str:
        """Whom it is for, to be found in the log."""
        ...

    @property
    def priority(self) -> int:
        """1 is served first, 10 last."""
        ...

    def estimate_ms(self, header: Header) -> float:
        """Core-milliseconds that it will take, by the header of the picture."""
        ...

    def may_run_inline(self, header: Header) -> bool:
        """Whether its time is bounded by its estimate: nothing can kill work in a gateway."""
        ...

    def run(self, limits: Limits, header: Header | None = None) -> MadeCo:
        """Do it in this thread; `header` where it has passed the limits. Raises `ImageError`."""
        ...

    def split(self, header: Header, parts: int) -> "Sequence[Self]":
        """The same work in up to `parts` tasks that can run side by side; alone if it cannot be."""
        ...

    def merge(self, parts: Sequence[Any]) -> MadeCo:
        """What the task would have come to, of what its parts have come to."""
        ...


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One picture and everything that is wanted of it. `priority` 1 is served first, 10 last."""

    data: bytes
    renditions: tuple[Options, ...]
    request_id: str
    priority: int = 5
    known_digest: str = ""
    """The digest where whoever made the task knows it already."""
    beside: tuple[Options, ...] = ()
    """Renditions made elsewhere of the same picture: the decode is for them too, so that a part
    of a split task gives the same bytes as the whole."""

    @property
    def digest(self) -> str:
        """Of the file, in hexadecimal."""
        return self.known_digest or content_digest(self.data).hex()

    @property
    def identity(self) -> object:
        """The source and what is wanted of it."""
        return self.digest, self.renditions, self.beside

    def estimate_ms(self, header: Header) -> float:
        """Core-milliseconds of one decode and all renditions."""
        return estimate_ms(len(self.data), header, self.renditions)

    def may_run_inline(self, header: Header) -> bool:
        """Whether its time is bounded by its estimate."""
        return cannot_run_away(header, self.renditions)

    def run(self, limits: Limits, header: Header | None = None) -> Result:
        """Make the renditions."""
        return process(self.data, self.renditions, limits, self.beside, header)

    def split(self, header: Header, parts: int) -> "Sequence[ImageTask]":
        """The renditions dealt out, the dearest first, each to whoever has least so far."""
        parts = min(parts, len(self.renditions))
        names = {options.name for options in self.renditions}
        if parts < 2 or header.frames > 1 or len(names) < len(self.renditions):
            return [self]
        size = len(self.data)
        dearest_first = sorted(
            self.renditions, key=lambda options: -estimate_ms(size, header, (options,))
        )
        piles: list[list[Options]] = [[] for _ in range(parts)]
        costs = [0.0] * parts
        for options in dearest_first:
            least = costs.index(min(costs))
            piles[least].append(options)
            costs[least] = estimate_ms(size, header, piles[least])
        return [replace(self, renditions=tuple(p), beside=self.renditions) for p in piles if p]

    def merge(self, parts: Sequence[Result]) -> Result:
        """All renditions in the order asked for; the times are those of the slowest part."""
        made = {one.name: one for part in parts for one in part.renditions}
        slowest = max(parts, key=lambda part: part.timings.total)
        return replace(slowest, renditions=tuple(made[options.name] for options in self.renditions))


@dataclass(frozen=True, slots=True)
class InfoTask:
    """One picture that is to be described."""

    data: bytes
    request_id: str
    priority: int = 5
    known_digest: str = ""

    @property
    def digest(self) -> str:
        """Of the file, in hexadecimal."""
        return self.known_digest or content_digest(self.data).hex()

    @property
    def identity(self) -> object:
        """The source."""
        return self.digest

    def estimate_ms(self, header: Header) -> float:
        """Core-milliseconds of a small decode and a look at it."""
        return estimate_info_ms(len(self.data), header)

    def may_run_inline(self, header: Header) -> bool:
        """Whether its time is bounded by its estimate."""
        return cannot_run_away(header, ())

    def run(self, limits: Limits, header: Header | None = None) -> ImageInfo:
        """Describe the picture."""
        return describe(self.data, limits, header)

    def split(self, header: Header, parts: int) -> "Sequence[InfoTask]":
        """One description cannot be split."""
        del header, parts
        return [self]

    def merge(self, parts: Sequence[ImageInfo]) -> ImageInfo:
        """The only part."""
        (only,) = parts
        return only


Outcome = Result | OmnishotError
"""What became of an `ImageTask`: its renditions, or the failure of the whole picture."""
AnyTask = Task[Result | ImageInfo]
AnyOutcome = Result | ImageInfo | OmnishotError
"""A task and what became of it, where it does not matter which kind it is."""


class Optimizer(Protocol):
    """Turns a task into its outcome, wherever the pixels are done."""

    async def optimize(self, task: Task[Made]) -> Made | OmnishotError:
        """Do the work. Failures are returned; only programming errors and cancellation raise."""
        ...

    async def optimize_now(self, task: Task[Made], is_new: bool) -> Made | OmnishotError | None:
        """The outcome of work that takes less time than to ask anybody for it, or of new work for
        which there is no room; None of any other.

        It `is_new` when nobody waits for the same and nothing old is held that would do. `optimize`
        does the rest.
        """
        ...

    @property
    def highest_effort(self) -> int | None:
        """The effort to keep to while overload lasts; None when all is well."""
        ...

    async def check_ready(self) -> dict[str, str]:
        """Each part that the answer depends on, `ok` or what is the matter with it."""
        ...


def run_task(
    task: Task[Made], limits: Limits, header: Header | None = None
) -> Made | OmnishotError:
    """Run the engine on a task in this thread, with its failures as values.

    `header` is that of the picture where it has been read and has passed the limits.

    A fault of ours is one too, once it is logged: the tasks beside it in a batch did nothing wrong.
    """
    try:
        return task.run(limits, header)
    except OmnishotError as error:
        return error.stripped()
    except MemoryError:
        return CorruptImage("Decoding the image takes more memory than there is; send it smaller.")
    except Exception:
        logger.exception("the engine failed", extra={"request_id": task.request_id})
        return InternalError("The engine failed on this image; it has been logged.")


def with_queue_time(result: Made, queue_ms: float) -> Made:
    """The same result with the time it waited before the engine started, in milliseconds."""
    return replace(result, timings=replace(result.timings, queue=queue_ms))
