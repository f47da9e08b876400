"""What crosses the border of a process: a task, its outcome, and who turns one into the other.

Both are plain frozen values that pickle cheaply. A failure of one picture is an `OmnishotError`
returned as a value: one bad picture in a batch then costs its own answer and nobody else's.

A task knows what it costs and how it is done, so lanes, queue and replicas need not know which
kinds there are.
"""

import logging
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from omnishot_ray.errors import CorruptImage, InternalError, OmnishotError
from omnishot_ray.imaging.cost import estimate_info_ms, estimate_ms
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

    def run(self, limits: Limits) -> MadeCo:
        """Do it in this thread. Raises `ImageError`."""
        ...


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One picture and everything that is wanted of it.

    `cost_ms` are the estimated core-milliseconds; `priority` 1 is served first, 10 last.
    """

    data: bytes
    renditions: tuple[Options, ...]
    request_id: str
    cost_ms: float = 0.0
    priority: int = 5

    def estimate_ms(self, header: Header) -> float:
        """Core-milliseconds of one decode and all renditions."""
        return estimate_ms(len(self.data), header, self.renditions)

    def run(self, limits: Limits) -> Result:
        """Make the renditions."""
        return process(self.data, self.renditions, limits)


@dataclass(frozen=True, slots=True)
class InfoTask:
    """One picture that is to be described."""

    data: bytes
    request_id: str
    priority: int = 5

    def estimate_ms(self, header: Header) -> float:
        """Core-milliseconds of a small decode and a look at it."""
        return estimate_info_ms(len(self.data), header)

    def run(self, limits: Limits) -> ImageInfo:
        """Describe the picture."""
        return describe(self.data, limits)


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

    async def check_ready(self) -> dict[str, str]:
        """Each part that the answer depends on, `ok` or what is the matter with it."""
        ...


def run_task(task: Task[Made], limits: Limits) -> Made | OmnishotError:
    """Run the engine on a task in this thread, with its failures as values.

    A fault of ours is one too, once it is logged: the tasks beside it in a batch did nothing wrong.
    """
    try:
        return task.run(limits)
    except OmnishotError as error:
        return error.stripped()
    except MemoryError:
        return CorruptImage("Decoding the image takes more memory than there is; send it smaller.")
    except Exception:
        logger.exception("the engine failed on request %s", task.request_id)
        return InternalError("The engine failed on this image; it has been logged.")


def with_queue_time(result: Made, queue_ms: float) -> Made:
    """The same result with the time it waited before the engine started, in milliseconds."""
    return replace(result, timings=replace(result.timings, queue=queue_ms))
