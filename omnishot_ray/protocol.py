"""What crosses the border of a process: a task, its outcome, and who turns one into the other.

Both are plain frozen values that pickle cheaply. A failure of one picture is an `OmnishotError`
returned as a value: one bad picture in a batch then costs its own answer and nobody else's.
"""

import logging
from dataclasses import dataclass, replace
from typing import Protocol

from omnishot_ray.errors import CorruptImage, InternalError, OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Result, process

logger = logging.getLogger(__name__)


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


Outcome = Result | OmnishotError
"""What became of a task: its renditions, or the failure of the whole picture."""


class Optimizer(Protocol):
    """Turns a task into its outcome, wherever the pixels are done."""

    async def optimize(self, task: ImageTask) -> Outcome:
        """Do the work. Failures are returned; only programming errors and cancellation raise."""
        ...

    async def check_ready(self) -> dict[str, str]:
        """Each part that the answer depends on, `ok` or what is the matter with it."""
        ...


def run_task(task: ImageTask, limits: Limits) -> Outcome:
    """Run the engine on a task in this thread, with its failures as values.

    A fault of ours is one too, once it is logged: the tasks beside it in a batch did nothing wrong.
    """
    try:
        return process(task.data, task.renditions, limits)
    except OmnishotError as error:
        return error.stripped()
    except MemoryError:
        return CorruptImage("Decoding the image takes more memory than there is; send it smaller.")
    except Exception:
        logger.exception("the engine failed on request %s", task.request_id)
        return InternalError("The engine failed on this image; it has been logged.")


def with_queue_time(result: Result, queue_ms: float) -> Result:
    """The same result with the time it waited before the engine started, in milliseconds."""
    return replace(result, timings=replace(result.timings, queue=queue_ms))
